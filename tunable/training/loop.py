"""A training run: a folder with the recipe, a log, TensorBoard events, checkpoints and the final weights.

    DIR/recipe.yaml                     the resolved recipe
    DIR/inputs.json                     SHA-256 of every file that it names
    DIR/environment.json, DIR/log.txt   what it ran on, and what was said (tunable.training.environment)
    DIR/metrics.csv                     step, learning rate, loss, one column per objective, the discriminator's loss
    DIR/validation.csv                  PSNR and SSIM over omega at every checkpoint, and the score by which one is best
    DIR/events/                         TensorBoard: both, and a picture at every setting of a validation
    DIR/checkpoints/                    weights, optimizer state and step (tunable.training.checkpoints)
    DIR/batch-00000120.safetensors      the batch that ended the run, where too many steps were skipped
    DIR/model.safetensors               the result; with `optimizer.average` the averages of the weights, and the last
                                        weights themselves in DIR/model_last.safetensors

The loop is the same for both twins. Batches are counted (tunable.data.patches) and the checkpoint holds all
state, so a resumed run is the same run, bit for bit on a CPU.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import PIL
import yaml

from tunable.backends.model import WeightsModel
from tunable.backends.protocol import Framework, StepReport, Trainer
from tunable.backends.registry import BACKENDS
from tunable.data.patches import Batch, Batches, say_what_is_used
from tunable.data.styles import style_picture
from tunable.errors import CheckFailed, CheckpointError, DataError, TunableError, shorten
from tunable.evaluation.measuring import check_validation, say_validation, validate
from tunable.evaluation.sheets import sweep_sheet
from tunable.files import holding, sweep, write_text
from tunable.objectives.style import Style
from tunable.own import permitted
from tunable.parameters.specs import ParameterSpec
from tunable.specs.recipe import Data, Recipe
from tunable.training.checkpoints import Checkpoint, Checkpoints, changes
from tunable.training.differences import check_known
from tunable.training.environment import remembering, session
from tunable.training.guards import Guard
from tunable.training.interrupts import held_back
from tunable.training.ranks import Ranks
from tunable.training.recipe_files import digests, read_recipe_files, write_recipe_files
from tunable.training.records import Records
from tunable.training.starting import averaged, averages_of, given_weights, next_stage, starting
from tunable.training.together import PROCESSES, beginning, check_processes, shared
from tunable.version import __version__
from tunable.weights import storage
from tunable.weights.vgg import weights as vgg_weights

STARVED = 0.05  # of the time of a training, spent waiting for batches: more is said
BATCH_FORMAT = "tunable-convolutions-batch/1"  # of a batch that ended a run

log = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]  # step (1-based), steps, loss


def train(
    recipe: Recipe,
    backend: Framework,
    out: str | Path,
    *,
    resume: bool = False,
    allow_change: Sequence[str] = (),
    progress: Progress | None = None,
    max_pixels: int | None = None,
) -> WeightsModel:
    """Train a recipe and return the model. On an interrupt the step is finished and checkpointed first.

    Args:
        recipe: complete and valid.
        backend: the framework, on its device and in its mode.
        out: the folder of the run; its weights are `out/model.safetensors`. With `optimizer.average` these are the
            averages, and `out/model_last.safetensors` are the weights after the last step.
        resume: whether to go on from the newest sound checkpoint, or to start where there is none yet; without it,
            the folder must not hold a run.
        allow_change: with `resume`, keys of the recipe, or sections, that may differ from before.
        progress: called after every step with the step, the number of steps and the loss.
        max_pixels: of a picture, as `pictures.read_picture`.

    Raises:
        TunableError: when another process trains into the folder, or it cannot be written.
        CheckpointError: when the folder holds a run or, resuming, a run of another recipe.
        DataError: for a picture that cannot be used.
        CheckFailed: when the run has diverged: its loss or weights are not finite (`guard.skip`), or far too large.
        KeyboardInterrupt: after Ctrl-C, SIGTERM or SIGHUP; SIGUSR1 makes it write a checkpoint and go on.
    """
    out = Path(out)
    if allow_change and not resume:
        raise TunableError("--allow-change says what --resume may go on with, and --resume is missing")
    ranks = backend.join()
    with ExitStack() as held, permitted():  # what the recipe imports is its user's
        return _train(recipe, backend, ranks, held, out, resume, allow_change, progress, max_pixels)


def _train(
    recipe: Recipe,
    backend: Framework,
    ranks: Ranks,
    held: ExitStack,
    out: Path,
    resume: bool,
    allowed: Sequence[str],
    progress: Progress | None,
    max_pixels: int | None,
) -> WeightsModel:
    checkpoints, leads = Checkpoints(out), ranks.rank == 0  # the others look into no folder but those of pictures
    said = held.enter_context(remembering())
    with beginning(ranks):
        if leads:
            held.enter_context(holding(out))
            _check_folder(out, checkpoints, resume)
        resumed = leads and resume and checkpoints.newest_step() is not None
        _check_feature_network(recipe)
        given = given_weights(recipe) if leads and not resumed else None
        batches = Batches(recipe, max_pixels, ranks.rank, ranks.size)
        if leads and not resumed:  # later their digests tell whether they are still those
            beside = f"; degraded: {', '.join(recipe.data.degraded)}" if recipe.data.degraded else ""
            say_what_is_used("training", recipe.data.train, recipe.data.recursive, beside)
            say_validation(recipe)
            batches.check()
            check_validation(recipe, max_pixels)
        files = read_recipe_files(recipe) if leads else {}
        if recipe.stages and ranks.size > 1:
            raise TunableError(f"stages train in one process, and {ranks.size} train together")
        network = backend.build(recipe.network, recipe.network_objectives)
        trainer = backend.trainer(network, recipe)
        specs = backend.specs(network)
        if resumed:
            state = [ParameterSpec(name, value.shape, "zero") for name, value in trainer.state().items()]
            start = checkpoints.newest(recipe, files, specs, state, allowed)
            assert start is not None, "newest_step has seen one"
            if (stage := recipe.stage_at(max(start.step - 1, 0))) > 0:
                trainer = backend.trainer(network, recipe, stage)
            trainer.load_state(start.state)
            log.info("continuing %s at step %d", out, start.step)
        else:
            if leads:
                check_known(allowed, recipe, files)
            start = Checkpoint(0, starting(recipe, specs, given, backend.parameters(network)), {}, {}, [])
        if leads:
            check_processes(start, recipe, ranks)
    if ranks.size > 1:
        start = shared(start, ranks, trainer)
    start = start._replace(inputs=start.inputs | digests(files), history=_history(start, recipe, backend, ranks))
    backend.assign(network, start.weights)
    model = WeightsModel(backend, network, storage.Header.of(recipe, history=start.history))
    if recipe.network.name == "import":  # it is tried before anything is written
        first = batches[0]
        model.run(first.sample["degraded"][:1], np.atleast_2d(first.omega)[0] if model.objectives else None)
    if not leads:
        _loop(recipe, batches, model, trainer, ranks, None, checkpoints, start, None)
        return model
    sweep(out)
    checkpoints.sweep()
    write_text(out / "recipe.yaml", yaml.safe_dump(recipe.to_dict(), sort_keys=False))
    write_recipe_files(out, files)
    try:
        with (
            session(out, recipe, _facts(backend, recipe, ranks), start.step, checkpoints.newest_step, said),
            Records(out, recipe, start.step) as records,
        ):
            trainer = _loop(recipe, batches, model, trainer, ranks, records, checkpoints, start, progress)
    except OSError as error:  # a full disk
        raise TunableError(f"cannot write in {out}: {error.strerror or error}") from None
    if recipe.optimizer.average:
        model.save(out / "model_last.safetensors")
        model.backend.assign(network, averages_of(trainer))
    model.save(out / "model.safetensors")
    return model


def _history(start: Checkpoint, recipe: Recipe, backend: Framework, ranks: Ranks) -> list[dict[str, str]]:
    """Who trained, and from now on trains: another framework, version, device or switch rounds differently."""
    if start.step == recipe.steps:
        return start.history
    leg = {"from": str(start.step + 1), **_facts(backend, recipe, ranks)}
    if not start.history:
        return [leg]
    before = start.history[-1]
    others = [name for name in before if name in BACKENDS and name != backend.name]
    differs = changes(before, leg)
    if others and backend.name not in before:
        log.warning(
            "from step %d on, %s continues what %s has trained: equal but for rounding, which grows with every step",
            start.step + 1, backend.name, others[0],
        )  # fmt: skip
    elif differs:
        log.warning("from step %d on, numbers are rounded otherwise: %s", start.step + 1, differs)
    if start.changed:
        leg["changed"] = "; ".join(start.changed)
        log.warning("from step %d on, with other values: %s", start.step + 1, leg["changed"])
    return [*start.history, leg] if differs or start.changed else start.history


def _facts(backend: Framework, recipe: Recipe, ranks: Ranks) -> dict[str, str]:
    """What numbers depend on: versions, device, switches, the number of processes where there are several."""
    programs = {"numpy": np.__version__, "pillow": PIL.__version__, "program": __version__}
    programs |= {PROCESSES: str(ranks.size)} if ranks.size > 1 else {}
    return {**backend.facts(), "amp": str(recipe.precision), **programs}


def _check_feature_network(recipe: Recipe) -> None:
    """Read the weights of VGG and the style pictures, so that what is missing is said before anything heavy."""
    if recipe.perceptual:
        vgg_weights(recipe.features)
    for spec in recipe.objectives:
        if isinstance(spec, Style):
            style_picture(spec)


def _check_folder(out: Path, checkpoints: Checkpoints, resume: bool) -> None:
    """Refuse to write over a run."""
    step = checkpoints.newest_step()
    if step is not None and not resume:
        raise CheckpointError(
            f"{out} already holds a run at step {step}; --resume continues it, or choose another folder"
        )
    if step is None and (out / "model.safetensors").exists():
        raise CheckpointError(f"{out} already holds a model.safetensors without checkpoints; choose another folder")


def _loop(
    recipe: Recipe,
    batches: Batches,
    model: WeightsModel,
    trainer: Trainer,
    ranks: Ranks,
    records: Records | None,
    checkpoints: Checkpoints,
    start: Checkpoint,
    progress: Progress | None,
) -> Trainer:
    """Train to the last step, and return what trained it; where `records` is None, another process does the rest."""
    step = saved = first = start.step
    unproven = True  # whether no sound step has followed the newest checkpoint yet: until then none is dropped for it
    guard = Guard(recipe.guard, start, checkpoints, lambda at: _keep_batch(checkpoints.out, batches[at - 1], ranks))
    asked = False  # whether a process of several has asked all to stop
    starved = False  # whether it was said that batches come too slowly
    launched: deque[tuple[int, float, Callable[[], StepReport]]] = deque()  # steps whose losses are not read yet

    def save() -> None:
        nonlocal saved, unproven
        with interrupted.whole():
            if records:
                records.flush()
                weights, state = model.backend.parameters(model.network), trainer.state()
                facts = {"loss": guard.begun, "counters": guard.counters}
                checkpoints.save(start._replace(step=step, weights=weights, state=state, **facts), recipe)
                if unproven:
                    checkpoints.drop(saved)
            saved, unproven = step, True

    def read(left: int = 0) -> None:
        nonlocal unproven, asked
        while len(launched) > left:
            at, rate, losses = launched.popleft()
            report = losses()
            asked = asked or report.stop
            if not records:
                continue
            if guard.judge(at, report) and unproven:
                checkpoints.rotate(recipe.checkpoint.keep)
                unproven = False
            records.step(at, rate, report)
            if progress:
                progress(at, recipe.steps, report.loss)

    def check(at: int) -> None:
        if not records:
            return
        with averaged(model, trainer, recipe):
            values = validate(model, recipe, max_pixels=batches.max_pixels)
            sheet = sweep_sheet(model, recipe, max_pixels=batches.max_pixels)
        if records.is_best(values):
            checkpoints.keep_best(at)
        records.validation(at, values, sheet)

    def due(at: int) -> bool:
        return at % recipe.checkpoint.every == 0 or at == recipe.steps

    def stopping() -> bool:  # the same in all processes after the same step
        return asked if ranks.size > 1 else interrupted()

    with held_back() as interrupted:
        try:
            if first and due(first) and records and not records.validated(first):
                check(first)  # it stopped between checkpoint and validation
            began = time.perf_counter()
            for batch in batches.stream(first, recipe.steps):
                if batch.index and batch.index in recipe.beginnings:
                    read()
                    trainer = next_stage(model, trainer, recipe, recipe.stage_at(batch.index))
                rate = recipe.learning_rate_at(batch.index)
                step = batch.index + 1
                launched.append((step, rate, trainer.launch(batch, rate, interrupted())))
                read(left=trainer.lag - 1)
                alike = due(step) or stopping()
                by_signal = ranks.size == 1 and interrupted.save_asked()
                if alike or by_signal:
                    read()
                    save()
                if alike:
                    ranks.wait()
                if by_signal:
                    log.info("wrote the checkpoint of step %d, as SIGUSR1 asks, and go on", step)
                if saved == step and stopping():  # a validation that is due can wait: going on makes up for it
                    log.info("stopped after step %d; --resume continues", step)
                    interrupted.stop()
                if due(step):
                    if records and not starved and step < recipe.steps:  # not only when it is too late
                        starved = _say_waiting(batches.waited, time.perf_counter() - began, recipe.data)
                    check(step)
            if records:
                _say_waiting(batches.waited, time.perf_counter() - began, recipe.data, ended=True)
                if guard.sound:
                    checkpoints.rotate(recipe.checkpoint.keep)
        except DataError:  # a damaged picture: the steps before it are whole
            read()
            if step > saved:
                save()
            raise
        except RuntimeError as error:
            if ranks.size == 1:
                raise
            # Said here, where signals are held back: the launcher sends one to those that are left.
            log.error(
                "process %d of %d cannot go on after step %d, perhaps since another one ended (%s); %s",
                ranks.rank, ranks.size, step - 1, shorten(str(error).strip().partition("\n")[0], 200),
                checkpoints.describe(),
            )  # fmt: skip
            raise CheckFailed("the processes that trained together are no longer together") from error
    return trainer


def _keep_batch(out: Path, batch: Batch, ranks: Ranks) -> str:
    """Write a batch into the folder of a run, and say where."""
    path = out / f"batch-{batch.index:08d}.safetensors"
    facts = {"format": BATCH_FORMAT, "index": str(batch.index), "step": str(batch.index + 1)}
    storage.save_tensors(path, {**batch.sample, "omega": batch.omega}, facts)
    return f"{path}, as process 0 had it; that of another may be at fault" if ranks.size > 1 else str(path)


def _say_waiting(waited: float, took: float, data: Data, ended: bool = False) -> bool:
    """Say how long the training has waited for batches, at its end or where it is too long; return whether it is."""
    starved, share = waited > STARVED * took and took > 1, 100 * waited / took
    if starved:
        log.warning(
            "%.0f %% of %.0f s were spent waiting for batches, which data.workers %d (%s) prepare: more of them, "
            "data.processes, or more data.cache_gib may help",
            share, took, data.workers, "processes" if data.processes else "threads",
        )  # fmt: skip
    elif ended:
        log.info("%.1f %% of %.0f s were spent waiting for batches", share, took)
    return starved
