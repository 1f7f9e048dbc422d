"""Official SwinIR files of every kind, converted: both twins against a torch computation of the official formula."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from parity_tests import official
from tunable.backends.model import build
from tunable.backends.registry import get_framework
from tunable.tolerances import CONTROL, TOLERANCES, relative_error
from tunable.weights.conversion import check_fits, convert

GOLDEN = os.environ.get("TUNABLE_GOLDEN")
KINDS = {  # name -> arguments of the state, of the computation, and what --set says
    "range 255": ({}, {"img_range": 255.0}, {"img_range": 255}),
    "range 255, window 7": ({"window": 7}, {"window": 7, "img_range": 255.0}, {"img_range": 255.0}),
    "range 255, x2 direct": (
        {"upsampler": "pixelshuffledirect", "upscale": 2},
        {"upsampler": "pixelshuffledirect", "upscale": 2, "img_range": 255.0},
        {"img_range": 255},
    ),
    "range 4, x3": (
        {"upsampler": "pixelshuffle", "upscale": 3},
        {"upsampler": "pixelshuffle", "upscale": 3, "img_range": 4.0},
        {"img_range": 4},
    ),
    "never shifted": ({"shifted": False}, {"shifted": False}, {}),
    "x8": ({"upsampler": "pixelshuffle", "upscale": 8}, {"upsampler": "pixelshuffle", "upscale": 8}, {}),
    "x2 nearest": (
        {"upsampler": "nearest+conv", "upscale": 2},
        {"upsampler": "nearest+conv", "upscale": 2},
        {"upscale": 2},
    ),
    "x4 nearest": ({"upsampler": "nearest+conv", "upscale": 4}, {"upsampler": "nearest+conv", "upscale": 4}, {}),
    "odd MLP": ({"channels": 22, "hidden": 49}, {}, {}),
}


@pytest.mark.skipif(not GOLDEN, reason="TUNABLE_GOLDEN is not set: the computation is not compared with recordings")
@pytest.mark.parametrize(
    ("name", "options"), [("swinir_denoise", {}), ("swinir_x4", {"upsampler": "pixelshuffle", "upscale": 4})]
)
def test_the_computation_is_the_official_one(name, options):
    """Of outputs that the official code recorded, at a size that is padded too."""
    weights = load_file(Path(GOLDEN, "official", name + ".safetensors"))
    with np.load(Path(GOLDEN, "official", name + ".npz")) as pack:
        for kind in ("", "_odd"):
            result = official.restored(weights, pack["x" + kind], window=8, **options)
            assert relative_error(result, pack["y" + kind]) <= TOLERANCES["golden"].limit


@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_the_official_formula(twin, tmp_path, kind):
    """At a size that is padded, and another answer where one fact of the network is taken wrongly."""
    of_state, of_run, settings = KINDS[kind]
    weights, x = official.state(**of_state), np.random.default_rng(1).uniform(size=(1, 3, 14, 21)).astype(np.float32)
    save_file(weights, tmp_path / "a.safetensors")
    tensors, header = convert(tmp_path / "a.safetensors", "swinir", settings)
    backend = get_framework(twin.backend.name, "cpu", {"mindspore": "pynative"}.get(twin.backend.name))
    check_fits(tensors, header, "swinir", "a")
    result = build(header, tensors, backend).run(x)
    expected = official.restored(weights, x, **of_run)
    assert result.shape == expected.shape and relative_error(result, expected) <= TOLERANCES["golden"].limit
    if defaults := of_run.keys() & {"img_range", "shifted"}:
        other = {name: value for name, value in of_run.items() if name not in defaults}
        assert relative_error(result, official.restored(weights, x, **other)) > CONTROL
