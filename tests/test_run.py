"""The training loop and its files, over a trainer in numpy (no framework is needed here)."""

import os
import shutil
import signal
import threading

import numpy as np
import pytest

from tunable_core import checkpoint
from tunable_core.checkpoint import Header
from tunable_core.data import Batches
from tunable_core.degradations import protocol_noise
from tunable_core.errors import CheckFailed, CheckpointError, DataError
from tunable_core.initial import ParameterSpec, starting_weights
from tunable_core.interrupt import held_back
from tunable_core.recipe import load_recipe
from tunable_core.run import train
from tunable_core.snapshots import Snapshots

SPECS = [ParameterSpec("gain", (1,), "kernel", 1)]


class Numpy:
    """A framework whose network adds `gain`, trained with momentum: gain -= rate v, v = 0.9 v + mean(degraded).

    fault(step) is called in the middle of every step (1-based) and may raise, interrupt or return a loss.
    """

    name = "numpy"

    def __init__(self, fault=lambda step: None):
        self.fault, self.received = fault, []

    def build(self, spec, num_objectives):
        return {"gain": np.zeros(1, np.float32)}

    def specs(self, network):
        return SPECS

    def parameters(self, network):
        return {name: value.copy() for name, value in network.items()}

    def assign(self, network, tensors):
        network.update({name: value.copy() for name, value in tensors.items()})

    def run(self, network, degraded, omega):
        return degraded + network["gain"]

    def trainer(self, network, recipe):
        self.network, self.momentum = network, np.zeros(1, np.float32)
        return self

    def step(self, batch, learning_rate):
        step = batch.index + 1
        self.received.append((batch, learning_rate))
        self.momentum = np.float32(0.9) * self.momentum + batch.sample["degraded"].mean(dtype=np.float32)
        loss = self.fault(step)
        self.network["gain"] = self.network["gain"] - np.float32(learning_rate) * self.momentum
        return 1 / step if loss is None else loss, np.array([step, 2 * step])

    def state(self):
        return {"first.gain": self.momentum.copy()}

    def load_state(self, state):
        self.momentum = state["first.gain"]


@pytest.fixture
def recipe_of(make_recipe, folder):
    """recipe_of(steps=10, every=4, keep=2, ...): other keys are sections of the recipe; `data` is added to."""

    def make(steps=10, every=4, keep=2, data=None, **sections):
        data = {"train": str(folder), "validate": str(folder), "patch": 8, "batch": 3, **(data or {})}
        data.setdefault("degradation", [{"kind": "gaussian_noise", "sigma": 25}])
        options = {"optimizer": {"learning_rate": 0.01}, "schedule": {"kind": "cosine"}, **sections}
        return make_recipe(steps=steps, checkpoint={"every": every, "keep": keep}, data=data, **options)

    return make


def held(out):
    return [path.name for path in Snapshots(out).paths()]


def names(*steps):
    return [f"step-{step:08d}.safetensors" for step in steps]


def at(step, act):
    """A fault: `act()` at one step."""
    return lambda current: act() if current == step else None


def fail():
    raise RuntimeError("power cut")


def press():
    signal.raise_signal(signal.SIGINT)


# --- what a run leaves


