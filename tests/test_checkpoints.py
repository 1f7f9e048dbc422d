"""The checkpoints of a run: which one a run continues from, and what is refused."""

import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
from fake import Numpy, assert_same_run, at, checkpoints_in, fail, names
from PIL import Image

from tunable.data import patches
from tunable.data.patches import Batches
from tunable.errors import CheckFailed, CheckpointError
from tunable.training import loop
from tunable.training.checkpoints import Checkpoints
from tunable.training.differences import FREE
from tunable.training.loop import train
from tunable.weights import storage
from tunable.weights.storage import Header


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
        ({"steps": 20}, ["steps was 10, now 20", "cosine schedule depends on it"]),
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


# --- damaged checkpoints


def rewrite(path, change):
    tensors, metadata = storage.load_tensors(path)
    change(tensors, metadata)
    storage.save_tensors(path, tensors, metadata)


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello, this is text"),
    "a model": lambda path: shutil.copy(path.parent.parent / "model.safetensors", path),
    "another step": lambda path: rewrite(path, lambda tensors, metadata: metadata.update(step="9")),
    "no recipe": lambda path: rewrite(path, lambda tensors, metadata: metadata.pop("recipe")),
    "no JSON": lambda path: rewrite(path, lambda tensors, metadata: metadata.update(recipe="{")),
    "inputs": lambda path: rewrite(path, lambda tensors, metadata: metadata.update(inputs="[1]")),
    "deep": lambda path: rewrite(path, lambda tensors, metadata: metadata.update(history="[" * 5000)),
    "a flipped bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
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
    log = (tmp_path / "metrics.csv").read_text()
    newest = tmp_path / "checkpoints" / names(10)[0]
    damage(newest)
    broken, backend = newest.read_bytes(), Numpy()
    train(recipe_of(), backend, tmp_path, resume=True)
    assert [batch.index for batch, _ in backend.received] == [8, 9] and (tmp_path / "metrics.csv").read_text() == log
    assert newest.with_suffix(".damaged").read_bytes() == broken and checkpoints_in(tmp_path) == names(8, 10)
    assert str(newest) in caplog.text and "step-00000010.damaged" in caplog.text


def test_a_recipe_of_another_version_is_not_called_damaged(recipe_of, whole, refused):
    """What this version does not know was written by a newer one, and whole; nothing is renamed."""

    def add(tensors, metadata):
        metadata["recipe"] = json.dumps({**json.loads(metadata["recipe"]), "ema": 0.999})

    newest = whole / "checkpoints" / names(10)[0]
    rewrite(newest, add)
    with refused(CheckpointError, str(newest), "unknown key 'ema'", "version"):
        train(recipe_of(), Numpy(), whole, resume=True)
    with refused(CheckpointError, str(newest), "unknown key 'ema'", "version"):
        storage.load(newest)
    assert checkpoints_in(whole) == names(8, 10)


def test_no_sound_checkpoint(recipe_of, tmp_path, refused):
    train(recipe_of(), Numpy(), tmp_path)
    for path in Checkpoints(tmp_path).paths():
        DAMAGES["cut"](path)
    with refused(CheckpointError, str(tmp_path / "checkpoints"), names(10)[0], "safetensors"):
        train(recipe_of(), Numpy(), tmp_path, resume=True)
    assert checkpoints_in(tmp_path) == names(8, 10)  # as they were


def test_other_files_are_no_checkpoints(tmp_path):
    for name in ("step-x.safetensors", "step-00000003.safetensors.tmp", "step-3.txt", *names(20, 5)):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / name).touch()
    assert checkpoints_in(tmp_path) == names(5, 20) and Checkpoints(tmp_path).newest_step() == 20
    assert Checkpoints(tmp_path / "absent").newest_step() is None


# --- what enters a run beside its recipe


CHANGES = {
    "added": (lambda place: shutil.copy(place / "a.png", place / "c.png"), "c.png added"),
    "removed": (lambda place: (place / "b.png").unlink(), "b.png removed"),
    "changed": (lambda place: shutil.copy(place / "a.png", place / "b.png"), "b.png changed"),
    "swapped": (lambda place: [(place / "a.png").rename(place / "x.png")], "x.png added, a.png removed"),
}


