"""What a run is made from besides its recipe: the content of the files that the recipe names.

A recipe says where pictures and weights lie, not what is in them. A run keeps a SHA-256 of each file, so that it never
goes on from other ones than it began with. Where they lie, and what they are called, may change.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tunable.data.pairs import partners
from tunable.data.patches import each, find_pictures
from tunable.errors import DataError, RecipeError, shorten
from tunable.evaluation.measuring import validation_partners, validation_pictures
from tunable.files import file_digest, write_text
from tunable.objectives.style import Style
from tunable.specs.documents import read_json
from tunable.specs.reading import expand
from tunable.specs.recipe import Recipe

FILE = "inputs.json"  # in the folder of a run
START = "initial.weights"  # matters to the first step only: a run goes on without it

RecipeFiles = dict[str, list[tuple[str, str]]]  # recipe key -> name and SHA-256 of every file, in the order of use


def files_of(recipe: Recipe) -> dict[str, list[Path]]:
    """List the files that each key of a recipe stands for. Raises DataError and RecipeError for unusable ones."""
    trained = find_pictures(recipe.data.train, recipe.data.recursive)
    files = {"data.train": trained, "data.validate": validation_pictures(recipe)}
    if recipe.data.degraded:
        data = recipe.data
        paired = partners(data.train, data.degraded, recipe.network.scale, data.recursive)
        files |= {"data.train": [*paired], "data.degraded": [*paired.values()]}
    if recipe.data.validation_degraded:
        files["data.validate_degraded"] = [*validation_partners(recipe).values()]
    single = {START: recipe.initial.weights, "vgg.weights": recipe.features.weights if recipe.perceptual else None}
    single |= {f"objectives.{i}.image": one.image for i, one in enumerate(recipe.objectives) if isinstance(one, Style)}
    return files | {key: [Path(expand(path))] for key, path in single.items() if path is not None}


def read_recipe_files(recipe: Recipe) -> RecipeFiles:
    """Read the name and the SHA-256 of every file that a recipe names.

    The weights that a run starts from are left out where they are no longer there.

    Raises:
        RecipeError: for a file that is missing.
        DataError: for a file that cannot be read.
    """
    files = files_of(recipe)
    if START in files and not files[START][0].is_file():
        del files[START]
    return {
        key: list(zip((path.name for path in paths), each(_digest, paths, f"reading {key}"), strict=True))
        for key, paths in files.items()
    }


def digests(files: RecipeFiles) -> dict[str, str]:
    """Return one SHA-256 for each key: of the contents in their order, not of the names."""
    return {
        key: hashlib.sha256("".join(digest for _, digest in contents).encode()).hexdigest()
        for key, contents in files.items()
    }


def changed_files(before: dict[str, str], now: RecipeFiles, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield which files are not as they were: every key, and a sentence on it.

    Args:
        before: the digests of a checkpoint, by key.
        now: the files as they are.
        folder: of the run, whose FILE holds the names of the files before.
    """
    for key, content in digests(now).items():
        if before.get(key, content) != content:
            yield key, f"{key}: {_changes(_recorded(folder, key, before[key]), now[key])}"


def write_recipe_files(folder: Path, files: RecipeFiles) -> None:
    """Write names and digests into FILE of the folder of a run."""
    write_text(folder / FILE, json.dumps(files, indent=0))


def _recorded(folder: Path, key: str, digest: str) -> list[tuple[str, str]] | None:
    """What the folder's record says of a key, None unless it is of the content with this digest."""
    try:
        files = [(str(name), str(sha)) for name, sha in read_json((folder / FILE).read_text())[key]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if digests({key: files})[key] == digest else None


def _changes(before: list[tuple[str, str]] | None, now: list[tuple[str, str]]) -> str:
    """Which files came, went or changed, the first few by name."""
    if before is None:
        return f"not the files it began with (now {len(now)})"
    gone = [name for name, _ in (Counter(before) - Counter(now)).elements()]  # folders may share names
    come = [name for name, _ in (Counter(now) - Counter(before)).elements()]
    kinds = {
        "added": [name for name in come if name not in gone],
        "removed": [name for name in gone if name not in come],
        "changed": [name for name in come if name in gone],
    }
    parts = [f"{_some(names)} {kind}" for kind, names in kinds.items() if names]
    return ", ".join(parts) or "the same files in another order"


def _some(names: list[str], most: int = 3) -> str:
    text = ", ".join(shorten(name, 80) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except FileNotFoundError:
        raise RecipeError(f"no such file: {path}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