def test_files(recipe_of, tmp_path):
    recipe = recipe_of()
    model = train(recipe, Numpy(), tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == [
        "checkpoints", "events", "log.csv", "model.safetensors", "recipe.yaml", "validation.csv",
    ]  # fmt: skip
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == recipe
    tensors, header = checkpoint.load(tmp_path / "run" / "model.safetensors")
    assert header == model.header == Header.of(recipe)
    np.testing.assert_array_equal(tensors["gain"], model.network["gain"])
    (events,) = (tmp_path / "run" / "events").iterdir()
    assert b"validation/psnr_1_0" in events.read_bytes() and b"learning_rate" in events.read_bytes()


def test_batches_and_learning_rates(recipe_of, tmp_path):
    recipe, backend, seen = recipe_of(steps=4), Numpy(), []
    train(recipe, backend, tmp_path, progress=lambda *values: seen.append(values))
    for index, (batch, _) in enumerate(backend.received):
        wanted = Batches(recipe)[index]
        assert batch.index == index
        np.testing.assert_array_equal(batch.sample["degraded"], wanted.sample["degraded"])
        np.testing.assert_array_equal(batch.omega, wanted.omega)
    half_cosine = [1, (1 + np.sqrt(0.5)) / 2, 0.5, (1 - np.sqrt(0.5)) / 2]
    np.testing.assert_allclose([rate for _, rate in backend.received], np.multiply(0.01, half_cosine), rtol=1e-12)
    assert seen == [(1, 4, 1), (2, 4, 1 / 2), (3, 4, 1 / 3), (4, 4, 1 / 4)]


def test_starting_weights(recipe_of, tmp_path):
    """Drawn from the seed, or those of a file."""
    wanted = starting_weights(SPECS, 7)["gain"]
    seen = []
    for sections in ({"seed": 7}, {"seed": 7, "initial": {"weights": str(tmp_path / "given.safetensors")}}):
        backend = Numpy()
        backend.fault = lambda step, backend=backend: seen.append(float(backend.network["gain"][0]))
        recipe = recipe_of(steps=1, **sections)
        if "initial" in sections:
            checkpoint.save(tmp_path / "given.safetensors", {"gain": np.float32([3])}, Header.of(recipe))
        train(recipe, backend, tmp_path / str(len(seen)))
    assert seen == [float(wanted[0]), 3]


def test_log(recipe_of, tmp_path):
    train(recipe_of(steps=3, schedule={"kind": "multistep", "milestones": [2], "gamma": 0.5}), Numpy(), tmp_path)
    assert (tmp_path / "log.csv").read_text() == (
        "step,learning_rate,loss,fidelity,noise\n1,0.01,1,1,2\n2,0.01,0.5,2,4\n3,0.005,0.333333333,3,6\n"
    )


def test_validation(recipe_of, tmp_path):
    """Every checkpoint measures the weights of that moment: here the noise plus the network's gain."""
    train(recipe_of(), Numpy(), tmp_path)
    rows = (tmp_path / "validation.csv").read_text().splitlines()
    assert rows[0] == "step,psnr_1_0,psnr_0_1"
    assert [row.split(",")[0] for row in rows[1:]] == ["4", "8", "10"]
    for row in rows[2:]:  # the checkpoint of step 4 was dropped
        step, *values = row.split(",")
        (gain,) = checkpoint.load_tensors(tmp_path / "checkpoints" / names(int(step))[0])[0]["weights.gain"]
        errors = [np.mean((protocol_noise(20, 24, index) * 15 / 255 + float(gain)) ** 2) for index in (0, 1)]
        np.testing.assert_allclose([float(value) for value in values], np.mean(-10 * np.log10(errors)), atol=1e-3)
    assert rows[2].split(",")[1] != rows[3].split(",")[1]


def test_without_validation_there_is_no_table(recipe_of, tmp_path):
    train(recipe_of(data={"validate": []}), Numpy(), tmp_path)
    assert not (tmp_path / "validation.csv").exists()


@pytest.mark.parametrize(("keep", "wanted"), [(1, (10,)), (2, (8, 10)), (3, (4, 8, 10)), (9, (4, 8, 10))])
def test_rotation(keep, wanted, recipe_of, tmp_path):
    train(recipe_of(keep=keep), Numpy(), tmp_path)
    assert held(tmp_path) == names(*wanted)


# --- going on


@pytest.fixture
def whole(recipe_of, tmp_path):
    """The same run without interruption."""
    train(recipe_of(), Numpy(), tmp_path / "whole")
    return tmp_path / "whole"


def assert_same_run(out, whole):
    for name in ("log.csv", "validation.csv"):
        assert (out / name).read_text() == (whole / name).read_text()
    found, wanted = (checkpoint.load(place / "model.safetensors")[0]["gain"] for place in (out, whole))
    np.testing.assert_array_equal(found, wanted)
    assert held(out)[-1] == held(whole)[-1]


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
    assert (Snapshots(out).newest_step() or 0) == kept and not (out / "model.safetensors").exists()
    backend = Numpy()
    train(recipe_of(), backend, out, resume=True)
    assert [batch.index for batch, _ in backend.received] == list(range(kept, 10))
    assert_same_run(out, whole)


def test_a_cut_log_row_is_dropped(recipe_of, tmp_path, whole):
    """A kill may cut the log anywhere: step 50 then reads 5."""
    out = tmp_path / "run"
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(7, fail)), out)
    with open(out / "log.csv", "a") as log:
        log.write("3")
    train(recipe_of(), Numpy(), out, resume=True)
    assert_same_run(out, whole)


