"""Parts of one's own: what a recipe may name, what is imported and when, and whose fault an error is."""

import json
import sys

import numpy as np
import pytest
from fake import Numpy
from pydantic import TypeAdapter

from tunable.data.degradations import Degradation, degrade, margin_of
from tunable.data.patches import Batches
from tunable.errors import RecipeError, TunableError
from tunable.own import permitted
from tunable.specs.recipe import parse
from tunable.specs.samplers import Sampler
from tunable.trained import parts_of
from tunable.training.loop import train
from tunable.weights import retrofitted
from tunable.weights.retrofitted import Plan
from tunable.weights.storage import Header

PARTS = """import numpy as np

class Shift:
    reach = 3

    def __init__(self, by=0.25):
        self.by = by

    def apply(self, pictures, rng):
        return pictures + self.by * rng.uniform(size=(len(pictures), 1, 1, 1))

class Half:
    def draw(self, rng, n, p, batch):
        return np.full((n, p), 0.5)

class Broken:
    def apply(self, pictures, rng):
        return pictures[:, 7]

    def draw(self, rng, n, p, batch):
        return 1 / 0

class Cropped:
    def apply(self, pictures, rng):
        return pictures[:, :, 1:]

    def draw(self, rng, n, p, batch):
        return np.full((n, p), 1.5)

value = 3
"""


@pytest.fixture
def parts(here, tmp_path, monkeypatch):
    """A module in the working directory, with a name that no test has imported before."""
    name = f"parts_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(PARTS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def step_of(reference, **options):
    return TypeAdapter(Degradation).validate_python({"import": reference, **options})


def test_a_degradation(parts, rng):
    """It is applied in its place, with its arguments, and patches are cut with what it reaches around them."""
    pictures = rng.uniform(size=(2, 3, 4, 4)).astype(np.float32)
    pipeline = [step_of(f"{parts}:Shift", by=0.5)]
    nested = TypeAdapter(Degradation).validate_python(
        {"kind": "sometimes", "probability": 1, "step": {"import": f"{parts}:Shift", "by": 0.5}}
    )
    with permitted():
        degraded, _ = degrade(pictures, pipeline, np.random.default_rng(0))
        assert margin_of(pipeline) == margin_of([nested]) == 3
    amounts = 0.5 * np.random.default_rng(0).uniform(size=(2, 1, 1, 1))
    np.testing.assert_allclose(degraded, pictures + amounts, rtol=1e-6)
    assert degraded.dtype == np.float32


def test_a_degradation_in_a_process(recipe_of, parts):
    """It is imported there, where the training permits it."""
    with permitted():
        batches = Batches(recipe_of(data={"degradation": [{"import": f"{parts}:Shift"}], "processes": True}))
        (batch,) = batches.stream(0, 1)
        np.testing.assert_array_equal(batch.sample["degraded"], batches[0].sample["degraded"])
    assert not np.array_equal(batch.sample["degraded"], batch.sample["clean"])


def test_a_run(recipe_of, parts, tmp_path):
    """Training a recipe permits what it names; the weights know the parts, and nobody knows where omega was."""
    recipe = recipe_of(
        data={"degradation": [{"import": f"{parts}:Shift"}]}, omega={"sampler": {"import": f"{parts}:Half"}}
    )
    assert parse(recipe.to_dict()) == recipe
    backend = Numpy()
    model = train(recipe, backend, tmp_path / "run")
    for batch, _ in backend.received:
        np.testing.assert_array_equal(batch.omega, np.full((3, 2), 0.5, np.float32))
    assert Header.of(recipe) == model.header and model.header.trained is None
    mixture = {"kind": "mixture", "weights": [1, 1], "of": ["corners", {"import": f"{parts}:Half"}]}
    assert parts_of(recipe_of(omega={"sampler": mixture}).omega.sampler) is None
    assert recipe_of(omega={"sampler": mixture}).omega.sampler.of[1].reference == f"{parts}:Half"


def test_nothing_is_imported_before_it_is_permitted(recipe_of, refused, here, tmp_path):
    """Neither by reading a recipe nor by anything but training it."""
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    recipe = recipe_of(data={"degradation": [{"import": "trap:Fog"}]}, omega={"sampler": {"import": "trap:Draws"}})
    header = Header.of(recipe)
    assert Header.from_metadata(header.to_metadata(), "file") == header
    with refused(TunableError, "trap:", "is a program of its author's: --allow-import"):
        Batches(recipe)
    assert "trap" not in sys.modules


