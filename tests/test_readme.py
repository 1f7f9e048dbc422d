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
