"""The stages of a certificate, and `verify`, which runs them."""

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tunable import oracle
from tunable.backends.model import load
from tunable.backends.protocol import Framework, LayerCall
from tunable.certificate.document import machine, subject
from tunable.certificate.inputs import Inputs, make_inputs, optimizer_inputs
from tunable.certificate.packs import Pack, Recorder, read_pack
from tunable.certificate.programs import (
    Distances,
    Program,
    Reading,
    Tensors,
    Weights,
    distances,
    optimizer_distances,
    training_distances,
)
from tunable.certificate.rows import MOVE_CONTROL, OMEGA_CONTROL, Certificate
from tunable.certificate.truth import Exact, exact_backend
from tunable.errors import BackendError, CheckpointError, RecipeError, TunableError
from tunable.exports.forms import WITH_OMEGA
from tunable.exports.judging import Report, tried_export
from tunable.objectives.style import Style
from tunable.oracle.optimizers import ExactOptimizer
from tunable.specs.control import Strategy
from tunable.specs.reading import expand
from tunable.specs.recipe import Recipe
from tunable.tolerances import CONTROL, MOVED, joint_error, relative_error
from tunable.weights import storage
from tunable.weights.storage import Header


@dataclass
class Trial:
    """What every stage is given.

    Attributes:
        certificate: what the stage adds its rows to.
        tensors: the weights of the file, by name.
        programs: what is compared.
        inputs: what each program is given.
        truth: the truth in float64, computed here or read from a pack; None where there is neither.
        say: is told how far the certificate is.
        exports: formats to export to and run: onnx, mindir.
        no_losses: why no loss is computed, where none is.
        outputs: the network's output by program and omega, which `over_omega` fills.
    """

    certificate: Certificate
    tensors: Tensors
    programs: list[Program]
    inputs: Inputs
    truth: Exact | Pack | Recorder | None
    say: Callable[[str], None]
    exports: tuple[str, ...] = ()
    no_losses: str = ""
    outputs: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe | None:
        """Return the recipe by which losses are computed, None where none are."""
        return self.programs[0].recipe

    @property
    def references(self) -> dict[tuple[str, str], float]:
        """Return how far PyTorch's float32 is from the truth, by stage and omega; {} where no truth says so."""
        labels = [label for _, label in self.inputs.settings()]
        known = self.truth.references if self.truth else {}
        return {(stage, label): error for stage, row in known.items() for label, error in zip(labels, row, strict=True)}


def weights(trial: Trial) -> None:
    """Check that every framework holds the weights of the file, to the bit."""
    for program in trial.programs:
        parameters = program.model.backend.parameters(program.model.network)
        parts = {name: float(np.sum(parameters[name] != value)) for name, value in trial.tensors.items()}
        trial.certificate.add("weights", f"{program.name} : file", "", parts)


def over_omega(trial: Trial) -> None:
    """Compare layers, outputs, loss and gradients at every omega: with oracle and truth, and between frameworks."""
    settings, before, known = list(trial.inputs.settings()), {}, None
    network = trial.programs[0].model.header.network
    for index, (omega, label) in enumerate(settings):
        if index % 5 == 0:
            trial.say(f"omega {index + 1} of {len(settings)}")
        readings = {program.name: program.read(trial.inputs, omega) for program in trial.programs}
        known, last = network.known(omega), known
        same = last is not None and last.shape == known.shape and np.array_equal(known, last)
        for name, reading in readings.items():
            _against_oracle(trial, name, reading, index, omega, label)
            trial.outputs[name, label] = reading.output
            if name in before and not same:
                change = relative_error(reading.output, before[name])
                trial.certificate.control(OMEGA_CONTROL, name, label, "output", change, CONTROL)
            before[name] = reading.output
        for first, second in itertools.combinations(readings, 2):
            _add(trial, distances(readings[second], readings[first]), f"{second} : {first}", label)
        if trial.truth:
            true = trial.truth.read(trial.inputs, index, omega)
            if true.calls:
                parts = _layer_errors(true, index, omega, trial.inputs)
                trial.certificate.add("truth", f"{trial.truth.name} : oracle", label, parts)
            for name, reading in readings.items():
                _add(trial, distances(trial.truth.reduced(reading), true), f"{name} : {_short(trial.truth)}", label)