def test_resuming_a_finished_run_only_writes_the_model(recipe_of, tmp_path, whole):
    out = shutil.copytree(whole, tmp_path / "run")
    (out / "model.safetensors").unlink()
    backend = Numpy()
    train(recipe_of(), backend, out, resume=True)
    assert backend.received == []
    assert_same_run(out, whole)


def test_a_longer_run_goes_on(recipe_of, whole):
    backend = Numpy()
    train(recipe_of(steps=12, keep=1, data={"workers": 3, "cache_gib": 0}), backend, whole, resume=True)
    assert [batch.index for batch, _ in backend.received] == [10, 11] and held(whole) == names(12)


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"data": {"batch": 2}}, ["data.batch was 3, now 2"]),
        ({"data": {"degradation": [{"kind": "gaussian_noise", "sigma": [5, 30]}]}}, ["data.degradation.0.sigma.0"]),
        ({"optimizer": {"learning_rate": 0.02}}, ["optimizer.learning_rate was 0.01, now 0.02"]),
        ({"network": {"name": "resnet", "channels": 8, "blocks": 1}}, ["network.channels was 4, now 8"]),
        ({"objectives": [{"name": "fidelity", "kind": "rec"}]}, ["objectives was"]),
        ({"seed": 1}, ["seed was 0, now 1"]),
        ({"steps": 9}, ["step 10, beyond the recipe's 9"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_recipe_is_refused(changes, fragments, recipe_of, whole, refused):
    files = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    with refused(CheckpointError, names(10)[0], *fragments):
        train(recipe_of(**changes), Numpy(), whole, resume=True)
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == files


def test_a_folder_that_holds_a_run_is_refused(recipe_of, whole, refused):
    with refused(CheckpointError, str(whole), "step 10", "--resume"):
        train(recipe_of(), Numpy(), whole)
    shutil.rmtree(whole / "checkpoints")
    for resume in (False, True):
        with refused(CheckpointError, str(whole), "model.safetensors", "without checkpoints"):
            train(recipe_of(), Numpy(), whole, resume=resume)


def test_resuming_where_there_is_nothing_starts(recipe_of, tmp_path, whole):
    train(recipe_of(), Numpy(), tmp_path / "new", resume=True)
    assert_same_run(tmp_path / "new", whole)


# --- damaged checkpoints


def rewrite(path, change):
    tensors, metadata = checkpoint.load_tensors(path)
    change(tensors, metadata)
    checkpoint.save_tensors(path, tensors, metadata)


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello, this is text"),
    "a model": lambda path: shutil.copy(path.parent.parent / "model.safetensors", path),
    "another step": lambda path: rewrite(path, lambda tensors, metadata: metadata.update(step="9")),
    "no recipe": lambda path: rewrite(path, lambda tensors, metadata: metadata.pop("recipe")),
    "no JSON": lambda path: rewrite(path, lambda tensors, metadata: metadata.update(recipe="{")),
    "not a recipe": lambda path: rewrite(path, lambda tensors, metadata: metadata.update(recipe="{}")),
    "no weights": lambda path: rewrite(path, lambda tensors, metadata: tensors.pop("weights.gain")),
    "no state": lambda path: rewrite(path, lambda tensors, metadata: tensors.pop("state.first.gain")),
    "odd tensor": lambda path: rewrite(path, lambda tensors, metadata: tensors.update(other=np.zeros(1))),
    "nan": lambda path: rewrite(path, lambda tensors, metadata: tensors["weights.gain"].fill(np.nan)),
    "shape": lambda path: rewrite(path, lambda t, metadata: t.update({"state.first.gain": np.zeros(2, np.float32)})),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_falls_back(damage, recipe_of, tmp_path, caplog):
    """The run of the checkpoint before is the same run, so nothing but time is lost."""
    train(recipe_of(), Numpy(), tmp_path)
    wanted = (tmp_path / "log.csv").read_text()
    newest = tmp_path / "checkpoints" / names(10)[0]
    damage(newest)
    broken, backend = newest.read_bytes(), Numpy()
    train(recipe_of(), backend, tmp_path, resume=True)
    assert [batch.index for batch, _ in backend.received] == [8, 9] and (tmp_path / "log.csv").read_text() == wanted
    assert newest.with_suffix(".damaged").read_bytes() == broken and held(tmp_path) == names(8, 10)
    assert str(newest) in caplog.text and "step-00000010.damaged" in caplog.text


def test_no_sound_checkpoint(recipe_of, tmp_path, refused):
    train(recipe_of(), Numpy(), tmp_path)
    for path in Snapshots(tmp_path).paths():
        DAMAGES["cut"](path)
    with refused(CheckpointError, str(tmp_path / "checkpoints"), names(10)[0], "safetensors"):
        train(recipe_of(), Numpy(), tmp_path, resume=True)
    assert held(tmp_path) == names(8, 10)  # as they were


def test_other_files_are_no_checkpoints(tmp_path):
    for name in ("step-x.safetensors", "step-00000003.safetensors.tmp", "step-3.txt", *names(20, 5)):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / name).touch()
    assert held(tmp_path) == names(5, 20) and Snapshots(tmp_path).newest_step() == 20
    assert Snapshots(tmp_path / "absent").newest_step() is None


# --- stopping


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
@pytest.mark.parametrize(("step", "kept", "says"), [(6, (4,), names(4)[0]), (2, (), "no checkpoint was written")])
def test_a_loss_that_is_not_finite(loss, step, kept, says, recipe_of, tmp_path, refused):
    with refused(CheckFailed, f"the loss is {loss} at step {step}", says):
        train(recipe_of(), Numpy(at(step, lambda: loss)), tmp_path)
    assert held(tmp_path) == names(*kept) and not (tmp_path / "model.safetensors").exists()


def test_weights_that_are_not_finite_are_not_kept(recipe_of, tmp_path, refused):
    """The loss of a step is from before it: at step 8 it is still finite."""
    backend = Numpy()
    backend.fault = at(8, lambda: backend.network["gain"].fill(np.nan))
    with refused(CheckFailed, "weights.gain is not finite after step 8", names(4)[0]):
        train(recipe_of(keep=1), backend, tmp_path)
    assert held(tmp_path) == names(4)


def test_a_second_interrupt_acts_at_once(recipe_of, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(recipe_of(), Numpy(at(6, lambda: (press(), press()))), tmp_path)
    assert held(tmp_path) == names(4)  # step 6 is half done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_are_left_alone_elsewhere(monkeypatch):
    def handler(*_):
        seen.append("mine")

    seen = []
    before = signal.signal(signal.SIGINT, handler)
    try:
        with held_back() as pressed:
            press()
            assert seen == ["mine"] and not pressed()
    finally:
        signal.signal(signal.SIGINT, before)
    thread = threading.Thread(target=lambda: seen.append(held_back().__enter__()()))
    thread.start()
    thread.join()
    assert seen == ["mine", False]


def test_a_picture_lost_during_the_run(recipe_of, folder, tmp_path, whole, refused):
    """The steps before it are kept; with the picture back, the run is the same."""
    pictures = {path: path.read_bytes() for path in folder.iterdir()}

    def cut():
        for path, content in pictures.items():
            path.write_bytes(content[: len(content) // 2])

    out, backend = tmp_path / "run", Numpy(at(2, cut))
    with refused(DataError, ".png", "truncated"):
        train(recipe_of(data={"cache_gib": 0}), backend, out)
    assert 2 <= len(backend.received) < 10 and held(out)[-1:] == names(len(backend.received))
    for path, content in pictures.items():
        path.write_bytes(content)
    train(recipe_of(), Numpy(), out, resume=True)
    assert_same_run(out, whole)


@pytest.mark.parametrize(
    ("data", "fragments"),
    [
        ({"train": "absent"}, ["no such folder", "absent"]),
        ({"validate": "absent"}, ["no such folder", "absent"]),
        ({"patch": 21}, ["24x20", "patch of 21x21"]),
    ],
)
def test_bad_data_is_found_before_the_first_step(data, fragments, recipe_of, tmp_path, refused):
    backend = Numpy()
    with refused(DataError, *fragments):
        train(recipe_of(data=data), backend, tmp_path / "run")
    assert backend.received == [] and not (tmp_path / "run").exists()
