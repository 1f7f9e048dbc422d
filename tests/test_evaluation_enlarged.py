"""Measuring networks that enlarge: against arithmetic, and numbers that are known of bicubic interpolation."""

import os
from pathlib import Path

import numpy as np
import pytest
from formula import ENLARGING
from PIL import Image

from tunable.data.degradations import protocol_shrunk
from tunable.errors import DataError, TunableError
from tunable.evaluation import metrics
from tunable.evaluation.measuring import compare_enlarged, evaluate, summarise
from tunable.evaluation.sentences import SHRUNK_PROTOCOL, protocol
from tunable.images.pictures import read


def test_evaluate_enlarged_pictures(model_of, folder):
    """No levels; 8 bits, borders cut, RGB and Y; every number by hand."""
    enlarged = lambda x, omega: x.repeat(2, axis=2).repeat(2, axis=3) * omega[0] + 0.2 / 255  # noqa: E731
    rows = evaluate(model_of(enlarged, **ENLARGING), str(folder), np.float32([[1, 0], [0.5, 0]]))
    assert [(row.picture, row.sigma, row.rho, row.omega[0]) for row in rows] == [
        (name, 0, 0, first) for name in ("a.png", "b.png") for first in (1, 0.5)
    ]
    for row in rows:
        clean, shrunk = protocol_shrunk(read(folder / row.picture), 2)
        restored = np.round((shrunk.repeat(2, axis=0).repeat(2, axis=1) * row.omega[0] * 255 + 0.2).clip(0, 255))
        apart = (restored - 255.0 * clean)[2:-2, 2:-2]
        np.testing.assert_allclose(row.psnr, 20 * np.log10(255) - 10 * np.log10(np.mean(apart**2)), atol=1e-4)
        in_y = apart @ [65.481, 128.553, 24.966] / 255
        np.testing.assert_allclose(row.psnr_y, 20 * np.log10(255) - 10 * np.log10(np.mean(in_y**2)), atol=1e-4)
        assert 0 < row.ssim < 1 and row.sharpness > 0 and np.isnan([row.psnr_eta, row.psnr_gamma, row.residual]).all()
    assert protocol(summarise(rows)) == SHRUNK_PROTOCOL


def test_sharpness():
    """One bright pixel: Laplacian 4 and four times 1; half as bright, half as sharp; a flat truth has none.

    An edge of five rows within the border: ten times 1.
    """
    dot = np.zeros((7, 7, 3))
    dot[3, 3] = 0.8
    assert metrics.sharpness(dot, dot) == 1
    np.testing.assert_allclose(metrics.sharpness(dot / 2, dot), 0.5)
    edge = np.zeros((7, 7, 3))
    edge[:, 3:] = 0.8
    np.testing.assert_allclose(metrics.sharpness(edge, dot), 10 / 8)
    assert metrics.sharpness(dot * 0 + 0.3, dot) < 1e-12
    for shade in np.arange(0, 256, 15) / 255:
        assert np.isnan(metrics.sharpness(dot, np.full_like(dot, shade)))


def test_luma():
    """Black 16, white 235, of 255; green weighs most."""
    y = metrics.luma(np.array([[[0, 0, 0], [1, 1, 1], [0, 1, 0]]]))[0, :, 0]
    np.testing.assert_allclose(y * 255, [16, 235, 144.553])


@pytest.mark.skipif(
    "TUNABLE_DATA" not in os.environ, reason="TUNABLE_DATA not set: Set5's known bicubic is not compared"
)
def test_the_known_numbers_of_bicubic_enlarging():
    """Set5 x4 by bicubic interpolation is 28.42 dB and 0.8104 in every paper; Pillow's rounds a little otherwise."""
    means = []
    for path in sorted((Path(os.environ["TUNABLE_DATA"]) / "Set5" / "HR").iterdir()):
        clean, shrunk = protocol_shrunk(read(path), 4)
        small = Image.fromarray(np.round(shrunk * 255).astype(np.uint8))
        enlarged = np.asarray(small.resize(clean.shape[1::-1], Image.Resampling.BICUBIC)) / 255
        values = compare_enlarged(enlarged, clean, 4)
        means.append((values["psnr_y"], values["ssim"]))
    np.testing.assert_allclose(np.mean(means, axis=0), [28.42, 0.8104], atol=0.02)


@pytest.mark.parametrize(("size", "fragments"), [((10, 40), ["10x40", "too small"]), ((14, 40), ["14x40", "11x11"])])
def test_pictures_too_small_to_be_enlarged(size, fragments, model_of, folder, refused):
    data = {**ENLARGING["data"], "degradation": [{"kind": "bicubic", "scale": 4}]}
    sections = {**ENLARGING, "network": {**ENLARGING["network"], "upscale": 4}, "data": data}
    model = model_of(lambda x, omega: x.repeat(4, axis=2).repeat(4, axis=3), **sections)
    Image.new("RGB", size).save(folder / "z.png")
    with refused(DataError, "z.png", *fragments):
        evaluate(model, [folder / "z.png"], np.float32([[1, 0]]))


def test_enlarging_knows_no_levels(model_of, folder, refused):
    for levels in ({"sigmas": [5]}, {"rhos": [1]}):
        with refused(TunableError, "enlarges pictures 2 times", "without noise"):
            evaluate(model_of(None, **ENLARGING), str(folder), np.float32([[1, 0]]), **levels)