@pytest.mark.parametrize("record", [True, False], ids=["", "without record"])
@pytest.mark.parametrize("key", ["train", "validate"])
@pytest.mark.parametrize(("change", "says"), CHANGES.values(), ids=CHANGES)
def test_other_pictures_are_refused(change, says, key, record, recipe_of, folder, tmp_path, refused):
    data = {key: str(shutil.copytree(folder, tmp_path / "others"))}
    train(recipe_of(data=data), Numpy(), tmp_path / "run")
    change(tmp_path / "others")
    if not record:
        (tmp_path / "run" / "inputs.json").write_text("[]")
        says = "not the files it began with"
    with refused(CheckpointError, names(10)[0], f"data.{key}: {says}"):
        train(recipe_of(data=data), Numpy(), tmp_path / "run", resume=True)


def test_folders_may_share_names(recipe_of, folder, tmp_path, refused):
    both = {"train": [str(folder), str(shutil.copytree(folder, tmp_path / "others"))]}
    train(recipe_of(data=both), Numpy(), tmp_path / "run")
    shutil.copy(folder / "a.png", folder / "b.png")
    with refused(CheckpointError, "data.train: b.png changed"):
        train(recipe_of(data=both), Numpy(), tmp_path / "run", resume=True)


def test_many_other_pictures_are_one_short_line(recipe_of, folder, tmp_path, refused):
    train(recipe_of(), Numpy(), tmp_path / "run")
    for i in range(50):
        shutil.copy(folder / "a.png", folder / f"{i:02}{'ω' * 100}.png")
    with pytest.raises(CheckpointError, match="data.train: 00ω.* and 47 more added; --allow") as caught:
        train(recipe_of(), Numpy(), tmp_path / "run", resume=True)
    assert len(str(caught.value).encode()) < 2000


def test_another_feature_network_is_refused(recipe_of, folder, tmp_path, refused, monkeypatch):
    """A style picture, and VGG-19's weights."""
    style, vgg = tmp_path / "style.png", tmp_path / "vgg.safetensors"
    Image.new("RGB", (16, 16)).save(style)
    vgg.write_text("weights")
    monkeypatch.setattr(loop, "vgg_weights", lambda settings: None)
    recipe = recipe_of(
        task="style_transfer",
        objectives=[{"name": "a", "kind": "rec"}, {"name": "b", "kind": "style", "image": str(style)}],
        vgg={"weights": str(vgg)},
        data={"patch": 16},
    )
    train(recipe, Numpy(), tmp_path / "run")
    vgg.write_text("other weights")
    with refused(CheckpointError, "made from other files: vgg.weights: vgg.safetensors changed"):
        train(recipe, Numpy(), tmp_path / "run", resume=True)
    vgg.write_text("weights")
    Image.new("RGB", (16, 17)).save(style)
    with refused(CheckpointError, "made from other files: objectives.1.image: style.png changed"):
        train(recipe, Numpy(), tmp_path / "run", resume=True)


def test_other_bundled_photographs_are_refused(recipe_of, folder, tmp_path, refused, monkeypatch):
    """Those of another scikit-image."""
    place = shutil.copytree(folder, tmp_path / "installed")
    monkeypatch.setattr(patches, "bundled", lambda names: sorted(place.iterdir()))
    train(recipe_of(data={"train": "bundled"}), Numpy(), tmp_path / "run")
    shutil.copy(place / "a.png", place / "b.png")
    with refused(CheckpointError, "made from other files: data.train: b.png changed"):
        train(recipe_of(data={"train": "bundled"}), Numpy(), tmp_path / "run", resume=True)


