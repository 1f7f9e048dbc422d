"""What one program computes from the inputs, and how far one program is from another, stage by stage.

A program is one framework with the network in it; the float64 truth is one too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from tunable.arrays import Tensors
from tunable.backends.model import WeightsModel, build
from tunable.backends.protocol import Framework, LayerCall, LossReport, Trainer
from tunable.certificate.inputs import LEARNING_RATE, Inputs, OptimizerInputs
from tunable.oracle.optimizers import ExactOptimizer
from tunable.specs.recipe import Recipe
from tunable.tolerances import ZERO, joint_error, relative_error
from tunable.weights.storage import Header

Distances = dict[str, dict[str, float]]  # stage -> part -> error


class Weights(NamedTuple):
    """A weights file that was read.

    Attributes:
        source: the file.
        tensors: its tensors by name.
        header: what it says of itself.
    """

    source: str | Path
    tensors: Tensors
    header: Header


class Reading(NamedTuple):
    """What one program computes at one omega.

    Attributes:
        layers: the outputs of its tunable layers by name, in calling order.
        output: the restored pictures.
        report: its loss and gradients; None where no recipe says what the loss is.
        calls: the calls of its tunable layers; {} where the reading comes from a pack.
    """

    layers: Tensors
    output: np.ndarray
    report: LossReport | None
    calls: dict[str, LayerCall]

    def reduced(self, reduce: Callable[[np.ndarray], np.ndarray]) -> "Reading":
        """Return the same with every tensor replaced by reduce(tensor); values and terms of the loss stay."""
        layers = {name: reduce(value) for name, value in self.layers.items()}
        report = self.report
        if report:
            report = report._replace(gradients={name: reduce(value) for name, value in report.gradients.items()})
        return Reading(layers, reduce(self.output), report, self.calls)


class Training(NamedTuple):
    """A few training steps of one program.

    Attributes:
        losses: the loss before each step, (S,).
        discriminator: its loss before each step, (S,); (0,) without a discriminator.
        output: the network's output after the steps.
        weights: the network's weights then; {} where the training comes from a pack.
    """

    losses: np.ndarray
    discriminator: np.ndarray
    output: np.ndarray
    weights: Tensors

    def reduced(self, reduce: Callable[[np.ndarray], np.ndarray]) -> "Training":
        """Return the same with reduce(output) in place of the output."""
        return self._replace(output=reduce(self.output))


Result = TypeVar("Result", Reading, Training)


class Program(NamedTuple):
    """A framework with the network of a weights file in it."""

    name: str
    model: WeightsModel
    trainer: Trainer | None
    recipe: Recipe | None

    @classmethod
    def of(cls, name: str, backend: Framework, weights: Weights, recipe: Recipe | None) -> "Program":
        """Build the network of a weights file in a framework, with a trainer where there is a recipe."""
        model = build(weights.header, weights.tensors, backend, weights.source)
        return cls(name, model, backend.trainer(model.network, recipe) if recipe else None, recipe)

    @property
    def _learning(self) -> tuple[Trainer, Recipe]:
        assert self.trainer and self.recipe, "only a file with a recipe is trained"
        return self.trainer, self.recipe

    def read(self, inputs: Inputs, omega: np.ndarray) -> Reading:
        """Run the network, its loss and its gradient at omega (p,) or (N, p)."""
        calls = self.model.backend.trace(self.model.network, inputs.degraded, omega)
        output = self.model.run(inputs.degraded, omega)
        report = self.gradients(inputs, omega) if self.trainer else None
        return Reading({name: call.output for name, call in calls.items()}, output, report, calls)

    def gradients(self, inputs: Inputs, omega: np.ndarray) -> LossReport:
        """Return the loss and its gradient at omega (p,) or (N, p)."""
        trainer, recipe = self._learning
        return trainer.gradients(inputs.batch(omega, residues=recipe.residues))

    def optimize(self, given: OptimizerInputs) -> tuple[Tensors, Tensors]:
        """Take the optimizer's steps on given gradients; the network keeps its weights.

        Returns:
            The weights and the optimizer's state after the steps, by name.
        """
        backend, network = self.model.backend, self.model.network
        before = backend.parameters(network)
        backend.assign(network, given.weights)
        trainer, _ = self._learning
        for gradients in given.gradients:
            trainer.apply(gradients, given.learning_rate)
        weights = backend.parameters(network)
        backend.assign(network, before)
        return weights, trainer.state()

    def train(self, inputs: Inputs, start: Tensors | None = None) -> Training:
        """Train on the inputs' pictures from `start`, or from the network's own weights, which it has again after."""
        backend, network = self.model.backend, self.model.network
        before = backend.parameters(network)
        if start:
            backend.assign(network, start)
        _, recipe = self._learning
        trainer = backend.trainer(network, recipe)
        batches = [inputs.batch(omega, index, recipe.residues) for index, omega in enumerate(inputs.steps)]
        reports = [trainer.step(batch, LEARNING_RATE) for batch in batches]
        output, weights = self.model.run(inputs.degraded, inputs.mixed), backend.parameters(network)
        backend.assign(network, before)
        scored = [report.discriminator for report in reports] if self._learning[1].adversarial else []
        discriminator = np.array([np.nan if loss is None else loss for loss in scored])  # a loss that is missing fails
        return Training(np.array([report.loss for report in reports]), discriminator, output, weights)


def distances(a: Reading, b: Reading) -> Distances:
    """Measure how far a reading is from another.

    Args:
        a: a reading.
        b: a reading that is nearer to the truth.

    Returns:
        The relative errors, by stage and by layer or tensor; a layer that only one of them has is infinitely far.
    """
    names = [*b.layers, *(a.layers.keys() - b.layers.keys())]
    apart = {
        "layer output": {name: _apart(a.layers, b.layers, name) for name in names},
        "network": {"output": relative_error(a.output, b.output)},
    }
    if a.report and b.report:
        apart["loss"] = {
            "multi-loss": relative_error(a.report.loss, b.report.loss),
            "terms": relative_error(a.report.terms, b.report.terms),
        }
        apart |= gradient_distances(a.report, b.report)
    return apart


def gradient_distances(a: LossReport, b: LossReport) -> Distances:
    """Return how far the gradients of `a` are from those of `b`, which is nearer to the truth."""
    first, second = a.gradients, b.gradients
    if not any(np.any(value) for value in second.values()):  # at omega = 0 there is none, as the loss shows
        error = joint_error(first, second)
        return {"gradients": {"all together": error}} if error else {}
    whole = float(np.sqrt(sum(np.sum(np.square(value, dtype=np.float64)) for value in second.values())))
    return {
        "gradients": {"all together": joint_error(first, second)},
        "gradient": {name: _gradient_error(first.get(name), value, whole) for name, value in second.items()},
    }


def training_distances(a: Training, b: Training) -> Distances:
    """Measure how far the training steps of `a` are from those of `b`, in losses and in the output after them.

    Weights without influence may go where rounding takes them.
    """
    parts = {"losses": relative_error(a.losses, b.losses), "output": relative_error(a.output, b.output)}
    if a.discriminator.size or b.discriminator.size:
        parts["discriminator's losses"] = relative_error(a.discriminator, b.discriminator)
    return {"training": parts}


def optimizer_distances(weights: Tensors, state: Tensors, given: OptimizerInputs, exact: ExactOptimizer) -> Distances:
    """Measure how far an optimizer is from what numpy makes of the same gradients.

    Args:
        weights: the program's weights after its steps.
        state: the state of its optimizer then.
        given: the weights to begin with, and the gradients.
        exact: an optimizer in numpy that has taken no step.

    Returns:
        The relative errors of its moves, its state and its count of steps.
    """
    true = given.weights
    for gradients in given.gradients:
        true = exact.step(true, gradients, given.learning_rate)
    parts = {}
    for name, value in true.items():
        start = given.weights[name]
        size = float(np.linalg.norm(start) + np.linalg.norm(value - start))  # a weight without gradient hardly moves
        parts[f"moves of {name}"] = _apart(weights, true, name, size)
    parts |= {name: _apart(state, exact.state, name) for name in exact.state}
    return {"optimizer": parts | {"count of steps": _apart(state, {"step": np.full(1, exact.steps)}, "step")}}


def zero_gradients(report: LossReport) -> set[str]:
    """Return the parameters whose true gradient is zero but for rounding, to be measured against the whole gradient."""
    norms = {name: np.linalg.norm(np.asarray(value, np.float64)) for name, value in report.gradients.items()}
    whole = np.sqrt(sum(norm**2 for norm in norms.values()))
    return {name for name, norm in norms.items() if norm <= ZERO * whole}


def _apart(a: Tensors, b: Tensors, name: str, norm: float | None = None) -> float:
    return relative_error(a[name], b[name], norm) if name in a and name in b else float("inf")


def _gradient_error(a: np.ndarray | None, b: np.ndarray, whole: float) -> float:
    """Against its own norm; where that is zero but for rounding, against the norm of the whole gradient."""
    if a is None:
        return float("inf")
    small = np.linalg.norm(np.asarray(b, np.float64)) <= ZERO * whole
    return relative_error(a, b, whole if small else None)
