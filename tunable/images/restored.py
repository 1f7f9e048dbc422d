"""What made the pictures of a folder, so that going on keeps only those that it would make again."""

import hashlib
import json
from pathlib import Path

from tunable.errors import TunableError
from tunable.files import file_digest

NAME = ".restored.jsonl"


class Record:
    """One line of JSON per picture in `NAME` of a folder: SHA-256 of the picture, of its source and of all settings.

    A line is added after its picture is written: a program that is killed between the two makes one picture again.
    """

    def __init__(self, folder: Path, settings: dict) -> None:
        self._folder, self._path = folder, folder / NAME
        self._by = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
        self._lines = _read(self._path)

    def holds(self, source: Path, target: Path) -> bool:
        """Return whether `target` is there, whole, as these settings made it from `source` as it is now."""
        line = self._lines.get(self._name(target))
        try:
            return line is not None and line == self._line(source, target)
        except OSError:
            return False

    def add(self, source: Path, target: Path) -> None:
        """Note that `target` was made from `source`."""
        try:
            with open(self._path, "a", encoding="utf-8") as file:  # "\n" ends a line that a kill has cut
                file.write("\n" + json.dumps(self._line(source, target)) + "\n")
        except OSError as error:
            raise TunableError(f"cannot write {self._path}: {error.strerror or error}") from None

    def _line(self, source: Path, target: Path) -> dict:
        return {"restored": self._name(target), "by": self._by, "of": file_digest(source), "is": file_digest(target)}

    def _name(self, target: Path) -> str:
        return target.relative_to(self._folder).as_posix()


def made_in(folder: Path) -> set[Path]:
    """Return the files that restored pictures became in a folder."""
    return {folder / name for name in _read(folder / NAME) if isinstance(name, str)}


def _read(path: Path) -> dict[str, dict]:
    lines = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return lines
    for line in text.splitlines():
        try:
            record = json.loads(line)
            lines[record["restored"]] = record
        except (ValueError, TypeError, KeyError, RecursionError):  # cut by a kill; its picture is made again
            continue
    return lines