def test_where_pictures_lie_is_free(recipe_of, folder, tmp_path, whole, monkeypatch):
    """The content counts: neither the place nor the names, as long as the order stays."""
    monkeypatch.setenv("PHOTOGRAPHS", str(folder))
    data = {"train": "${PHOTOGRAPHS}"}
    with pytest.raises(RuntimeError):
        train(recipe_of(data=data), Numpy(at(7, fail)), tmp_path / "run")
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    (moved / "b.png").rename(moved / "z.png")
    monkeypatch.setenv("PHOTOGRAPHS", str(moved))
    train(recipe_of(data=data), Numpy(), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_other_starting_weights_are_refused(recipe_of, tmp_path, refused):
    """What a run begins with is in its recipe by name only; once begun, it goes on without the file."""
    given = tmp_path / "given.safetensors"
    recipe = recipe_of(initial={"weights": str(given)})
    storage.save(given, {"gain": np.float32([3])}, Header.of(recipe))
    for place in ("whole", "run"):
        with suppress(RuntimeError):
            train(recipe, Numpy(at(7, fail) if place == "run" else lambda step: None), tmp_path / place)
    content = given.read_bytes()
    storage.save(given, {"gain": np.float32([4])}, Header.of(recipe))
    with refused(CheckpointError, "initial.weights: given.safetensors changed"):
        train(recipe, Numpy(), tmp_path / "run", resume=True)
    given.unlink()
    with pytest.raises(RuntimeError):
        train(recipe, Numpy(at(9, fail)), tmp_path / "run", resume=True)
    given.write_bytes(content[:-1])  # still known after a session without it
    with refused(CheckpointError, "initial.weights: not the files it began with"):
        train(recipe, Numpy(), tmp_path / "run", resume=True)
    given.write_bytes(content)
    train(recipe, Numpy(), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("schedule", "steps", "allowed"),
    [
        ({"kind": "constant"}, 20, True),
        ({"kind": "constant", "warmup": 3}, 20, True),
        ({"kind": "multistep", "milestones": [5, 15]}, 20, True),
        ({"kind": "cosine", "final": 1}, 20, True),
        ({"kind": "cosine", "warmup": 12}, 13, True),  # not there yet
        ({"kind": "cosine"}, 20, False),
        ({"kind": "cosine", "final": 0.9, "warmup": 9}, 11, True),  # step 10 is the top of the cosine
        ({"kind": "cosine", "final": 0.9, "warmup": 8}, 11, False),
    ],
    ids=str,
)
def test_more_steps(schedule, steps, allowed, recipe_of, tmp_path, refused):
    """Where the schedule knows the number of steps, more of them are another run; else the longer run is the same."""
    train(recipe_of(schedule=schedule), Numpy(), tmp_path / "run")
    longer = recipe_of(schedule=schedule, steps=steps)
    if not allowed:
        with refused(CheckpointError, f"steps was 10, now {steps}", "learning rates"):
            train(longer, Numpy(), tmp_path / "run", resume=True)
        return
    train(longer, Numpy(), tmp_path / "run", resume=True)
    train(longer, Numpy(), tmp_path / "whole")
    files = [tmp_path / place / "model.safetensors" for place in ("run", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


@pytest.mark.parametrize("row", ["²,1,1,1,1", "9" * 5000 + ",1,1,1,1", "\0" * 40, "-1,1,1,1,1"], ids=range(4))
def test_rows_of_a_log_that_are_none_are_dropped(row, recipe_of, tmp_path, whole):
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(7, fail)), tmp_path / "run")
    with open(tmp_path / "run" / "metrics.csv", "a", encoding="utf-8") as file:
        file.write(row + "\n")
    train(recipe_of(), Numpy(), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_free_settings_change_no_step(recipe_of, tmp_path, whole):
    """Every value that may differ when a run goes on, all at once: the same file to the byte."""
    with pytest.raises(RuntimeError):
        train(recipe_of(every=4), Numpy(at(7, fail)), tmp_path / "run")
    data = {"workers": 4, "cache_gib": 0}
    guard = {"skip": 2, "spike": 3}
    train(recipe_of(every=3, keep=1, data=data, guard=guard), Numpy(), tmp_path / "run", resume=True)
    result, expected = (place / "metrics.csv" for place in (tmp_path / "run", whole))
    assert result.read_text() == expected.read_text()
    (result, _), (expected, _) = (storage.load(place / "model.safetensors") for place in (tmp_path / "run", whole))
    assert result["gain"].tobytes() == expected["gain"].tobytes()
    assert FREE == ("steps", "checkpoint", "guard", "data.workers", "data.processes", "data.cache_gib")


def test_another_hand_is_told(recipe_of, tmp_path, whole, caplog):
    """Another framework, version, device or mode rounds otherwise: the run goes on, and its header differs."""
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(7, fail)), tmp_path / "run")
    backend = Numpy(at(9, fail))
    backend.mode = "compile"
    with pytest.raises(RuntimeError):
        train(recipe_of(), backend, tmp_path / "run", resume=True)
    assert "from step 5 on, numbers are rounded otherwise: mode was eager, now compile" in caplog.text
    caplog.clear()
    backend = Numpy()
    backend.mode = "compile"
    train(recipe_of(), backend, tmp_path / "run", resume=True)
    assert "rounded" not in caplog.text
    (_, result), (_, expected) = (storage.load(place / "model.safetensors") for place in (tmp_path / "run", whole))
    assert [(leg["from"], leg["mode"]) for leg in result.history] == [("1", "eager"), ("5", "compile")]
    assert expected.history == () and result != expected and result.recipe == expected.recipe


