"""The checkpoints of a run: weights, optimizer state and step, from which it continues bit for bit.

    DIR/checkpoints/step-00000500.safetensors   tensors `weights.<name>` and `state.<name>`; step and recipe as metadata

A run is a pure function of its recipe, so an older checkpoint leads to the same result as a newer one:
where the newest is damaged, the one before it is taken.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tunable_core import checkpoint
from tunable_core.documents import read_json
from tunable_core.errors import CheckFailed, CheckpointError, TunableError
from tunable_core.files import sweep
from tunable_core.initial import ParameterSpec
from tunable_core.recipe import Recipe, parse

STATE_FORMAT = "tunable-convolutions-state/1"
FREE = ("steps", "checkpoint", "data.workers", "data.cache_gib")  # may differ: they change no step
log = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    """A run after `step` steps."""

    step: int
    weights: dict[str, np.ndarray]
    state: dict[str, np.ndarray]


class Snapshots:
    """The checkpoints in the folder of a run, oldest first."""

    def __init__(self, out: str | Path):
        self.folder = Path(out) / "checkpoints"

    def paths(self) -> list[Path]:
        found = self.folder.glob("step-*.safetensors")
        return sorted((path for path in found if re.fullmatch(r"step-\d+", path.stem)), key=_step)

    def sweep(self) -> None:
        """Remove what killed saves left; nobody else writes here. Versions before named it after the checkpoint."""
        sweep(self.folder)
        for path in self.folder.glob(".step-*.safetensors"):
            path.unlink(missing_ok=True)

    def newest_step(self) -> int | None:
        paths = self.paths()
        return _step(paths[-1]) if paths else None

    def save(self, snapshot: Snapshot, recipe: Recipe) -> None:
        """Write a checkpoint and drop the oldest beyond `checkpoint.keep`; CheckFailed when it is not finite."""
        tensors = {"weights." + name: value for name, value in snapshot.weights.items()}
        tensors |= {"state." + name: value for name, value in snapshot.state.items()}
        for name, value in tensors.items():
            if not np.isfinite(value).all():
                raise CheckFailed(f"{name} is not finite after step {snapshot.step}; {self.describe()}")
        metadata = {"format": STATE_FORMAT, "step": str(snapshot.step), "recipe": json.dumps(recipe.to_dict())}
        checkpoint.save_tensors(self.folder / f"step-{snapshot.step:08d}.safetensors", tensors, metadata)
        for path in self.paths()[: -recipe.checkpoint.keep]:
            path.unlink()

    def describe(self) -> str:
        """What there is to continue from, for a message."""
        paths = self.paths()
        return f"the newest checkpoint is {paths[-1]}" if paths else "no checkpoint was written before"

    def newest(self, recipe: Recipe, weights: list[ParameterSpec], state: list[ParameterSpec]) -> Snapshot | None:
        """The newest checkpoint that can be read, None where there is none at all.

        weights, state  what the network and its optimizer hold; a checkpoint that holds something else is damaged

        Damaged checkpoints are renamed to *.damaged. Raises CheckpointError when all are damaged, and when one
        was made with another recipe (those in `FREE` may differ) or lies beyond its last step.
        """
        damaged: list[tuple[Path, str]] = []
        for path in reversed(self.paths()):
            try:
                held = _read(path)
                difference = _difference(held.recipe, recipe.to_dict())
                if not difference:
                    checkpoint.check_tensors(held.weights, weights, path)
                    checkpoint.check_tensors(held.state, state, path)
            except TunableError as error:
                damaged.append((path, str(error)))
                continue
            if difference:
                raise CheckpointError(f"{path} was made with another recipe: {difference}")
            if _step(path) > recipe.steps:
                raise CheckpointError(f"{path} is at step {_step(path)}, beyond the recipe's {recipe.steps}")
            for broken, reason in damaged:
                broken.rename(broken.with_suffix(".damaged"))
                log.warning("damaged, renamed to %s.damaged: %s", broken.stem, reason)
            return Snapshot(_step(path), held.weights, held.state)
        if damaged:
            raise CheckpointError(f"no checkpoint in {self.folder} can be used; the newest: {damaged[0][1]}")
        return None


class _File(NamedTuple):
    recipe: dict[str, Any]
    weights: dict[str, np.ndarray]
    state: dict[str, np.ndarray]


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _read(path: Path) -> _File:
    """A checkpoint as it stands; CheckpointError when it is none."""
    tensors, metadata = checkpoint.load_tensors(path)
    found = metadata.get("format")
    if found != STATE_FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of a run: format {found!r}, wanted {STATE_FORMAT!r}")
    if metadata.get("step") != str(_step(path)):
        raise CheckpointError(f"{path} says that it holds step {metadata.get('step')}")
    try:
        recipe = parse(read_json(metadata["recipe"]), str(path)).to_dict()
    except (KeyError, ValueError):
        raise CheckpointError(f"{path} holds no recipe") from None
    parts: dict[str, dict[str, np.ndarray]] = {"weights": {}, "state": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind not in parts:
            raise CheckpointError(f"{path} has a tensor {name!r} that belongs to no checkpoint")
        parts[kind][rest] = value
    return _File(recipe, **parts)


def _difference(held: Any, wanted: Any, where: str = "") -> str:
    """The first value that differs, as "data.batch was 8, now 4"; "" when none does but the free ones."""
    if where in FREE or held == wanted:
        return ""
    if isinstance(held, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys([*wanted, *held])
        parts = ((held.get(key), wanted.get(key), f"{where}.{key}".lstrip(".")) for key in keys)
    elif isinstance(held, list) and isinstance(wanted, list) and len(held) == len(wanted):
        parts = ((a, b, f"{where}.{i}") for i, (a, b) in enumerate(zip(held, wanted, strict=True)))
    else:
        return f"{where} was {held!r}, now {wanted!r}"
    return next(filter(None, (_difference(*part) for part in parts)), "")
