"""Networks of other people, weights and outputs as they recorded them, converted and run in both twins.

The packs (seeded random weights) lie where TUNABLE_GOLDEN says. Without it one line says so, and conversion is tested
on files written by tests/test_convert.py alone.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from parity_tests import golden
from tunable.backends.model import build
from tunable.specs.networks import NAFNetSpec, ResNetSpec, StyleUNetSpec, SwinIRSpec
from tunable.tolerances import CONTROL, TOLERANCES
from tunable.weights.conversion import convert

GOLDEN = os.environ.get("TUNABLE_GOLDEN")
SWIN = {"channels": 12, "depths": [2, 2], "heads": [2, 2]}
NAF = {"width": 8, "middle": 1, "encoder": [1, 1, 1, 1], "decoder": [1, 1, 1, 1]}
EDSR = {"channels": 8, "blocks": 2, "head_relu": True, "residual_scale": 0.1, "mean": True}
PACKS = {  # folder/name -> source, what the file must be found to hold
    "mindediting/tunable_edsr_x1.ckpt": ("mindediting", ResNetSpec(phi="affine", **EDSR)),
    "mindediting/tunable_edsr_x4.ckpt": ("mindediting", ResNetSpec(phi="affine", upscale=4, **EDSR)),
    "mindediting/tunable_nafnet.ckpt": ("mindediting", NAFNetSpec(phi="affine", **NAF)),
    "mindediting/tunable_stylenet.ckpt": ("mindediting", StyleUNetSpec(phi="affine", channels=8)),
    "mindediting/tunable_swinir_denoise.ckpt": ("mindediting", SwinIRSpec(phi="affine", **SWIN)),
    "mindediting/tunable_swinir_x4.ckpt": (
        "mindediting",
        SwinIRSpec(phi="affine", window=4, upscale=4, upsampler="pixelshuffle", features=16, **SWIN),
    ),
    "official/swinir_denoise.safetensors": ("swinir", SwinIRSpec(tunable=False, **SWIN)),
    "official/swinir_x4.safetensors": (
        "swinir",
        SwinIRSpec(tunable=False, upscale=4, upsampler="pixelshuffle", **SWIN),
    ),
    "official/nafnet.safetensors": ("nafnet", NAFNetSpec(tunable=False, **NAF)),
}


@pytest.mark.skipif(not GOLDEN, reason="TUNABLE_GOLDEN is not set: outputs of other people's networks are not compared")
@pytest.mark.parametrize("name", PACKS)
def test_equal_to_the_recorded_outputs(twin, name):
    """At every omega, also outside [0, 1] and per sample, and at sizes that are padded: relative to the largest."""
    source, expected = PACKS[name]
    path = Path(GOLDEN) / name
    tensors, header = convert(path, source)
    assert header.network == expected
    model = build(header, tensors, twin.backend, path)
    with np.load(path.with_suffix(".npz")) as pack:
        runs = list(recorded(pack))
    for image, omega, output in runs:
        error = np.abs(model.run(image, omega) - output).max() / np.abs(output).max()
        assert error <= TOLERANCES["golden"].limit, f"omega {omega}, {image.shape}: {error:.1e}"
    if header.objectives:  # and omega is looked at
        image, omega, output = runs[0]
        assert np.abs(model.run(image, omega + 0.1) - output).max() / np.abs(output).max() > CONTROL


def recorded(pack):
    """(input, omega or None, output) of every run in a pack."""
    if "omegas" not in pack:
        yield from ((pack["x" + kind], None, pack["y" + kind]) for kind in ("", "_other", "_odd"))
        return
    for kind in ("", "_odd"):
        yield from ((pack["x" + kind], *pair) for pair in zip(pack["omegas" + kind], pack["y" + kind], strict=True))
        yield pack["x" + kind], pack["omega_mixed"], pack[f"y{kind}_mixed"]


@pytest.mark.parametrize("name", golden.NETWORKS)
def test_equal_to_the_projects_own_outputs(twin, name):
    """Small networks of every kind with weights that no role makes zero, at one omega and per sample."""
    with np.load(golden.FILE) as pack:
        expected = {label: pack[f"{name}/{label}"] for label in golden.OMEGAS}
    outputs = golden.outputs(twin.backend, name)
    for label, output in expected.items():
        error = np.abs(outputs[label] - output).max() / np.abs(output).max()
        assert error <= TOLERANCES["golden"].limit, f"omega {label}: {error:.1e}"
    assert np.abs(expected["one"] - expected["per sample"]).max() / np.abs(expected["one"]).max() > CONTROL
