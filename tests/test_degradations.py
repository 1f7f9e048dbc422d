"""Degradations: levels, order and margins, also as the measuring protocol applies them."""

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from tunable.data import bicubic
from tunable.data.degradations import (
    Degradation,
    degrade,
    margin_of,
    protocol_degraded,
    protocol_noise,
    protocol_shrunk,
    scale_of,
)
from tunable.data.filters import gaussian_blur
from tunable.data.patches import bundled
from tunable.errors import TunableError
from tunable.images.pictures import read


@pytest.fixture(scope="module")
def photograph():
    return read(bundled(("astronaut.png",))[0])


def made(kind, **options):
    """A degradation as a recipe names it."""
    return TypeAdapter(Degradation).validate_python({"kind": kind, **options})


def noise(sigma):
    return made("gaussian_noise", sigma=sigma)


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
    pictures = np.ones((1, 3, 16, 16), dtype=np.float32)
    assert degrade(pictures, [noise(50)], np.random.default_rng(0))[0].max() > 1.1


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

    reach = 0

    def __init__(self, factor):
        self.factor = factor

    def apply(self, pictures, rng):
        return pictures * self.factor + rng.integers(10)


def test_pipeline_order_and_generator():
    rng = np.random.default_rng(1)
    first, second = rng.integers(10), rng.integers(10)
    out, _ = degrade(np.ones((1, 1, 1, 1)), [Recorder(2), Recorder(3)], np.random.default_rng(1))
    assert out.item() == (2 + first) * 3 + second
    clean = np.ones((1, 1, 1, 1))
    assert degrade(clean, [], np.random.default_rng(1))[0] is clean


def test_protocol_as_written():
    """docs/method.md, "Measuring protocol", word for word."""
    clean = np.random.default_rng(9).uniform(size=(6, 5, 3)).astype(np.float32)
    draw = np.random.default_rng(4).standard_normal((6, 5, 3))
    np.testing.assert_array_equal(protocol_noise(6, 5, 4), draw)
    for sigma in (5, 15.0, 50):
        expected = (clean.astype(np.float64) + draw * sigma / 255).astype(np.float32)
        degraded = protocol_degraded(clean, sigma, 4)
        np.testing.assert_array_equal(degraded, expected)
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


def test_protocol_blur(rng):
    """Before the noise and in float64; without it the protocol is as it was."""
    clean = rng.uniform(size=(12, 30, 3)).astype(np.float32)
    for rho in (0.5, 4):
        blurred = np.stack([gaussian_blur(clean[..., c].astype(np.float64), rho, 21) for c in range(3)], axis=-1)
        expected = (blurred + protocol_noise(12, 30, 2) * 15 / 255).astype(np.float32)
        np.testing.assert_array_equal(protocol_degraded(clean, 15, 2, rho), expected)
    np.testing.assert_array_equal(protocol_degraded(clean, 15, 2, 0), protocol_degraded(clean, 15, 2))


def test_protocol_shrunk(rng, refused):
    clean = rng.uniform(size=(14, 9, 3)).astype(np.float32)
    kept, small = protocol_shrunk(clean, 4)
    np.testing.assert_array_equal(kept, clean[:12, :8])
    assert small.shape == (3, 2, 3)
    np.testing.assert_array_equal(small[..., 1], bicubic.shrink(clean[:12, :8, 1], 4))
    with refused(TunableError, "9x3", "by 4"):
        protocol_shrunk(clean[:3], 4)


# --- blur


def test_blur(rng):
    pictures = rng.uniform(size=(2, 3, 24, 20)).astype(np.float32)
    blurred = made("gaussian_blur", sigma=1.5).apply(pictures, np.random.default_rng(0))
    np.testing.assert_array_equal(blurred, gaussian_blur(pictures, 1.5, 21))
    assert blurred.dtype == np.float32
    np.testing.assert_array_equal(made("gaussian_blur", sigma=0).apply(pictures, rng), pictures)


