"""The parity certificate: do two frameworks compute the same from one weights file?

Stage by stage and per omega of a grid: weights bit-equal, every tunable layer against the float64 oracle,
network outputs against each other, folded against live, loss against the oracle, gradients of every
parameter, ten optimizer steps. Every row carries its error and its limit (tunable_core.tolerances).
A negative control shows that different omega give different outputs, so that a suite that ignores omega
cannot pass.
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from tunable_core import checkpoint, oracle
from tunable_core.backends import Backend, LayerCall, LossReport, Model, build
from tunable_core.data import BUNDLED_TEST, Batch, bundled
from tunable_core.degradations import protocol_degraded
from tunable_core.errors import TunableError
from tunable_core.omega import format_omega, grid
from tunable_core.pictures import read, to_network
from tunable_core.recipe import Recipe, parse
from tunable_core.tolerances import CONTROL, TOLERANCES, joint_error, relative_error

STEPS = 10
LEARNING_RATE = 1e-4
SIGMA = 25.0
AWAY = 0.5  # a tenth of it remains in the target that keeps 90 % of the noise: far beyond what a network misses it by


@dataclass(frozen=True)
class Row:
    """One comparison. `worst` names the layer or tensor with the largest error; passes when error <= limit."""

    stage: str
    compared: str  # "torch : oracle", "mindspore : torch"
    omega: str  # an omega, "per sample", or "" where none is involved
    worst: str
    error: float
    limit: float
    at_least: bool = False  # negative controls: the error must reach the limit

    @property
    def passed(self) -> bool:
        if not np.isfinite(self.error):
            return False
        return self.error >= self.limit if self.at_least else self.error <= self.limit


@dataclass
class Certificate:
    """All rows, what ran them, and what could not be judged."""

    source: str
    facts: dict[str, dict[str, str]]
    rows: list[Row] = field(default_factory=list)
    not_judged: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.rows) and all(row.passed for row in self.rows)

    def summary(self) -> list[Row]:
        """The row nearest to failing of every (stage, compared) pair, in order."""
        groups: dict[tuple[str, str], Row] = {}
        for row in self.rows:
            key = (row.stage, row.compared)
            held = groups.get(key)
            if held is None or _margin(row) < _margin(held):
                groups[key] = row
        return list(groups.values())

    def counts(self, row: Row) -> tuple[int, int]:
        """(passed, all) rows of the summary row's group."""
        group = [other for other in self.rows if (other.stage, other.compared) == (row.stage, row.compared)]
        return sum(other.passed for other in group), len(group)

    def to_dict(self) -> dict:
        rows = [{**asdict(row), "passed": row.passed} for row in self.rows]
        return {
            "source": self.source,
            "passed": self.passed,
            "facts": self.facts,
            "rows": rows,
            "not_judged": self.not_judged,
        }


def _margin(row: Row) -> float:
    """How far a row is from failing: negative when it fails."""
    if not np.isfinite(row.error):
        return -np.inf
    return row.error - row.limit if row.at_least else row.limit - row.error


def verify(
    path: str | Path, backends: list[Backend], *, points: int = 5, progress: Callable[[str], None] | None = None
) -> Certificate:
    """Compare the given backends on the tunable network in a weights file, over a grid of `points` per omega axis."""
    tensors, header = checkpoint.load(path)
    if not header.objectives:
        raise TunableError(f"{path} holds a plain network; verify needs a tunable one")
    models = [build(header, tensors, backend, path) for backend in backends]
    certificate = Certificate(str(path), {backend.name: backend.facts() for backend in backends})
    say = progress or (lambda _: None)
    omegas = grid(header.num_objectives, points)
    pictures = test_pictures()

    def add(stage, compared, omega, worst, error, limit=None, **options):
        limit = TOLERANCES[stage].limit if limit is None else limit
        certificate.rows.append(Row(stage, compared, omega, worst, float(error), limit, **options))

    say("weights")
    for model in models:
        held = model.backend.parameters(model.network)
        different = [name for name in tensors if not np.array_equal(held[name], tensors[name])]
        add("weights", f"{model.backend.name} : file", "", different[0] if different else "", float(len(different)))
    say("layers")
    _layers(models, pictures, omegas, add)
    say("outputs")
    _outputs(models, pictures, omegas, add)
    if header.recipe:
        recipe = parse({**header.recipe, "optimizer": {"kind": "adam", "learning_rate": LEARNING_RATE}})
        say("losses and gradients")
        _gradients(models, recipe, pictures, omegas, add)
        say("optimizer steps")
        _steps(models, recipe, tensors, add)
    else:
        certificate.not_judged.append("losses, gradients and optimizer steps: the file names no recipe")
    if len(models) == 1:
        certificate.not_judged.append(
            f"outputs, gradients and optimizer steps against a second framework: only {models[0].backend.name} ran"
        )
    return certificate


def test_pictures(size: int = 24, batch: int = 4) -> np.ndarray:
    """Noisy crops of bundled photographs, float32 (batch, 3, size, size)."""
    return _sample(size, batch, 0)["degraded"]


@lru_cache(maxsize=1)
def _photographs() -> list[np.ndarray]:
    return [read(path) for path in bundled(BUNDLED_TEST)]


