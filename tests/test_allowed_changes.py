"""Changes of a recipe that a run goes on with when they are allowed by name: `--resume --allow-change`."""

import numpy as np
import pytest
from fake import Numpy, at, checkpoints_in, fail, names
from PIL import Image

from tunable.errors import CheckpointError, TunableError
from tunable.training.loop import train
from tunable.weights import storage
from tunable.weights.run_state import Counters, RunState


@pytest.mark.parametrize("key", ["optimizer.learning_rate", "optimizer"])
def test_a_change_that_is_allowed(key, recipe_of, tmp_path, whole, caplog):
    """From step 9 on half the rate: the log has it, the history tells it, and going on again needs no change."""
    out, recipe = tmp_path / "run", recipe_of(optimizer={"learning_rate": 0.005})
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(9, fail)), out)
    with pytest.raises(RuntimeError):
        train(recipe, Numpy(at(10, fail)), out, resume=True, allow_change=[key])
    for step in (8, 10):  # from the checkpoint of the old rate, and when the run is at its end
        train(recipe, Numpy(), out, resume=True, allow_change=[key])
        assert storage.load(out / "checkpoints" / names(10)[0])[1].history[1]["from"] == "9", step
    logs = [(folder / "metrics.csv").read_text().splitlines()[1:] for folder in (whole, out)]
    rates = [[float(row.split(",")[1]) for row in rows] for rows in logs]
    np.testing.assert_allclose(rates[1], [*rates[0][:8], *np.divide(rates[0][8:], 2)], rtol=1e-6)
    _, header = storage.load(out / "model.safetensors")
    changed = "optimizer.learning_rate was 0.01, now 0.005"
    assert [leg.get("changed") for leg in header.history] == [None, changed]
    assert f"from step 9 on, with other values: {changed}" in caplog.messages


def test_other_pictures_that_are_allowed(recipe_of, folder, tmp_path):
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(7, fail)), tmp_path / "run")
    Image.new("RGB", (20, 24)).save(folder / "c.png")
    train(recipe_of(), Numpy(), tmp_path / "run", resume=True, allow_change=["data.train", "data.validate"])
    (_, leg) = storage.load(tmp_path / "run" / "model.safetensors")[1].history
    assert leg["changed"] == "data.train: c.png added; data.validate: c.png added"


@pytest.mark.parametrize(
    ("key", "changes", "fragments"),
    [
        ("optimizer.lr", {}, ["--allow-change 'optimizer.lr'", "the recipe has no such key"]),
        ("optimiser", {}, ["no such key (did you mean 'optimizer'?)"]),
        ("seed", {}, ["--allow-change seed: it has not changed from 0; --set seed=... changes it"]),
        ("seed", {"optimizer": {"learning_rate": 1}}, ["was 0.01, now 1", "--allow-change optimizer.learning_rate"]),
        ("optimizer", {"optimizer": {"kind": "sgd", "learning_rate": 0.01, "momentum": 0.5}}, ["no run can go on"]),
        ("steps", {"steps": 9}, ["step 10, beyond the recipe's 9"]),
    ],
)
def test_a_change_that_cannot_be_allowed(key, changes, fragments, recipe_of, whole, refused):
    files = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    backend = Numpy()
    if "momentum" in str(changes):
        backend.state = lambda: {"momentum.gain": backend.momentum}
    with refused(CheckpointError, *fragments):
        train(recipe_of(**changes), backend, whole, resume=True, allow_change=[key])
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == files


def test_a_change_without_going_on(recipe_of, tmp_path, refused):
    with refused(TunableError, "--resume is missing"):
        train(recipe_of(), Numpy(), tmp_path / "run", allow_change=["seed"])
    with refused(CheckpointError, "no such key"):
        train(recipe_of(), Numpy(), tmp_path / "run", resume=True, allow_change=["sed"])
    assert not (tmp_path / "run").exists() or not checkpoints_in(tmp_path / "run")


def test_more_steps_that_are_allowed(recipe_of, whole):
    train(recipe_of(steps=12), Numpy(), whole, resume=True, allow_change=["steps"])
    assert checkpoints_in(whole)[-1:] == names(12)


@pytest.mark.parametrize("key", ["schedule", "schedule.final"])
def test_a_key_that_the_recipe_no_longer_has(key, recipe_of, whole, refused):
    """What a message advises is taken: a cosine schedule has a `final`, and a constant one has none."""
    constant = recipe_of(schedule={"kind": "constant"}, steps=12)
    with refused(CheckpointError, "--allow-change schedule.final"):
        train(constant, Numpy(), whole, resume=True, allow_change=["schedule.kind"])
    train(constant, Numpy(), whole, resume=True, allow_change=["schedule.kind", key])
    assert checkpoints_in(whole)[-1:] == names(12)


def test_losses_are_judged_anew_after_a_change(recipe_of, tmp_path):
    """A seed makes other losses: what would have diverged goes on, and the count of skipped steps stays."""
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(lambda step: fail() if step == 9 else float("nan") if step == 3 else 1.0), tmp_path)
    train(recipe_of(seed=1), Numpy(lambda step: 1e5), tmp_path, resume=True, allow_change=["seed"])
    state = RunState.of(storage.load_tensors(tmp_path / "checkpoints" / names(10)[0])[1], "")
    assert state.loss == 1e5 and state.counters == Counters(skipped=1, losses=[1e5, 1e5])
