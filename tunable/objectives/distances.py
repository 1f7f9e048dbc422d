"""Distances between pictures in float64 (docs/method.md, "Objectives"), and constants that the twins share."""

from collections.abc import Callable

import numpy as np

from tunable.errors import TunableError
from tunable.objectives.similarity import SCALES, SIMILARITY_SIZE, ms_ssim, ms_ssim_slope

CHARBONNIER_EPS = 1e-3  # sqrt(d^2 + eps^2), the usual value
MS_SSIM_SIZE = SIMILARITY_SIZE * 2 ** (len(SCALES) - 1)  # pixels of the least picture: one window at the last scale

# distance -> (value, derivative) of a difference, element by element
_ELEMENTS: dict[str, tuple[Callable, Callable]] = {
    "l1": (np.abs, np.sign),
    "l2": (np.square, lambda d: 2 * d),
    "charbonnier": (
        lambda d: np.sqrt(d**2 + CHARBONNIER_EPS**2),
        lambda d: d / np.sqrt(d**2 + CHARBONNIER_EPS**2),
    ),
}


def distance_between(restored: np.ndarray, wanted: np.ndarray, distance: str) -> np.ndarray:
    """Compute the distance of every sample.

    Args:
        restored: the pictures that are judged, (N, C, H, W).
        wanted: what they should be.
        distance: l1, l2, charbonnier: the mean over all but the first axis; fft: the mean absolute value of real and
            imaginary parts of the orthonormal rfft2 of the difference; ms_ssim: 1 - MS-SSIM.

    Returns:
        (N,).
    """
    if distance == "ms_ssim":
        return 1 - ms_ssim(restored, wanted)
    if distance == "fft":
        seen = np.fft.rfft2(restored - wanted, norm="ortho")
        return (mean_of(np.abs(seen.real)) + mean_of(np.abs(seen.imag))) / 2
    return mean_of(_ELEMENTS[distance][0](restored - wanted))


def distance_slope(restored: np.ndarray, wanted: np.ndarray, distance: str) -> np.ndarray:
    """Return the gradient of the sum of `distance_between` in `restored`; the slope of abs at 0 is taken as 0."""
    if distance == "ms_ssim":
        return -ms_ssim_slope(restored, wanted)
    if distance == "fft":
        seen = np.fft.rfft2(restored - wanted, norm="ortho")
        signs = np.zeros(restored.shape, dtype=complex)  # the frequencies that rfft2 leaves out have no weight
        signs[..., : seen.shape[-1]] = np.sign(seen.real) + 1j * np.sign(seen.imag)
        return np.fft.ifft2(signs, norm="ortho").real / (2 * seen[0].size)
    return _ELEMENTS[distance][1](restored - wanted) / restored[0].size


def mean_of(values: np.ndarray) -> np.ndarray:
    """Return the mean over all but the first axis, (N,)."""
    return values.reshape(len(values), -1).mean(axis=1)


def check_size(distance: str, height: int, width: int) -> None:
    """Raise TunableError for pictures that are too small for a distance."""
    if distance == "ms_ssim" and min(height, width) < MS_SSIM_SIZE:
        raise TunableError(
            f"distance ms_ssim needs pictures of at least {MS_SSIM_SIZE} pixels a side, not {width}x{height}"
        )
