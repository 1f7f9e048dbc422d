"""Shrinking as MATLAB's `imresize(picture, 1 / scale)`: bicubic, antialiased, the same bits.

The cubic kernel (Keys 1981, a = -1/2) is widened by the scale; output pixel i sees input pixels around
scale i + (scale - 1) / 2, with weights that are divided by their sum; height first, then width.
"""

from functools import lru_cache
from typing import Literal

import numpy as np

Rounding = Literal["passes", "end", "none"]
Border = Literal["replicate", "mirror"]


def shrink(
    pictures: np.ndarray, scale: int, *, rounding: Rounding = "passes", border: Border = "replicate"
) -> np.ndarray:
    """Shrink pictures by a whole number.

    Args:
        pictures: float32 (..., H, W) in 0..1.
        scale: input pixels per output pixel along each side.
        rounding: "passes", as MATLAB on 8-bit pictures, rounds and clips to 8 bits before, between and after the two
            passes; "end" before and after; "none", as MATLAB on floats, never.
        border: "replicate" repeats the edge pixel; "mirror", of newer MATLAB, reflects with the edge pixel repeated.

    Returns:
        float32 (..., ceil(H / scale), ceil(W / scale)).
    """
    pictures = pictures.astype(np.float64) * 255
    if rounding != "none":
        pictures = _to_8_bits(pictures)
    for axis in (-2, -1):
        pictures = _along(pictures, axis, scale, border)
        if rounding == "passes" or (rounding == "end" and axis == -1):
            pictures = _to_8_bits(pictures)
    if rounding != "none":
        return pictures.astype(np.float32) / np.float32(255)  # the floats that reading the 8-bit file gives
    return (pictures / 255).astype(np.float32)


def cubic(x: np.ndarray) -> np.ndarray:
    """Evaluate Keys' kernel with a = -1/2, at x of any shape: 1 at 0, 0 at other whole numbers and beyond 2."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def _to_8_bits(pictures: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(pictures + 0.5), 0, 255)  # halves go up, as in MATLAB; numpy's go to the even one


def _along(pictures: np.ndarray, axis: int, scale: int, border: Border) -> np.ndarray:
    """One pass: summed tap by tap, whose order a matrix product would not keep."""
    places, weights = _taps(pictures.shape[axis], scale, border)
    total = np.zeros(())
    for place, weight in zip(places.T, weights.T, strict=True):
        total = total + pictures.take(place, axis) * (weight[:, None] if axis == -2 else weight)
    return total


@lru_cache(maxsize=64)
def _taps(length: int, scale: int, border: Border) -> tuple[np.ndarray, np.ndarray]:
    """Which input pixels every output pixel sees, and their weights: both (ceil(length / scale), 4 scale + 2)."""
    centre = np.arange(-(-length // scale))[:, None] * scale + (scale - 1) / 2
    places = np.floor(centre - 2 * scale).astype(int) + np.arange(4 * scale + 2)
    weights = cubic((centre - places) / scale)
    weights /= weights.sum(axis=1, keepdims=True)
    if border == "replicate":
        return np.clip(places, 0, length - 1), weights
    places = places % (2 * length)
    return np.where(places < length, places, 2 * length - 1 - places), weights
