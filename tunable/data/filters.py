"""Gaussian blur of pictures: of the degradation, and inside the unsharp mask (docs/method.md, "Objectives")."""

import numpy as np


def gaussian_taps(sigma: float, size: int) -> np.ndarray:
    """Sample a Gaussian; a two-dimensional Gaussian is its product along both axes.

    Args:
        sigma: standard deviation in pixels; 0: no blur.
        size: how many pixels, odd.

    Returns:
        float64 (size,), whose sum is one.
    """
    place = np.arange(size) - size // 2
    if sigma == 0:
        return (place == 0).astype(np.float64)
    with np.errstate(over="ignore"):  # a tiny sigma: infinitely far, a weight of 0
        weights = np.exp(-0.5 * (place / sigma) ** 2)
    return weights / weights.sum()


def gaussian_blur(pictures: np.ndarray, sigma: float, size: int) -> np.ndarray:
    """Blur pictures with a Gaussian; borders are reflected, the edge pixel not repeated.

    Args:
        pictures: (..., H, W), floats.
        sigma: standard deviation in pixels.
        size: pixels along each side of the Gaussian, odd.

    Returns:
        Pictures of the same shape and type, summed in float64.
    """
    from scipy import ndimage  # here: its import takes longer than most commands need for all their work

    taps = gaussian_taps(sigma, size)
    for axis in (-2, -1):
        pictures = ndimage.correlate1d(pictures, taps, axis=axis, mode="mirror")  # scipy's name for it
    return pictures
