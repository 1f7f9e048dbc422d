"""MS-SSIM (Wang, Simoncelli and Bovik, Asilomar 2003; docs/method.md, "Objectives") in float64, and its gradient."""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tunable.data.filters import gaussian_taps

# An exponent per scale, the window, and (0.01, 0.03) squared for pictures whose range is 1. A mean below the floor
# counts as the floor: a power of a negative number is no number.
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SIMILARITY_SIZE, SIMILARITY_SIGMA, SIMILARITY_FLOOR = 11, 1.5, 1e-3
C1, C2 = 0.01**2, 0.03**2
_TAPS = gaussian_taps(SIMILARITY_SIGMA, SIMILARITY_SIZE)


class _Scale(NamedTuple):
    """Pictures x and y at one scale, and the maps (N, C, h, w) of what every window sees.

    luminance is l = (2 x y + C1) / (x^2 + y^2 + C1) of the windows' means, contrast is
    cs = (2 covariance + C2) / (sum of both variances + C2); `below` are the divisors.
    """

    x: np.ndarray
    y: np.ndarray
    mean_x: np.ndarray
    mean_y: np.ndarray
    luminance: np.ndarray
    contrast: np.ndarray
    below_l: np.ndarray
    below_cs: np.ndarray


def ms_ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute MS-SSIM of every sample, the mean over its channels.

    Args:
        x: pictures (N, C, H, W) whose sides have 176 pixels at least.
        y: pictures alike.

    Returns:
        (N,).
    """
    return np.prod(_powers(_scales(x, y))[0], axis=0).mean(axis=1)


def ms_ssim_slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient of the sum of `ms_ssim` in x, (N, C, H, W); 0 through every mean below the floor."""
    scales = _scales(x, y)
    powers, means = _powers(scales)
    product, gradient = np.prod(powers, axis=0) / x.shape[1], np.zeros((*x.shape[:2], 0, 0))
    for i in reversed(range(len(scales))):
        scale, mean = scales[i], means[i]
        upstream = np.where(mean > SIMILARITY_FLOOR, product * SCALES[i] / np.maximum(mean, SIMILARITY_FLOOR), 0)
        upstream = upstream[:, :, None, None] / scale.contrast[0, 0].size * np.ones_like(scale.contrast)
        gradient = _unpooled(gradient, scale.x.shape) + _through(scale, upstream, last=i == len(scales) - 1)
    return gradient


def _scales(x: np.ndarray, y: np.ndarray) -> list[_Scale]:
    scales = []
    for i in range(len(SCALES)):
        if i:
            x, y = _pooled(x), _pooled(y)
        mean_x, mean_y = _filtered(x), _filtered(y)
        below_l = mean_x**2 + mean_y**2 + C1
        below_cs = _filtered(x * x + y * y) - mean_x**2 - mean_y**2 + C2
        luminance = (2 * mean_x * mean_y + C1) / below_l
        contrast = (2 * (_filtered(x * y) - mean_x * mean_y) + C2) / below_cs
        scales.append(_Scale(x, y, mean_x, mean_y, luminance, contrast, below_l, below_cs))
    return scales


def _powers(scales: list[_Scale]) -> tuple[np.ndarray, np.ndarray]:
    """Factors of MS-SSIM, and the means over windows of which they are powers: (scales, N, C) each."""
    maps = [scale.contrast for scale in scales[:-1]] + [scales[-1].luminance * scales[-1].contrast]
    means = np.array([values.mean(axis=(2, 3)) for values in maps])
    return np.maximum(means, SIMILARITY_FLOOR) ** np.array(SCALES)[:, None, None], means


def _through(scale: _Scale, upstream: np.ndarray, last: bool) -> np.ndarray:
    """What a gradient in cs, at the last scale in l cs, is in the scale's x."""
    x, y, mean_x, mean_y = scale.x, scale.y, scale.mean_x, scale.mean_y
    in_cs = upstream * scale.luminance if last else upstream
    above, below = in_cs / scale.below_cs, -in_cs * scale.contrast / scale.below_cs
    in_mean = -2 * (mean_y * above + mean_x * below)
    if last:
        in_mean += upstream * scale.contrast * 2 * (mean_y - scale.luminance * mean_x) / scale.below_l
    return _spread(in_mean) + 2 * x * _spread(below) + 2 * y * _spread(above)


def _filtered(x: np.ndarray) -> np.ndarray:
    """Gaussian means of all windows that lie inside: (N, C, H, W) -> (N, C, H - 10, W - 10)."""
    rows = sliding_window_view(x, SIMILARITY_SIZE, axis=2) @ _TAPS
    return sliding_window_view(rows, SIMILARITY_SIZE, axis=3) @ _TAPS


def _spread(x: np.ndarray) -> np.ndarray:
    """The adjoint of `_filtered`: the Gaussian is symmetric."""
    around = SIMILARITY_SIZE - 1
    return _filtered(np.pad(x, ((0, 0), (0, 0), (around, around), (around, around))))


def _pooled(x: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; a last odd row or column is left out."""
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    return np.mean([x[:, :, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)], axis=0)


def _unpooled(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The adjoint of `_pooled` for pictures of a shape."""
    x = x.repeat(2, axis=2).repeat(2, axis=3) / 4
    return np.pad(x, ((0, 0), (0, 0), (0, shape[2] - x.shape[2]), (0, shape[3] - x.shape[3])))
