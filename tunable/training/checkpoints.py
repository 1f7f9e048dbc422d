"""The checkpoints of a run: weights, optimizer state and step, from which it continues bit for bit.

    DIR/checkpoints/step-00000500.safetensors   tensors `weights.<name>` and `state.<name>`; as metadata the step, the
                                                recipe, digests of the files that it names
                                                (tunable.training.recipe_files), and who trained

    DIR/checkpoints/best.safetensors            a copy of the one with the highest score of validation

A run is a pure function of its recipe and those files, so an older checkpoint leads to the same result as a newer one:
where the newest is damaged, the one before it is taken.
"""

import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tunable.errors import CheckFailed, CheckpointError, RecipeError, TunableError
from tunable.files import atomic, sweep
from tunable.parameters.specs import ParameterSpec
from tunable.specs.recipe import Recipe, parse
from tunable.training.differences import (
    FREE,
    Difference,
    check_changed,
    check_known,
    differences,
    hint,
    other_rates,
    within,
)
from tunable.training.recipe_files import RecipeFiles, changed_files
from tunable.weights import storage
from tunable.weights.run_state import Counters, RunState

BEST = "best.safetensors"  # the checkpoint with the highest score of validation
LARGEST = 1e8  # weight of a network: what has larger ones has diverged
log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A run after so many steps.

    Attributes:
        step: how many steps are done.
        weights: of the network, by name.
        state: of the optimizer, and of a discriminator, by name.
        inputs, history, loss, counters: as in `run_state.RunState`.
        changed: in what the recipe and its files differ from those that it was made with, as far as that was allowed.
    """

    step: int
    weights: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    inputs: dict[str, str]
    history: list[dict[str, str]]
    loss: float | None = None
    counters: Counters = Counters()
    changed: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints in the folder of a run, oldest first."""

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        self.folder = self.out / "checkpoints"

    def paths(self) -> list[Path]:
        """Return the files, in the order of their steps."""
        files = self.folder.glob("step-*.safetensors")
        return sorted((path for path in files if re.fullmatch(r"step-\d+", path.stem)), key=_step)

    def sweep(self) -> None:
        """Remove what killed saves left; nobody else writes here. Versions before named it after the checkpoint."""
        sweep(self.folder)
        for path in self.folder.glob(".step-*.safetensors"):
            path.unlink(missing_ok=True)

    def newest_step(self) -> int | None:
        """Return the step of the newest checkpoint, None where there is none."""
        paths = self.paths()
        return _step(paths[-1]) if paths else None

    def save(self, checkpoint: Checkpoint, recipe: Recipe) -> None:
        """Write a checkpoint. Raises CheckFailed when its weights are not finite or beyond `LARGEST`."""
        tensors = {storage.WEIGHTS + name: value for name, value in checkpoint.weights.items()}
        tensors |= {"state." + name: value for name, value in checkpoint.state.items()}
        for name, value in tensors.items():
            if not np.isfinite(value).all():
                raise CheckFailed(f"{name} is not finite after step {checkpoint.step}; {self.describe()}")
        for name, value in checkpoint.weights.items():
            if value.size and (largest := np.abs(value).max()) > LARGEST:
                raise CheckFailed(
                    f"weights.{name} has a value of {largest:.1e} after step {checkpoint.step}: the run has diverged; "
                    f"{self.describe()}"
                )
        facts = {key: getattr(checkpoint, key) for key in ("step", "inputs", "history", "loss", "counters")}
        metadata = RunState(recipe=recipe.to_dict(), **facts).to_metadata()
        storage.save_tensors(self.folder / f"step-{checkpoint.step:08d}.safetensors", tensors, metadata)

    def rotate(self, keep: int) -> None:
        """Drop all but the newest `keep` checkpoints."""
        for path in self.paths()[:-keep]:
            path.unlink()

    def drop(self, step: int) -> None:
        """Drop the checkpoint of a step, unless it is the oldest one."""
        for path in self.paths()[1:]:
            if _step(path) == step:
                path.unlink()

    def keep_best(self, step: int) -> None:
        """Keep the checkpoint of a step as BEST, too, which is never dropped."""
        with atomic(self.folder / BEST) as temporary:
            shutil.copyfile(self.folder / f"step-{step:08d}.safetensors", temporary)

    def describe(self) -> str:
        """Say what there is to continue from, for a message."""
        paths = self.paths()
        return f"the newest checkpoint is {paths[-1]}" if paths else "no checkpoint was written before"

    def newest(
        self,
        recipe: Recipe,
        files: RecipeFiles,
        weights: list[ParameterSpec],
        state: list[ParameterSpec],
        allowed: Sequence[str] = (),
    ) -> Checkpoint | None:
        """Return the newest checkpoint that can be read, None where there is none at all.

        Damaged checkpoints are renamed to *.damaged.

        Args:
            recipe: of the run, as it is now; what is in `FREE` may differ from the checkpoint's.
            files: the files that the recipe names, as they are now.
            weights: the tensors of the network; a checkpoint with others is damaged.
            state: the tensors of the optimizer, likewise.
            allowed: keys of the recipe that may differ, too, or sections of them.

        Raises:
            CheckpointError: when all are damaged, and when one was made with another recipe or from other files, or
                lies beyond the recipe's last step; when `allowed` names a key that the recipe has not, or that has
                not changed.
        """
        damaged: list[tuple[Path, str]] = []
        for path in reversed(self.paths()):
            try:
                file = _read(path)
                found = list(differences(file.recipe, recipe.to_dict()))
                other = [one for one in found if not within(one.key, FREE)]
                if not other:
                    _check(file.checkpoint, weights, state, path)
            except RecipeError as error:  # of another version: nothing is damaged
                raise CheckpointError(f"{error}; it takes the version that made it to go on") from None
            except TunableError as error:
                damaged.append((path, str(error)))
                continue
            check_known(allowed, recipe, files, file.recipe)
            _refuse(other, allowed, f"{path} was made with another recipe")
            if _step(path) > recipe.steps:
                raise CheckpointError(f"{path} is at step {_step(path)}, beyond the recipe's {recipe.steps}")
            rates = list(other_rates(file.recipe["steps"], recipe, _step(path)))
            _refuse(rates, allowed, f"{path} was made with another recipe")
            changed = [Difference(*one) for one in changed_files(file.checkpoint.inputs, files, self.out)]
            _refuse(changed, allowed, f"{path} was made from other files")
            check_changed(allowed, [*found, *rates, *changed], recipe, file.checkpoint.history)
            if other:
                try:
                    _check(file.checkpoint, weights, state, path)
                except TunableError as error:
                    said = "; ".join(one.text for one in other)
                    raise CheckpointError(f"no run can go on with this change: {said}: {error}") from None
            if not file.checkpoint.inputs:
                log.warning("%s, of an earlier version, does not say from which pictures it was made", path)
            for broken, reason in damaged:
                broken.rename(broken.with_suffix(".damaged"))
                log.warning("damaged, renamed to %s.damaged: %s", broken.stem, reason)
            texts = tuple(one.text for one in (*other, *rates, *changed))
            if not texts:
                return file.checkpoint
            counters = Counters(skipped=file.checkpoint.counters.skipped)  # losses from here on may be others
            return file.checkpoint._replace(changed=texts, loss=None, counters=counters)
        if damaged:
            raise CheckpointError(f"no checkpoint in {self.folder} can be used; the newest: {damaged[0][1]}")
        return None


