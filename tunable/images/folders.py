"""Folders of pictures: which pictures a folder holds, and what of it is left out."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tunable.errors import DataError, printable, shorten
from tunable.images.pictures import SUFFIXES

_LOOKED_AT = 10_000  # files of sub-folders, to say what is left there
_NAMED = 3


@dataclass
class Listing:
    """The content of a folder.

    Attributes:
        folder: its path.
        pictures: their paths, sorted.
        left_out: the names of what else is in it, by the reason why it is left out.
    """

    folder: Path
    pictures: list[Path]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, paths: Collection[Path], reason: str) -> None:
        """Leave out the pictures with these paths, for this reason."""
        if left := [path for path in self.pictures if path in paths]:
            self.left_out[reason] = [path.relative_to(self.folder).as_posix() for path in left]
            self.pictures = [path for path in self.pictures if path not in paths]

    def describe(self) -> str:
        """Say it in a line: "photos: 24 pictures; left out: 2 of other kinds (a.txt, b.mp4)"."""
        reasons = ", ".join(f"{len(names)} {reason} ({some(names)})" for reason, names in self.left_out.items())
        return f"{self.folder}: {counted(len(self.pictures))}" + (f"; left out: {reasons}" if reasons else "")


def list_pictures(folder: str | Path, recursive: bool = False) -> list[Path]:
    """Return the pictures of a folder as `find` does."""
    return find(folder, recursive).pictures


def find(folder: str | Path, recursive: bool = False, without: Path | None = None) -> Listing:
    """List the pictures of a folder.

    A picture is a file, or a link to one, with one of SUFFIXES in upper or lower case and a name that begins with no
    dot.

    Args:
        folder: where they are.
        recursive: whether all folders in it are searched too.
        without: a folder that is not searched.

    Raises:
        DataError: for a folder that is missing or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    closed, below, pictures, left_out = [], 0, [], {}

    def leave(path: Path, reason: str) -> None:
        left_out.setdefault(reason, []).append(path.relative_to(folder).as_posix())

    for place, names in _walk(folder, closed.append, without):
        inside = place != folder and not recursive
        below += len(names) if inside else 0
        if below > _LOOKED_AT:
            left_out["or more in sub-folders"] = left_out.pop("in sub-folders", [])
            break
        for path in (place / name for name in names):
            picture, hidden = path.suffix.lower() in SUFFIXES, path.name.startswith(".")
            if inside:
                if picture and not hidden:
                    leave(path, "in sub-folders")
            elif picture and not hidden and path.is_file():
                pictures.append(path)
            elif picture:
                leave(path, "hidden" if hidden else "not there (dead links)")
            elif not hidden:
                leave(path, "of other kinds")
    for error in closed:
        if Path(error.filename) == folder:
            raise DataError(f"cannot open the folder {folder}: {error.strerror}")
        leave(Path(error.filename), "folders that cannot be opened")
    if not pictures:
        subfolders = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())[:4])
        hint = f"; inside it are the folders {subfolders}" if subfolders else ""
        raise DataError(f"no pictures in {folder} (looked for {', '.join(SUFFIXES)}){hint}")
    return Listing(folder, sorted(pictures), {reason: sorted(left_out[reason]) for reason in sorted(left_out)})


def _walk(folder: Path, closed: Callable, without: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from the top and the names of its files; each real folder once, none that is hidden."""
    seen = {os.path.realpath(without)} if without else set()
    for place, folders, names in os.walk(folder, onerror=closed, followlinks=True):
        real = os.path.realpath(place)
        if real in seen and place != str(folder):
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield Path(place), names


def named_apart(places: list[Path], ending: str) -> tuple[list[Path], list[str]]:
    """Name a file beside each place: its stem and an ending; where several would share a name, also the suffix.

    Args:
        places: paths of pictures.
        ending: of the files, such as "_restored.png".

    Returns:
        The files, all different, and the names of those that keep their suffix, or a number besides.
    """
    targets = [place.with_name(place.stem + ending) for place in places]
    counts = Counter(map(_key, targets))
    taken = {key for key, number in counts.items() if number == 1}
    renamed = []
    for i, place in enumerate(places):
        if counts[_key(targets[i])] == 1:
            continue
        name, number = place.name, 1
        while _key(target := place.with_name(name + ending)) in taken:
            number += 1
            name = f"{place.name}-{number}"
        taken.add(_key(target))
        targets[i] = target
        renamed.append(target.name)
    return targets, renamed


def _key(path: Path) -> str:
    """What a file system may take as the same: names equal but for case, or for the form of their accents."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def counted(number: int) -> str:
    """Say how many pictures there are: "1 picture", "24 pictures"."""
    return f"{number:,} picture" + ("" if number == 1 else "s")


def some(names: list[str]) -> str:
    """Say the first few of many names."""
    return ", ".join(shorten(printable(name), 80) for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
