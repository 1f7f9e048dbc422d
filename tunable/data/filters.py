"""Gaussian blur of pictures: of the degradation, and inside the unsharp mask (docs/method.md, "Objectives")."""

import numpy as np


def gaussian_taps(sigma: float, size: int) -> np.ndarray:
    """A Gaussian of standard deviation `sigma` pixels at `size` (odd) whole pixels, sum one; float64 (size,).

    The two-dimensional one, sampled and normalised, is the product of this along both axes. sigma 0: no blur.
    """
    place = np.arange(size) - size // 2
    if sigma == 0:
        return (place == 0).astype(np.float64)
    with np.errstate(over="ignore"):  # a tiny sigma: infinitely far, a weight of 0
        weights = np.exp(-0.5 * (place / sigma) ** 2)
    return weights / weights.sum()


def gaussian_blur(pictures: np.ndarray, sigma: float, size: int) -> np.ndarray:
    """Blur the last two axes of (..., H, W) with the `size` x `size` Gaussian; summed in float64, as the input's type.

    Borders are reflected, the edge pixel not repeated (numpy's and torch's `reflect`).
    """
    from scipy import ndimage  # here: its import takes longer than most commands need for all their work

    taps = gaussian_taps(sigma, size)
    for axis in (-2, -1):
        pictures = ndimage.correlate1d(pictures, taps, axis=axis, mode="mirror")  # scipy's name for it
    return pictures
