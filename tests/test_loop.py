"""The training loop and its files, over a trainer in numpy (no framework is needed here)."""

import os
import shutil
import signal

import numpy as np
import pytest
from fake import SPECS, Numpy, assert_same_run, at, checkpoints_in, fail, names, press
from prepared import cut

from tunable.data.degradations import protocol_noise
from tunable.data.patches import Batches
from tunable.errors import CheckFailed, CheckpointError, DataError, RecipeError
from tunable.parameters.starts import Initial, starting_weights
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import parse
from tunable.training import interrupts, loop
from tunable.training.checkpoints import Checkpoints
from tunable.training.interrupts import Stopped
from tunable.training.loop import train
from tunable.weights import storage
from tunable.weights.storage import Header

# --- what a run leaves


def test_files(recipe_of, tmp_path):
    recipe = recipe_of()
    model = train(recipe, Numpy(), tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == [
        "checkpoints", "environment.json", "events", "inputs.json", "log.txt", "metrics.csv", "model.safetensors",
        "recipe.yaml", "validation.csv",
    ]  # fmt: skip
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == recipe
    tensors, header = storage.load(tmp_path / "run" / "model.safetensors")
    assert header == model.header == Header.of(recipe)
    np.testing.assert_array_equal(tensors["gain"], model.network["gain"])
    (events,) = (tmp_path / "run" / "events").iterdir()
    assert b"validation/psnr_1_0" in events.read_bytes() and b"learning_rate" in events.read_bytes()


def test_batches_and_learning_rates(recipe_of, tmp_path):
    recipe, backend, seen = recipe_of(steps=4), Numpy(), []
    train(recipe, backend, tmp_path, progress=lambda *values: seen.append(values))
    for index, (batch, _) in enumerate(backend.received):
        expected = Batches(recipe)[index]
        assert batch.index == index
        np.testing.assert_array_equal(batch.sample["degraded"], expected.sample["degraded"])
        np.testing.assert_array_equal(batch.omega, expected.omega)
    half_cosine = [1, (1 + np.sqrt(0.5)) / 2, 0.5, (1 - np.sqrt(0.5)) / 2]
    np.testing.assert_allclose([rate for _, rate in backend.received], np.multiply(0.01, half_cosine), rtol=1e-12)
    assert seen == [(1, 4, 1), (2, 4, 1 / 2), (3, 4, 1 / 3), (4, 4, 1 / 4)]


def test_starting_weights(recipe_of, tmp_path):
    """The weights are drawn from the seed by the recipe's options, or come from a file."""
    specs = [SPECS[0]._replace(phi="base")]
    options = [{}, {"start": "paper"}, {"weights": str(tmp_path / "given.safetensors")}]
    expected = [starting_weights(specs, 7, Initial(**one))["gain"] for one in options[:2]]
    seen = []
    for initial in options:
        backend = Numpy()
        backend.specs = lambda network: specs
        backend.fault = lambda step, backend=backend: seen.append(float(backend.network["gain"][0]))
        recipe = recipe_of(steps=1, seed=7, initial=initial)
        if "weights" in initial:
            storage.save(tmp_path / "given.safetensors", {"gain": np.float32([3])}, Header.of(recipe))
        train(recipe, backend, tmp_path / str(len(seen)))
    assert seen == [*np.ravel(expected).tolist(), 3] and len(set(seen)) == 3


def test_log(recipe_of, tmp_path):
    train(recipe_of(steps=3, schedule={"kind": "multistep", "milestones": [2], "gamma": 0.5}), Numpy(), tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == (
        "step,learning_rate,loss,fidelity,noise\n1,0.01,1,1,2\n2,0.01,0.5,2,4\n3,0.005,0.333333333,3,6\n"
    )


def test_validation(recipe_of, tmp_path):
    """Every checkpoint measures the weights of that moment: here the noise plus the network's gain."""
    train(recipe_of(), Numpy(), tmp_path)
    rows = (tmp_path / "validation.csv").read_text().splitlines()
    assert rows[0] == "step,psnr_1_0,psnr_0_1,ssim_1_0,ssim_0_1,score"
    assert [row.split(",")[0] for row in rows[1:]] == ["4", "8", "10"]
    for row in rows[2:]:  # the checkpoint of step 4 was dropped
        step, *values = row.split(",")[:3]
        (gain,) = storage.load_tensors(tmp_path / "checkpoints" / names(int(step))[0])[0]["weights.gain"]
        errors = [np.mean((protocol_noise(20, 24, index) * 15 / 255 + float(gain)) ** 2) for index in (0, 1)]
        np.testing.assert_allclose([float(value) for value in values], np.mean(-10 * np.log10(errors)), atol=1e-3)
    assert rows[2].split(",")[1] != rows[3].split(",")[1]


def test_records_reach_the_disk_with_the_checkpoint(recipe_of, tmp_path):
    """Whatever kills the process after a checkpoint, the rows up to it are there."""

    def look():
        rows = {name: (tmp_path / name).read_text().splitlines() for name in ("metrics.csv", "validation.csv")}
        assert [row.split(",")[0] for row in rows["metrics.csv"]] == ["step", "1", "2", "3", "4"]
        assert [row.split(",")[0] for row in rows["validation.csv"]] == ["step", "4"]
        seen.append(rows)

    seen = []
    train(recipe_of(), Numpy(at(5, look)), tmp_path)
    assert seen


def test_what_of_the_folders_is_used_is_said(recipe_of, folder, tmp_path, caplog):
    """And a run from before `data.recursive` and `validation` goes on as it was."""
    (folder / "more").mkdir()
    shutil.copy(folder / "a.png", folder / "more" / "c.png")
    (folder / "notes.txt").touch()
    caplog.set_level("INFO")
    train(recipe_of(steps=2, every=2), Numpy(), tmp_path / "run")
    used = f"{folder}: 2 pictures; left out: 1 in sub-folders (more/c.png), 1 of other kinds (notes.txt)"
    how = "; measured: all, central 256x256 pixels, noise of 15/255"
    assert f"training: {used}" in caplog.messages and f"validation: {used}{how}" in caplog.messages
    recipe = recipe_of(steps=2, every=2, data={"recursive": True}, validation={"pictures": 1, "size": 8, "sigma": 5})
    train(recipe, Numpy(), tmp_path / "all")
    whole = f"{folder}: 3 pictures; left out: 1 of other kinds (notes.txt)"
    how = "; measured: the first 1, central 8x8 pixels, noise of 5/255"
    assert f"training: {whole}" in caplog.messages and f"validation: {whole}{how}" in caplog.messages
    old = recipe_of(steps=3, every=2).to_dict()
    del old["validation"], old["data"]["recursive"]
    assert parse(old) == recipe_of(steps=3, every=2)


def test_without_validation_there_is_no_table(recipe_of, tmp_path):
    train(recipe_of(data={"validate": []}), Numpy(), tmp_path)
    assert not (tmp_path / "validation.csv").exists()


@pytest.mark.parametrize(("keep", "expected"), [(1, (10,)), (2, (8, 10)), (3, (4, 8, 10)), (9, (4, 8, 10))])
def test_rotation(keep, expected, recipe_of, tmp_path):
    train(recipe_of(keep=keep), Numpy(), tmp_path)
    assert checkpoints_in(tmp_path) == names(*expected)


# --- going on


@pytest.mark.parametrize(
    ("act", "step", "kind", "kept"),
    [
        (fail, 7, RuntimeError, 4),  # rows 5 and 6 of the log are dropped
        (fail, 3, RuntimeError, 0),  # before the first checkpoint
        (press, 7, KeyboardInterrupt, 7),
        (press, 8, KeyboardInterrupt, 8),
        (press, 10, KeyboardInterrupt, 10),  # after the last step: only the model is missing
    ],
)
def test_resumed_is_the_same_run(act, step, kind, kept, recipe_of, tmp_path, whole):
    out = tmp_path / "run"
    with pytest.raises(kind):
        train(recipe_of(), Numpy(at(step, act)), out)
    assert (Checkpoints(out).newest_step() or 0) == kept and not (out / "model.safetensors").exists()
    backend = Numpy()
    train(recipe_of(), backend, out, resume=True)
    assert [batch.index for batch, _ in backend.received] == list(range(kept, 10))
    assert_same_run(out, whole)


def test_a_cut_log_row_is_dropped(recipe_of, tmp_path, whole):
    """A kill may cut the log anywhere: step 50 then reads 5."""
    out = tmp_path / "run"
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(7, fail)), out)
    with open(out / "metrics.csv", "a") as log:
        log.write("3")
    train(recipe_of(), Numpy(), out, resume=True)
    assert_same_run(out, whole)


