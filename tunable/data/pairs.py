"""Pairs of pictures: a clean one, and what a camera or another program made of the same scene.

A pair has one name in two folders, whatever the suffix of its files: `clean/a.png` and `degraded/a.jpg`. Where a
network enlarges 4 times, the smaller picture may be called `ax4`, as in the usual sets: `clean/a.png` and
`degraded/ax4.png`.
"""

from collections.abc import Mapping
from pathlib import Path

from tunable.errors import DataError
from tunable.images.folders import list_pictures, some
from tunable.images.pictures import size_of
from tunable.specs.reading import expand

Partners = Mapping[Path, Path]  # from the clean picture to the degraded one


def partners(clean: list[str], degraded: list[str], scale: int = 1, recursive: bool = False) -> dict[Path, Path]:
    """Find the degraded partner of every clean picture.

    Args:
        clean: folders of clean pictures.
        degraded: as many folders; each holds the partners of the folder at the same place.
        scale: how many times as high and wide the clean pictures are.
        recursive: whether pictures in sub-folders are taken too; partners then have one path in both folders.

    Returns:
        The partners, in the order of the clean pictures.

    Raises:
        DataError: for a folder that cannot be used, pictures without a partner or with two, and pictures of one name.
    """
    found: dict[Path, Path] = {}
    for truth, other in zip(map(expand, clean), map(expand, degraded), strict=True):
        wanted, named = _named(truth, recursive), _named(other, recursive)
        lonely = []
        for name, path in wanted.items():
            names = (name, f"{name}x{scale}") if scale > 1 else (name,)
            able = [named[each] for each in names if each in named]
            if len(able) > 1:
                raise DataError(f"{able[0]} and {able[1].name} could both be the partner of {path}")
            if path in found:
                raise DataError(f"{path} has two partners, {found[path]} and {(able or [other])[0]}: one is wanted")
            if able:
                found[path] = able[0]
            else:
                lonely.append(path.name)
        if lonely:
            raise DataError(f"{other} has no partner of {len(lonely)} pictures of {truth}: {some(lonely)}")
    return found


def _named(folder: str, recursive: bool) -> dict[str, Path]:
    """The pictures of a folder by their names without suffix. Raises DataError where two have one name."""
    named: dict[str, Path] = {}
    for path in list_pictures(folder, recursive):
        twin = named.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        if twin != path:
            raise DataError(f"{twin} and {path.name} have one name, by which pictures find their partners")
    return named


def check_pair(clean: Path, degraded: Path, scale: int = 1, max_pixels: int | None = None) -> None:
    """Raise DataError unless the clean picture is `scale` times as high and wide as the degraded one."""
    (width, height), (small_width, small_height) = (size_of(path, max_pixels) for path in (clean, degraded))
    if (width, height) != (scale * small_width, scale * small_height):
        wanted = "the same size" if scale == 1 else f"{scale} times the size"
        raise DataError(
            f"{clean} is {width}x{height} and its partner {degraded} {small_width}x{small_height}; the clean picture "
            f"must have {wanted}"
        )
