"""Filters of pictures: Gaussian, demosaicing, sRGB's curve, and the waves of the spectrum."""

import math

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


def band(taps: tuple[float, ...], size: int) -> np.ndarray:
    """Weighted sums of neighbours as a matrix, for frameworks that multiply faster than they add shifted pictures.

    Args:
        taps: k weights.
        size: length of the axis that is filtered, k at least.

    Returns:
        float64 (size, size - k + 1), which holds the weights once in every column.
    """
    inside = size - len(taps) + 1
    matrix = np.zeros((size, inside))
    for i, weight in enumerate(taps):
        matrix[np.arange(inside) + i, np.arange(inside)] = weight
    return matrix


def waves(size: int, count: int) -> np.ndarray:
    """Waves as a matrix: a product with it is a Fourier transform in real numbers.

    Args:
        size: length of the axis that is transformed.
        count: how many frequencies, from 0 on.

    Returns:
        float64 (size, 2 count): cosines, then sines, divided by the square root of size.
    """
    angles = np.outer(np.arange(size), np.arange(count)) % size * (2 * np.pi / size)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(size)


def gaussian_blur(pictures: np.ndarray, sigma: float, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Blur pictures with a Gaussian; borders are reflected, the edge pixel not repeated.

    Args:
        pictures: (..., H, W), floats.
        sigma: standard deviation in pixels.
        size: pixels along each side of the Gaussian, odd.
        out: where they are written to, of the same shape and type; None: a new array.

    Returns:
        Pictures of the same shape and type, summed in float64.
    """
    from scipy import ndimage  # here: its import takes longer than most commands need for all their work

    taps = gaussian_taps(sigma, size)
    half = ndimage.correlate1d(pictures, taps, axis=-2, mode="mirror")  # scipy's name for it
    return ndimage.correlate1d(half, taps, axis=-1, mode="mirror", output=out)


def noise_radius(smooth: float) -> int:
    """How many pixels `smooth_noise` reaches: all but a ten-thousandth of the Gaussian."""
    return math.ceil(4 * smooth)


def smooth_noise(noise: np.ndarray, smooth: float) -> np.ndarray:
    """Smooth white noise (..., H, W) by a Gaussian of `smooth` pixels, and leave as much of it in every pixel."""
    taps = gaussian_taps(smooth, 2 * noise_radius(smooth) + 1)
    return gaussian_blur(noise, smooth, len(taps)) / np.sum(taps**2)


def srgb_to_light(pictures: np.ndarray) -> np.ndarray:
    """Turn sRGB's numbers into light (IEC 61966-2-1), each in 0..1; what lies outside is cut off. Keeps the type."""
    pictures = pictures.clip(0, 1)
    return np.where(pictures <= 0.04045, pictures / 12.92, ((pictures + 0.055) / 1.055) ** 2.4).astype(pictures.dtype)


def light_to_srgb(light: np.ndarray) -> np.ndarray:
    """Turn light into sRGB's numbers, each in 0..1; what lies outside is cut off. Keeps the type."""
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055).astype(light.dtype)


def demosaiced(picture: np.ndarray, top: int = 0, left: int = 0) -> np.ndarray:
    """See a picture through a Bayer sensor and fill in the missing colours bilinearly; borders are reflected.

    Args:
        picture: (3, H, W), red, green, blue, floats; numbers of any size and sign.
        top: row of the first red pixel, 0 or 1.
        left: column of the first red pixel, 0 or 1.

    Returns:
        A picture of the same shape and type: seen values as they were, the others means of their two or four nearest.
    """
    from scipy import ndimage  # here: its import takes longer than most commands need for all their work

    _, height, width = picture.shape
    odd_row, odd_column = (np.arange(height)[:, None] + top) % 2 == 1, (np.arange(width) + left) % 2 == 1
    seen = np.stack([~odd_row & ~odd_column, odd_row ^ odd_column, odd_row & odd_column])
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    filled = [
        ndimage.correlate(colour, kernel, mode="mirror")
        for colour, kernel in zip(picture * seen, (square, cross, square), strict=True)
    ]
    return np.stack(filled).astype(picture.dtype)
