"""What a run ran on: `environment.json` and `log.txt` in its folder.

environment.json   one session for each call of `train`: command line, framework, versions, device, switches, commits
                   of the sources, a digest of the recipe, and when it went from which step to which
log.txt            what was said, from the first look into the folder on, each line with its time
"""

import hashlib
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from tunable.errors import TunableError
from tunable.files import write_text
from tunable.specs.documents import is_list, is_mapping, read_json
from tunable.specs.recipe import Recipe

FILE, MESSAGES = "environment.json", "log.txt"


@contextmanager
def remembering() -> Iterator[MemoryHandler]:
    """Keep what is said while the context is open, for a `session` that begins in it: before, nothing is written."""
    said = MemoryHandler(capacity=1000, flushOnClose=False)
    logging.getLogger().addHandler(said)
    try:
        yield said
    finally:
        logging.getLogger().removeHandler(said)
        said.close()


@contextmanager
def session(
    out: Path, recipe: Recipe, facts: dict[str, str], first: int, step: Callable[[], int | None], said: MemoryHandler
) -> Iterator[None]:
    """Record a session of a run in its folder; the sessions before it stay.

    Args:
        out: the folder of the run.
        recipe: of the run.
        facts: of the framework: versions, device and switches.
        first: steps done before; 0 begins both files anew.
        step: returns the step of the newest checkpoint, None before the first; it is asked at the end.
        said: what was said before it, with which log.txt begins; from now on nothing more is kept there.
    """
    this: dict[str, Any] = {
        "started": _now(),
        "from_step": first,
        "command": shlex.join(sys.argv),
        "recipe_sha256": recipe_digest(recipe),
        "python": platform.python_version(),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        **facts,
        "commits": {"program": commit(str(Path(__file__).parent)), "working directory": commit(os.getcwd())},
    }
    sessions = [*(sessions_of(out) if first else ()), this]
    write_text(out / FILE, _text(sessions))
    handler = _Messages(out / MESSAGES, mode="a" if first else "w", encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().removeHandler(said)
    said.setTarget(handler)
    said.flush()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        this |= {"ended": _now(), "to_step": step() or first}
        with suppress(OSError, TunableError):  # a full disk, which has been said
            handler.close()
            write_text(out / FILE, _text(sessions))


def sessions_of(out: Path) -> list[dict[str, Any]]:
    """Return the sessions of a run, the first one first; [] where its folder has no readable record of them."""
    try:
        values: Any = read_json((out / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    sessions = values.get("sessions") if is_mapping(values) else None
    return [one for one in sessions if is_mapping(one)] if is_list(sessions) else []


def recipe_digest(recipe: Recipe) -> str:
    """Return the SHA-256 of a recipe's values: equal recipes have equal ones, however they were written."""
    return hashlib.sha256(json.dumps(recipe.to_dict(), sort_keys=True).encode()).hexdigest()


class _Messages(logging.FileHandler):
    """A file of messages, none of which ends a run because the disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@lru_cache(maxsize=8)
def commit(folder: str) -> str | None:
    """Return the commit that is checked out where a folder lies, with a plus where files differ; None without git."""
    try:
        git = ["git", "-C", folder]
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 10}
        found = subprocess.run([*git, "rev-parse", "HEAD"], **options)
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], **options)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() + "+" * bool(changed.stdout.strip()) if found.returncode == 0 else None


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _text(sessions: list[dict[str, Any]]) -> str:
    return json.dumps({"sessions": sessions}, indent=1) + "\n"
