"""What the README says is true: its programs run, its links lead somewhere, its verbs exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tunable.backends.registry import requested
from tunable.commands import VERBS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("backend", requested())
def test_programs_run(backend, tmp_path):
    program = next(program for program in PROGRAMS if f"from tunable.{backend} import" in program)
    path = tmp_path / "program.py"  # MindSpore compiles functions from source files only
    path.write_text(program + "\nassert tuple(ordinary(clean).shape) == tuple(clean.shape)\n", encoding="utf-8")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_verbs_exist(page):
    named = re.findall(r"(?:^|`)tunable ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= set(VERBS)


NAMED = re.compile(r"(docs/[\w/]+\.md)(?:, (?P<quote>[\"`])(?P<section>[^\"`\n]+)(?P=quote))?")


def _named() -> set[tuple[str, str]]:
    """(page, section) of every page of docs/ that a source or a page names; "" where no section is named."""
    found = set()
    for path in [*ROOT.rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        if ".venv" not in path.parts:
            text = path.read_text("utf-8")
            found |= {(match[1], match["section"] or "") for match in NAMED.finditer(text)}
    return found


def test_what_is_named_is_there():
    """Every page, and every section by its heading; and nothing refers to notes that a clone does not hold."""
    named = _named()
    assert ("docs/method.md", "Objectives") in named
    missing = {page for page, _ in named if not (ROOT / page).is_file()}
    assert not missing
    headings = {page: set(re.findall(r"^#+ (.+)$", (ROOT / page).read_text("utf-8"), re.M)) for page, _ in named}
    assert not {(page, section) for page, section in named if section and section not in headings[page]}
    notes = re.compile(r"\b(?:" + "|".join(("DES" + "IGN", "SP" + "EC", "FAC" + "TS")) + r")\b(?=,| \d|\)|:)")
    for path in [*ROOT.rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        if ".venv" not in path.parts:
            assert not notes.search(path.read_text("utf-8")), path
