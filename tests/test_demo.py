"""What `tunable demo` does around its trainings: where it writes, what it refuses, the page it leaves."""

import functools
import re
import shutil

import pytest

from tunable.commands import demo
from tunable.errors import CheckFailed

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def trained(monkeypatch, backend, place):
    """The trainings, replaced by a run that is there already."""
    monkeypatch.setenv("TUNABLE_BACKENDS", backend.name)
    monkeypatch.setattr(demo, "_train", lambda name, out, steps: shutil.copytree(place / "run", out))
    monkeypatch.setattr(demo, "verify", functools.partial(demo.verify, points=2))
    monkeypatch.setattr(demo, "evaluate", functools.partial(demo.evaluate, ssim=False))
    monkeypatch.setattr(demo, "SIGMAS", (25,))


@pytest.mark.thorough
def test_the_page(trained, tunable, tmp_path, backend):
    """One file that needs no other: sliders, sheet and curves inside it, the tables, the certificate."""
    status, _, err = tunable("demo", "--out", "out")
    assert status == 0, err
    assert err.splitlines()[-1] == "demo: open out/index.html"
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script[^>]* src|<link|@import", html)
    heads, blend, settings = re.findall("<figure .*?</figure>", html, re.DOTALL)
    assert "<canvas" in heads and "the model denoise" in heads.lower()
    assert "<canvas" in blend and settings.count("data:image/png") == 1 + len(demo.line(demo.SETTINGS))
    assert len(re.findall('<img [^>]*src="data:image/png;base64,', html)) == html.count("<img ") == 2 + 2 + 6
    assert re.findall("<td>PSNR_η, (.*?)</td>", html) == ["blend", "network"]
    assert all(f"<td>{omega}</td>" in html for omega in ("(0, 1)", "(0.25, 0.75)", "(0.5, 0.5)", "(1, 0)"))
    assert "Passed" in html and backend.name in html
    assert "<td>command line</td><td>tunable demo --out out</td>" in html
    assert (tmp_path / "out" / backend.name / "summary.csv").is_file()


def test_a_folder_of_something_else_is_refused(trained, tunable, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    status, _, err = tunable("demo", "--out", "mine")
    assert status == 2 and err.count("\n") == 1 and "mine holds files that no earlier demo wrote" in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_an_earlier_demo_is_replaced(trained, tunable, tmp_path, monkeypatch):
    def fail(name, out, steps):
        raise CheckFailed("training failed")

    monkeypatch.setattr(demo, "_train", fail)
    for name in ("demo.marker", "old.png", "torch/metrics.csv"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).touch()
    assert tunable("demo", "--out", "out")[::2] == (1, "tunable demo: training failed\n")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["demo.marker"]


def test_steps_are_a_number(trained, tunable):
    assert tunable("demo", "--steps", "0")[0] == 2
