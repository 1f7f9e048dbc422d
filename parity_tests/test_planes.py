"""Exports of form planes: one input of pictures and maps of omega, (n, 3 + p, h, w) (docs/export.md)."""

import dataclasses
import json

import numpy as np
import onnxruntime
import pytest

from parity_tests.test_maps import model_of, picture_and_map
from tunable.backends.model import load
from tunable.commands import main
from tunable.errors import CheckpointError, OmegaError, TunableError
from tunable.exports.judging import checked_export, tried_export
from tunable.exports.onnx_files import finish
from tunable.images.pictures import read_picture, write
from tunable.images.tiling import run_tiled
from tunable.specs.networks import CompactSpec, SwinIRSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error

EXPORT = TOLERANCES["export"].limit
COMPACT = CompactSpec(channels=4, blocks=1, differences="low_rank", rank=2, bump=True, tunable_slopes=True)


@pytest.mark.parametrize("spec", [COMPACT, UNetSpec(width=4, depth=1, phi="affine")])
def test_exported(twin, spec, tmp_path, rng):
    """By onnxruntime alone, by the package, and in tiles. MindSpore fixes sizes in ONNX, and where a network pads."""
    model, (x, omega) = model_of(twin, spec, rng), picture_and_map(rng, 20, 30)
    whole = model.run(x, omega)
    for format in twin.backend.formats:
        path, fixed = tmp_path / f"net.{format}", twin.name == "mindspore" and (format == "onnx" or spec.name == "unet")
        report = checked_export(model, format, path, form="planes", size=(20, 30) if fixed else None)
        assert report.form == "planes" and any("one omega per pixel" in label for label in report.errors)
        exported = load(path)
        assert exported.header.part == "planes" and not exported.folds and not exported.has_heads
        assert relative_error(exported.run(x, omega), whole) <= EXPORT
        for at in ([0.3, 0.9], [[0.3, 0.9], [0.6, 0.1]]):
            assert relative_error(exported.run(x, at), model.run(x, at)) <= EXPORT
        if format == "onnx" and not fixed:  # MindSpore compiles a MINDIR file for every size of a tile
            assert relative_error(run_tiled(exported, x, omega, 16), whole) <= EXPORT
        with pytest.raises(OmegaError, match=r"^omega is a map of 20x9 pixels"):
            exported.run(x, omega[..., :9])
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert [one.name for one in session.get_inputs()] == ["image"]
    (restored,) = session.run(None, {"image": np.concatenate([x, omega], 1)})
    assert relative_error(restored, whole) <= EXPORT


def test_one_file(torch, tmp_path, rng, capsys):
    """`restore --omega-map` does with it what it does with the weights; another form, and other planes, are refused."""
    model, (x, omega) = model_of(torch, COMPACT, rng), picture_and_map(rng)
    (path,), _ = tried_export(model, "onnx", tmp_path, form="planes")
    model.save(tmp_path / "net.safetensors")
    levels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write(tmp_path / "in.png", levels)
    for name in ("a", "b"):
        write(tmp_path / f"{name}.png", np.repeat(rng.integers(0, 256, (20, 30, 1), dtype=np.uint8), 3, 2))
    made = []
    for name in ("net.safetensors", path.name):
        words = ["restore", name, "in.png", "-o", f"{name}.png", "--omega-map", "a.png", "--omega-map", "b.png"]
        assert main([str(tmp_path / word) if "." in word else word for word in words]) == 0
        made.append(read_picture(tmp_path / f"{name}.png").levels.astype(int))
    assert np.abs(made[0] - made[1]).max() <= 1 and np.abs(made[0] - levels).max() > 5
    capsys.readouterr()
    for words in ([], ["--json"]):
        assert main(["info", str(path), *words]) == 0
    said, facts = capsys.readouterr().out.split("{", 1)
    assert (
        "exported      planes, for pictures of any size" in said
        and json.loads("{" + facts)["exported"]["part"] == "planes"
    )
    exported = load(path)
    shared = dataclasses.replace(exported, header=dataclasses.replace(exported.header, part=None))
    with pytest.raises(OmegaError, match=r"takes one omega for a picture, not a map: `tunable export --form planes`"):
        shared.run(x, omega)
    header = dataclasses.replace(model.header, part="planes", objectives=("a", "b", "c"), omega_range=((0.0, 1.0),) * 3)
    finish(path, {**header.to_metadata(), "scale": "1"})
    with pytest.raises(CheckpointError, match=r"takes pictures .*5, .*, but its header wants .*6, "):
        load(path)


def test_what_has_no_planes(torch, tmp_path, rng):
    model = model_of(torch, COMPACT, rng)
    swinir = model_of(torch, SwinIRSpec(channels=4, depths=[1], heads=[1], window=2), rng)
    for given, options, message in (
        (swinir, {}, "form planes is for a network that takes maps, not swinir: attention mixes pixels"),
        (model, {"omega": [1, 0]}, "form planes is for a graph, onnx or mindir, of a tunable network that is not"),
        (model.fold([1, 0]), {}, "form planes is for a graph, onnx or mindir, of a tunable network that is not"),
    ):
        with pytest.raises(TunableError, match=message):
            tried_export(given, "onnx", tmp_path, form="planes", **options)
