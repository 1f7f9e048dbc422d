"""Steps of real pipelines: blur along a direction, noise that is shared, other sizes, WebP, and what combines steps."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from tunable.data.degradations import Degradation, margin_of
from tunable.data.patches import bundled
from tunable.images.pictures import read


@pytest.fixture(scope="module")
def photograph():
    return read(bundled(("astronaut.png",))[0])


def made(kind, **options):
    """A degradation as a recipe names it."""
    return TypeAdapter(Degradation).validate_python({"kind": kind, **options})


def test_anisotropic_blur_is_wider_along_one_direction():
    """A point becomes a Gaussian whose variances, along and across some direction, are those asked for."""
    point = np.zeros((40, 1, 61, 61), dtype=np.float32)
    point[..., 30, 30] = 1
    step = made("anisotropic_blur", sigma=4, ratio=0.5, size=51)
    place, angles = np.arange(61) - 30, []
    for (spread,) in step.apply(point, np.random.default_rng(0)):
        assert spread.sum() == pytest.approx(1, abs=1e-5)
        row, column = spread.sum(1), spread.sum(0)
        mixed = place @ spread @ place
        moments = np.array([[row @ place**2, mixed], [mixed, column @ place**2]])
        (across, along), directions = np.linalg.eigh(moments)
        np.testing.assert_allclose([across, along], [4, 16], rtol=0.02)
        angles.append(np.arctan2(*directions[:, 1]) % np.pi)
    assert np.ptp(angles) > 2 and step.reach == 25  # directions from everywhere
    round_one, flat = made("anisotropic_blur", sigma=2, ratio=1), point[:1, :, 20:41, 20:41]
    expected = made("gaussian_blur", sigma=2).apply(flat, np.random.default_rng(0))
    np.testing.assert_allclose(round_one.apply(flat, np.random.default_rng(0)), expected, atol=1e-6)
    np.testing.assert_array_equal(made("anisotropic_blur", sigma=0).apply(flat, np.random.default_rng(0)), flat)


def test_correlated_noise():
    """As strong in every pixel as asked for, shared by colours and by neighbours as asked for."""
    clean = np.full((2, 3, 300, 300), 0.5, dtype=np.float32)
    for smooth, grey in ((0, 0), (0, 0.7), (1.5, 0.4), (1, 1)):
        step = made("correlated_noise", sigma=20, smooth=smooth, grey=grey)
        noise = step.apply(clean, np.random.default_rng(0)) - clean
        assert noise.std() * 255 == pytest.approx(20, rel=0.03)
        red, green = noise[0, 0], noise[0, 1]
        assert np.corrcoef(red.ravel(), green.ravel())[0, 1] == pytest.approx(grey, abs=0.04)
        beside = np.corrcoef(red[:, :-1].ravel(), red[:, 1:].ravel())[0, 1]
        assert beside == pytest.approx(np.exp(-1 / (4 * smooth**2)) if smooth else 0, abs=0.04)


def test_correlated_noise_is_as_strong_at_the_border():
    """Many small pictures: the corner pixel has what the middle one has."""
    noise = made("correlated_noise", sigma=20, smooth=2, grey=0).apply(
        np.zeros((3000, 1, 9, 9), dtype=np.float32), np.random.default_rng(0)
    )
    for place in (0, 4):
        assert noise[..., place, place].std() * 255 == pytest.approx(20, rel=0.05)


def test_resample(photograph):
    """The size stays, a flat picture too; below 1 detail is lost, above 1 hardly any."""
    pictures = np.ascontiguousarray(photograph[:64, :48].transpose(2, 0, 1)[None].repeat(6, 0))
    step, rng = made("resample", scale=0.5), np.random.default_rng(0)
    errors = {}
    for scale in (0.5, 2):
        resampled = made("resample", scale=scale).apply(pictures, np.random.default_rng(0))
        assert resampled.shape == pictures.shape and resampled.dtype == np.float32
        errors[scale] = np.abs(resampled - pictures).mean(axis=(1, 2, 3))
    assert len(np.unique(errors[0.5])) > 2 and errors[0.5].min() > 2 * errors[2].min()
    np.testing.assert_allclose(step.apply(np.full_like(pictures, 0.3), rng), 0.3, atol=1e-6)
    assert (step.reach, made("resample", scale=[1, 2]).reach) == (8, 4)


def test_webp_loses_more_at_a_lower_quality(photograph):
    pictures = np.ascontiguousarray(photograph[:64, :64].transpose(2, 0, 1)[None])
    errors = []
    for quality in (20, 90):
        decoded = made("webp", quality=quality).apply(pictures, np.random.default_rng(0))
        np.testing.assert_array_equal(decoded, np.round(decoded * 255).astype(np.float32) / np.float32(255))
        errors.append(np.abs(decoded - pictures).mean())
    assert errors[0] > 1.5 * errors[1] > 0
    grey = made("webp", quality=90).apply(pictures[:, :1], np.random.default_rng(0))
    assert grey.shape == (1, 1, 64, 64) and np.abs(grey - pictures[:, :1]).mean() < 0.03


def test_sometimes_changes_its_share_of_the_pictures():
    pictures = np.full((400, 1, 4, 4), 0.5, dtype=np.float32)
    step = made("sometimes", probability=0.3, step={"kind": "gaussian_noise", "sigma": 20})
    changed = (step.apply(pictures, np.random.default_rng(0)) != pictures).any(axis=(1, 2, 3))
    assert 0.22 < changed.mean() < 0.38 and (pictures == 0.5).all()
    never = made("sometimes", probability=0, step={"kind": "gaussian_noise", "sigma": 20})
    assert never.apply(pictures, np.random.default_rng(0)) is pictures


def test_a_mixture_takes_one_step_for_each_picture():
    """With the probabilities of its weights, and the reach of the widest."""
    pictures = np.full((400, 1, 6, 6), 0.5, dtype=np.float32)
    weak, strong = {"kind": "gaussian_noise", "sigma": 4}, {"kind": "gaussian_noise", "sigma": 40}
    step = made("mixture", weights=[3, 1], of=[weak, strong])
    spread = step.apply(pictures, np.random.default_rng(0)).std(axis=(1, 2, 3)) * 255
    assert (spread > 1).all() and 0.68 < (spread < 12).mean() < 0.82 and (pictures == 0.5).all()
    assert made("mixture", weights=[1, 1], of=[weak, {"kind": "gaussian_blur", "sigma": 2}]).reach == 10
    with pytest.raises(ValidationError, match="a mixture of 2 steps needs as many weights, not 1"):
        made("mixture", weights=[1], of=[weak, strong])


def test_shuffled_orders():
    """Noise before the blur is smooth, and noise after it is not; each picture has an order of its own."""
    pictures = np.full((60, 1, 32, 32), 0.5, dtype=np.float32)
    steps = [{"kind": "gaussian_blur", "sigma": 2}, {"kind": "gaussian_noise", "sigma": 20}]
    step = made("shuffled", steps=steps)
    rough = step.apply(pictures, np.random.default_rng(0)).std(axis=(1, 2, 3)) * 255 > 10
    assert 0.3 < rough.mean() < 0.7 and step.reach == 10


def test_steps_inside_others_keep_the_size():
    for kind, options in (("sometimes", {"probability": 1}), ("shuffled", {}), ("mixture", {"weights": [1]})):
        inner = {"kind": "bicubic", "scale": 2}
        inner = {"sometimes": {"step": inner}, "shuffled": {"steps": [inner, inner]}, "mixture": {"of": [inner]}}[kind]
        with pytest.raises(ValidationError, match="'bicubic' found"):
            made(kind, **options, **inner)
    nested = made(
        "sometimes", probability=0.5, step={"kind": "shuffled", "steps": [{"kind": "jpeg", "quality": 80}] * 2}
    )
    assert margin_of([nested]) == 0
