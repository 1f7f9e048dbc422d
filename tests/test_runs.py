"""What a run says of itself and of what it ran on, and `tunable runs`, which compares such folders."""

import csv
import json
import math
import subprocess

import pytest
from fake import Numpy, at, fail

from tunable.reports import runs as report
from tunable.training import environment
from tunable.training.comparing import find_runs, table
from tunable.training.loop import train
from tunable.training.records import Records


def test_environment(recipe_of, tmp_path, monkeypatch):
    """A session for each call: how it was called, on what, from which step to which; messages stay with it."""
    monkeypatch.setattr("sys.argv", ["tunable", "train", "my recipe.yaml"])
    out = tmp_path / "run"
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(6, fail)), out)
    train(recipe_of(), Numpy(), out, resume=True)
    first, second = environment.sessions_of(out)
    assert (first["from_step"], first["to_step"]) == (0, 4) and (second["from_step"], second["to_step"]) == (4, 10)
    assert first["command"] == "tunable train 'my recipe.yaml'" and first["mode"] == "eager"
    assert first["recipe_sha256"] == environment.recipe_digest(recipe_of()) != environment.recipe_digest(recipe_of(9))
    assert first["started"] <= first["ended"] <= second["started"] <= second["ended"]
    assert {"python", "machine", "program", "numpy", "commits"} <= first.keys()


def test_a_damaged_record_is_begun_anew(recipe_of, tmp_path):
    train(recipe_of(steps=4), Numpy(), tmp_path)
    (tmp_path / environment.FILE).write_text("[{")
    assert environment.sessions_of(tmp_path) == []


def test_validations_of_an_earlier_version_are_kept(recipe_of, tmp_path):
    """It measured no SSIM: that stays empty, and its score counts."""
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(6, fail)), tmp_path)
    (tmp_path / "validation.csv").write_text("step,psnr_1_0,psnr_0_1,score\n4,20.0000,10.0000,99.5000\n")
    train(recipe_of(), Numpy(), tmp_path, resume=True)
    header, first, *later = (tmp_path / "validation.csv").read_text().splitlines()
    assert header == "step,psnr_1_0,psnr_0_1,ssim_1_0,ssim_0_1,score" and first == "4,20.0000,10.0000,,,99.5000"
    assert len(later) == 2 and all(row.count(",") == 5 and ",," not in row for row in later)
    assert find_runs([str(tmp_path)])[0].row()["best_step"] == 4


def test_validations_of_other_settings_are_kept(recipe_of, tmp_path):
    """A run that goes on with other settings keeps what it measured at those before, beside the new ones."""
    with pytest.raises(RuntimeError):
        train(recipe_of(), Numpy(at(6, fail)), tmp_path)
    before = (tmp_path / "validation.csv").read_text().splitlines()
    with pytest.raises(RuntimeError):
        changed = recipe_of(validation={"points": 3})
        train(changed, Numpy(at(10, fail)), tmp_path, resume=True, allow_change=["validation.points"])
    train(recipe_of(), Numpy(), tmp_path, resume=True, allow_change=["validation.points"])  # back to fewer
    first, second, third = csv.DictReader((tmp_path / "validation.csv").read_text().splitlines())
    assert [*first] == [*before[0].split(",")[:-1], "psnr_0.5_0.5", "ssim_0.5_0.5", "score"]
    assert [value for value in first.values() if value] == before[1].split(",") and "" not in second.values()
    assert [name for name, value in third.items() if not value] == ["psnr_0.5_0.5", "ssim_0.5_0.5"]
    assert (first["step"], second["step"], third["step"]) == ("4", "8", "10") and float(third["score"]) > 0


def test_a_score_that_is_no_number(recipe_of, tmp_path):
    """It is written, never the best, and in the way of none that follows, also when the run is resumed."""
    for first, scores in ((0, [math.nan, 3.0, math.nan]), (3, [2.5, 3.5])):
        with Records(tmp_path, recipe_of(), first) as records:
            for step, score in enumerate(scores, first + 1):
                assert records.is_best({"score": score}) == (score > 2.9)
                records.validation(step, {"psnr_1_0": 1.0, "score": score})
    assert (tmp_path / "validation.csv").read_text().splitlines()[1:3] == ["1,1.0000,nan", "2,1.0000,3.0000"]


def test_messages_are_kept(recipe_of, tmp_path, caplog):
    """All of them: also what is said before the run's folder is known to be free."""
    with caplog.at_level("INFO"):
        with pytest.raises(RuntimeError):
            train(recipe_of(), Numpy(at(6, fail)), tmp_path)
        train(recipe_of(), Numpy(), tmp_path, resume=True)
    *lines, last = (tmp_path / environment.MESSAGES).read_text().splitlines()
    said = [line.split(" INFO ")[1].split(":")[0] for line in lines]
    assert said == ["training", "validation", "step 4", f"continuing {tmp_path} at step 4", "step 8", "step 10"]
    assert "psnr_1_0" in lines[2] and "score" in lines[2] and "waiting for batches" in last


