"""Files of `make_tunable` that name a builder: every command takes them, and load_tuned as before."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tunable.backends.model import load
from tunable.commands import main
from tunable.errors import CheckpointError, TunableError
from tunable.weights import storage

CONV = {
    "torch": "nn.Conv2d(a, b, 3, padding=1)",
    "mindspore": 'nn.Conv2d(a, b, 3, pad_mode="pad", padding=1, has_bias=True)',
}
SEQUENTIAL = {"torch": "Sequential", "mindspore": "SequentialCell"}
SOURCE = """from {twin} import nn
def conv(a, b):
    return {conv}
def build(channels=4, fill=None):
    network = nn.{sequential}(conv(3, channels), nn.ReLU(), conv(channels, 3))
    if fill is not None:
        from {twin}_impl import parameters
        for each in parameters.entries(network).values():
            parameters.set_value(each, parameters.array(each) * 0 + fill)
    return network
def nothing():
    return 3
"""


@pytest.fixture
def module(twin, tmp_path, monkeypatch):
    """The name of a module in the working directory, and the module."""
    monkeypatch.chdir(tmp_path)
    name = f"builders_{twin.name}_{tmp_path.name}"
    source = SOURCE.format(twin=twin.name, conv=CONV[twin.name], sequential=SEQUENTIAL[twin.name])
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    return name, importlib.import_module(name)


def moved(tuned, rng):
    """The same network with other weights, none of which is zero."""
    tuned.assign({name: rng.normal(0, 0.2, value.shape).astype("f") for name, value in tuned.weights().items()})
    return tuned


def check_evaluate(twin, model, omega, rng, capsys):
    """`tunable evaluate` runs the file too: its PSNR at omega, of a picture without noise."""
    Path("pictures").mkdir()
    Image.fromarray(rng.integers(0, 256, (12, 13, 3), dtype=np.uint8)).save("pictures/a.png")
    clean = np.asarray(Image.open("pictures/a.png")).transpose(2, 0, 1)[None].astype("f") / 255
    expected = -10 * np.log10(np.mean((model.run(clean, omega) - clean) ** 2))
    words = ["evaluate", "knobs.safetensors", "--data", "pictures", "--sigma", "0", "--omega", "0.3,0.6", "--no-ssim"]
    words += ["--json", "--backend", twin.name, "--device", "cpu"]
    assert main(words) == 2 and "--allow-import runs it" in capsys.readouterr().err
    assert main([*words, "--allow-import"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert [row["psnr"] for row in summary] == pytest.approx([expected, expected], abs=1e-4)


def test_a_file_with_a_builder(twin, module, tmp_path, rng, capsys):
    """Refused without permission; with it, it is run, folded and saved as the network was. load_tuned reads it too."""
    (name, source), face = module, importlib.import_module(f"tunable.{twin.name}")
    tuned = moved(face.make_tunable(source.build(5), 2, where="2", anchor=[1, 0], bump=True), rng)
    options = {"builder": {twin.name: f"{name}:build"}, "arguments": {"channels": 5}, "objectives": ("rec", "noise")}
    tuned.save(tmp_path / "knobs.safetensors", **options)
    x, omega = rng.uniform(size=(2, 3, 8, 9)).astype("f"), np.float32([0.3, 0.6])
    expected = twin.array(tuned(*twin.tensors([x, omega])))
    with pytest.raises(TunableError, match="is a program of its author's: --allow-import"):
        load("knobs.safetensors", twin.name, "cpu")
    model = load("knobs.safetensors", twin.name, "cpu", allow_import=True)
    assert model.objectives == ("rec", "noise") and model.header.network.plan == tuned.plan
    np.testing.assert_allclose(model.run(x, omega), expected, atol=1e-6)
    assert np.abs(model.run(x, [1, 0]) - expected).max() > 1e-3, "no knob"
    check_evaluate(twin, model, omega, rng, capsys)
    model.fold(omega).save(tmp_path / "plain.safetensors")
    plain = load("plain.safetensors", twin.name, "cpu", allow_import=True)
    np.testing.assert_allclose(plain.run(x), expected, atol=1e-5)
    again = face.load_tuned("knobs.safetensors", base=source.build(5))
    for key, value in tuned.weights().items():
        np.testing.assert_array_equal(again.weights()[key], value)


def test_differences_with_a_builder(twin, module, tmp_path, rng):
    """The file holds them alone, of low rank too; a builder that makes other weights is refused by their digest."""
    (name, source), face = module, importlib.import_module(f"tunable.{twin.name}")
    tuned = moved(face.make_tunable(source.build(4, 0.1), 2, train="differences", rank=1), rng)
    x, omega = rng.uniform(size=(1, 3, 8, 9)).astype("f"), np.float32([0.3, 0.6])
    for fill in (0.1, 0.2):
        tuned.save("knobs.safetensors", builder={twin.name: f"{name}:build"}, arguments={"fill": fill})
        if fill == 0.1:
            model = load("knobs.safetensors", twin.name, "cpu", allow_import=True)
            assert model.objectives == ("knob_1", "knob_2")
            np.testing.assert_allclose(model.run(x, omega), twin.array(tuned(*twin.tensors([x, omega]))), atol=1e-6)
        else:
            with pytest.raises(CheckpointError, match="differences from other weights"):
                load("knobs.safetensors", twin.name, "cpu", allow_import=True)


def test_refused_files_with_a_builder(twin, module, tmp_path):
    """What a header cannot hold when it is saved; what the builder does not make when it is loaded."""
    (name, source), face = module, importlib.import_module(f"tunable.{twin.name}")
    tuned, other = face.make_tunable(source.build(), 2), {"torch": "mindspore", "mindspore": "torch"}[twin.name]
    for options, message in (
        ({"builder": "nets"}, "import wants module:Name"),
        ({"builder": "m:build", "objectives": ("a",)}, "names 1 knobs"),
        ({"builder": "m:build", "objectives": ("a", "a")}, "2 ranges, objectives"),
        ({"builder": "m:build", "arguments": {"a": {1}}}, "must be numbers, texts, lists"),
    ):
        with pytest.raises(TunableError, match=message):
            tuned.save("knobs.safetensors", **options)
    assert not (tmp_path / "knobs.safetensors").exists()
    for builder, arguments, message in (
        ({other: "m:build"}, {}, f"this network has no class for {twin.name}, only for {other} .m:build."),
        (f"{name}:nothing", {}, "made a int, which is no"),
        (f"{name}:build", {"channels": 7}, "tensor '0.weight' has shape|wants"),
        (f"{name}:conv", {"a": 3, "b": 3}, "makes '0.weight' tunable, which the network does not hold"),
    ):
        tuned.save("knobs.safetensors", builder=builder, arguments=arguments)
        with pytest.raises(TunableError, match=message):
            load("knobs.safetensors", twin.name, "cpu", allow_import=True)
    tuned.save("old.safetensors")
    with pytest.raises(CheckpointError, match="make_tunable wrote it without save.*builder"):
        storage.load("old.safetensors")
