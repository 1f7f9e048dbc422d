"""A training run: a folder with the recipe, a log, TensorBoard events, checkpoints and the final weights.

    DIR/recipe.yaml                     the resolved recipe
    DIR/log.csv                         step, learning rate, loss, one column per objective, the discriminator's loss
    DIR/validation.csv                  PSNR at the corners of omega, at every checkpoint
    DIR/events/                         TensorBoard
    DIR/checkpoints/                    weights, optimizer state and step (tunable_core.snapshots)
    DIR/model.safetensors               the result

The loop is the same for both twins. Batches are counted (tunable_core.data) and the checkpoint holds all
state, so a resumed run is the same run, bit for bit on a CPU.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import yaml

from tunable_core import checkpoint
from tunable_core.backends import Backend, Model, StepReport
from tunable_core.data import Batches
from tunable_core.errors import CheckFailed, CheckpointError, DataError, TunableError
from tunable_core.evaluation import validate, validation_pictures
from tunable_core.events import Events
from tunable_core.files import holding, sweep, write_text
from tunable_core.initial import ParameterSpec, starting_weights
from tunable_core.interrupt import held_back
from tunable_core.judges import DISCRIMINATOR
from tunable_core.recipe import Recipe, expand
from tunable_core.snapshots import Snapshot, Snapshots

log = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]  # step (1-based), steps, loss


def train(
    recipe: Recipe, backend: Backend, out: str | Path, *, resume: bool = False, progress: Progress | None = None
) -> Model:
    """Train a recipe and return the model; its weights are DIR/model.safetensors.

    resume  continue the newest sound checkpoint of DIR (start where there is none yet); without it, DIR must not
            hold a run

    Raises TunableError when another process trains into DIR, CheckpointError when DIR holds a run (or, resuming, one
    of another recipe), CheckFailed when the loss or the weights are not finite. On an interrupt (Ctrl-C, SIGTERM,
    SIGHUP) the step is finished and checkpointed first.
    """
    out = Path(out)
    with holding(out):
        return _train(recipe, backend, out, resume, progress)


def _train(recipe: Recipe, backend: Backend, out: Path, resume: bool, progress: Progress | None) -> Model:
    snapshots = Snapshots(out)
    _check_folder(out, snapshots, resume)
    batches = Batches(recipe)
    validation_pictures(recipe)
    network = backend.build(recipe.network, recipe.network_objectives)
    trainer = backend.trainer(network, recipe)
    specs = backend.specs(network)
    state = [ParameterSpec(name, value.shape, "zero") for name, value in trainer.state().items()]
    found = snapshots.newest(recipe, specs, state) if resume else None
    backend.assign(network, found.weights if found else _start(recipe, specs))
    if found:
        trainer.load_state(found.state)
        log.info("continuing %s at step %d", out, found.step)
    first = found.step if found else 0
    model = Model(backend, network, checkpoint.Header.of(recipe))
    sweep(out)
    snapshots.sweep()
    write_text(out / "recipe.yaml", yaml.safe_dump(recipe.to_dict(), sort_keys=False))
    try:
        with _Log(out, recipe, first) as records:
            _loop(recipe, batches, model, trainer, records, snapshots, first, progress)
    except OSError as error:  # a full disk
        raise TunableError(f"cannot write in {out}: {error.strerror or error}") from None
    model.save(out / "model.safetensors")
    return model


def _check_folder(out: Path, snapshots: Snapshots, resume: bool) -> None:
    """Refuse to write over a run."""
    step = snapshots.newest_step()
    if step is not None and not resume:
        raise CheckpointError(
            f"{out} already holds a run at step {step}; --resume continues it, or choose another folder"
        )
    if step is None and (out / "model.safetensors").exists():
        raise CheckpointError(f"{out} already holds a model.safetensors without checkpoints; choose another folder")


def _start(recipe: Recipe, specs: list[ParameterSpec]) -> dict[str, np.ndarray]:
    """The weights that a run begins with: drawn, or those of the file that `initial.weights` names."""
    if recipe.initial.weights is None:
        return starting_weights(specs, recipe.seed, recipe.initial)
    path = expand(recipe.initial.weights)
    weights, _ = checkpoint.load(path)
    checkpoint.check_tensors(weights, specs, path)
    return weights


def _loop(recipe, batches, model, trainer, records, snapshots, first, progress):
    step = saved = first

    def save():
        nonlocal saved
        with interrupted.whole():
            records.flush()
            snapshots.save(Snapshot(step, model.backend.parameters(model.network), trainer.state()), recipe)
            saved = step

    def due(at):
        return at % recipe.checkpoint.every == 0 or at == recipe.steps

    with held_back() as interrupted:
        try:
            if first and due(first) and not records.validated(first):  # it stopped between checkpoint and validation
                records.validation(first, validate(model, recipe))
            for batch in batches.stream(first, recipe.steps):
                rate = recipe.optimizer.learning_rate * recipe.schedule.factor(batch.index, recipe.steps)
                report = trainer.step(batch, rate)
                step = batch.index + 1
                for name, loss in (("loss", report.loss), ("discriminator's loss", report.discriminator or 0)):
                    if not np.isfinite(loss):
                        raise CheckFailed(f"the {name} is {loss} at step {step}; {snapshots.describe()}")
                records.step(step, rate, report)
                if progress:
                    progress(step, recipe.steps, report.loss)
                if due(step) or interrupted():
                    save()
                if saved == step and interrupted():  # a validation that is due can wait: going on makes up for it
                    log.info("stopped after step %d; --resume continues", step)
                    interrupted.stop()
                if due(step):
                    records.validation(step, validate(model, recipe))
        except DataError:  # a damaged picture: the steps before it are whole
            if step > saved:
                save()
            raise


class _Log:
    """The records of a run, as CSV and TensorBoard; on resuming, rows after the checkpoint are dropped."""

    def __init__(self, out: Path, recipe: Recipe, first: int):
        self._names, self._out, self._first = [objective.name for objective in recipe.objectives], out, first
        self._names += [DISCRIMINATOR] if recipe.adversarial else []
        self._validation = None
        self._files = ExitStack()

    def __enter__(self):
        self._out.mkdir(parents=True, exist_ok=True)
        self._steps = self._reopen("log.csv", ["step", "learning_rate", "loss", *self._names])
        self._events = self._files.enter_context(closing(Events(self._out / "events", self._first)))
        return self

    def __exit__(self, *error):
        return self._files.__exit__(*error)

    def step(self, step: int, rate: float, report: StepReport) -> None:
        values = [rate, report.loss, *(float(term) for term in report.terms)]
        values += [] if report.discriminator is None else [report.discriminator]
        self._steps.write(",".join([str(step), *(f"{value:.9g}" for value in values)]) + "\n")
        if step % 10 == 0:
            self._events.scalars(step, dict(zip(["learning_rate", "loss", *self._names], values, strict=True)))

    def flush(self) -> None:
        self._steps.flush()
        self._events.flush()

    def validated(self, step: int) -> bool:
        """Whether validation.csv has the row of a step."""
        return any(row.startswith(f"{step},") for row in _rows(self._out / "validation.csv"))

    def validation(self, step: int, values: dict[str, float]) -> None:
        if not values:
            return
        if self._validation is None:
            self._validation = self._reopen("validation.csv", ["step", *values])
        self._validation.write(",".join([str(step), *(f"{value:.4f}" for value in values.values())]) + "\n")
        self._validation.flush()
        self._events.scalars(step, {"validation/" + name: value for name, value in values.items()})

    def _reopen(self, name: str, columns: list[str]):
        return self._files.enter_context(_reopen(self._out / name, columns, self._first))


def _reopen(path: Path, columns: list[str], last: int):
    """Open a CSV for appending, keeping its rows up to step `last`."""
    kept = []
    for row in _rows(path)[1:] if last else ():
        step, *values = row.split(",")
        if step.isdigit() and int(step) <= last and len(values) == len(columns) - 1:
            kept.append(row)
    write_text(path, "\n".join([",".join(columns), *kept]) + "\n")
    return open(path, "a", encoding="utf-8")


def _rows(path: Path) -> list[str]:
    """The whole lines of a file, [] where there is none: a kill may cut the last anywhere, in a number too."""
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
