"""A full disk, by a limit on the size of files: one line, and what was there stays."""

import resource
from contextlib import contextmanager

import pytest
from prepared import MODEL, P


@contextmanager
def file_limit(size):
    """No file may grow beyond `size`. Ends before pytest reports, whose own output may go to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("line", "size", "name"),
    [
        (f"fold {MODEL} --omega 1,0 -o {P}/new.safetensors", 1000, "new.safetensors"),
        (f"fold {MODEL} --omega 1,0 -o {P}/plain.safetensors", 1000, "plain.safetensors"),  # the old one stays
        (f"restore {MODEL} {P}/pictures/a.png --omega 1,0 -o {P}/new.png", 500, "new.png"),
        (f"restore {MODEL} {P}/pictures/a.png --omega 1,0 -o {P}/new.bmp", 500, "new.bmp"),
        (f"restore {MODEL} {P}/pictures/a.png --omega 1,0 -o {P}/new.jpg", 300, "new.jpg"),
        (f"evaluate {MODEL} --data {P}/pictures --sigma 15 --no-ssim --out {P}/new", 10, "table.csv"),
        (f"train {P}/recipe.yaml --out {P}/new", 100, "recipe.yaml"),
    ],
)
def test_a_full_disk(line, size, name, refuses, place):
    (place / "new").mkdir()
    try:
        with file_limit(size):
            refuses(line, "cannot write", name)
    finally:
        (place / "new").rmdir()


def test_a_disk_that_fills_during_a_run(place, tunable, tmp_path, backend):
    """What was written stays, and with room the run goes on from it."""
    words = ["train", place / "recipe.yaml", "--backend", backend.name, "--out", tmp_path / "run"]
    words += ["--set", "steps=4", "--set", "checkpoint.every=2"]
    with file_limit(3000):  # recipe and log fit, a checkpoint does not
        status, _, err = tunable(*words)
    run = tmp_path / "run"
    assert status == 2 and err.splitlines()[-1].startswith(f"tunable train: cannot write {run}/checkpoints/step-")
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoints", "environment.json", "events", "inputs.json", "log.txt", "metrics.csv", "recipe.yaml",
    ]  # fmt: skip
    assert not list((run / "checkpoints").iterdir())
    assert tunable(*words, "--resume")[0] == 0
    assert len((run / "metrics.csv").read_text().splitlines()) == 1 + 4


def test_a_log_that_cannot_grow(place, tunable, tmp_path, backend):
    words = ["train", place / "recipe.yaml", "--backend", backend.name, "--out", tmp_path / "run"]
    with file_limit(2000):  # the recipe's copy fits, the log of so many steps does not
        status, _, err = tunable(*words, "--set", "steps=80", "--set", "checkpoint.every=80")
    assert status == 2 and err.splitlines()[-1] == f"tunable train: cannot write in {tmp_path}/run: File too large"