def _sample(size: int, batch: int, index: int) -> dict[str, np.ndarray]:
    """Noisy crops, and as `clean` not their truth but that moved by AWAY, up or down pixel by pixel.

    A well-trained network meets its truth to within rounding in a pixel or two; there the derivative of an L1 distance
    is either of +-1, and as most of the others cancel, one such pixel moved the gradient by a hundredth.
    """
    photographs = _photographs()
    rng = np.random.default_rng([7, index])
    clean, degraded = [], []
    for row in range(batch):
        picture = photographs[row % len(photographs)]
        top, left = (int(rng.integers(side - size + 1)) for side in picture.shape[:2])
        crop = picture[top : top + size, left : left + size]
        moved = np.where(rng.integers(2, size=crop.shape), AWAY, -AWAY).astype(np.float32)
        clean.append(to_network(crop + moved)[0])
        degraded.append(to_network(protocol_degraded(crop, SIGMA, index * batch + row))[0])
    return {"clean": np.stack(clean), "degraded": np.stack(degraded)}


def _labelled(omegas: np.ndarray, batch: int):
    """Every omega of the grid with its label, then one mix in which each sample has its own."""
    for omega in omegas:
        yield omega, format_omega(omega)
    yield mixed_omega(omegas.shape[1], batch), "per sample"


def mixed_omega(p: int, batch: int) -> np.ndarray:
    """A different interior omega for each sample: (batch, p)."""
    return np.random.default_rng(11).uniform(size=(batch, p)).astype(np.float32)


def _layers(models: list[Model], pictures: np.ndarray, omegas: np.ndarray, add) -> None:
    """Every tunable layer inside the network: against the oracle on its own input, and between frameworks."""
    for omega, label in _labelled(omegas, len(pictures)):
        calls = {model.backend.name: model.backend.trace(model.network, pictures, omega) for model in models}
        for name, own in calls.items():
            add("layer", f"{name} : oracle", label, *_worst({at: _to_oracle(own[at], omega) for at in own}))
        for first, second in itertools.combinations(calls, 2):
            a, b = calls[second], calls[first]
            errors = {at: relative_error(a[at].output, b[at].output) if at in a else float("inf") for at in b}
            add("layer output", f"{second} : {first}", label, *_worst(errors))


def _to_oracle(call: LayerCall, omega: np.ndarray) -> float:
    truth = oracle.layer(call.kind, call.phi, call.tensors, call.options, call.input, omega)
    return relative_error(call.output, truth)


def _worst(errors: dict[str, float]) -> tuple[str, float]:
    """The name with the largest error, and that error; infinite where nothing was compared."""
    if not errors:
        return "nothing was recorded", float("inf")
    return max(errors.items(), key=lambda item: item[1])


def _outputs(models: list[Model], pictures: np.ndarray, omegas: np.ndarray, add) -> None:
    before: dict[str, np.ndarray] = {}
    for omega, label in _labelled(omegas, len(pictures)):
        outputs = {model.backend.name: model.run(pictures, omega) for model in models}
        for first, second in itertools.combinations(outputs, 2):
            add("network", f"{second} : {first}", label, "output", relative_error(outputs[second], outputs[first]))
        for model in models:
            name = model.backend.name
            if omega.ndim == 1:
                folded = model.fold(omega).run(pictures)
                add("folded", f"{name} : live", label, "output", relative_error(folded, outputs[name]))
            if name in before:
                change = relative_error(outputs[name], before[name])
                add("control: omega matters", name, label, "output", change, CONTROL, at_least=True)
        before = outputs


def _gradients(models: list[Model], recipe: Recipe, pictures: np.ndarray, omegas: np.ndarray, add) -> None:
    sample = _sample(pictures.shape[-1], len(pictures), 0)
    trainers = {model.backend.name: model.backend.trainer(model.network, recipe) for model in models}
    for omega, label in _labelled(omegas, len(pictures)):
        reports: dict[str, LossReport] = {}
        for model in models:
            name = model.backend.name
            reports[name] = trainers[name].gradients(Batch(0, sample, omega))
            loss, terms = oracle.multi_loss(recipe, model.run(sample["degraded"], omega), sample, omega)
            add("loss", f"{name} : oracle", label, "multi-loss", relative_error(reports[name].loss, loss))
            add("loss", f"{name} : oracle", label, "terms", relative_error(reports[name].terms, terms))
        if not np.any(omega):
            continue  # at omega = 0 the loss and all gradients are zero (checked by the rows above)
        for first, second in itertools.combinations(reports, 2):
            a, b = reports[second].gradients, reports[first].gradients
            add("gradients", f"{second} : {first}", label, "all together", joint_error(a, b))
            add(
                "gradient",
                f"{second} : {first}",
                label,
                *_worst({name: relative_error(a[name], b[name]) for name in b}),
            )


def _steps(models: list[Model], recipe: Recipe, tensors: dict[str, np.ndarray], add) -> None:
    """Ten Adam steps from the file's weights on the same batches, per-sample omega."""
    losses, weights = {}, {}
    for model in models:
        name = model.backend.name
        trainer = model.backend.trainer(model.network, recipe)
        losses[name] = np.array(
            [trainer.step(_step_batch(index, recipe.num_objectives), LEARNING_RATE)[0] for index in range(STEPS)]
        )
        weights[name] = model.backend.parameters(model.network)
        moved = joint_error(weights[name], tensors)
        add("control: weights move", name, "per sample", "all weights", moved, 1e-6, at_least=True)
        model.backend.assign(model.network, tensors)
    for first, second in itertools.combinations(losses, 2):
        compared = f"{second} : {first}"
        errors = np.abs(losses[second] - losses[first]) / np.abs(losses[first])
        worst = int(np.argmax(errors))
        add("steps: loss", compared, "per sample", f"step {worst + 1} of {STEPS}", errors[worst])
        add("steps: weights", compared, "per sample", "all weights", joint_error(weights[second], weights[first]))


def _step_batch(index: int, p: int) -> Batch:
    omega = np.random.default_rng([13, index]).uniform(size=(4, p)).astype(np.float32)
    return Batch(index, _sample(32, 4, index + 1), omega)
