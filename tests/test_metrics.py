"""Metrics by the protocol of docs/method.md, "Measuring protocol", against written numbers and the definitions."""

import numpy as np
import pytest

from tunable.data.degradations import protocol_degraded
from tunable.data.patches import bundled
from tunable.errors import TunableError
from tunable.evaluation import metrics
from tunable.images.pictures import read
from tunable.tolerances import relative_error


@pytest.fixture(scope="module")
def photograph():
    return read(bundled(("chelsea.png",))[0])[60:124, 120:184]


def test_psnr_written_numbers():
    black = np.zeros((2, 2, 3))
    assert metrics.psnr(black, black + 0.1) == pytest.approx(20, abs=1e-12)
    assert metrics.psnr(black, black + 10) == pytest.approx(-20, abs=1e-12)  # nothing is clipped
    one = black.copy()
    one[0, 0, 0] = 1  # mean squared difference 1/12
    assert metrics.psnr(one, black) == pytest.approx(10 * np.log10(12), abs=1e-12)
    assert metrics.psnr(one, one) == float("inf")


def test_psnr_has_no_epsilon_and_is_float64():
    black = np.zeros((2, 2, 3), dtype=np.float32)
    assert metrics.psnr(black, black + np.float32(1e-30)) == pytest.approx(600, abs=1e-4)


def test_eight_bits_written_numbers():
    """Clipped, rounded to the nearest."""
    values = np.array([-0.3, 0, 0.4, 0.6, 1.4, 254.6, 255, 400]) / 255
    assert (metrics.eight_bits(values) * 255).round(9).tolist() == [0, 0, 0, 1, 1, 255, 255, 255]


def test_psnr_of_protocol_noise(photograph):
    """Noise of sigma 25 measures 20 log10(255 / 25) = 20.17 dB."""
    assert metrics.psnr(protocol_degraded(photograph, 25, 0), photograph) == pytest.approx(20.17, abs=0.15)


def test_target(photograph, make_recipe):
    recipe = make_recipe()
    degraded = protocol_degraded(photograph, 25, 1)
    clean, noisy = photograph.astype(np.float64), degraded.astype(np.float64)
    result = metrics.target(photograph, degraded, recipe, 1, np.array([0.0, 0.5]))
    assert relative_error(result, clean + 0.5 * 0.9 * (noisy - clean)) <= 1e-14
    # without noise kept the target is the clean picture
    np.testing.assert_array_equal(metrics.target(photograph, degraded, recipe, 1, np.array([1.0, 0.0])), clean)


def test_ssim(photograph):
    assert metrics.ssim(photograph, photograph) == pytest.approx(1, abs=1e-12)
    worse = [metrics.ssim(protocol_degraded(photograph, sigma, 0), photograph) for sigma in (5, 15, 50)]
    assert 1 > worse[0] > worse[1] > worse[2] > 0


def test_ssim_against_its_formula(photograph):
    """Gaussian window of 11, sigma 1.5, population covariance, constants 0.01^2 and 0.03^2 (Wang et al. 2004)."""
    a, b = photograph.astype(np.float64), protocol_degraded(photograph, 25, 2).astype(np.float64)
    place = np.arange(-5, 6)
    window = np.exp(-(place**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def mean(picture):
        views = np.lib.stride_tricks.sliding_window_view(picture, (11, 11), axis=(0, 1))
        return np.einsum("ijcuv,uv->ijc", views, window)

    (ma, mb), (c1, c2) = (mean(a), mean(b)), (0.01**2, 0.03**2)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    expected = ((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_residual_fraction_recovers_a_known_fraction(fraction, photograph):
    degraded = protocol_degraded(photograph, 15, 0).astype(np.float64)
    restored = photograph + fraction * 0.9 * (degraded - photograph)
    assert metrics.residual_fraction(restored, photograph, degraded, 0.9) == pytest.approx(fraction, abs=1e-6)


def test_residual_fraction_is_the_argmax_of_psnr(photograph, rng):
    degraded = protocol_degraded(photograph, 15, 0)
    restored = photograph + 0.4 * 0.9 * (degraded - photograph) + 0.01 * rng.standard_normal(photograph.shape)
    tried = np.linspace(0, 1, 101)
    values = [metrics.psnr(restored, photograph + r * 0.9 * (degraded - photograph)) for r in tried]
    result = metrics.residual_fraction(restored, photograph, degraded, 0.9)
    assert abs(result - tried[int(np.argmax(values))]) <= 0.0051


def test_residual_fraction_is_clipped_or_undefined(photograph):
    degraded = protocol_degraded(photograph, 15, 0)
    assert metrics.residual_fraction(degraded, photograph, degraded, 0.9) == 1  # keeps 1 / 0.9
    assert metrics.residual_fraction(2 * photograph - degraded, photograph, degraded, 0.9) == 0
    assert np.isnan(metrics.residual_fraction(photograph, photograph, photograph, 0.9))
    assert np.isnan(metrics.residual_fraction(photograph, photograph, degraded, 0.0))


def test_unequal_shapes_are_refused(refused):
    with refused(TunableError, "(2, 2, 3)", "(2, 1, 3)"):
        metrics.psnr(np.zeros((2, 2, 3)), np.zeros((2, 1, 3)))
    with refused(TunableError, "one shape (H, W, C)"):
        metrics.ssim(np.zeros((16, 16)), np.zeros((16, 16)))
    with refused(TunableError, "at least 11x11", "(10, 16, 3)"):
        metrics.ssim(np.zeros((10, 16, 3)), np.zeros((10, 16, 3)))
    with refused(TunableError, "(2, 2, 3)"):
        metrics.residual_fraction(np.zeros((2, 2, 3)), np.zeros((2, 2, 3)), np.zeros((1, 2, 3)), 0.9)


def test_hypervolume_by_hand(rng):
    """Two rectangles that overlap, a box in three dimensions, and many random points in the box."""
    assert metrics.hypervolume([[1, 1], [0.5, 1.5]], np.array([2, 2])) == pytest.approx((1 + 0.25) / 4)
    assert metrics.hypervolume([[0.5, 0.25]], np.array([1, 1])) == 0.5 * 0.75
    assert metrics.hypervolume([[0.5, 0.5, 0.75]], np.ones(3)) == 0.5 * 0.5 * 0.25
    assert metrics.hypervolume([[3, 0.1]], np.array([2, 1])) == 0 == metrics.hypervolume(np.zeros((0, 2)), np.ones(2))
    points, places = rng.uniform(size=(6, 3)), rng.uniform(size=(40_000, 3))
    dominated = (points[None] <= places[:, None]).all(2).any(1).mean()
    assert metrics.hypervolume(points, np.ones(3)) == pytest.approx(dominated, abs=0.01)
