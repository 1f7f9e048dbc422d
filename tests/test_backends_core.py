"""Choosing a framework, and what a model checks before it calls one (no framework is needed here)."""

import dataclasses
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from tunable.backends.model import build, load
from tunable.backends.registry import choose, get_framework, get_opener, get_runtime, installed, requested
from tunable.errors import BackendError, CheckpointError, OmegaError, TunableError
from tunable.parameters.layouts import layout
from tunable.weights import storage
from tunable.weights.storage import Header


@pytest.fixture
def only(monkeypatch):
    """only("torch"): as if just these frameworks were installed."""

    def set_installed(*names):
        real = importlib.util.find_spec

        def find(module, *args):
            if module in ("torch", "mindspore"):
                return real("numpy") if module in names else None
            return real(module, *args)

        monkeypatch.setattr(importlib.util, "find_spec", find)
        monkeypatch.delenv("TUNABLE_BACKENDS", raising=False)

    return set_installed


def test_unknown_backend(refused):
    with refused(BackendError, "unknown backend 'toch'", "did you mean 'torch'", "known: torch, mindspore"):
        get_framework("toch")
    with refused(BackendError, "unknown backend 'jax'", "known: torch, mindspore"):
        get_framework("jax")


@pytest.mark.parametrize("name", ["torch", "mindspore"])
def test_a_missing_framework_is_an_error(name, only, refused):
    only()
    with refused(BackendError, repr(name), "not installed", f"pip install 'tunable-convolutions[{name}]'"):
        get_framework(name)


def test_installed(only):
    only("mindspore")
    assert installed() == ("mindspore",) == requested()
    only("torch", "mindspore")
    assert installed() == ("torch", "mindspore")
    only()
    assert installed() == () == requested()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mindspore", ("mindspore",)),
        ("torch,mindspore", ("torch", "mindspore")),
        (" mindspore , torch,", ("mindspore", "torch")),
        ("jax", ("jax",)),  # a run must cover it, so that get_framework refuses it
        ("", ("torch",)),
        (" , ", ("torch",)),
    ],
)
def test_requested(text, expected, only, monkeypatch):
    only("torch")
    monkeypatch.setenv("TUNABLE_BACKENDS", text)
    assert requested() == expected


def test_requested_but_missing_is_an_error(only, monkeypatch, refused):
    only("torch")
    monkeypatch.setenv("TUNABLE_BACKENDS", "mindspore")
    (name,) = requested()
    with refused(BackendError, "'mindspore'", "not installed"):
        get_framework(name)


def test_choose(refused):
    assert choose("torch", "mode", None, ("eager", "compile")) == "eager"
    assert choose("torch", "mode", "compile", ("eager", "compile")) == "compile"
    with refused(BackendError, "'torch' has no mode 'compiled'", "mean 'compile'", "known: eager, compile"):
        choose("torch", "mode", "compiled", ("eager", "compile"))


def test_the_neutral_package_needs_no_framework():
    """Every module of it imports where neither framework nor twin can be imported."""
    program = (
        "import pkgutil, sys\n"
        "for name in ('torch', 'mindspore', 'torch_impl', 'mindspore_impl'):\n"
        "    sys.modules[name] = None\n"
        "import tunable\n"
        "for module in pkgutil.walk_packages(tunable.__path__, 'tunable.'):\n"
        "    if module.name in ('tunable.torch', 'tunable.mindspore'):\n"
        "        continue\n"
        "    if not module.name.endswith('__main__'):\n"
        "        __import__(module.name)\n"
        "assert 'tunable.certificate' in sys.modules and 'tunable.commands.train' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- Model, over a stand-in for a framework


class Numpy:
    """A backend whose network adds omega's sum, times one of its weights, the first bias of the tail."""

    name = "numpy"
    opens = ()

    def build(self, spec, num_objectives):
        return {"p": num_objectives, "tensors": {}}

    def parameters(self, network):
        return dict(network["tensors"])

    def assign(self, network, tensors):
        network["tensors"] = {name: value.copy() for name, value in tensors.items()}

    def run(self, network, degraded, omega):
        self.received = degraded, omega
        if omega is None:
            return degraded + network.get("offset", np.float32(0))
        total = np.broadcast_to(omega.sum(-1), len(degraded)).reshape(-1, 1, 1, 1)
        return degraded + _gain(network) * total

    def folds(self, network):
        return True

    def fold(self, network, omega):
        return {"p": 0, "tensors": {}, "offset": _gain(network) * omega.sum()}


def _gain(network):
    return network["tensors"]["tail.bias"].flat[0]


@pytest.fixture
def model(make_recipe):
    header = Header.of(make_recipe())
    return build(header, _twos(header), Numpy())


def _twos(header):
    return {name: np.full(shape, 2, np.float32) for name, shape in layout(header.network, header.num_objectives)}


def test_run(model):
    x = np.zeros((2, 3, 4, 5))
    np.testing.assert_array_equal(model.run(x, [0.5, 0.25]), np.full(x.shape, 1.5))
    degraded, omega = model.backend.received
    assert degraded.dtype == omega.dtype == np.float32 and omega.shape == (2,)
    np.testing.assert_array_equal(model.run(x, [[1, 0], [0, 2]])[:, 0, 0, 0], [2, 4])


def test_run_refuses(model, refused):
    x = np.zeros((2, 3, 4, 5), dtype=np.float32)
    with refused(OmegaError, "wants omega", "fidelity, noise"):
        model.run(x)
    with refused(OmegaError, "(3,)", "2 objectives"):
        model.run(x, [1, 0, 0])
    with refused(OmegaError, "3 rows", "batch of 2"):
        model.run(x, np.zeros((3, 2)))
    with refused(TunableError, "(N, 3, H, W)", "(3, 4, 5)"):
        model.run(x[0], [1, 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
def test_whole_numbers_are_no_brightness(dtype, model, refused):
    """0 to 255, as other programs read a picture, would be 255 times too bright."""
    with refused(TunableError, "floats of 0 to 1", dtype):
        model.run(np.zeros((1, 3, 4, 5), dtype), [1, 0])


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5, 3), (1, 1, 4, 5), (1, 3, 0, 5), (1, 3, 4, 0)])
def test_shapes_that_are_no_pictures(shape, model, refused):
    with refused(TunableError, "(N, 3, H, W)", str(shape)):
        model.run(np.zeros(shape, np.float32), [1, 0])


