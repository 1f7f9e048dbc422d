"""The oracle's distances by spectrum and MS-SSIM, and its mean of targets, against other programs and by hand."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity
from test_oracle import loss_recipe, one_pixel

from tunable import oracle
from tunable.objectives.similarity import ms_ssim, ms_ssim_slope
from tunable.tolerances import relative_error

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # as printed in the paper


def grained(rng, shape, *amplitudes):
    """A picture of blocks with some noise added, for each amplitude."""
    n, c, height, width = shape
    blocks = rng.uniform(size=(n, c, height // 16 + 1, width // 16 + 1)).repeat(16, 2).repeat(16, 3)
    noise = rng.standard_normal((len(amplitudes), *shape))
    return [blocks[:, :, :height, :width] + a * one for a, one in zip(amplitudes, noise, strict=True)]


def test_the_spectrum_is_the_sum_over_waves(rng):
    """Mean absolute cosine and sine sums, divided by sqrt(H W), over the frequencies that rfft2 keeps."""
    height, width = 5, 6
    restored, clean = rng.uniform(size=(2, 2, 3, height, width))
    recipe = loss_recipe({"kind": "rec", "distance": "fft"})
    y, x = np.mgrid[:height, :width]
    sums = []
    for u, v in np.ndindex(height, width // 2 + 1):
        angle = 2 * np.pi * (u * y / height + v * x / width)
        for wave in (np.cos(angle), np.sin(angle)):
            sums.append(np.abs(((restored - clean) * wave).sum((2, 3))) / np.sqrt(height * width))
    expected = np.mean(sums, axis=0).mean(axis=1)
    assert relative_error(oracle.objective(recipe, 0, restored, {"clean": clean}, np.ones(1)), expected) <= 1e-13


def test_the_spectrum_of_noise_does_not_grow_with_the_picture(rng):
    """White noise of deviation s has coefficients of deviation s / sqrt 2: their mean absolute value is s / sqrt pi."""
    recipe = loss_recipe({"kind": "rec", "distance": "fft"})
    for size in (32, 96):
        noise = 0.2 * rng.standard_normal((2, 3, size, size))
        value = oracle.objective(recipe, 0, noise, {"clean": np.zeros_like(noise)}, np.ones(1))
        np.testing.assert_allclose(value, 0.2 / np.sqrt(np.pi), rtol=0.05)


def test_ms_ssim_is_scikit_images_ssim_at_five_scales(rng):
    """With a large K1 luminance is 1, so that SSIM's map is contrast times structure; odd sides lose a row.

    scikit-image fills borders; the windows inside are those 5 pixels from them.
    """
    x, y = grained(rng, (1, 2, 187, 181), 0.05, 0.2)
    expected = []
    for channel in range(2):
        a, b, factors = x[0, channel], y[0, channel], []
        for i, exponent in enumerate(SCALES):
            _, seen = structural_similarity(
                a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, full=True,
                K1=0.01 if i == 4 else 1e7,
            )  # fmt: skip
            factors.append(seen[5:-5, 5:-5].mean() ** exponent)
            a, b = (p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in (a, b))
            a, b = (p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2).mean((1, 3)) for p in (a, b))
        expected.append(np.prod(factors))
    assert 0.3 < np.mean(expected) < 0.95
    assert relative_error(ms_ssim(x, y), np.array([np.mean(expected)])) <= 1e-10
    np.testing.assert_allclose(ms_ssim(x, x), [1], rtol=1e-14)


def test_ms_ssim_of_opposite_pictures_is_the_floor(rng):
    """Noise of opposite signs at every scale: all five means are negative, and 0.001 each; none has a slope."""
    noise = sum(
        rng.standard_normal((1, 1, 176 // size, 176 // size)).repeat(size, 2).repeat(size, 3)
        for size in (1, 2, 4, 8, 16)
    )
    np.testing.assert_allclose(ms_ssim(0.5 + 0.2 * noise, 0.5 - 0.2 * noise), [0.001 ** sum(SCALES)], rtol=1e-13)
    assert not ms_ssim_slope(0.5 + 0.2 * noise, 0.5 - 0.2 * noise).any()


def test_ms_ssim_slope_against_differences(rng):
    """In single pixels, corners too, and along a random direction; the second sample is below the floor at scale 1."""
    x, y = grained(rng, (2, 1, 179, 176), 0.05, 0.1)
    noise = rng.standard_normal(x[1].shape)
    x[1], y[1] = 0.5 + 0.1 * noise, 0.5 - 0.1 * noise
    slope, directions = ms_ssim_slope(x, y), [rng.standard_normal(x.shape)]
    for place in ((0, 0, 0, 0), (0, 0, 90, 88), (0, 0, 175, 175), (1, 0, 60, 61)):
        directions.append(np.zeros_like(x))
        directions[-1][place] = 1
    for direction in directions:
        ends = [ms_ssim(x + step * direction, y).sum() for step in (-1e-5, 1e-5)]
        assert np.sum(slope * direction) == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-4, abs=1e-10)


FULL = {"kind": "noise", "residual": "full"}


def test_mean_of_targets_written_numbers():
    """Of y = 0 and z, lambda (2, 3), nu 1: noise has 0.75 of 1.75 at omega (0.5, 0.25), so the mean is 3/7 z."""
    recipe = loss_recipe({"kind": "rec", "weight": 2.0}, {**FULL, "weight": 3.0, "nu": 1.0}, combine="targets")
    sample, restored = one_pixel(clean=[0, 0, 0], degraded=[1, -1, 1]), one_pixel(x=[0.5, 0, 0.5])["x"]
    omega = np.array([[0.5, 0.25], [0, 1], [0, 0]])
    for index in (0, 1):
        np.testing.assert_allclose(oracle.target(recipe, index, sample, omega).ravel(), [3 / 7, -1, 0], rtol=1e-14)
    loss, terms = oracle.multi_loss(recipe, restored, sample, omega)
    assert loss == pytest.approx((1.75 / 14 + 3 + 0) / 3, rel=1e-14)
    np.testing.assert_allclose(terms, [(1 / 14 + 1 + 0.5) / 3] * 2, rtol=1e-14)
    below = oracle.target(recipe, 0, sample, np.array([0, 1e-4]))  # 3e-4 of a divisor that is 1e-3 at least
    np.testing.assert_allclose(below.ravel(), [0.3, -0.3, 0.3], rtol=1e-12)


def test_each_part_of_the_colours_has_a_mean_of_its_own(rng):
    """Two knobs for luma, two for chroma; kinds without a target are left alone."""
    recipe = loss_recipe(
        {"kind": "rec", "space": "luma"},
        {"kind": "rec", "space": "chroma"},
        {**FULL, "space": "chroma", "nu": 0.5},
        {**FULL, "space": "luma", "nu": 1.0, "weight": 3.0},
        combine="targets",
    )
    assert recipe.shared_targets == ((0, 3), (1, 2))
    sample = {name: rng.uniform(size=(1, 3, 2, 2)) for name in ("clean", "degraded")}
    noise = sample["degraded"] - sample["clean"]
    for index, kept in enumerate((0.6 / 0.8, 0.5 * 0.9, 0.5 * 0.9, 0.6 / 0.8)):
        result = oracle.target(recipe, index, sample, np.array([0.2, 0.1, 0.9, 0.2]))
        assert relative_error(result, sample["clean"] + kept * noise) <= 1e-13


def test_the_mean_is_not_what_a_sum_of_losses_wants():
    """l1: the mean of 0 and 1 is best at 1/2, where a sum of distances is as large as everywhere between."""
    sample, omega = one_pixel(clean=[0], degraded=[1]), np.array([0.5, 0.5])
    kinds = {"kind": "rec"}, {**FULL, "nu": 1.0}
    for combine, expected in (("losses", [0.5, 0.5, 0.5]), ("targets", [0.5, 0, 0.5])):
        recipe = loss_recipe(*kinds, combine=combine)
        values = [oracle.multi_loss(recipe, one_pixel(x=[at])["x"], sample, omega)[0] for at in (0, 0.5, 1)]
        np.testing.assert_allclose(values, expected, atol=1e-15)
