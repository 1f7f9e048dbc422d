"""Networks of one's own in both twins: from the class that a recipe names to files that every verb takes."""

import importlib

import numpy as np
import pytest

from tunable.backends.model import load
from tunable.errors import CheckpointError, RecipeError, TunableError
from tunable.exports.judging import checked_export
from tunable.own import permitted
from tunable.specs.recipe import parse
from tunable.training.loop import train
from tunable.weights import storage

SOURCES = {
    "torch": """from torch import nn
from tunable.torch import TunableConv2d as Tunable
def conv(a, b):
    return nn.Conv2d(a, b, 3, padding=1)
class Net(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.body = nn.Sequential(conv(3, channels), nn.BatchNorm2d(channels), nn.ReLU(), conv(channels, 3))
    def forward(self, x):
        return x + self.body(x)
class Aware(nn.Module):
    def __init__(self, num_objectives=0):
        super().__init__()
        p = num_objectives
        self.knob = Tunable(3, 3, 3, padding=1, num_objectives=p) if p else conv(3, 3)
    def forward(self, x, omega=None):
        return x + (self.knob(x) if omega is None else self.knob(x, omega))
class Wrong(Net):
    def forward(self, x):
        return self.body(x)[:, :1]
""",
    "mindspore": """from mindspore import nn
from tunable.mindspore import TunableConv2d as Tunable
def conv(a, b):
    return nn.Conv2d(a, b, 3, pad_mode="pad", padding=1, has_bias=True)
class Net(nn.Cell):
    def __init__(self, channels=4):
        super().__init__()
        self.body = nn.SequentialCell(conv(3, channels), nn.BatchNorm2d(channels), nn.ReLU(), conv(channels, 3))
    def construct(self, x):
        return x + self.body(x)
class Aware(nn.Cell):
    def __init__(self, num_objectives=0):
        super().__init__()
        p = num_objectives
        self.knob = Tunable(3, 3, 3, padding=1, num_objectives=p) if p else conv(3, 3)
    def construct(self, x, omega=None):
        return x + (self.knob(x) if omega is None else self.knob(x, omega))
class Wrong(Net):
    def construct(self, x):
        return self.body(x)[:, :1]
""",
}


@pytest.fixture
def recipe_of(twin, tmp_path, monkeypatch):
    """recipe_of(name, **options): a recipe with a network of a module in the working directory."""
    monkeypatch.chdir(tmp_path)
    module = f"nets_{twin.name}_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(SOURCES[twin.name])
    return lambda name, **options: parse(
        {
            "task": "denoise",
            "network": {"import": {twin.name: f"{module}:{name}"}, **options},
            "objectives": [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise"}],
            "omega": {"per": "batch"},
            "data": {
                "train": "bundled",
                "patch": 8,
                "batch": 2,
                "degradation": [{"kind": "gaussian_noise", "sigma": 25}],
            },
            "optimizer": {"learning_rate": 0.1},
            "steps": 2,
        }
    )


def plain_like(twin, recipe):
    """The same network before it was made tunable."""
    plain = recipe.network.model_copy(update={"tunable": False})
    with permitted():
        return twin.module("backend").Backend("cpu").build(plain, 0)


@pytest.mark.parametrize("name", ["Net", "Aware"])
def test_from_a_recipe_to_files(twin, recipe_of, name, tmp_path, rng):
    """Trained, its file is refused without permission, and with it restores, folds and is exported as it was.

    MindSpore's graphs of `Net` compile in a process of their own. After some hundred other graphs in one process its
    compiler fails with an error of its own (func_graph->get_return() is null), so this one runs in PyNative mode.
    """
    mode = "pynative" if (twin.name, name) == ("mindspore", "Net") else None
    recipe, backend = recipe_of(name), twin.module("backend").Backend("cpu", mode)
    x = rng.uniform(size=(1, 3, 16, 16)).astype(np.float32)
    trained = train(recipe, backend, tmp_path / "run")
    path, omega = tmp_path / "run" / "model.safetensors", [0.3, 0.6]
    with pytest.raises(TunableError, match="is a program of its author's: --allow-import"):
        load(path, backend)
    model = load(path, backend, allow_import=True)
    restored = model.run(x, omega)
    load_network = importlib.import_module(f"tunable.{twin.name}").load_network
    with pytest.raises(TunableError, match="in Python, allow_import=True"):
        load_network(path, "cpu")
    network = load_network(path, "cpu", allow_import=True)
    np.testing.assert_array_equal(twin.array(network(*twin.tensors([x, np.float32(omega)]))), restored)
    np.testing.assert_array_equal(restored, trained.run(x, omega))
    assert np.abs(restored - model.run(x, [1, 0])).max() > 1e-4, "no knob"
    tensors, header = storage.load(path)
    assert header.network == recipe.network and header.objectives == ("fidelity", "noise")
    folded = model.fold(omega)
    np.testing.assert_allclose(folded.run(x), restored, atol=1e-5)
    folded.save(tmp_path / "plain.safetensors")
    again = load(tmp_path / "plain.safetensors", backend, allow_import=True)
    np.testing.assert_array_equal(again.run(x), folded.run(x))
    format = backend.formats[-1]
    report = checked_export(model, format, tmp_path / f"out.{format}", None)
    assert report.errors and not report.faults
    del tensors[next(iter(tensors))]
    storage.save(path, tensors, header)
    with pytest.raises(CheckpointError, match="lacks tensor"):
        load(path, backend, allow_import=True)


def test_it_begins_as_the_class_made_it(twin, recipe_of, rng):
    """At every omega; and a second time it is the same."""
    recipe, backend = recipe_of("Net", channels=5), twin.module("backend").Backend("cpu")
    x = rng.uniform(size=(2, 3, 9, 11)).astype(np.float32)
    with permitted():
        first, second = (backend.build(recipe.network, 2) for _ in range(2))
    made = [backend.run(network, x, np.float32([0.2, 0.9])) for network in (first, second)]
    np.testing.assert_array_equal(*made)
    np.testing.assert_allclose(made[0], backend.run(plain_like(twin, recipe), x, None), atol=1e-6)


def test_another_output_is_refused(twin, recipe_of, tmp_path):
    """Before anything is written; a picture of one channel would have been compared with three."""
    with pytest.raises(TunableError, match="returns shape .1, 1, 8, 8. of pictures .1, 3, 8, 8., not .1, 3, 8, 8."):
        train(recipe_of("Wrong"), twin.module("backend").Backend("cpu"), tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.yaml").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": {"last": 1}}, "where: {last: N} is for networks of this package"),
        ({"differences": "scale"}, "differences of a network of one's own are full"),
        ({"upscale": 0}, "network.upscale"),
        ({"import": "nets"}, "network.import"),
    ],
)
def test_refused_options(twin, recipe_of, options, message):
    with pytest.raises(RecipeError, match=message):
        recipe_of("Net", **options)
