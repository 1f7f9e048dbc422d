"""The noise of cameras: linear light, demosaicing, what neighbours and colours share, blocks that begin anywhere."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from tunable.data.degradations import Degradation
from tunable.data.filters import demosaiced, light_to_srgb, srgb_to_light
from tunable.data.patches import bundled
from tunable.images.pictures import read


@pytest.fixture(scope="module")
def photograph():
    return read(bundled(("astronaut.png",))[0])


def made(kind, **options):
    """A degradation as a recipe names it."""
    return TypeAdapter(Degradation).validate_python({"kind": kind, **options})


def test_light_of_srgb():
    """The curve's two known points, its joint, and back again; what lies outside is cut off."""
    numbers = np.float32([0, 0.04045, 0.5, 1, -0.3, 1.7])
    light = srgb_to_light(numbers)
    assert light.dtype == np.float32
    np.testing.assert_allclose(light, [0, 0.04045 / 12.92, 0.2140411, 1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(light_to_srgb(light), [0, 0.04045, 0.5, 1, 0, 1], atol=1e-6)


def test_noise_of_light():
    """Shot noise of light L = 0.2140411 has the variance gain L, and sRGB's curve a known slope there."""
    steps = [{"kind": "poisson_gaussian", "gain": 0.5, "sigma": 0}]
    noisy = made("linear_light", steps=steps).apply(
        np.full((4, 3, 200, 200), 0.5, np.float32), np.random.default_rng(0)
    )
    light, slope = 0.2140411, 1.055 / 2.4 * 0.2140411 ** (1 / 2.4 - 1)
    assert noisy.std() == pytest.approx(slope * np.sqrt(0.5 / 255 * light), rel=0.01)
    assert noisy.dtype == np.float32 and noisy.min() >= 0 and noisy.max() <= 1


def test_demosaiced_noise(photograph):
    """The variances of bilinear demosaicing, by hand; the picture underneath is not filtered."""
    rng = np.random.default_rng(0)
    clean = np.zeros((2, 3, 400, 400), np.float32)
    noise = made("demosaiced", step={"kind": "gaussian_noise", "sigma": 25.5}).apply(clean, rng) / 0.1
    red, green, blue = (noise**2).mean((0, 2, 3))
    assert green == pytest.approx(1 / 2 + 1 / 2 / 4, rel=0.01)  # seen, or a mean of four
    assert red == pytest.approx(1 / 4 + 1 / 2 / 2 + 1 / 4 / 4, rel=0.01) and blue == pytest.approx(red, rel=0.01)
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.01
    picture = photograph.transpose(2, 0, 1)[None]
    silent = made("demosaiced", step={"kind": "gaussian_noise", "sigma": 0})
    np.testing.assert_array_equal(silent.apply(picture, rng), picture)


def test_noise_shared_by_neighbours_and_colours():
    """As much in every pixel, a Gaussian's correlation between neighbours, and `grey` between colours; by the light."""
    clean = np.full((1, 3, 500, 500), 0.25, np.float32)
    clean[..., 250:] = 1
    shot = {"kind": "poisson_gaussian", "gain": 2, "sigma": 0}
    step = made("correlated", step=shot, smooth=0.8, grey=0.6)
    assert step.reach == 4
    noise = (step.apply(clean, np.random.default_rng(0)) - clean)[0]
    dark, light = noise[:, :, 10:240], noise[:, :, 260:490]
    assert dark.std() == pytest.approx(np.sqrt(0.25 * 2 / 255), rel=0.02)
    assert light.std() == pytest.approx(np.sqrt(2 / 255), rel=0.02)
    beside = (dark[:, :, 1:] * dark[:, :, :-1]).mean() / dark.var()
    assert beside == pytest.approx(np.exp(-1 / (4 * 0.8**2)), abs=0.02)
    assert np.corrcoef(dark[0].ravel(), dark[2].ravel())[0, 1] == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("top", [0, 1])
@pytest.mark.parametrize("left", [0, 1])
def test_demosaicing(top, left):
    """Ramps come back inside, as a mean of neighbours gives them, and what a sensor saw stays to the bit."""
    rows, columns = np.mgrid[:8, :9].astype(float)
    ramp = np.stack([rows, 2 * columns, rows - columns])
    filled = demosaiced(ramp, top, left)
    np.testing.assert_allclose(filled[:, 1:-1, 1:-1], ramp[:, 1:-1, 1:-1], atol=1e-12)
    noise = np.random.default_rng(1).normal(size=(3, 8, 9))
    filled = demosaiced(noise, top, left)
    np.testing.assert_array_equal(filled[0, top::2, left::2], noise[0, top::2, left::2])
    np.testing.assert_array_equal(filled[2, 1 - top :: 2, 1 - left :: 2], noise[2, 1 - top :: 2, 1 - left :: 2])
    np.testing.assert_array_equal(filled[1, top::2, 1 - left :: 2], noise[1, top::2, 1 - left :: 2])


def test_blocks_that_begin_anywhere(photograph):
    """Without `shift` the blocks of JPEG begin at the corner, and with it in every column as often."""
    rng = np.random.default_rng(0)
    picture = photograph[:48, :48].transpose(2, 0, 1)

    def jumps(shift: bool) -> np.ndarray:
        """The mean step between columns, by column modulo 8, over many draws."""
        many = made("jpeg", quality=10, shift=shift).apply(np.repeat(picture[None], 64, 0), rng)
        steps = np.abs(np.diff(many - picture, axis=3)).mean((0, 1, 2))[:40]
        return steps.reshape(5, 8).mean(0)

    corner, anywhere = jumps(False), jumps(True)
    assert corner.argmax() == 7 and corner.max() > 1.5 * np.median(corner)
    assert anywhere.max() < 1.2 * np.median(anywhere)