@pytest.mark.parametrize("name", ["metrics.csv", "validation.csv"])
def test_a_row_cut_within_its_last_number_is_dropped(name, recipe_of, tmp_path, whole):
    """It has all its columns: only the missing end of line tells."""
    out = tmp_path / "run"
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(9, fail)), out)
    rows = (out / name).read_text()
    assert rows.splitlines()[-1].startswith("8,")
    (out / name).write_text(rows[:-3])
    train(recipe_of(), Numpy(), out, resume=True)
    assert (out / "validation.csv").read_text() == (whole / "validation.csv").read_text()  # made up for
    expected = (whole / "metrics.csv").read_text().splitlines(keepends=True)
    if name == "metrics.csv":
        expected = [row for row in expected if not row.startswith("8,")]
    assert (out / "metrics.csv").read_text() == "".join(expected)


def test_resuming_a_finished_run_only_writes_the_model(recipe_of, tmp_path, whole):
    out = shutil.copytree(whole, tmp_path / "run")
    (out / "model.safetensors").unlink()
    backend = Numpy()
    train(recipe_of(), backend, out, resume=True)
    assert backend.received == []
    assert_same_run(out, whole)


def test_resuming_where_there_is_nothing_starts(recipe_of, tmp_path, whole):
    train(recipe_of(), Numpy(), tmp_path / "new", resume=True)
    assert_same_run(tmp_path / "new", whole)


