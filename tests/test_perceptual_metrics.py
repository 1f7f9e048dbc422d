"""LPIPS beside the oracle, NIQE beside scikit-video's own numbers, and both in `tunable evaluate`."""

import numpy as np
import pytest
from skimage import data

from tunable import oracle
from tunable.errors import TunableError
from tunable.evaluation import perceptual
from tunable.evaluation.measuring import evaluate, summarise
from tunable.evaluation.metrics import luma
from tunable.evaluation.sentences import protocol
from tunable.images.pictures import write
from tunable.reports import tables
from tunable.specs.feature_network import VGG
from tunable.weights import storage, vgg


@pytest.fixture
def identity(model_of):
    return model_of(lambda degraded, omega: degraded)


def network(x):
    return x[None].transpose(0, 3, 1, 2)


def test_lpips_is_the_oracles(rng):
    """Of an odd size; 0 of a picture and itself, and the clean picture's features are those of the one at hand."""
    weights = vgg.weights(VGG(network="vgg16", seed=1, width=4))
    heads = {layer: rng.uniform(size=4 * width) for layer, width in zip(perceptual.LAYERS, vgg.FACTORS, strict=True)}
    metric = perceptual.LPIPS(weights, heads)
    clean, other, restored = rng.uniform(size=(3, 37, 50, 3))
    for truth in (clean, other, clean):
        expected = oracle.lpips(network(restored), network(truth), weights, heads)[0]
        assert metric(restored, truth) == pytest.approx(expected, rel=1e-5)
    assert metric(clean, clean) == 0 < expected


def test_a_convolution_of_many_rows(rng):
    """Rows are computed in parts, which must meet: more of them than one part holds."""
    x, weight, bias = rng.standard_normal((2, 71, 9)), rng.standard_normal((3, 2, 3, 3)), rng.standard_normal(3)
    expected = oracle.conv(x[None], np.ones(1), {"weight": weight[None], "bias": bias[None]}, "identity", padding=1)
    np.testing.assert_allclose(perceptual._conv(x, weight, bias), expected[0], rtol=1e-5, atol=1e-5)


def test_what_ships():
    """Heads of 64 to 512 channels that weigh, none below 0; a covariance of 32 numbers."""
    model = storage.load_tensors(perceptual.FILE)[0]
    assert [model[f"lpips.{layer}"].shape for layer in perceptual.LAYERS] == [(64,), (128,), (256,), (512,), (512,)]
    assert all(model[f"lpips.{layer}"].min() >= 0 < model[f"lpips.{layer}"].max() for layer in perceptual.LAYERS)
    np.linalg.cholesky(model["niqe.covariance"])


@pytest.mark.parametrize(("name", "score", "tolerance"), [("coffee", 8.56099, 1e-4), ("astronaut", 8.76190, 1e-2)])
def test_niqe_is_scikit_videos(name, score, tolerance):
    """Recorded by `python tools/perceptual.py --scikit-video WHEEL --photographs`.

    It computes variances in float32, whose rounding is all that a flat background has: 0.8 % of the astronaut's score.
    """
    assert perceptual.niqe(255 * luma(getattr(data, name)() / 255)[..., 0]) == pytest.approx(score, rel=tolerance)


def test_niqe_sees_what_is_unnatural(rng):
    y = 255 * luma(data.coffee() / 255)[..., 0]
    noisy = perceptual.niqe(y + 25 * rng.standard_normal(y.shape))
    blurred = perceptual.niqe((y + np.roll(y, 1, 0) + np.roll(y, 1, 1) + np.roll(y, (1, 1), (0, 1))) / 4)
    assert min(noisy, blurred) > perceptual.niqe(y) + 1


def test_shapes_of_known_distributions(rng):
    """2 for a Gaussian and 1 for a Laplacian; a side that is twice as wide has twice the scale."""
    draws = np.stack([rng.standard_normal((300, 300)), rng.laplace(size=(300, 300))])
    shape, mean, left, right = perceptual._asymmetric(draws)
    np.testing.assert_allclose(shape, [2, 1], atol=0.04)
    np.testing.assert_allclose(mean, 0, atol=0.02)
    np.testing.assert_allclose(left, [np.sqrt(2), 1], rtol=0.03)  # exp(-(x / scale)^shape)
    wide = np.where(draws > 0, 2 * draws, draws)
    _, _, narrow, broad = perceptual._asymmetric(wide)
    np.testing.assert_allclose(broad / narrow, 2, rtol=0.03)


def test_in_a_table(identity, tmp_path, rng):
    """On request, of what an 8-bit file would hold, with a sentence on what they are."""
    size = perceptual.NIQE.least
    clean = np.round(255 * rng.uniform(size=(size, size, 3))) / 255
    write(tmp_path / "a.png", clean)
    extra = perceptual.chosen(["psnr", "niqe"])
    rows = evaluate(identity, str(tmp_path), np.float32([[1, 0]]), [0], ssim=False, extra=extra)
    assert rows[0].niqe == pytest.approx(perceptual.niqe(255 * luma(clean)[..., 0]), rel=1e-5) and np.isnan(
        rows[0].lpips
    )
    summary = summarise(rows)
    assert "scikit-video" in protocol(summary) and "| NIQE |" in tables.markdown(summary)
    plain = summarise(evaluate(identity, str(tmp_path), np.float32([[1, 0]]), [0], ssim=False))
    assert "scikit-video" not in protocol(plain) and "NIQE" not in tables.markdown(plain)


def test_with_a_file_of_features(identity, tmp_path, rng, monkeypatch):
    """From the variable of the environment; the file is refused where it is VGG-19's or missing."""
    weights = vgg.weights(VGG(network="vgg16", seed=1))
    storage.save_tensors(tmp_path / "vgg16.safetensors", weights, {"format": vgg.file_format("vgg16")})
    write(tmp_path / "a.png", rng.uniform(size=(20, 16, 3)))
    monkeypatch.setenv("VGG16", str(tmp_path / "vgg16.safetensors"))
    extra = perceptual.chosen(["lpips"])
    (row,) = evaluate(identity, [tmp_path / "a.png"], np.float32([[1, 0]]), [50], extra=extra)
    assert row.lpips > 0 and np.isnan(row.niqe)
    with pytest.raises(TunableError, match="lpips needs VGG-16's weights.*tools/vgg16.py"):
        perceptual.chosen(["lpips"], tmp_path / "none.safetensors")


def test_what_cannot_be_measured(tunable, tmp_path, rng, monkeypatch):
    monkeypatch.delenv("VGG16", raising=False)
    write(tmp_path / "small.png", rng.uniform(size=(40, 60, 3)))
    command = ("evaluate", "denoise", "--data", tmp_path, "--sigma", "5", "--omega", "1,0")
    for words, text in (
        (("--metrics", "psnr,lpips"), "lpips needs VGG-16's weights, --features FILE or the variable VGG16"),
        (("--metrics", "vmaf"), "no metric 'vmaf'; choose from psnr, ssim, lpips, niqe"),
        (("--metrics", "niqe"), "small.png is 60x40; niqe needs 194x194 pixels"),
        (("--metrics", "niqe", "--no-ssim"), "not allowed with"),
    ):
        status, _, err = tunable(*command, *words)
        assert status == 2 and text in err, err
