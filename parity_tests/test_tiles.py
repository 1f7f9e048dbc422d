"""An exported network has the tiles of the network itself: the same halo, and blending where there is none."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tunable.backends.model import WeightsModel, load
from tunable.commands import main
from tunable.exports.judging import tried_export
from tunable.images.pictures import from_network, read_picture, to_network, write
from tunable.images.tiling import run_tiled
from tunable.parameters.starts import starting_weights
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights.storage import Header

LIMIT = TOLERANCES["export"].limit
OMEGA = [0.3, 0.6]
TILE = 16


def levels(rng, height=41, width=50):
    return rng.integers(0, 65536, (height, width, 3), dtype=np.uint16)


def check_halo(twin, form, spec, folder, rng, monkeypatch):
    """In tiles an export gives what the network gives whole; with a halo one pixel smaller it does not."""
    header = Header(spec, ("a", "b"), ((0.0, 1.0),) * 2)
    network = twin.backend.build(spec, 2)
    twin.backend.assign(network, starting_weights(twin.backend.specs(network), 3))
    model = WeightsModel(twin.backend, network, header)
    options = {"omega": OMEGA} if form == "folded" else {"form": form}
    (path,), _ = tried_export(model, "onnx", folder, **options)
    exported, omega = load(path, "onnx"), None if form == "folded" else OMEGA
    x = to_network(levels(rng).astype(np.float32) / 65535)
    whole = model.run(x, OMEGA)
    assert relative_error(run_tiled(exported, x, omega, TILE), whole) <= LIMIT
    assert relative_error(run_tiled(exported, x, omega, TILE), run_tiled(model, x, OMEGA, TILE)) <= LIMIT
    monkeypatch.setattr(type(spec), "halo", spec.halo - 1)
    assert relative_error(run_tiled(exported, x, omega, TILE), whole) > 10 * LIMIT


def test_a_halo(twin, tmp_path, rng, monkeypatch):
    """Whatever the form: the others are tried with a compact network."""
    check_halo(twin, "basis", ResNetSpec(channels=4, blocks=1), tmp_path, rng, monkeypatch)


def test_a_halo_of_a_network_that_enlarges(torch, tmp_path, rng, monkeypatch):
    """Of any size, which MindSpore does not write as ONNX."""
    check_halo(torch, "shared", ResNetSpec(channels=4, blocks=1, upscale=2), tmp_path, rng, monkeypatch)


@pytest.mark.parametrize("form", ["shared", "folded"])
def test_a_halo_of_a_compact_network(twin, form, tmp_path, rng, monkeypatch):
    check_halo(twin, form, CompactSpec(channels=4, blocks=2), tmp_path, rng, monkeypatch)


def test_a_halo_of_a_compact_network_that_enlarges(torch, tmp_path, rng, monkeypatch):
    check_halo(torch, "shared", CompactSpec(channels=4, blocks=2, upscale=3), tmp_path, rng, monkeypatch)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_halo_of_a_network_that_halves(twin, depth, rng, monkeypatch):
    """Pieces begin at multiples of its smallest pixel: tiles of any size, and files of one, give the whole picture."""
    spec = UNetSpec(width=4, depth=depth)
    network = twin.backend.build(spec, 2)
    twin.backend.assign(network, {k: 2 * v for k, v in starting_weights(twin.backend.specs(network), 3).items()})
    model = WeightsModel(twin.backend, network, Header(spec, ("a", "b"), ((0.0, 1.0),) * 2))
    x = to_network(levels(rng, 83, 75).astype(np.float32) / 65535)
    whole = model.run(x, OMEGA)
    for tile in (TILE, 21):
        assert relative_error(run_tiled(model, x, OMEGA, tile), whole) <= LIMIT
    exported = WeightsModel(twin.backend, network, dataclasses.replace(model.header, size=(64, 72)))
    assert relative_error(run_tiled(exported, x, OMEGA), whole) <= LIMIT
    monkeypatch.setattr(UNetSpec, "halo", spec.halo - 2 * spec.padding_multiple)
    assert relative_error(run_tiled(model, x, OMEGA, TILE), whole) > 10 * LIMIT


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_reach_of_a_unet(torch, depth):
    """With positive weights every path counts: what one pixel changes ends exactly at the halo, for the worst of the
    pixels that share a smallest one."""
    spec = UNetSpec(width=1, depth=depth, tunable=False)
    exact = torch.backend.in_float64()
    network = exact.build(spec, 0)
    shapes = {one.name: one.shape for one in exact.specs(network)}
    exact.assign(network, {k: np.full(shape, k.endswith("weight") / 9, np.float32) for k, shape in shapes.items()})
    side = 4 * 2**depth * -(-spec.halo // 2**depth)
    reached = []
    for place in range(side // 2, side // 2 + 2**depth):
        x = np.zeros((1, 3, 2**depth, side), np.float32)
        x[..., place] = 1
        columns = np.flatnonzero(exact.run(network, x, None).any(axis=(0, 1, 2)))
        reached += [place - columns[0], columns[-1] - place]
    assert max(reached) == spec.halo


def mean_network(path, header):
    """An ONNX file without a halo: half a picture, and its mean in every colour times the first of omega."""
    constants = {"half": np.float32(0.5), "first": np.float32([[1], [0]])}
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3]),
        helper.make_node("MatMul", ["omega", "first"], ["factor"]),
        helper.make_node("Mul", ["mean", "factor"], ["added"]),
        helper.make_node("Mul", ["image", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "added"], ["restored"]),
    ]
    shapes = {"image": ["n", 3, "h", "w"], "omega": [1, 2], "restored": ["n", 3, "h", "w"]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    initial = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "mean", [values["image"], values["omega"]], [values["restored"]], initial)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(made, {**header.to_metadata(), "scale": json.dumps(1)})
    onnx.save(made, path)


def mean_run(x, omega):
    """The same in numpy."""
    return 0.5 * x + x.mean(axis=(2, 3), keepdims=True) * np.float32(omega[0])


def test_without_a_halo(tmp_path, rng):
    """By `tunable restore`: whole; and blended, tile by tile, where tiles are asked for."""
    spec = NAFNetSpec(width=2, middle=0, encoder=[1, 1], decoder=[1, 1])
    header = Header(spec, ("a", "b"), ((0.0, 1.0),) * 2)
    path, picture = tmp_path / "mean.onnx", np.sort(levels(rng), axis=1)  # the tiles' means differ
    mean_network(path, header)
    write(tmp_path / "in.png", picture)
    model, x = SimpleNamespace(header=header, run=mean_run), to_network(picture)
    pictures = {}
    for name, tile in (("whole", None), ("tiled", TILE)):
        out, more = tmp_path / f"{name}.png", ["--tile", str(tile)] if tile else []
        words = ["restore", path, tmp_path / "in.png", "--omega", "0.4,0.6", "--backend", "onnx", "-o", out, *more]
        assert main([str(word) for word in words]) == 0
        pictures[name] = read_picture(out).levels.astype(int)
        expected = from_network(run_tiled(model, x, [0.4, 0.6], tile)).astype(int)
        assert np.abs(pictures[name] - expected).max() <= 1  # a sum in another order, rounded
    np.testing.assert_allclose(pictures["whole"], 65535 * from_network(mean_run(x / np.float32(65535), [0.4])), atol=1)
    assert np.abs(pictures["tiled"] - pictures["whole"]).max() > 5000


@pytest.mark.parametrize("spec", [ResNetSpec(channels=2, blocks=1), NAFNetSpec(width=2, middle=0)])
def test_the_lean_mode(twin, spec, tmp_path, rng, monkeypatch):
    """For what is restored whole, unless a mode is asked for: on a CPU without a graph."""
    network = twin.backend.build(spec, 2)
    WeightsModel(twin.backend, network, Header(spec, ("a", "b"), ((0.0, 1.0),) * 2)).save(tmp_path / "a.safetensors")
    write(tmp_path / "in.png", levels(rng, 9, 8))
    kind, modes = type(twin.backend), []

    def noted(self, network, degraded, omega):
        modes.append(self.mode)
        return degraded

    monkeypatch.setattr(kind, "run", noted)  # no graph is compiled
    given = [tmp_path / "a.safetensors", "--omega", "1,0", "--device", "cpu", "--backend", kind.name]
    default = kind.modes[0]
    lean = default if spec.halo else {"torch": "eager", "mindspore": "pynative"}[kind.name]
    for verb, *words in (
        ("restore", tmp_path / "in.png", "-o", tmp_path / "out.png"),
        ("evaluate", "--data", tmp_path, "--no-ssim"),
    ):
        for expected, more in ((lean, []), (default, ["--mode", default])):
            modes.clear()
            assert main([str(word) for word in [verb, given[0], *words, *given[1:], *more]]) == 0
            assert set(modes) == {expected}