def gradients(trial: Trial) -> None:
    """Take the median over omega of how far all gradients together are.

    A fault shows at every omega, a ReLU that rounding flips at few.
    """
    pairs: dict[str, list[float]] = {}
    for row in trial.certificate.rows:
        if row.stage == "gradients":
            pairs.setdefault(row.compared, []).append(row.error)
    for compared, errors in pairs.items():
        trial.certificate.add("gradients: median", compared, "", {"all together": float(np.median(errors))})


def optimizer(trial: Trial) -> None:
    """Compare the optimizer alone, a few steps on drawn gradients that are the same for all, with numpy in float64."""
    if not trial.recipe:
        return
    trial.say("optimizer")
    settings = trial.recipe.optimizer
    if trial.recipe.adversarial:
        trial.certificate.not_judged.append("the discriminator's optimizer alone: only its losses in training are")
    given = optimizer_inputs({name: value.shape for name, value in trial.tensors.items()}, settings)
    for program in trial.programs:
        apart = optimizer_distances(*program.optimize(given), given, ExactOptimizer(settings))
        _add(trial, apart, f"{program.name} : oracle", "")


def training(trial: Trial) -> None:
    """Compare ten free training steps from the file's weights, one omega per sample: losses, and the output after."""
    if not trial.recipe:
        return
    trial.say("training steps")
    trained = {program.name: program.train(trial.inputs) for program in trial.programs}
    for name, steps in trained.items():
        moved = joint_error(steps.weights, trial.tensors)
        trial.certificate.control(MOVE_CONTROL, name, "per sample", "all weights", moved, MOVED)
    true = trial.truth.train(trial.inputs) if trial.truth else None
    if trial.truth and not true:
        trial.certificate.not_judged.append(
            "training steps: an earlier version recorded the pack, whose steps are not used and whose gaps set no limit"
        )
        return
    if true and trial.truth:
        for name, steps in trained.items():
            apart = training_distances(trial.truth.reduced(steps), true)
            _add(trial, apart, f"{name} : {_short(trial.truth)}", "per sample")
    for first, second in itertools.combinations(trained, 2):
        _add(trial, training_distances(trained[second], trained[first]), f"{second} : {first}", "per sample")


def folded(trial: Trial) -> None:
    """Compare the ordinary network, folded at every omega of the grid, with the live network."""
    trial.say("folding")
    network = trial.programs[0].model.header.network
    if network.without_folding:
        trial.certificate.not_judged.append(f"folding: {network.title} does not fold, for {network.without_folding}")
        return
    for program in trial.programs:
        model = None
        for omega, label in list(trial.inputs.settings())[:-1]:
            one = program.model.fold(omega)
            if model is None:
                model = one
            else:  # into the network that is compiled already
                model.backend.assign(model.network, one.backend.parameters(one.network))
            error = relative_error(model.run(trial.inputs.degraded), trial.outputs[program.name, label])
            trial.certificate.add("folded", f"{program.name} : live", label, {"output": error})


def exported(trial: Trial) -> None:
    """Compare the network that every framework exports, with omega as an input, with the live one at every omega."""
    for program, format in itertools.product(trial.programs, trial.exports):
        if format not in program.model.backend.formats:
            continue
        trial.say(f"{format} from {program.name}")
        compared = f"{program.name}'s {format}"
        with tempfile.TemporaryDirectory(prefix="tunable-verify-") as folder:
            for form in WITH_OMEGA:
                try:
                    (path,), report, size = _tried(trial, program, format, folder, form)
                except BackendError as error:
                    trial.certificate.not_judged.append(f"{compared}, form {form}: {error}")
                    continue
                fixed = " at {}x{}".format(*size) if size else ""
                faults = dict.fromkeys(report.faults, 1.0) or {"graph": 0.0}
                trial.certificate.add("export graph", f"{compared}{fixed} : rules", form, faults)
                if report.faults:
                    continue
                exported = load(path, "onnx" if format == "onnx" else program.model.backend)
                for omega, label in trial.inputs.settings():
                    if (form == "basis") == (omega.ndim == 2):
                        error = relative_error(
                            exported.run(trial.inputs.degraded, omega), trial.outputs[program.name, label]
                        )
                        trial.certificate.add("export", f"{compared}{fixed} : live", label, {"output": error})