def changes(before: dict[str, str], now: dict[str, str]) -> str:
    """Say what differs between two parts of a history, "mode was eager, now compile"; "" if they are of one hand."""
    keys = dict.fromkeys([*now, *before])
    return ", ".join(
        f"{key} was {before.get(key, 'absent')}, now {now.get(key, 'absent')}"
        for key in keys
        if key not in ("from", "changed") and before.get(key) != now.get(key)
    )


class _File(NamedTuple):
    recipe: dict[str, Any]
    checkpoint: Checkpoint


def _refuse(found: list[Difference], allowed: Sequence[str], what: str) -> None:
    """Raise CheckpointError for the first difference that is not allowed."""
    for one in found:
        if not within(one.key, allowed):
            raise CheckpointError(f"{what}: {one.text}{hint(one)}")


def _check(checkpoint: Checkpoint, weights: list[ParameterSpec], state: list[ParameterSpec], source: Path) -> None:
    """Raise CheckpointError unless a checkpoint holds the tensors of this network and optimizer."""
    storage.check_tensors(checkpoint.weights, weights, source)
    storage.check_tensors(checkpoint.state, state, source)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _read(path: Path) -> _File:
    """A checkpoint as it stands; CheckpointError when it is none."""
    tensors, metadata = storage.load_tensors(path)
    state = RunState.of(metadata, path)
    if state.step != _step(path):
        raise CheckpointError(f"{path} says that it holds step {state.step}")
    recipe = parse(state.recipe, str(path)).to_dict()
    parts: dict[str, dict[str, np.ndarray]] = {"weights": {}, "state": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind not in parts:
            raise CheckpointError(f"{path} has a tensor {name!r} that belongs to no checkpoint")
        parts[kind][rest] = value
    facts = {key: getattr(state, key) for key in ("inputs", "history", "loss", "counters")}
    return _File(recipe, Checkpoint(state.step, **parts, **facts))