def test_commit(tmp_path):
    """That of the checkout, with a plus where a file of it has changed; none outside of one."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    assert environment.commit(str(tmp_path)) is None
    (tmp_path / "a").write_text("a")
    for words in (["init", "-q"], ["add", "a"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], check=True)
    environment.commit.cache_clear()
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert environment.commit(str(tmp_path)) == head
    (tmp_path / "a").write_text("b")
    environment.commit.cache_clear()
    assert environment.commit(str(tmp_path)) == head + "+"


@pytest.fixture
def two_runs(recipe_of, tmp_path):
    """A folder of two runs, the second of an earlier version, which measured no SSIM and kept no sessions."""
    place = tmp_path / "runs"
    train(recipe_of(), Numpy(), place / "a")
    train(recipe_of(steps=4), Numpy(), place / "b$")
    (place / "b$" / environment.FILE).unlink()
    (place / "b$" / "validation.csv").write_text("step,psnr_1_0,psnr_0_1,score\n4,20.0000,10.0000,16.5000\n")
    return place


def test_table(two_runs):
    """Every number is a row's of metrics.csv or validation.csv; what is not known is None."""
    first, second = table(find_runs([str(two_runs)]))
    assert list(first) == list(second)
    assert first["run"] == str(two_runs / "a") and (first["steps"], first["of"]) == (10, 10)
    assert first["loss"] == pytest.approx(sum(1 / step for step in range(1, 11)) / 10, rel=1e-6)
    with open(two_runs / "a" / "validation.csv") as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["score"]))
    assert (first["best_score"], first["best_step"]) == (float(best["score"]), int(best["step"]))
    assert first["psnr_1_0"] == float(rows[-1]["psnr_1_0"]) and first["ssim_1_0"] == float(rows[-1]["ssim_1_0"])
    assert (second["best_score"], second["best_step"], second["psnr_1_0"]) == (16.5, 4, 20.0)
    assert second["ssim_1_0"] is None and second["steps_per_second"] is None and second["framework"] is None


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("step,psnr_1_0\n4,20.0\n8,21.0\n", (None, None)),  # an earlier version wrote no score
        ("step,psnr_1_0,score\n4,20.0,nan\n8,21.0,7.5\n10,21.0,7.5\n", (7.5, 8)),  # equal ones: the checkpoint's
    ],
)
def test_the_best_score(two_runs, text, best):
    (two_runs / "a" / "validation.csv").write_text(text)
    row = find_runs([str(two_runs / "a")])[0].row()
    assert (row["best_score"], row["best_step"]) == best and row["psnr_1_0"] == 21


def test_speed(two_runs):
    """Over the sessions that ended: 10 steps in 5 seconds; one that was killed says nothing."""
    sessions = [
        {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:05+00:00", "from_step": 0, "to_step": 10},
        {"started": "2026-01-01T00:00:00+00:00", "from_step": 10},
    ]
    (two_runs / "a" / environment.FILE).write_text(json.dumps({"sessions": sessions}))
    assert find_runs([str(two_runs / "a")])[0].row()["steps_per_second"] == 2


def test_command(two_runs, tunable, tmp_path):
    """The table, and files by their suffix."""
    files = [tmp_path / f"runs{suffix}" for suffix in report.WRITERS]
    status, out, err = tunable("runs", two_runs, *(word for path in files for word in ("-o", path)))
    assert status == 0 and err.splitlines() == [f"wrote {path}" for path in files]
    headings, first, second, *_ = out.splitlines()
    assert headings.startswith("run ") and "16.50" in second and first.startswith(str(two_runs / "a"))
    rows = list(csv.DictReader(files[0].read_text().splitlines()))
    assert [row["run"] for row in rows] == [str(two_runs / name) for name in ("a", "b$")] and rows[1]["ssim_1_0"] == ""
    begins = {".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!doctype html>"}
    assert all(path.read_bytes().startswith(begins.get(path.suffix, b"run,")) for path in files)
    assert "data:image/png;base64," in files[-1].read_text() and "16.50" in files[-1].read_text()
    status, out, _ = tunable("runs", two_runs / "a", "--json")
    assert status == 0 and [row["steps"] for row in json.loads(out)] == [10]


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("runs {place}/nowhere", ["no such folder: ", "nowhere"]),
        ("runs {place}/pictures", ["pictures is no run and holds none: a run has a recipe.yaml and a metrics.csv"]),
        ("runs {place}/pictures -o a.txt", ["-o wants a file that ends in .csv, .png, .svg, .html, not 'a.txt'"]),
    ],
)
def test_refused(refuses, line, fragments):
    refuses(line, *fragments)
