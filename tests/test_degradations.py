"""Degradations: levels, order, and the noise of the measuring protocol."""

import numpy as np
import pytest
from pydantic import ValidationError

from tunable_core.degradations import GaussianNoise, degrade, protocol_degraded, protocol_noise


def noise(sigma):
    return GaussianNoise(kind="gaussian_noise", sigma=sigma)


def test_noise_level():
    clean = np.full((2, 3, 500, 500), 0.5, dtype=np.float32)
    added = noise(25).apply(clean, np.random.default_rng(0)) - clean
    assert added.dtype == np.float32
    assert added.std() * 255 == pytest.approx(25, rel=0.002)
    assert abs(added.mean()) * 255 < 0.1
    assert np.abs(added).max() * 255 > 85  # beyond 3.4 sigma: normal, not uniform
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.005


def test_noise_is_not_clipped():
    degraded = noise(50).apply(np.zeros((1, 3, 16, 16), dtype=np.float32), np.random.default_rng(0))
    assert degraded.min() < -0.1
    assert degrade(np.ones((1, 3, 16, 16), dtype=np.float32), [noise(50)], np.random.default_rng(0)).max() > 1.1


def test_range_is_drawn_per_picture():
    clean = np.zeros((200, 1, 24, 24), dtype=np.float32)
    levels = noise([5, 30]).apply(clean, np.random.default_rng(0)).std(axis=(1, 2, 3)) * 255
    assert 4.5 < levels.min() < 6.5 and 28 < levels.max() < 33
    assert levels.mean() == pytest.approx(17.5, abs=1.7)
    assert levels.std() == pytest.approx(25 / np.sqrt(12), rel=0.15)


def test_a_number_is_a_range_of_one():
    assert noise(7).sigma == (7, 7) and noise([5, 30]).sigma == (5, 30) and noise(0).sigma == (0, 0)
    clean = np.full((1, 1, 2, 2), 0.25, dtype=np.float32)
    np.testing.assert_array_equal(noise(0).apply(clean, np.random.default_rng(0)), clean)


@pytest.mark.parametrize("sigma", [-1, [30, 5], [1, 2, 3], [5], float("nan"), float("inf"), "loud", None])
def test_impossible_levels_are_refused(sigma):
    with pytest.raises(ValidationError):
        noise(sigma)


def test_reversed_range_says_so():
    with pytest.raises(ValidationError, match=r"a range is \[low, high\], not \[30.0, 5.0\]"):
        noise([30, 5])


class Recorder:
    """A degradation that notes its turn."""

    def __init__(self, factor):
        self.factor = factor

    def apply(self, pictures, rng):
        return pictures * self.factor + rng.integers(10)


def test_pipeline_order_and_generator():
    rng = np.random.default_rng(1)
    first, second = rng.integers(10), rng.integers(10)
    out = degrade(np.ones((1, 1, 1, 1)), [Recorder(2), Recorder(3)], np.random.default_rng(1))
    assert out.item() == (2 + first) * 3 + second
    clean = np.ones((1, 1, 1, 1))
    assert degrade(clean, [], np.random.default_rng(1)) is clean


def test_protocol_as_written():
    """SPEC 7, word for word."""
    clean = np.random.default_rng(9).uniform(size=(6, 5, 3)).astype(np.float32)
    draw = np.random.default_rng(4).standard_normal((6, 5, 3))
    np.testing.assert_array_equal(protocol_noise(6, 5, 4), draw)
    for sigma in (5, 15.0, 50):
        wanted = (clean.astype(np.float64) + draw * sigma / 255).astype(np.float32)
        degraded = protocol_degraded(clean, sigma, 4)
        np.testing.assert_array_equal(degraded, wanted)
        assert degraded.dtype == np.float32


def test_protocol_same_draw_for_every_sigma_another_for_every_index():
    clean = np.zeros((4, 4, 3), dtype=np.float32)
    weak, strong = protocol_degraded(clean, 5, 0), protocol_degraded(clean, 30, 0)
    np.testing.assert_allclose(strong, 6 * weak, rtol=1e-6)
    assert not np.array_equal(weak, protocol_degraded(clean, 5, 1))
    np.testing.assert_array_equal(protocol_degraded(clean, 0, 0), clean)


def test_protocol_written_numbers():
    """The first values of the draw, so that a change of generator cannot go unseen."""
    np.testing.assert_allclose(protocol_noise(1, 1, 0).ravel(), [0.12573022, -0.13210486, 0.64042265], rtol=1e-7)
