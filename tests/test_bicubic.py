"""MATLAB's shrinking: against its own pictures, numbers by hand, and a loop over the formula."""

import os
from pathlib import Path

import numpy as np
import pytest

from tunable.data.bicubic import cubic, shrink
from tunable.images.folders import list_pictures
from tunable.images.pictures import read

# Halves of the cubic kernel at 1/4, 3/4, 5/4 and 7/4: what scale 2 gives the pixels around an output pixel.
WEIGHTS = np.array([111, 29, -9, -3]) / 256


def floats(values, scale, **options):
    """shrink of floats in one row (the same in every row of a picture), in float units."""
    picture = np.tile(np.asarray(values, dtype=np.float32), (2 * scale, 1))
    return shrink(picture, scale, rounding="none", **options)[0]


@pytest.mark.skipif("TUNABLE_DATA" not in os.environ, reason="TUNABLE_DATA not set: MATLAB's Set5 is not compared")
def test_every_bit_of_matlabs_set5():
    folder = Path(os.environ["TUNABLE_DATA"]) / "Set5"
    paths = list_pictures(folder / "HR")
    assert len(paths) == 5
    for path in paths:
        result = shrink(read(path).transpose(2, 0, 1), 4)
        expected = read(folder / "LRx4_matlab" / path.name).transpose(2, 0, 1)
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == np.float32
        for options in ({"border": "mirror"}, {"rounding": "end"}):  # the options are other programs
            assert not np.array_equal(shrink(read(path).transpose(2, 0, 1), 4, **options), expected)


def test_kernel_written_numbers():
    np.testing.assert_array_equal(cubic(np.array([0, 1, 2, 2.5, -1])), [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(cubic(np.array([0.25, -0.75, 1.25, 1.75])), 2 * WEIGHTS)


def test_impulse_written_numbers():
    """A pixel of 1 at 7: the output pixels 2, 3, 4, 5, at 2 i + 1/2, are 2.5, 0.5, 1.5, 3.5 away from it."""
    values = np.eye(14)[7]
    near, next_, third, last = WEIGHTS
    np.testing.assert_allclose(floats(values, 2), [0, 0, third, near, next_, last, 0], rtol=1e-6, atol=1e-9)


def test_ramp_written_numbers():
    """Inside a ramp its value at 2 i + 1/2; at the first pixel, beyond the border stands 0 0 0, or mirrored 2 1 0."""
    ramp = np.arange(12) / 16
    inside = (2 * np.arange(2, 4) + 0.5) / 16
    np.testing.assert_allclose(floats(ramp, 2)[2:4], inside, rtol=1e-6)
    # pixels 1, 2, 3, 4 of the ramp and the borders, each times its weight
    first = (111 * 1 + 29 * 2 - 9 * 3 - 3 * 4) / 256
    np.testing.assert_allclose(floats(ramp, 2)[0], first / 16, rtol=1e-6)
    mirrored = first + (29 * 0 - 9 * 1 - 3 * 2) / 256
    np.testing.assert_allclose(floats(ramp, 2, border="mirror")[0], mirrored / 16, rtol=1e-6)


def brute(picture, scale, border):
    """One axis after the other, one output pixel at a time, one tap at a time; (H, W) in float64."""
    for _ in range(2):
        length = picture.shape[0]
        rows = []
        for i in range(-(-length // scale)):
            centre = scale * i + (scale - 1) / 2
            total, row = 0.0, 0.0
            for place in range(int(centre) - 2 * scale - 2, int(centre) + 2 * scale + 3):
                weight = float(cubic(np.array((centre - place) / scale)))
                inside = min(max(place, 0), length - 1)
                if border == "mirror":
                    inside = place
                    while not 0 <= inside < length:
                        inside = -1 - inside if inside < 0 else 2 * length - 1 - inside
                total, row = total + weight, row + weight * picture[inside]
            rows.append(row / total)
        picture = np.stack(rows).T
    return picture


@pytest.mark.parametrize("border", ["replicate", "mirror"])
@pytest.mark.parametrize(("scale", "size"), [(2, (8, 6)), (3, (9, 12)), (4, (8, 12)), (3, (4, 7)), (5, (3, 2))])
def test_against_the_loop(scale, size, border, rng):
    picture = rng.uniform(-0.2, 1.2, size=size).astype(np.float32)
    result = shrink(picture, scale, rounding="none", border=border)
    assert result.shape == tuple(-(-side // scale) for side in size)
    np.testing.assert_allclose(result, brute(picture.astype(np.float64), scale, border), rtol=1e-6, atol=1e-7)


def test_rounding():
    """In every pass, at the end, not at all; halves go up, and what overshoots is clipped."""
    assert floats([0.25] * 8, 4).tolist() == [0.25, 0.25]
    halves = np.tile(np.float32([0, 1]) / np.float32(255), (4, 4))  # in the middle, a half of 1/255
    assert (shrink(halves, 2)[:, 1] * 255 == 1).all()
    step = np.repeat(np.float32([[0, 0, 0, 0, 1, 1, 1, 1]]), 4, axis=0)
    assert shrink(step, 2, rounding="none").min() < 0 < 1 < shrink(step, 2, rounding="none").max()
    for rounding in ("passes", "end"):
        result = shrink(step, 2, rounding=rounding)
        assert result.min() == 0 and result.max() == 1
        np.testing.assert_array_equal(result, np.round(result * 255).astype(np.float32) / np.float32(255))


def test_a_constant_stays_and_nothing_is_changed_in_place(rng):
    constant = np.full((2, 3, 12, 8), 77 / 255, dtype=np.float32)
    for scale in (2, 3, 4):
        np.testing.assert_array_equal(np.unique(shrink(constant, scale)), constant[0, 0, 0, 0])
    picture = rng.uniform(size=(8, 8)).astype(np.float32)
    before = picture.copy()
    shrink(picture, 2)
    np.testing.assert_array_equal(picture, before)
    stacked = shrink(np.stack([picture, picture.T]), 2, rounding="none")
    np.testing.assert_allclose(stacked[1], stacked[0].T, rtol=1e-6)
