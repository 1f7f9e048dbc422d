"""A new kind of objective is three files, which are found: its keys and its value in float64, and a class in each twin.

The one here, `edge`, is the L1 distance of Sobel gradients.
"""

import importlib
import sys

import numpy as np
import pytest

from parity_tests.recipes import make_recipe
from parity_tests.test_objectives import OBJECTIVES, cases_of, check_loss, draw
from parity_tests.test_training import RATE, start
from tunable import objectives, oracle
from tunable.data.patches import Batches
from tunable.errors import RecipeError, TunableError
from tunable.specs import recipe as recipes
from tunable.tolerances import TOLERANCES, relative_error

_SOBEL = """
    smooth = d[:, :, :-2] + 2 * d[:, :, 1:-1] + d[:, :, 2:]
    across = d[:, :, :, :-2] + 2 * d[:, :, :, 1:-1] + d[:, :, :, 2:]
    return smooth[:, :, :, 2:] - smooth[:, :, :, :-2], across[:, :, 2:] - across[:, :, :-2]
"""
FILES = {
    "tunable": f'''
from typing import Literal
import numpy as np
from pydantic import Field
from tunable.objectives.base import Objective
from tunable.objectives.distances import mean_of

def sobel(d):{_SOBEL}
class Edge(Objective):
    """Distance of the gradients."""
    kind: Literal["edge"]
    gain: float = Field(default=0.7, ge=0)

    @property
    def least(self):
        return 3

    def value(self, restored, sample, knob, *below):
        return self.gain * sum(mean_of(np.abs(one)) for one in sobel(restored - sample["clean"]))
''',
    "torch_impl": f"""
from torch import nn

def sobel(d):{_SOBEL}
class Edge(nn.Module):
    def __init__(self, *, gain):
        super().__init__()
        self.gain = gain

    def forward(self, restored, sample, omega):
        down, right = sobel(restored - sample["clean"].detach())
        return self.gain * (down.abs().mean((1, 2, 3)) + right.abs().mean((1, 2, 3)))
""",
    "mindspore_impl": f"""
from mindspore import nn, ops

def sobel(d):{_SOBEL}
class Edge(nn.Cell):
    def __init__(self, *, gain):
        super().__init__()
        self.gain = gain

    def construct(self, restored, sample, omega):
        down, right = sobel(restored - ops.stop_gradient(sample["clean"]))
        return self.gain * (down.abs().mean((1, 2, 3)) + right.abs().mean((1, 2, 3)))
""",
}
LIMIT = TOLERANCES["loss"].limit


@pytest.fixture
def edge(twin, tmp_path, monkeypatch):
    """The kinds that are found with `edge` among them, and recipes that take them."""
    packages = {package: f"{package}.objectives" for package in ("tunable", twin.impl.__name__)}
    for package, name in packages.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / "edge.py").write_text(FILES[package])
        module = importlib.import_module(name)
        monkeypatch.setattr(module, "__path__", [*module.__path__, str(tmp_path / package)])
    kinds = objectives.found()
    wider = {"__annotations__": {"objectives": list[objectives.one_of(kinds)]}, "__module__": __name__}
    monkeypatch.setattr(recipes, "Recipe", type("Wider", (recipes.Recipe,), wider))
    yield kinds
    for name in packages.values():
        for file in ("edge", "again"):
            sys.modules.pop(f"{name}.{file}", None)


def test_two_kinds_of_one_word(edge, tmp_path):
    (tmp_path / "tunable" / "again.py").write_text(FILES["tunable"])
    with pytest.raises(TunableError, match="Edge and Edge are both objectives of kind 'edge'"):
        objectives.found()


def test_three_files_are_an_objective(twin, edge, rng):
    """Its keys are checked, its value and gradient compared, and it trains."""
    assert cases_of(edge) == {"edge": [{"kind": "edge", "weight": 1.3}, {"kind": "rec"}]}
    named = [{"name": "lines", "kind": "edge", "weight": 1.3, "gain": 0.4}, {"name": "fidelity", "kind": "rec"}]
    recipe = make_recipe(objectives=named)
    assert recipe.to_dict()["objectives"][0] == named[0]
    loss = twin.module("objectives").make_loss(recipe, next(iter(twin.parameters({"like": np.zeros(1)}).values())))
    check_loss(twin, recipe, loss, *draw(rng, (3, 3, 6, 5)), rng.uniform(size=(3, 2)))

    network, trainer = start(twin.backend, recipe)
    batch = Batches(recipe)[0]
    restored = twin.backend.run(network, batch.sample["degraded"], batch.omega)
    value, terms = oracle.multi_loss(recipe, restored, batch.sample, batch.omega)
    before = {name: array.copy() for name, array in twin.backend.parameters(network).items()}
    step = trainer.step(batch, RATE)
    assert relative_error(step[0], value) <= LIMIT and relative_error(step[1], terms) <= LIMIT
    assert any((twin.backend.parameters(network)[name] != array).any() for name, array in before.items())

    for change, said in (
        ({"gian": 1.0}, r"objectives.0: unknown key 'gian'.*gain"),
        ({"gain": -1.0}, r"objectives.0.gain: Input should be greater than or equal to 0, not -1.0"),
    ):
        with pytest.raises(RecipeError, match=said):
            make_recipe(objectives=[named[0] | change])
    with pytest.raises(RecipeError, match=r"unknown kind 'edges'.*'edge'"):
        make_recipe(objectives=[{"name": "lines", "kind": "edges"}])
    with pytest.raises(RecipeError, match="needs clean patches of at least 3 pixels, not 2"):
        make_recipe(objectives=named, data={"train": "bundled", "patch": 2})
    with pytest.raises(TunableError, match="objectives of kind 'edge' have no class elsewhere.edge.Edge"):
        objectives.counterpart(recipe.objectives[0], "elsewhere")


def test_every_kind_has_its_class_in_a_twin(twin):
    """And a case of its own, except one's own and those that look through networks (test_perceptual)."""
    for word, kind in objectives.KINDS.items():
        if word != "import":
            assert objectives.counterpart(kind.model_construct(), f"{twin.impl.__name__}.objectives")
    compared = {one["kind"] for case in OBJECTIVES.values() for one in case}
    assert compared | {"gan", "features", "style", "import"} == set(objectives.KINDS)