@pytest.mark.parametrize(
    ("source", "name", "fragments"),
    [
        (PARTS, "Shift", ["unexpected keyword argument 'wrong'"]),
        (PARTS, "Nothing", ["parts.py has no Nothing"]),
        (PARTS, "value", ["parts.py has, but not as a class, value"]),
        (PARTS, "Half", ["has no method apply", "docs/own_parts.md"]),
        (PARTS + "x = 1 / 0\n", "Shift", ["parts.py:31: ZeroDivisionError"]),
        ("import numpy\nx = (\n", "Shift", ["parts.py:2: SyntaxError"]),
        ("\nimport no_such_library\n", "Shift", ["parts.py:2: ModuleNotFoundError: No module named 'no_such_library'"]),
        (None, "Shift", ["there is no module", "parts, neither in", "nor installed"]),
    ],
)
def test_a_class_that_cannot_be_made(source, name, fragments, here, tmp_path, monkeypatch, refused):
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = f"m_{abs(hash((source, name)))}_parts"
    if source:
        (tmp_path / f"{module}.py").write_text(source)
    options = {"wrong": 1} if name == "Shift" and source == PARTS else {}
    with permitted(), refused(TunableError, f"degradation {module}:{name}", *fragments):
        margin_of([step_of(f"{module}:{name}", **options)])


def test_an_error_while_it_runs(parts, refused):
    """It names the file and the line that failed; so does what is no degraded picture, and no omega."""
    pictures, rng = np.zeros((2, 3, 4, 4), np.float32), np.random.default_rng(0)
    draw = {
        name: TypeAdapter(Sampler).validate_python({"kind": "import", "import": f"{parts}:{name}"}).draw
        for name in ("Broken", "Cropped")
    }
    with permitted():
        with refused(TunableError, f"degradation {parts}:Broken: {parts}.py:18: IndexError: index 7 is out of bounds"):
            degrade(pictures, [step_of(f"{parts}:Broken")], rng)
        with refused(TunableError, "Cropped returned float32 of shape (2, 3, 3, 4)", "shape (2, 3, 4, 4) are wanted"):
            degrade(pictures, [step_of(f"{parts}:Cropped")], rng)
        with refused(TunableError, f"sampler {parts}:Broken: {parts}.py:21: ZeroDivisionError: division by zero"):
            draw["Broken"](rng, 2, 2)
        with refused(TunableError, "Cropped drew omega of shape (2, 2), from 1.5 to 1.5", "values from 0 to 1"):
            draw["Cropped"](rng, 2, 2)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"omega": {"sampler": {"import": "a"}}}, "omega.sampler.import: import wants module:Name, such as"),
        ({"omega": {"sampler": {"import": "a:b.c"}}}, "omega.sampler.import: import wants module:Name"),
        ({"omega": {"sampler": {"import": "../a:b"}}}, "not '../a:b'"),
        ({"omega": {"sampler": {"import": 3}}}, "omega.sampler.import: Input should be a valid string"),
        ({"omega": {"sampler": {"kind": "beta", "import": "a:b"}}}, "unknown key 'import'"),
        ({"omega": {"sampler": {"kind": "import"}}}, "omega.sampler.import: is missing"),
        ({"objectives": [{"name": "a", "import": {"tensorflow": "a:b"}}]}, "one for each framework (torch, mindspore)"),
        ({"objectives": [{"import": "a:b"}]}, "objectives.0.name: is missing"),
    ],
)
def test_refused_before_anything_is_imported(make_recipe, refused, sections, message):
    with refused(RecipeError, message):
        make_recipe(**sections)


def test_info_of_a_network_made_tunable(tunable, tmp_path):
    """Its file does not name the network's class, and says how it was made."""
    plan = Plan(num_objectives=2, phi="base", tensors={"body.0.weight": "body.0.weight"})
    retrofitted.save(tmp_path / "knobs.safetensors", {"body.0.weight": np.zeros((3, 4, 5), np.float32)}, plan, "")
    status, out, _ = tunable("info", tmp_path / "knobs.safetensors")
    assert status == 0 and "made tunable by make_tunable" in out and "60 in 1 tensors" in out and "body.0.weight" in out
    status, out, _ = tunable("info", "--json", tmp_path / "knobs.safetensors")
    assert status == 0 and json.loads(out)["num_objectives"] == 2
