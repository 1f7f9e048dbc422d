"""The Gaussian blur: written numbers, a loop over pixels and taps, limit cases."""

import numpy as np
import pytest

from tunable.data.filters import gaussian_blur, gaussian_taps
from tunable.tolerances import relative_error


def test_taps_written_numbers():
    """sigma 1: exp(-1/2) and exp(-2) beside 1."""
    total = 1 + 2 * 0.6065306597126334 + 2 * 0.1353352832366127
    expected = np.array([0.1353352832366127, 0.6065306597126334, 1, 0.6065306597126334, 0.1353352832366127]) / total
    np.testing.assert_allclose(gaussian_taps(1, 5), expected, rtol=1e-14)


@pytest.mark.parametrize("sigma", [0, 5e-324, 1e-3, 0.5, 2.5, 4, 1e6])
def test_taps_sum_to_one_and_are_even(sigma):
    taps = gaussian_taps(sigma, 21)
    assert taps.shape == (21,) and taps.sum() == pytest.approx(1, rel=1e-14)
    np.testing.assert_array_equal(taps, taps[::-1])
    assert taps.argmax() == 10
    if sigma < 0.01:
        np.testing.assert_array_equal(taps, np.eye(21)[10])


@pytest.mark.parametrize("shape", [(5, 7), (3, 4)])  # the second is smaller than the reach: reflected twice
@pytest.mark.parametrize(("sigma", "size"), [(1.3, 9), (2.5, 9), (0.6, 3)])
def test_against_the_loop(sigma, size, shape, rng):
    picture = rng.uniform(size=shape)
    expected, half = np.zeros(shape), size // 2
    grid = np.arange(-half, half + 1)
    kernel = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * sigma**2))
    kernel /= kernel.sum()

    def inside(place, length):
        while not 0 <= place < length:  # reflected at the middle of the edge pixel
            place = -place if place < 0 else 2 * (length - 1) - place
        return place

    for i, j in np.ndindex(shape):
        for u, v in np.ndindex(size, size):
            row, column = inside(i + u - half, shape[0]), inside(j + v - half, shape[1])
            expected[i, j] += kernel[u, v] * picture[row, column]
    assert relative_error(gaussian_blur(picture, sigma, size), expected) <= 1e-14


def test_type_shape_and_leading_axes(rng):
    pictures = rng.uniform(size=(2, 3, 8, 6)).astype(np.float32)
    blurred = gaussian_blur(pictures, 2, 9)
    assert blurred.dtype == np.float32 and blurred.shape == pictures.shape
    np.testing.assert_array_equal(blurred[1, 2], gaussian_blur(pictures[1, 2], 2, 9))
    np.testing.assert_array_equal(gaussian_blur(pictures, 0, 9), pictures)