def test_blur_is_drawn_per_picture():
    """The variance of a blurred impulse is sigma squared, where 21 pixels hold all of it."""
    impulse = np.zeros((50, 1, 31, 31), dtype=np.float32)
    impulse[:, :, 15, 15] = 1
    blurred = made("gaussian_blur", sigma=[0.8, 2]).apply(impulse, np.random.default_rng(0))
    places = np.arange(31) - 15
    sigmas = np.sqrt((blurred.sum(axis=(1, 2)) * places**2).sum(axis=1))
    expected = np.random.default_rng(0).uniform(0.8, 2, size=50)
    np.testing.assert_allclose(sigmas, expected, rtol=1e-3)


# --- Poisson-Gaussian noise


@pytest.mark.parametrize("gain", [0.05, 1, 6])
def test_shot_noise(gain):
    """Mean kept; variance gain times value, both in 1/255; values are whole numbers of photons."""
    clean = np.repeat(np.float32([0.1, 0.8]), 90000).reshape(1, 2, 300, 300)
    result = (
        made("poisson_gaussian", gain=gain, sigma=0).apply(clean, np.random.default_rng(0)).astype(np.float64) * 255
    )
    for channel, value in enumerate((0.1 * 255, 0.8 * 255)):
        assert result[0, channel].mean() == pytest.approx(value, abs=5 * np.sqrt(gain * value / 90000))
        assert result[0, channel].var() == pytest.approx(gain * value, rel=0.03)
    photons = result / gain
    np.testing.assert_allclose(photons, np.round(photons), atol=1e-2)


def test_shot_and_reading_noise_are_drawn_per_picture():
    """Every picture has the variance of its own gain and sigma, drawn one after the other."""
    clean = np.full((20, 1, 200, 200), 0.5, dtype=np.float32)
    result = made("poisson_gaussian", gain=[0.5, 4], sigma=[1, 30]).apply(clean, np.random.default_rng(0)) - clean
    rng = np.random.default_rng(0)
    gains, sigmas = rng.uniform(0.5, 4, size=20), rng.uniform(1, 30, size=20)
    np.testing.assert_allclose(result.var(axis=(1, 2, 3)) * 255**2, gains * 127.5 + sigmas**2, rtol=0.04)


def test_reading_noise_and_limits():
    clean = np.full((2, 1, 200, 200), 0.5, dtype=np.float32)
    read = made("poisson_gaussian", gain=0, sigma=[4, 4]).apply(clean, np.random.default_rng(0)) - clean
    assert read.dtype == np.float32 and read.std() * 255 == pytest.approx(4, rel=0.02)
    both = made("poisson_gaussian", gain=2, sigma=4).apply(clean, np.random.default_rng(0)) - clean
    assert both.var() * 255**2 == pytest.approx(2 * 127.5 + 16, rel=0.03)
    np.testing.assert_array_equal(
        made("poisson_gaussian", gain=0, sigma=0).apply(clean, np.random.default_rng(0)), clean
    )
    for nearly_none in (1e-300, 1e-9):
        apart = made("poisson_gaussian", gain=nearly_none, sigma=0).apply(clean, np.random.default_rng(0)) - clean
        assert np.abs(apart).max() < 1e-5
    dark = -clean  # what a noise before it may leave
    np.testing.assert_array_equal(made("poisson_gaussian", gain=3, sigma=0).apply(dark, np.random.default_rng(0)), dark)


# --- JPEG


def test_jpeg_is_pillows(photograph):
    picture = photograph[:40, :56]
    degraded = made("jpeg", quality=30).apply(picture.transpose(2, 0, 1)[None], np.random.default_rng(0))
    file = io.BytesIO()
    Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(file, "JPEG", quality=30)
    expected = np.asarray(Image.open(file)).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(degraded[0].transpose(1, 2, 0), expected)
    assert degraded.dtype == np.float32


