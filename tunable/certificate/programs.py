"""What one program computes from the inputs, and how far one program is from another, stage by stage.

A program is one framework with the network in it; the float64 truth is one too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tunable.backends.model import WeightsModel, build
from tunable.backends.protocol import Framework, LayerCall, LossReport, Trainer
from tunable.certificate.inputs import LEARNING_RATE, Inputs
from tunable.specs.optimizers import Optimizer
from tunable.specs.recipe import Recipe
from tunable.tolerances import ZERO, joint_error, relative_error
from tunable.weights.storage import Header

Tensors = dict[str, np.ndarray]
Distances = dict[str, dict[str, float]]  # stage -> part -> error


class Weights(NamedTuple):
    """A weights file that was read."""

    source: str | Path
    tensors: Tensors
    header: Header


class Reading(NamedTuple):
    """One program at one omega: the outputs of its tunable layers in calling order, its output, loss and gradients.

    report is None where no recipe says what the loss is; calls is {} where the reading comes from a pack.
    """

    layers: Tensors
    output: np.ndarray
    report: LossReport | None
    calls: dict[str, LayerCall]

    def reduced(self, reduce: Callable[[np.ndarray], np.ndarray]) -> "Reading":
        """The same with every tensor replaced by reduce(tensor); values and terms of the loss stay."""
        layers = {name: reduce(value) for name, value in self.layers.items()}
        report = self.report
        if report:
            report = report._replace(gradients={name: reduce(value) for name, value in report.gradients.items()})
        return Reading(layers, reduce(self.output), report, self.calls)


class Steps(NamedTuple):
    """A few training steps of one program: every loss, the optimizer's state after the first two, the last weights."""

    losses: np.ndarray
    states: dict[str, Tensors]
    weights: Tensors

    def reduced(self, reduce: Callable[[np.ndarray], np.ndarray], exempt: Tensors) -> "Steps":
        """The same with every tensor replaced by reduce(tensor), weights that are `exempt` taken as zero."""
        states = {when: {name: reduce(value) for name, value in held.items()} for when, held in self.states.items()}
        weights = {
            name: reduce(np.where(exempt[name], 0, value) if name in exempt else value)
            for name, value in self.weights.items()
        }
        return Steps(self.losses, states, weights)


class Program(NamedTuple):
    """A framework with the network of a weights file in it."""

    name: str
    model: WeightsModel
    trainer: Trainer | None
    recipe: Recipe | None

    @classmethod
    def of(cls, name: str, backend: Framework, weights: Weights, recipe: Recipe | None) -> "Program":
        model = build(weights.header, weights.tensors, backend, weights.source)
        return cls(name, model, backend.trainer(model.network, recipe) if recipe else None, recipe)

    def read(self, inputs: Inputs, omega: np.ndarray) -> Reading:
        """Run the network, its loss and its gradient at omega (p,) or (N, p)."""
        calls = self.model.backend.trace(self.model.network, inputs.degraded, omega)
        output = self.model.run(inputs.degraded, omega)
        report = self.gradients(inputs, omega) if self.trainer else None
        return Reading({name: call.output for name, call in calls.items()}, output, report, calls)

    def gradients(self, inputs: Inputs, omega: np.ndarray) -> LossReport:
        """The loss and its gradient at omega (p,) or (N, p)."""
        return self.trainer.gradients(inputs.batch(omega))

    def steps(self, inputs: Inputs) -> Steps:
        """Train from the weights as they are on the inputs' pictures, then put the weights back."""
        backend, network = self.model.backend, self.model.network
        before = backend.parameters(network)
        trainer = backend.trainer(network, self.recipe)
        losses, states = [], {}
        for index, omega in enumerate(inputs.steps):
            losses.append(trainer.step(inputs.batch(omega, index), LEARNING_RATE)[0])
            if index < 2:  # later ones are as far apart as the weights are
                states[f"step {index + 1}"] = trainer.state()
        weights = backend.parameters(network)
        backend.assign(network, before)
        return Steps(np.array(losses), states, weights)


def distances(a: Reading, b: Reading) -> Distances:
    """How far `a` is from `b`, which is nearer to the truth; a layer that only one of them has is infinitely far."""
    names = [*b.layers, *(a.layers.keys() - b.layers.keys())]
    found = {
        "layer output": {name: _apart(a.layers, b.layers, name) for name in names},
        "network": {"output": relative_error(a.output, b.output)},
    }
    if a.report and b.report:
        found["loss"] = {
            "multi-loss": relative_error(a.report.loss, b.report.loss),
            "terms": relative_error(a.report.terms, b.report.terms),
        }
        found |= gradient_distances(a.report, b.report)
    return found