def test_fold(model, refused):
    folded = model.fold([0.5, 0.25])
    x = np.ones((1, 3, 2, 2), dtype=np.float32)
    np.testing.assert_array_equal(folded.run(x), model.run(x, [0.5, 0.25]))
    assert folded.objectives == () and not folded.header.network.tunable
    assert folded.header.recipe == model.header.recipe and folded.header.folded_at == (0.5, 0.25)
    assert model.objectives == ("fidelity", "noise") and model.header.folded_at is None
    with refused(OmegaError, "plain network takes no omega", "[1, 0]"):
        folded.run(x, [1, 0])
    with refused(TunableError, "plain already"):
        folded.fold([1, 0])
    with refused(OmegaError, "(2,)", "(1, 2)"):
        model.fold([[1, 0]])


def test_save_and_load(model, tmp_path, refused):
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = load(path, Numpy())
    assert again.header == model.header
    x = np.zeros((1, 3, 2, 2), dtype=np.float32)
    np.testing.assert_array_equal(again.run(x, [1, 1]), model.run(x, [1, 1]))
    folded = model.fold([1, 0])
    folded.save(tmp_path / "folded.safetensors")
    assert storage.load(tmp_path / "folded.safetensors")[1] == folded.header
    with refused(BackendError, "unknown backend 'trch'"):
        load(path, "trch")
    with refused(CheckpointError, "no such weights file"):
        load(tmp_path / "absent", Numpy())


def test_build_is_strict(model, refused):
    for tensors, fragment in (
        ({}, "lacks tensor 'head.weight'"),
        ({"tail.bias": np.zeros(2, np.float32)}, "(2,)"),
        ({"tail.bias": np.full((3, 3), np.nan, np.float32)}, "not finite"),
    ):
        with refused(CheckpointError, "my file", fragment):
            build(model.header, {**_twos(model.header), **tensors} if tensors else {}, Numpy(), "my file")


def test_nothing_is_built_for_a_header_that_promises_more_than_the_file_holds(model, refused):
    class Never(Numpy):
        def build(self, spec, num_objectives):
            pytest.fail("built")

    tensors = _twos(model.header)
    larger = dataclasses.replace(model.header, network=model.header.network.model_copy(update={"blocks": 10_000}))
    with refused(CheckpointError, "my file lacks tensor 'body.1.conv1.weight'"):
        build(larger, tensors, Never(), "my file")
    wider = dataclasses.replace(model.header, network=model.header.network.model_copy(update={"channels": 16_384}))
    with refused(CheckpointError, "my file: tensor 'head.weight' has shape (3, 4, 3, 3, 3)", "(3, 16384, 3, 3, 3)"):
        build(wider, tensors, Never(), "my file")


# --- what a backend is


def test_a_mode_never_changes(backend, refused):
    """Another mode is another backend, and a model in another mode another model."""
    name = backend.modes[-1]
    for one in (backend, get_runtime("onnx", "cpu")):
        for change in ({"mode": one.modes[-1]}, {"device": "cpu"}):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(one, *next(iter(change.items())))
    other = backend.with_mode(name)
    assert type(other) is type(backend) and (other.mode, other.device) == (name, backend.device)
    assert other == get_framework(backend.name, backend.device, name) and backend == backend.with_mode(backend.mode)
    with refused(BackendError, f"backend '{backend.name}' has no mode 'fast'"):
        backend.with_mode("fast")


def test_a_model_in_another_mode(weights_file, backend):
    model = load(weights_file, backend)
    other = model.with_mode(backend.modes[-1])
    assert model.backend is backend and other.backend.mode == backend.modes[-1]
    assert other.network is model.network and other.header is model.header
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.backend = other.backend


def test_no_framework_that_only_runs(weights_file, refused):
    for attempt in (lambda: get_framework("onnx"), lambda: load(weights_file, "onnx")):
        with refused(BackendError, "backend 'onnx' only runs exported files", "tunable export"):
            attempt()
    with refused(BackendError, "backend 'onnx' only runs exported files"):
        load(weights_file, get_runtime("onnx"))


def test_an_opener_is_for_exported_files():
    with pytest.raises(
        BackendError, match=r"^a\.safetensors is no exported file: its suffix must be one of \.onnx, \.mindir$"
    ):
        get_opener("a.safetensors")
