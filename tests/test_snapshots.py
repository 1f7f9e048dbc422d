"""The checkpoints of a run: which one a run continues from, and what is refused."""

import shutil

import numpy as np
import pytest
from fake import Numpy, held, names

from tunable_core import checkpoint
from tunable_core.errors import CheckpointError
from tunable_core.run import train
from tunable_core.snapshots import Snapshots


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