def test_jpeg_quality(photograph):
    """More quality, less error; drawn per picture from whole numbers; grey pictures too; other channels are refused."""
    pictures = np.repeat(photograph[:48, :48].transpose(2, 0, 1)[None], 12, axis=0)
    errors = [
        np.mean((made("jpeg", quality=q).apply(pictures[:1], np.random.default_rng(0)) - pictures[:1]) ** 2)
        for q in (5, 40, 95)
    ]
    assert errors[0] > errors[1] > errors[2] > 0
    drawn = made("jpeg", quality=[10, 12]).apply(pictures, np.random.default_rng(0))
    each = [made("jpeg", quality=q).apply(pictures[:1], np.random.default_rng(0))[0] for q in (10, 11, 12)]
    chosen = {next(i for i, one in enumerate(each) if np.array_equal(one, picture)) for picture in drawn}
    assert chosen == {0, 1, 2}
    fuller = made("jpeg", quality=40, subsampling="4:4:4").apply(pictures[:1], np.random.default_rng(0))
    assert 0 < np.mean((fuller - pictures[:1]) ** 2) < errors[1]
    assert made("jpeg", quality=40).apply(pictures[:, :1], np.random.default_rng(0)).shape == (12, 1, 48, 48)
    clipped = made("jpeg", quality=100).apply(pictures[:1] * 3 - 1, np.random.default_rng(0))
    assert clipped.min() == 0 and clipped.max() == 1
    with pytest.raises(TunableError, match="1 or 3 channels, not 2"):
        made("jpeg", quality=40).apply(pictures[:, :2], np.random.default_rng(0))


# --- shrinking, and pipelines


@pytest.mark.parametrize("options", [{}, {"rounding": "none", "border": "mirror"}])
def test_shrinking(options, rng):
    pictures = rng.uniform(size=(2, 3, 12, 8)).astype(np.float32)
    result = made("bicubic", scale=4, **options).apply(pictures, rng)
    np.testing.assert_array_equal(result, bicubic.shrink(pictures, 4, **options))
    assert result.shape == (2, 3, 3, 2) and result.dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gaussian_blur", {"sigma": 1, "size": 20}),
        ("gaussian_blur", {"sigma": [4, 0]}),
        ("gaussian_blur", {"sigma": -1}),
        ("bicubic", {"scale": 1}),
        ("bicubic", {"scale": 2.5}),
        ("bicubic", {"scale": 2, "rounding": "always"}),
        ("jpeg", {"quality": 0}),
        ("jpeg", {"quality": [90, 101]}),
        ("jpeg", {"quality": 40.5}),
        ("jpeg", {"quality": [60, 40]}),
        ("poisson_gaussian", {"gain": -1, "sigma": 0}),
        ("poisson_gaussian", {"gain": 1}),
    ],
)
def test_impossible_values_are_refused(kind, options):
    with pytest.raises(ValidationError):
        made(kind, **options)


def test_scale_and_margin():
    """A margin: what the last step reads, in the pixels of each step before it, rounded up to degraded pixels."""
    blur, shrink2, shrink3 = made("gaussian_blur", sigma=1), made("bicubic", scale=2), made("bicubic", scale=3)
    jpeg = made("jpeg", quality=50)
    assert (scale_of([]), margin_of([])) == (1, 0)
    assert (scale_of([noise(5), jpeg]), margin_of([noise(5), jpeg])) == (1, 0)
    assert (scale_of([blur, noise(5)]), margin_of([blur, noise(5)])) == (1, 10)
    assert (scale_of([shrink2]), margin_of([shrink2])) == (2, 2)  # 4 clean pixels
    assert (scale_of([blur, shrink3]), margin_of([blur, shrink3])) == (3, 6)  # 10 + 6 of 3
    assert (scale_of([shrink3, blur]), margin_of([shrink3, blur])) == (3, 12)  # 3 10 + 6 of 3
    assert (scale_of([shrink2, shrink3]), margin_of([shrink2, shrink3])) == (6, 3)  # 2 6 + 4 of 6