def _tried(
    trial: Trial, program: Program, format: str, folder: str, form: str
) -> tuple[list[Path], Report, tuple[int, int] | None]:
    """`tried_export`, and the size: None, or the size of the trial's pictures where the framework needs one."""
    try:
        return *tried_export(program.model, format, folder, form=form), None
    except BackendError:
        if program.model.backend.pads_any_size:
            raise
        _, _, height, width = trial.inputs.degraded.shape
        size = (height, width)
        return *tried_export(program.model, format, folder, form=form, size=size), size


STAGES: tuple[Callable[[Trial], None], ...] = (weights, over_omega, gradients, optimizer, training, folded, exported)


def verify(
    path: str | Path,
    backends: list[Framework],
    *,
    points: int = 5,
    exports: tuple[str, ...] = (),
    record: str | Path | None = None,
    against: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Certificate:
    """Judge frameworks on the tunable network in a weights file.

    Losses, gradients, optimizer and training steps are judged where the file names a recipe whose objectives can be
    computed here. Where one looks at a file that is not at hand, such as VGG's weights, the certificate says that they
    are not judged, and why.

    Args:
        path: the weights file.
        backends: the frameworks.
        points: of a grid of omega along each axis.
        exports: formats (onnx, mindir) that every framework which can also exports to, and whose files are run.
        record: where the truth is also written as a pack, if the certificate passes.
        against: a pack by whose truth is judged, on its inputs and its omega; `points` is then not used.
        progress: called with a line at every stage.

    Returns:
        The certificate, whose `passed` says whether every comparison holds.

    Raises:
        TunableError: for a plain network, and for `record` without a framework that computes in float64 or without a
            file that the objectives look at.
        CheckpointError: for a file or a pack that cannot be used.
    """
    if record and against:
        raise TunableError("a pack is either recorded or judged against: received both record and against")
    file = Weights(path, *storage.load(path))
    header = file.header
    if not header.objectives:
        raise TunableError(f"{path} holds a plain network; verify needs a tunable one")
    certificate = Certificate(str(path), {backend.name: backend.facts() for backend in backends}, machine=machine())
    truth = read_pack(against, file) if against else None
    if truth:
        inputs, recipe = truth.inputs, truth.recipe
        certificate.recorded = truth.stored.facts
        certificate.notes.append(f"the truth comes from {against}, tensors of over {truth.stored.size} values sketched")
    else:
        inputs = make_inputs(header.num_objectives, points, header.network.scale)
        recipe = None if header.network.name == "import" else header.known_recipe()
        if recipe and recipe.network.scale != header.network.scale:
            raise CheckpointError(
                f"{path} holds a network that enlarges {header.network.scale} times, trained by a recipe of one that "
                f"enlarges {recipe.network.scale} times"
            )
    no_losses = _why_no_losses(header, recipe)
    if no_losses and recipe and record:
        raise TunableError(f"--record notes losses too, which cannot be computed: {no_losses}")
    recipe = None if no_losses or not recipe else recipe.in_float32()
    certificate.subject = subject(file, inputs)
    programs = [Program.of(backend.name, backend, file, recipe) for backend in backends]
    exact, recorder = None if truth else exact_backend(backends), None
    if exact:
        truth = Exact(exact, file, recipe)
        if record:
            truth = recorder = Recorder(truth, inputs, file)
    elif record:
        names = ", ".join(backend.name for backend in backends)
        raise TunableError(f"--record needs the network in float64, which only torch computes; received {names}")
    trial = Trial(certificate, file.tensors, programs, inputs, truth, progress or (lambda _: None), exports, no_losses)
    for stage in STAGES:
        stage(trial)
    certificate.settle(truth.gaps if truth else {}, judged=bool(recipe and recipe.perceptual))
    certificate.compare_rmse(trial.references)
    certificate.zeros = dict(truth.zeros) if truth else {}
    _say_what_is_missing(trial)
    if record and exact and recorder and certificate.passed:
        facts = {"machine": certificate.machine, exact.name: certificate.facts[exact.name]}
        recorder.write(record, recipe, facts)
        certificate.notes.append(f"recorded in {record}, tensors of over {recorder.size} values sketched")
    elif record:
        certificate.notes.append(f"{record} is not written: what it would hold did not pass")
    return certificate


def _why_no_losses(header: Header, recipe: Recipe | None) -> str:
    """Why no loss can be computed; "" where one can."""
    if recipe is None:
        return (
            "the network's class is its author's own" if header.network.name == "import" else "the file names no recipe"
        )
    paths = [spec.image for spec in recipe.objectives if isinstance(spec, Style)]
    if recipe.perceptual and recipe.features.weights:
        paths.append(recipe.features.weights)
    for path in paths:
        try:
            if not Path(expand(path)).is_file():
                return f"an objective looks at {path}, and there is no such file"
        except RecipeError as error:
            return f"an objective looks at a file that is not at hand: {error}"
    return ""


def _short(truth: Exact | Pack | Recorder) -> str:
    return "pack" if isinstance(truth, Pack) else "float64"


def _add(trial: Trial, apart: Distances, compared: str, label: str) -> None:
    for stage, parts in apart.items():
        if not parts and stage == "layer output":
            continue  # one's own network was made tunable where it stands, a control strategy may have no tunable layer
        trial.certificate.add(stage, compared, label, parts)


def _against_oracle(trial: Trial, name: str, reading: Reading, index: int, omega: np.ndarray, label: str) -> None:
    compared = f"{name} : oracle"
    network = trial.programs[0].model.header.network
    if reading.calls or not (network.strategy or _is_own(trial)):
        trial.certificate.add("layer", compared, label, _layer_errors(reading, index, omega, trial.inputs))
    if isinstance(network, Strategy):  # its layers are ordinary: it is known as a whole
        true = oracle.strategy(trial.inputs.degraded, omega, network, trial.tensors)
        trial.certificate.add("network", compared, label, {"output": relative_error(reading.output, true)})
    if reading.report and trial.recipe and not _own(trial.recipe):
        batch = trial.inputs.batch(omega, residues=trial.recipe.residues)
        loss, terms = oracle.multi_loss(trial.recipe, reading.output, batch.sample, omega)
        parts = {
            "multi-loss": relative_error(reading.report.loss, loss),
            "terms": relative_error(reading.report.terms, terms),
        }
        trial.certificate.add("loss", compared, label, parts)


def _layer_errors(reading: Reading, index: int, omega: np.ndarray, inputs: Inputs) -> dict[str, float]:
    """Every layer on the input it had. With one omega for all, one picture of the batch in turn: it has its kernel."""
    pick = slice(None)
    if omega.ndim == 1:
        pick = slice(index % len(inputs.degraded), None, len(inputs.degraded))
    return {name: _oracle_error(call, omega, pick, len(inputs.degraded)) for name, call in reading.calls.items()}


def _oracle_error(call: LayerCall, omega: np.ndarray, pick: slice, batch: int) -> float:
    x, output = call.input, call.output
    if x is not None and len(x) == len(output) == batch:
        x, output = x[pick], output[pick]
    return relative_error(output, oracle.layer(call.kind, call.formulation, call.tensors, call.options, x, omega))


def _own(recipe: Recipe) -> str:
    """The names of the objectives that are somebody's own, which the oracle does not know."""
    return ", ".join(spec.name for spec in recipe.objectives if spec.kind == "import")


def _is_own(trial: Trial) -> bool:
    """Whether the network is somebody's own."""
    return bool(trial.programs) and trial.programs[0].model.header.network.name == "import"


def _say_what_is_missing(trial: Trial) -> None:
    missing, names = trial.certificate.not_judged, " and ".join(program.name for program in trial.programs)
    if trial.no_losses:
        missing.append(f"losses, gradients, optimizer and training steps: {trial.no_losses}")
    elif trial.recipe and (own := _own(trial.recipe)):
        missing.append(f"losses against the oracle: it does not know {own}, of the recipe's own")
    if trial.truth is None and len(trial.programs) == 1:
        missing.append(
            f"layer outputs in the network, its output, gradients and training steps: only {names} ran, and their "
            "float64 truth needs torch or a pack (--against)"
        )
