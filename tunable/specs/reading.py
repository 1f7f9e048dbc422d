"""Reading a recipe: YAML, the recipes it inherits from (`base:`), overrides (`--set`), and the recipes that ship.

A recipe may inherit from another (`base:`, relative to its own folder, or the name of one that ships; its own values
win, mappings are merged key by key, lists are replaced). It is validated before anything heavy starts, and the resolved
recipe is stored beside the run and in the weights.
"""

import os
import re
from pathlib import Path
from typing import Any

from tunable.errors import RecipeError, nearest, shown
from tunable.specs.documents import DEPTH, is_list, is_mapping, read_yaml
from tunable.specs.optimizers import KIND
from tunable.specs.recipe import Recipe, parse
from tunable.specs.schema import check_path

MOST_BYTES = 2**17  # of a recipe's file; the longest of this project has 2,000
MOST_BASES = 20  # recipes that inherit from each other


def load_recipe(recipe: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe with its bases, apply the overrides, and validate the result.

    Args:
        recipe: the path of a YAML file, or the name of a recipe that ships, such as "denoise/mini".
        overrides: values to replace, such as "data.batch=8".

    Returns:
        The validated recipe.

    Raises:
        RecipeError: for a file that cannot be read, and for values that the schema does not allow.
    """
    values = _read(_path_of(recipe))
    for override in overrides or ():
        _override(values, override)
    return parse(values, str(recipe))


def shipped_recipes() -> dict[str, Path]:
    """Find the recipes of configs/, which a wheel holds as `tunable/configs`.

    Returns:
        The path of every recipe by its name, such as "denoise/mini".
    """
    installed, cloned = (Path(__file__).parents[up] / "configs" for up in (1, 2))
    folder = installed if installed.is_dir() else cloned
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.glob("*/*.yaml"))}


def expand(path: str) -> str:
    """Expand `${NAME}` in a path; an unset variable is a RecipeError."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise RecipeError(f"path {path!r} needs the environment variable {name}, which is not set")
        return os.environ[name]

    return os.path.expanduser(re.sub(r"\$\{(\w+)\}", value, path))


def _path_of(recipe: str | Path) -> Path:
    """The file of a recipe that is given by its path or, where there is no such file, by its name."""
    name, known = str(recipe).removesuffix(".yaml"), shipped_recipes()
    if name in known and not os.path.isfile(recipe):
        return known[name]
    if not os.path.lexists(recipe):
        raise RecipeError(
            f"cannot read recipe {recipe}: No such file, and no recipe that ships has this name{nearest(name, known)}"
        )
    return Path(recipe)


def _read(path: Path) -> dict[str, Any]:
    """The values of a recipe, merged over the values of its bases."""
    seen: list[Path] = []
    layers: list[dict[str, Any]] = []
    following: Path | None = path
    while following is not None:
        path = _resolved(following)
        if path in seen:
            raise RecipeError(f"recipe {path} inherits from itself")
        if len(seen) > MOST_BASES:
            raise RecipeError(f"recipe {seen[0]} inherits from more than {MOST_BASES} others")
        seen.append(path)
        values = _read_one(path)
        layers.append(values)
        following = _base(path, values.pop("base", None))
    merged = layers.pop()
    while layers:
        merged = _merge(merged, layers.pop())
    return merged


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; NUL
        raise RecipeError(f"cannot read recipe {path}: {error}") from None


def _base(path: Path, base: Any) -> Path | None:
    if base is None:
        return None
    if not isinstance(base, str):
        raise RecipeError(f"{path}: base must be a path relative to this file, not {shown(base)}")
    try:
        file = path.parent / check_path(base)
    except ValueError as error:
        raise RecipeError(f"{path}: base: {error}") from None
    name, known = base.removesuffix(".yaml"), shipped_recipes()
    return known[name] if name in known and not os.path.isfile(file) else file


def _read_one(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise RecipeError(f"recipe {path} has more than {MOST_BYTES} bytes")
        values: Any = read_yaml(text.decode("utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read recipe {path}: {error.strerror}") from None
    except ValueError as error:
        raise RecipeError(f"{path} is not valid YAML: {error}") from None
    if not is_mapping(values):
        raise RecipeError(f"{path} must hold a mapping of keys, not {type(values).__name__}")
    return values


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if is_mapping(value) and is_mapping(under) and _same_kind(key, under, value):
            value = _merge(under, value)
        merged[key] = value
    return merged


def _same_kind(key: str, below: dict[str, Any], above: dict[str, Any]) -> bool:
    """Whether `above` is of the kind of `below`; another kind replaces it whole, for its keys would not fit.

    A section that leaves out its kind is of its default one, which optimizers alone have.
    """
    kinds = {"kind": KIND, **below} if key == "optimizer" else below
    return all(above.get(tag, kinds.get(tag)) == kinds.get(tag) for tag in ("kind", "name", "import"))


def _override(values: dict[str, Any], text: str) -> None:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set wants KEY=VALUE such as data.batch=8, not {shown(text)}")
    *parents, last = path.split(".")
    if len(parents) >= DEPTH:
        raise RecipeError(f"--set {shown(text)}: a key of at most {DEPTH} parts is wanted, not of {len(parents) + 1}")
    place: Any = values
    for depth, key in enumerate(parents):
        if is_mapping(place):
            place = place.setdefault(key, {})
        elif _holds(place, key):
            place = place[int(key)]
        else:
            raise RecipeError(f"--set {text}: nothing at {'.'.join(parents[: depth + 1])}")
    try:
        parsed = read_yaml(value)
    except ValueError as error:
        raise RecipeError(f"--set {text}: {shown(value)} is not a YAML value: {error}") from None
    if is_mapping(place):
        place[last] = parsed
    elif _holds(place, last):
        place[int(last)] = parsed
    else:
        raise RecipeError(f"--set {text}: nothing at {path}")


def _holds(place: Any, key: str) -> bool:
    """Whether `key` counts an item of the list `place`."""
    return is_list(place) and key.isdecimal() and len(key) < 9 and int(key) < len(place)
