"""The training loop and the folders that it reads and writes: damaged pictures, foreign files, moved runs."""

import os
import shutil
from types import SimpleNamespace

import pytest
from fake import Numpy, assert_same_run, at, checkpoints_in, fail, names
from PIL import Image
from prepared import cut

from tunable.data.patches import Batches
from tunable.errors import DataError, TunableError
from tunable.images import pictures
from tunable.training import loop
from tunable.training.loop import train


def test_a_picture_lost_during_the_run(recipe_of, folder, tmp_path, whole, refused):
    """The steps before it are kept; with the picture back, the run is the same."""
    pictures = {path: path.read_bytes() for path in folder.iterdir()}

    def cut():
        for path, content in pictures.items():  # in one move: batches are read ahead meanwhile
            half = path.with_suffix(".half")
            half.write_bytes(content[: len(content) // 2])
            half.replace(path)

    out, backend = tmp_path / "run", Numpy(at(2, cut))
    with refused(DataError, ".png", "truncated"):
        train(recipe_of(data={"cache_gib": 0}), backend, out)
    assert 2 <= len(backend.received) < 10 and checkpoints_in(out)[-1:] == names(len(backend.received))
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


@pytest.mark.parametrize("key", ["train", "validate"])
def test_damaged_pictures_are_found_before_the_first_step(key, recipe_of, folder, tmp_path, refused):
    """All are looked at: one is named with its fault, of several the number and the first few, in one short line."""
    place = shutil.copytree(folder, tmp_path / "others")
    cut(place / "b.png")
    backend = Numpy()
    with refused(DataError, "cannot read", "b.png", "truncated"):
        train(recipe_of(data={key: str(place)}), backend, tmp_path / "run")
    for i in range(40):
        shutil.copy(place / "b.png", place / f"{'x' * 200}{i:02}.png")
    with pytest.raises(
        DataError, match=rf"^41 of 42 pictures of data.{key} cannot be used: .*b.png.*; and 37 more$"
    ) as caught:
        train(recipe_of(data={key: str(place)}), backend, tmp_path / "run")
    assert len(str(caught.value)) < 2000
    assert backend.received == [] and not (tmp_path / "run").exists()


def test_all_pictures_below_the_patch_are_named(recipe_of, folder, tmp_path, refused):
    for name, size in (("c", (7, 30)), ("d", (30, 6))):
        Image.new("RGB", size).save(folder / f"{name}.png")
    with refused(
        DataError, "2 of 4 pictures of data.train", "c.png is 7x30", "d.png is 30x6, smaller than the patch of 8x8"
    ):
        train(recipe_of(), Numpy(), tmp_path / "run")


def test_pictures_are_not_decoded_again_when_a_run_goes_on(recipe_of, tmp_path, whole, monkeypatch):
    """Their content stays as it was, which was sound."""
    monkeypatch.setattr(Batches, "check", lambda self: fail())
    with pytest.raises(RuntimeError, match="power cut"):
        train(recipe_of(), Numpy(), tmp_path / "run")
    (whole / "model.safetensors").unlink()
    train(recipe_of(), Numpy(), whole, resume=True)


def test_more_pixels_than_usual_may_be_allowed(recipe_of, tmp_path, refused, monkeypatch):
    """Of every picture that is looked at: those for training, and those for validation."""
    monkeypatch.setattr(pictures, "MAX_PIXELS", 479)
    with refused(DataError, "2 of 2 pictures of data.train", "24x20 pixels; the limit is 479"):
        train(recipe_of(), Numpy(), tmp_path / "run")
    train(recipe_of(), Numpy(), tmp_path / "run", max_pixels=480)


# --- one folder, one run


def test_two_runs_into_one_folder(recipe_of, tmp_path, whole, refused):
    """The second is refused, with and without --resume, whenever it begins; the first is not disturbed."""

    def second():
        for resume in (False, True):
            with refused(TunableError, str(out), "in use", f"process {os.getpid()} on"):
                train(recipe_of(seed=5), Numpy(), out, resume=resume)

    out = tmp_path / "run"
    train(recipe_of(), Numpy(lambda step: second() if step in (1, 6) else None), out)
    assert_same_run(out, whole)


def test_a_run_is_not_continued_unasked(recipe_of, tmp_path, whole, refused):
    """Not even where its checkpoint appears after the folder was looked at, by a file system without locks."""
    out = tmp_path / "run"

    class Late(Numpy):
        def build(self, spec, num_objectives):
            shutil.copytree(whole / "checkpoints", out / "checkpoints")
            return super().build(spec, num_objectives)

    backend = Late()
    train(recipe_of(), backend, out)
    assert [batch.index for batch, _ in backend.received] == list(range(10))


@pytest.mark.parametrize("resume", [False, True])
def test_leftovers_of_killed_saves_go(resume, recipe_of, tmp_path):
    out = tmp_path / "run"
    if resume:
        with pytest.raises(RuntimeError):
            train(recipe_of(), Numpy(at(5, fail)), out)
    (out / "checkpoints").mkdir(exist_ok=True, parents=True)
    checkpoints = out / "checkpoints"
    for left in (
        out / ".tunable-a1.yaml",
        checkpoints / ".tunable-a1.safetensors",
        checkpoints / ".step-4-a1.safetensors",
    ):
        left.write_text("half")
    (out / "mine.safetensors").touch()
    train(recipe_of(), Numpy(), out, resume=resume)
    assert not [path for path in out.rglob(".*")] and (out / "mine.safetensors").exists()


def test_folders_that_cannot_be_written(recipe_of, tmp_path, refused):
    (tmp_path / "file").write_text("kept")
    backend = Numpy()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with refused(TunableError, "cannot write in", str(out)):
            train(recipe_of(), backend, out)
    assert backend.received == [] and (tmp_path / "file").read_text() == "kept"


def test_a_run_that_was_moved_goes_on(recipe_of, tmp_path, whole):
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(7, fail)), tmp_path / "run")
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    train(recipe_of(), Numpy(), tmp_path / "elsewhere", resume=True)
    assert_same_run(tmp_path / "elsewhere", whole)


@pytest.mark.parametrize(("each", "told"), [(0.5, [(50, 4), (50, 10)]), (0.049, [(4.9, 10)])], ids=["much", "little"])
def test_waiting_for_batches_is_said(each, told, recipe_of, tmp_path, caplog, monkeypatch):
    """At the first checkpoint where it is more than 5 % of the time, and at the end; here every step takes a second."""
    made = []

    def stream(self, first, last):
        made.append(self)
        for step in range(first, last):
            self.waited += each
            yield self[step]

    caplog.set_level("INFO")
    monkeypatch.setattr(Batches, "stream", stream)
    clock = SimpleNamespace(perf_counter=lambda: round(made[0].waited / each) if made else 0)
    monkeypatch.setattr(loop, "time", clock)
    train(recipe_of(), Numpy(), tmp_path)
    said = [message for message in caplog.messages if "waiting for batches" in message]
    assert len(said) == len(told)
    for message, (share, seconds) in zip(said, told, strict=True):
        assert message.startswith(f"{share:g} % of {seconds} s were spent waiting for batches")
        assert ("data.workers 1 (threads)" in message) is (share > 5)