def test_checkpoints_of_earlier_versions(recipe_of, tmp_path, whole, caplog):
    """They know no digests, files or history: the run goes on, and says so."""

    def strip(tensors, metadata):
        for key in ("inputs", "history", "loss"):
            del metadata[key]

    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(7, fail)), tmp_path / "run")
    rewrite(tmp_path / "run" / "checkpoints" / names(4)[0], strip)
    train(recipe_of(), Numpy(), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)
    assert "does not say from which pictures" in caplog.text


# --- runs that diverge


@pytest.mark.parametrize("step", [5, 8, 9])
def test_an_absurd_loss_keeps_the_good_checkpoints(step, recipe_of, tmp_path, refused):
    """Finite, so no check of that finds it: the run stops, and what was good stays."""
    with refused(
        CheckFailed, f"the loss is 1e+30 at step {step} and was 1 at the first", "diverged", "initial.weights"
    ):
        train(recipe_of(every=1, keep=2), Numpy(lambda now: 1e30 if now >= step else None), tmp_path)
    assert checkpoints_in(tmp_path)[-2:] == names(step - 2, step - 1)


def test_a_loss_that_creeps_up(recipe_of, tmp_path, refused):
    """By a factor of ten in every step, resumed or not: it is compared with the first of all."""
    backend = Numpy(lambda step: fail() if step == 3 else 2 * 10.0**step)
    with pytest.raises(RuntimeError):
        train(recipe_of(every=1), backend, tmp_path)
    with refused(CheckFailed, "the loss is 2e+06 at step 6 and was 20 at the first"):
        train(recipe_of(every=1), Numpy(lambda step: 2 * 10.0**step), tmp_path, resume=True)


@pytest.mark.parametrize("step", [8, 10])
def test_absurd_weights_keep_the_good_checkpoints(step, recipe_of, tmp_path, refused):
    """The loss of a step is from before it; after the last step there is no further one."""
    backend = Numpy()
    backend.fault = at(step, lambda: backend.network["gain"].fill(1e30))
    with refused(CheckFailed, f"weights.gain has a value of 1.0e+30 after step {step}", "diverged"):
        train(recipe_of(every=2, keep=1), backend, tmp_path)
    assert checkpoints_in(tmp_path)[-1] == names(step - 2)[0]


def test_the_last_good_one_goes_only_after_a_good_step(recipe_of, tmp_path, refused):
    """A step that spoils weights within their bounds shows in the next loss, and the checkpoint before it is kept."""
    backend = Numpy()
    backend.fault = lambda step: 1e9 if step == 9 else None
    with refused(CheckFailed, "the loss is 1e+09 at step 9"):
        train(recipe_of(every=4, keep=1), backend, tmp_path)
    assert checkpoints_in(tmp_path) == names(4, 8)


def test_a_run_begins_from_a_checkpoint(recipe_of, whole, tmp_path):
    """With its weights, a new optimizer, and any recipe of the same network."""
    path = whole / "checkpoints" / names(8)[0]
    expected = storage.load_tensors(path)[0]["weights.gain"]
    seen, backend = [], Numpy()
    backend.fault = lambda step: seen.append((backend.network["gain"].copy(), backend.momentum.copy()))
    train(
        recipe_of(steps=1, initial={"weights": str(path)}, optimizer={"learning_rate": 1e-4}), backend, tmp_path / "new"
    )
    assert seen[0][0] == expected and seen[0][1] == Batches(recipe_of())[0].sample["degraded"].mean(dtype=np.float32)


def test_a_checkpoint_is_read_as_weights(recipe_of, whole):
    path = whole / "checkpoints" / names(8)[0]
    tensors, header = storage.load(path)
    assert list(tensors) == ["gain"] and header == Header.of(recipe_of(), step=8)
    storage.save(whole / "kept.safetensors", tensors, header)
    assert storage.load(whole / "kept.safetensors")[1] == header and header.step == 8