def gradient_distances(a: LossReport, b: LossReport) -> Distances:
    """How far the gradients of `a` are from those of `b`, which is nearer to the truth."""
    first, second = a.gradients, b.gradients
    if not any(np.any(value) for value in second.values()):  # at omega = 0 there is none, as the loss shows
        return {}
    whole = float(np.sqrt(sum(np.sum(np.square(value, dtype=np.float64)) for value in second.values())))
    return {
        "gradients": {"all together": joint_error(first, second)},
        "gradient": {name: _gradient_error(first.get(name), value, whole) for name, value in second.items()},
    }


def step_distances(a: Steps, b: Steps) -> Distances:
    """How far the training steps of `a` are from those of `b`."""
    states = {}
    for when, held in b.states.items():
        for kind in dict.fromkeys(name.partition(".")[0] for name in held if name != "step"):  # first, second; momentum
            own, true = (
                {k: v for k, v in state.items() if k.startswith(kind + ".")} for state in (a.states[when], held)
            )
            states[f"{kind}, {when}"] = joint_error(own, true)
        states[f"count, {when}"] = relative_error(a.states[when]["step"], held["step"])
    pairs = enumerate(zip(a.losses, b.losses, strict=True), 1)
    losses = {f"step {index}": relative_error(own, true) for index, (own, true) in pairs}
    return {
        "optimizer state": states,
        "steps: loss": losses,
        "steps: weights": {"all weights": joint_error(a.weights, b.weights)},
    }


def zero_gradients(report: LossReport) -> set[str]:
    """The parameters of which a true gradient is zero but for rounding: measured against the whole gradient."""
    norms = {name: np.linalg.norm(np.asarray(value, np.float64)) for name, value in report.gradients.items()}
    whole = np.sqrt(sum(norm**2 for norm in norms.values()))
    return {name for name, norm in norms.items() if norm <= ZERO * whole}


def exempt_weights(truth: Steps, start: Tensors, decay: float) -> tuple[Tensors, Tensors]:
    """Masks of the weights whose true gradient is zero, and of those among them that rest to the end.

    Adam turns rounding in such a gradient into steps of the learning rate. Where a ReLU that is off makes it a sum of
    zeros, beside others that are not, a weight rests on a CPU; cuDNN's transforms leave rounding there too, a millionth
    of the tensor's other gradients.

    start  the weights before the steps
    decay  what is left of a weight without a gradient after them, as a factor
    """
    (last,) = list(truth.states)[-1:]
    squares = {k.removeprefix("second."): v for k, v in truth.states[last].items() if k.startswith("second.")}
    if not squares:  # gradient descent: rounding moves such a weight by rounding
        return {}, {}
    mean = sum(np.sum(value) for value in squares.values()) / sum(value.size for value in squares.values())
    exempt, resting = {}, {}
    for name, value in squares.items() if mean else ():  # nothing moved: nothing is exempt
        small = value <= ZERO**2 * mean
        rests = (value == 0) & np.isclose(truth.weights[name], decay * start[name].astype(float), rtol=1e-12, atol=0)
        mask = small if small.all() else rests | (small & (value > 0))
        if mask.any():
            exempt[name] = mask
        if rests.any() and not small.all():
            resting[name] = rests
    return exempt, resting


def decay_of(optimizer: Optimizer, steps: int) -> float:
    """What is left of a weight without a gradient after so many steps, as a factor."""
    return (1 - LEARNING_RATE * optimizer.weight_decay) ** steps if optimizer.kind == "adamw" else 1.0


def unrest(weights: Tensors, start: Tensors, resting: Tensors, decay: float) -> float:
    """How far resting weights moved from where decay alone takes them, beside the length of all weights.

    decay  what is left of a weight without a gradient after the steps, as a factor
    """
    moved = sum(
        np.sum((weights[name] - decay * start[name].astype(float))[mask] ** 2) for name, mask in resting.items()
    )
    return float(np.sqrt(moved / sum(np.sum(value.astype(float) ** 2) for value in start.values())))


def _apart(a: Tensors, b: Tensors, name: str) -> float:
    return relative_error(a[name], b[name]) if name in a and name in b else float("inf")


def _gradient_error(a: np.ndarray | None, b: np.ndarray, whole: float) -> float:
    """Against its own norm; where that is zero but for rounding, against the norm of the whole gradient."""
    if a is None:
        return float("inf")
    small = np.linalg.norm(np.asarray(b, np.float64)) <= ZERO * whole
    return relative_error(a, b, whole if small else None)
