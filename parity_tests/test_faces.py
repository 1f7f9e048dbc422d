"""What users import: `tunable`, `tunable.torch`, `tunable.mindspore`."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

import tunable
from tunable.errors import BackendError, CheckpointError
from tunable.images.pictures import read_levels, write
from tunable.parameters.starts import starting_weights
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights import storage
from tunable.weights.storage import Header


@pytest.fixture
def file(twin, make_recipe, tmp_path):
    """A weights file of a tiny tunable network."""
    header = Header.of(make_recipe())
    specs = twin.backend.specs(twin.backend.build(header.network, header.num_objectives))
    storage.save(tmp_path / "model.safetensors", starting_weights(specs, 0), header)
    return tmp_path / "model.safetensors"


def test_a_face_shows_its_twin(twin):
    """All that the twin shows, and the network of a file; both faces the same names."""
    face = importlib.import_module(f"tunable.{twin.name}")
    assert sorted(face.__all__) == sorted([*twin.impl.__all__, "load_network"])
    assert all(getattr(face, name) is getattr(twin.impl, name) for name in twin.impl.__all__)


def test_load_network(twin, file, rng):
    """The framework's own network: a parameter by name, and what `model.run` gives."""
    network = importlib.import_module(f"tunable.{twin.name}").load_network(file, "cpu")
    x, omega = rng.uniform(size=(2, 3, 8, 9)).astype(np.float32), np.float32([0.7, 0.3])
    (output,) = (twin.array(network(*twin.tensors([x, omega]))),)
    expected = tunable.load(file, backend=twin.name, device="cpu").run(x, omega)
    assert relative_error(output, expected) <= TOLERANCES["network"].limit
    assert relative_error(output, twin.array(network(*twin.tensors([x, omega[::-1].copy()])))) > 1e-4
    with pytest.raises(CheckpointError, match="no such weights file"):
        importlib.import_module(f"tunable.{twin.name}").load_network(file.with_name("none"))


def test_load_takes_the_first_framework(file, monkeypatch):
    monkeypatch.setenv("TUNABLE_BACKENDS", "nothing,torch")
    with pytest.raises(BackendError, match="unknown backend 'nothing'"):
        tunable.load(file)


@pytest.mark.thorough
def test_verbs_as_functions(twin, file, tmp_path, make_recipe, rng):
    """train, restore and export give what the command line gives: files that load, pictures of the right size."""
    model = tunable.load(file, twin.name, device="cpu")
    values = rng.uniform(size=(9, 12, 3)).astype(np.float32)
    write(tmp_path / "in.png", values)
    restored = tunable.restore(model, tmp_path / "in.png", [0.7, 0.3], out=tmp_path / "out.png")
    assert restored.dtype == np.uint8 and (read_levels(tmp_path / "out.png") == restored).all()
    levels = read_levels(tmp_path / "in.png")
    floats = tunable.restore(model, (levels / 255).astype(np.float32), [0.7, 0.3])
    assert np.abs(np.clip(floats, 0, 1) * 255 - restored).max() <= 0.5 + 1e-3
    trained = tunable.train(make_recipe(steps=1), tmp_path / "run", backend=twin.name)
    assert tunable.load(tmp_path / "run" / "model.safetensors", twin.name).objectives == trained.objectives
    report = tunable.export(model, tmp_path / "net.onnx", omega=[0.7, 0.3])
    assert report.worst <= TOLERANCES[report.limit].limit and (tmp_path / "net.onnx").is_file()
    rows = tunable.evaluate(model, tmp_path, np.float32([[1, 0]]), sigmas=[15], ssim=False)
    assert {row.picture for row in rows} == {"in.png", "out.png"}


def test_importing_tunable_imports_no_framework():
    program = (
        "import sys, tunable\n"
        "tunable.load, tunable.train, tunable.verify\n"
        "print([name for name in ('torch', 'mindspore') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
