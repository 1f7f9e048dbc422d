"""A training run: a folder with the recipe, a log, TensorBoard events, checkpoints and the final weights.

    DIR/recipe.yaml                     the resolved recipe
    DIR/log.csv                         step, learning rate, loss, one column per objective
    DIR/validation.csv                  PSNR at the corners of omega, at every checkpoint
    DIR/events/                         TensorBoard
    DIR/checkpoints/step-00000500.safetensors   weights, optimizer state and step
    DIR/model.safetensors               the result

The loop is the same for both twins. Batches are counted (tunable_core.data) and the checkpoint holds all
state, so a resumed run is the same run, bit for bit on a CPU.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from tensorboardX import SummaryWriter

from tunable_core import checkpoint
from tunable_core.backends import Backend, Model, Trainer
from tunable_core.data import Batches
from tunable_core.errors import CheckFailed, CheckpointError
from tunable_core.evaluation import validate
from tunable_core.files import write_text
from tunable_core.initial import ParameterSpec, starting_weights
from tunable_core.recipe import Recipe, expand, parse

STATE_FORMAT = "tunable-convolutions-state/1"
log = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]  # step (1-based), steps, loss


def train(
    recipe: Recipe, backend: Backend, out: str | Path, *, resume: bool = False, progress: Progress | None = None
) -> Model:
    """Train a recipe and return the model; its weights are DIR/model.safetensors.

    resume  continue the newest checkpoint of DIR; without it, DIR must not hold a run

    Raises CheckpointError when DIR holds a run (or, resuming, one of another recipe), CheckFailed when the
    loss is not finite. On an interrupt (Ctrl-C) the run is checkpointed first.
    """
    out = Path(out)
    found = _newest(out)
    if found and not resume:
        raise CheckpointError(
            f"{out} already holds a run at step {found[0]}; --resume continues it, or choose another folder"
        )
    batches = Batches(recipe)
    header = checkpoint.Header.of(recipe)
    network = backend.build(recipe.network, recipe.network_objectives)
    if found:
        first, weights, state = _read_state(found[1], recipe)
        checkpoint.check_tensors(weights, backend.specs(network), found[1])
        log.info("resuming %s at step %d", out, first)
    else:
        first, weights, state = 0, _start(recipe, backend.specs(network)), None
    backend.assign(network, weights)
    trainer = backend.trainer(network, recipe)
    if state:
        trainer.load_state(state)
    model = Model(backend, network, header)
    write_text(out / "recipe.yaml", yaml.safe_dump(recipe.to_dict(), sort_keys=False))
    with _Log(out, recipe, first) as records:
        _loop(recipe, batches, model, trainer, records, out, first, progress)
    model.save(out / "model.safetensors")
    return model


def _start(recipe: Recipe, specs: list[ParameterSpec]) -> dict[str, np.ndarray]:
    """The weights that a run begins with: drawn, or those of the file that `initial.weights` names."""
    if recipe.initial.weights is None:
        return starting_weights(specs, recipe.seed, recipe.initial)
    path = expand(recipe.initial.weights)
    weights, _ = checkpoint.load(path)
    checkpoint.check_tensors(weights, specs, path)
    return weights


def _loop(recipe, batches, model, trainer, records, out, first, progress):
    step = first
    try:
        for batch in batches.stream(first, recipe.steps):
            rate = recipe.optimizer.learning_rate * recipe.schedule.factor(batch.index, recipe.steps)
            loss, terms = trainer.step(batch, rate)
            step = batch.index + 1
            if not np.isfinite(loss):
                raise CheckFailed(f"the loss is {loss} at step {step}; the newest checkpoint in {out} is before it")
            records.step(step, rate, loss, terms)
            if progress:
                progress(step, recipe.steps, loss)
            if step % recipe.checkpoint.every == 0 or step == recipe.steps:
                _save_state(out, step, model, trainer, recipe)
                records.validation(step, validate(model, recipe))
    except KeyboardInterrupt:
        if step > first:
            _save_state(out, step, model, trainer, recipe)
        raise


def _save_state(out: Path, step: int, model: Model, trainer: Trainer, recipe: Recipe) -> None:
    weights = {"weights." + name: value for name, value in model.backend.parameters(model.network).items()}
    state = {"state." + name: value for name, value in trainer.state().items()}
    metadata = {"format": STATE_FORMAT, "step": str(step), "recipe": json.dumps(recipe.to_dict())}
    checkpoint.save_tensors(out / "checkpoints" / f"step-{step:08d}.safetensors", {**weights, **state}, metadata)
    for path in _checkpoints(out)[: -recipe.checkpoint.keep]:
        path.unlink()


def _checkpoints(out: Path) -> list[Path]:
    return sorted((out / "checkpoints").glob("step-*.safetensors"))


def _newest(out: Path) -> tuple[int, Path] | None:
    paths = _checkpoints(out)
    return (int(paths[-1].stem.removeprefix("step-")), paths[-1]) if paths else None


def _read_state(path: Path, recipe: Recipe) -> tuple[int, dict, dict]:
    """Step, weights and optimizer state of a checkpoint made with this recipe (its length may differ)."""
    tensors, metadata = checkpoint.load_tensors(path)
    if metadata.get("format") != STATE_FORMAT:
        raise CheckpointError(
            f"{path} is not a checkpoint of a run: format {metadata.get('format')!r}, wanted {STATE_FORMAT!r}"
        )
    held = parse(json.loads(metadata["recipe"]), str(path)).to_dict()
    wanted = recipe.to_dict()
    for key in wanted:
        if key not in ("checkpoint", "steps") and held[key] != wanted[key]:
            raise CheckpointError(f"{path} was made with another recipe: {key} was {held[key]}, now {wanted[key]}")
    if int(metadata["step"]) > recipe.steps:
        raise CheckpointError(f"{path} is at step {metadata['step']}, beyond the recipe's {recipe.steps}")
    parts: dict[str, dict] = {"weights": {}, "state": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        parts[kind][rest] = value
    return int(metadata["step"]), parts["weights"], parts["state"]


class _Log:
    """The records of a run, as CSV and TensorBoard; on resuming, rows after the checkpoint are dropped."""

    def __init__(self, out: Path, recipe: Recipe, first: int):
        self._names = [objective.name for objective in recipe.objectives]
        out.mkdir(parents=True, exist_ok=True)
        self._steps = _reopen(out / "log.csv", ["step", "learning_rate", "loss", *self._names], first)
        self._validation_path, self._validation, self._first = out / "validation.csv", None, first
        self._events = SummaryWriter(str(out / "events"), purge_step=first)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._steps.close()
        self._events.close()
        if self._validation:
            self._validation.close()

    def step(self, step: int, rate: float, loss: float, terms: np.ndarray) -> None:
        values = [rate, loss, *(float(term) for term in terms)]
        self._steps.write(",".join([str(step), *(f"{value:.9g}" for value in values)]) + "\n")
        if step % 10 == 0:
            for name, value in zip(["learning_rate", "loss", *self._names], values, strict=True):
                self._events.add_scalar(name, value, step)

    def validation(self, step: int, values: dict[str, float]) -> None:
        self._steps.flush()
        if not values:
            return
        if self._validation is None:
            self._validation = _reopen(self._validation_path, ["step", *values], self._first)
        self._validation.write(",".join([str(step), *(f"{value:.4f}" for value in values.values())]) + "\n")
        self._validation.flush()
        for name, value in values.items():
            self._events.add_scalar("validation/" + name, value, step)


def _reopen(path: Path, columns: list[str], last: int):
    """Open a CSV for appending, keeping its rows up to step `last`."""
    kept = []
    if last and path.is_file():
        rows = path.read_text(encoding="utf-8").splitlines()[1:]
        kept = [row for row in rows if row.split(",")[0].isdigit() and int(row.split(",")[0]) <= last]
    write_text(path, "\n".join([",".join(columns), *kept]) + "\n")
    return open(path, "a", encoding="utf-8")