# --- stopping


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
@pytest.mark.parametrize(("step", "kept", "says"), [(6, (4,), names(4)[0]), (2, (), "no checkpoint was written")])
def test_a_loss_that_is_not_finite(loss, step, kept, says, recipe_of, tmp_path, refused):
    with refused(CheckFailed, f"step {step} was skipped", f"(the last loss is {loss})", says):
        train(recipe_of(guard={"skip": 1}), Numpy(at(step, lambda: loss)), tmp_path)
    assert checkpoints_in(tmp_path) == names(*kept) and not (tmp_path / "model.safetensors").exists()


def test_weights_that_are_not_finite_are_not_kept(recipe_of, tmp_path, refused):
    """The loss of a step is from before it: at step 8 it is still finite."""
    backend = Numpy()
    backend.fault = at(8, lambda: backend.network["gain"].fill(np.nan))
    with refused(CheckFailed, "weights.gain is not finite after step 8", names(4)[0]):
        train(recipe_of(keep=1), backend, tmp_path)
    assert checkpoints_in(tmp_path) == names(4)


def test_a_second_interrupt_acts_at_once(recipe_of, tmp_path, monkeypatch):
    monkeypatch.setattr(interrupts, "TOGETHER", 0)  # as if more than a second lay between them
    with pytest.raises(KeyboardInterrupt):
        train(recipe_of(), Numpy(at(6, lambda: (press(), press()))), tmp_path)
    assert checkpoints_in(tmp_path) == names(4)  # step 6 is half done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_checkpoint_that_is_asked_for(recipe_of, tmp_path, whole, caplog):
    """The run goes on, and is the same; so is one from there."""
    caplog.set_level("INFO")
    backend = Numpy(lambda step: {6: lambda: signal.raise_signal(signal.SIGUSR1), 7: fail}.get(step, lambda: None)())
    with pytest.raises(RuntimeError):
        train(recipe_of(), backend, tmp_path / "run")
    assert checkpoints_in(tmp_path / "run") == names(4, 6)
    assert "wrote the checkpoint of step 6, as SIGUSR1 asks, and go on" in caplog.messages
    train(recipe_of(), Numpy(), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_an_interrupt_while_a_checkpoint_is_written_leaves_it_whole(recipe_of, tmp_path, whole, monkeypatch):
    """However often one presses, and without the validation that would follow."""
    monkeypatch.setattr(interrupts, "TOGETHER", 0)
    with monkeypatch.context() as patch:
        serialised = storage.serialised
        patch.setattr(storage, "serialised", lambda *args: (press(), press(), serialised(*args))[-1])
        with pytest.raises(Stopped) as stopped:
            train(recipe_of(), Numpy(), tmp_path / "run")
    assert stopped.value.number == signal.SIGINT
    assert checkpoints_in(tmp_path / "run") == names(4) and not (tmp_path / "run" / "validation.csv").exists()
    train(recipe_of(), Numpy(), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("step", [4, 8, 10])
def test_a_validation_that_did_not_happen_is_made_up_for(step, recipe_of, tmp_path, whole, monkeypatch):
    """A run that stops between its checkpoint and the validation of that step is the same run when it goes on."""
    calls = iter(range(4, 20, 4))

    def validate(*args, **options):
        if min(next(calls), 10) == step:
            fail()
        return real(*args)

    real = loop.validate
    monkeypatch.setattr(loop, "validate", validate)
    with pytest.raises(RuntimeError, match="power cut"):
        train(recipe_of(), Numpy(), tmp_path / "run")
    monkeypatch.setattr(loop, "validate", real)
    train(recipe_of(), Numpy(), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_given_weights_are_read_first(recipe_of, folder, tmp_path, refused):
    """What a recipe names besides pictures is found wanting before any of them is decoded."""
    (tmp_path / "given.safetensors").write_text("hello, this is text")
    cut(folder / "b.png")

    class Idle(Numpy):
        def build(self, spec, num_objectives):
            fail()

    with refused(CheckpointError, "given.safetensors", "not a readable safetensors file"):
        train(recipe_of(initial={"weights": str(tmp_path / "given.safetensors")}), Idle(), tmp_path / "run")
    style = {"name": "style", "kind": "style", "image": str(folder / "b.png")}
    style = {"objectives": [style], "vgg": {"seed": 0, "width": 1}, "task": "style_transfer"}
    with refused(DataError, "b.png", "truncated"):
        train(recipe_of(data={"patch": 16}, **style), Idle(), tmp_path / "run")
    vgg = {**style, "vgg": {"weights": str(tmp_path / "given.safetensors")}}
    with refused(RecipeError, "vgg.weights", "given.safetensors"):
        train(recipe_of(data={"patch": 16}, **vgg), Idle(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Averaging(Numpy):
    """Keeps half of the gain as its average."""

    def state(self):
        return {**super().state(), "average.gain": self.network["gain"] / 2}

    def load_state(self, state):
        super().load_state({"first.gain": state["first.gain"]})


def test_averages_are_validated_saved_and_read(recipe_of, tmp_path, monkeypatch):
    """Half of every gain: in validation, in the result, and in a checkpoint that is read for its weights."""
    seen = []
    monkeypatch.setattr(loop, "validate", lambda model, *_, **__: seen.append(model.network["gain"].item()) or {})
    recipe = recipe_of(optimizer={"kind": "adam", "average": 0.9})
    model = train(recipe, Averaging(), tmp_path)
    last, result = (storage.load(tmp_path / f"model{name}.safetensors")[0]["gain"] for name in ("_last", ""))
    assert last != 0 and result == last / 2 == model.network["gain"]
    (*_, newest) = sorted((tmp_path / "checkpoints").iterdir())
    assert storage.load(newest)[0] == {"gain": result} and storage.load_tensors(newest)[0]["weights.gain"] == last
    assert seen[-1] == result and len(set(seen)) == len(seen)
    train(recipe, Averaging(), tmp_path, resume=True)
    assert storage.load(tmp_path / "model.safetensors")[0] == {"gain": result}


def test_the_best_checkpoint_is_kept(recipe_of, tmp_path, monkeypatch):
    """Steps 2 to 10 score 1, 4, 3, 5, 2; a run that stops and goes on keeps the best of all.

    Rows after the checkpoint, and a score that is no number, do not count.
    """
    scores = {2: 1.0, 4: 4.0, 6: 3.0, 8: 5.0, 10: 2.0}
    backend = Numpy(at(7, press))

    def validate(model, *_, **__):
        return {"psnr": 0.0, "score": scores[round(len(backend.received) / 2) * 2]}

    monkeypatch.setattr(loop, "validate", validate)
    recipe = recipe_of(every=2, keep=1)
    best = tmp_path / "checkpoints" / "best.safetensors"
    with pytest.raises(Stopped):
        train(recipe, backend, tmp_path)
    assert storage.load_tensors(best)[1]["step"] == "4" and checkpoints_in(tmp_path) == names(6, 7)
    with open(tmp_path / "validation.csv", "a") as file:
        file.write("5,0,x\n9,0,99\n")
    backend.fault = lambda step: None
    train(recipe, backend, tmp_path, resume=True)
    assert storage.load_tensors(best)[1]["step"] == "8" and checkpoints_in(tmp_path) == names(10)
    assert storage.load(best)[1].network == recipe.network