@pytest.mark.parametrize(
    "kinds",
    [
        ["gaussian_blur"],
        ["bicubic"],
        ["gaussian_blur", "bicubic"],
        ["bicubic"] * 2,
        ["anisotropic_blur"],
        ["shuffled", "anisotropic_blur"],
    ],
)
def test_a_margin_is_enough(kinds, rng):
    """A crop less its margin is what the degraded whole holds there."""
    blurs = [{"kind": "gaussian_blur", "sigma": 1, "size": 5}, {"kind": "anisotropic_blur", "sigma": 2, "size": 9}]
    options = {"gaussian_blur": {"sigma": 3}, "bicubic": {"scale": 2}, "anisotropic_blur": {"sigma": 3, "size": 9}}
    options["shuffled"] = {"steps": blurs}
    pipeline = [made(kind, **options[kind]) for kind in kinds]
    scale, margin = scale_of(pipeline), margin_of(pipeline)
    whole = rng.uniform(size=(1, 1, 96, 96)).astype(np.float32)
    expected, _ = degrade(whole, pipeline, np.random.default_rng(0))
    top, size = 12, (8 + 2 * margin) * scale
    cut = whole[:, :, top : top + size, :size]
    result, _ = degrade(cut, pipeline, np.random.default_rng(0), margin=margin * scale)
    at = top // scale + margin
    assert result.shape == (1, 1, 8, 8)
    np.testing.assert_array_equal(result, expected[:, :, at : at + 8, margin : margin + 8])


def test_no_noise_is_drawn_for_a_margin_that_nothing_reads_any_more():
    """Noise after a blur is that of the patch alone, residues too; noise before it is that of the margin too."""
    blur, kinds = made("gaussian_blur", sigma=2, size=5), {"gaussian_blur", "gaussian_noise"}
    black = np.zeros((1, 1, 12, 12), np.float32)
    for pipeline, size in (([blur, noise(30)], 8), ([noise(30), blur], 12)):
        _, drawn = degrade(black[..., :size, :size], pipeline, np.random.default_rng(0), kinds)
        inside = slice((size - 8) // 2, (size + 8) // 2)
        result, residues = degrade(black, pipeline, np.random.default_rng(0), kinds, margin=2)
        assert {result.shape, *(each.shape for each in residues.values())} == {(1, 1, 8, 8)}
        np.testing.assert_array_equal(
            residues["gaussian_noise"], drawn["gaussian_noise"][..., inside, inside], err_msg=str(pipeline)
        )


def test_order_is_that_of_the_list(photograph):
    pictures = photograph[:32, :32].transpose(2, 0, 1)[None]
    blur = made("gaussian_blur", sigma=2)
    smooth, rough = (
        degrade(pictures, pipeline, np.random.default_rng(0))[0] for pipeline in ([noise(30), blur], [blur, noise(30)])
    )
    assert np.abs(np.diff(smooth)).mean() < np.abs(np.diff(rough)).mean() / 3


def test_residues_are_what_each_step_changed(photograph):
    pictures = photograph[:32, :32].transpose(2, 0, 1)[None]
    blur = made("gaussian_blur", sigma=2)
    blurred, nothing = degrade(pictures, [blur], np.random.default_rng(0))
    kinds = {"gaussian_blur", "gaussian_noise"}
    degraded, residues = degrade(pictures, [blur, noise(30)], np.random.default_rng(0), kinds)
    assert nothing == {} and residues.keys() == kinds
    np.testing.assert_array_equal(residues["gaussian_blur"], blurred - pictures)
    np.testing.assert_array_equal(residues["gaussian_noise"], degraded - blurred)
    step = degrade(pictures, [blur, noise(30)], np.random.default_rng(0), {"gaussian_noise"})[1]
    assert step.keys() == {"gaussian_noise"}
