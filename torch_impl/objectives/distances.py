"""Distances between pictures (docs/method.md, "Objectives")."""

import torch

from torch_impl import ops
from tunable.data.filters import gaussian_taps
from tunable.objectives.distances import CHARBONNIER_EPS
from tunable.objectives.similarity import C1, C2, SCALES, SIMILARITY_FLOOR, SIMILARITY_SIGMA, SIMILARITY_SIZE

_TAPS = tuple(gaussian_taps(SIMILARITY_SIGMA, SIMILARITY_SIZE).tolist())
_MIDDLE = 0.5  # variances are differences of squares, which lose less to rounding the smaller the squares are


def distance_between(restored: torch.Tensor, wanted: torch.Tensor, distance: str) -> torch.Tensor:
    """Compute the distance of pictures, per sample.

    Args:
        restored: the pictures that are judged, (N, C, H, W).
        wanted: what they should be.
        distance: l1, l2, charbonnier, fft, or ms_ssim for 1 - MS-SSIM, which takes pictures of at least 176 pixels a
            side.

    Returns:
        (N,).
    """
    if distance == "ms_ssim":
        return 1 - ms_ssim(restored, wanted)
    return mean_distance(restored - wanted, distance)


def mean_distance(difference: torch.Tensor, distance: str) -> torch.Tensor:
    """Return the mean distance from zero over all but the first axis, (N,).

    Args:
        difference: (N, ...); for fft (N, C, H, W).
        distance: l1, the absolute value; l2, the square; fft, the absolute value of both parts of the spectrum; or
            charbonnier, sqrt(d^2 + 1e-6).
    """
    if distance == "l1":
        return ops.per_sample_mean(difference.abs())
    if distance == "l2":
        return ops.per_sample_mean(difference * difference)
    if distance == "fft":
        return ops.per_sample_mean(ops.spectrum(difference).abs())
    return ops.per_sample_mean(torch.sqrt(difference * difference + CHARBONNIER_EPS**2))


def ms_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Compute multi-scale structural similarity (Wang, Simoncelli and Bovik, Asilomar 2003), 1 where equal.

    Every channel has its own, and their mean is taken. Means of contrast and structure below 0.001 (they may be
    negative) count as 0.001, and give no gradient.

    Args:
        x: pictures (N, C, H, W) whose range is 1, of at least 176 pixels a side.
        y: pictures alike.

    Returns:
        The similarity of every sample, (N,).
    """
    x, y, similarity = x - _MIDDLE, y - _MIDDLE, torch.ones_like(x[:, :, :1, :1])
    for i, exponent in enumerate(SCALES):
        if i:
            x, y = ops.mean_pool(x, 2), ops.mean_pool(y, 2)
        luminance, contrast = _similarities(x, y)
        seen = luminance * contrast if i == len(SCALES) - 1 else contrast
        similarity = similarity * ops.global_mean(seen).clamp(min=SIMILARITY_FLOOR) ** exponent
    return ops.per_sample_mean(similarity)


def _similarities(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps of SSIM's luminance term, and of contrast times structure; x and y less the middle of their range."""
    c = x.shape[1]
    means = ops.filtered(torch.cat([x, y, x * x + y * y, x * y], 1), _TAPS)
    mean_x, mean_y, squares, product = means[:, :c], means[:, c : 2 * c], means[:, 2 * c : 3 * c], means[:, 3 * c :]
    covariance, variances = product - mean_x * mean_y, squares - mean_x * mean_x - mean_y * mean_y
    mean_x, mean_y = mean_x + _MIDDLE, mean_y + _MIDDLE
    luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    return luminance, (2 * covariance + C2) / (variances + C2)
