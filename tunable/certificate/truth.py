"""The float64 truth of a whole network, computed by a framework that can, and the model's own gaps from it."""

from collections.abc import Iterable

import numpy as np

from tunable.backends.protocol import Framework
from tunable.backends.registry import get_framework
from tunable.certificate.inputs import Inputs
from tunable.certificate.programs import (
    Distances,
    Program,
    Reading,
    Steps,
    Tensors,
    Weights,
    decay_of,
    distances,
    exempt_weights,
    gradient_distances,
    step_distances,
    zero_gradients,
)
from tunable.specs.recipe import Recipe
from tunable.tolerances import KINK, NUDGE, joint_error

ZERO_REASON = "zero in float64 at every omega: the loss does not depend on it (as on a bias before a norm)"
PART_REASON = "{} of its {} values zero in float64 (behind a ReLU that is off; the key's part of a qkv bias)"


class Exact:
    """The network in float64, and two others beside it, whose distances from it are the model's gaps.

    The one is the network in float32, in the same framework on the CPU; the other, of gradients and training steps,
    float64 again with weights that differ by a float32's rounding: whatever that does by way of ReLUs and maxima that
    decide otherwise, no two programs can be told apart by. The gap of the median over omega is the latter's alone: a
    faulty float32 program has no part in it.

    gaps   stage -> the largest error that was seen
    zeros  parameters whose true gradient is zero -> the reason, complete after `steps`
    exempt, resting  masks of such weights, and of those among them that stay where they are, after `steps`
    """

    def __init__(self, backend: Framework, weights: Weights, recipe: Recipe | None):
        self.name = f"{backend.name}64"
        exact = backend.in_float64()
        assert exact, "exact_backend chose one that computes in float64"
        self.exact = Program.of(self.name, exact, weights, recipe)
        self.nudged = Program.of(self.name, exact, nudged(weights), recipe)
        self.plain = Program.of(backend.name, get_framework(backend.name, "cpu"), weights, recipe)
        self._start = weights.tensors
        self.gaps: dict[str, float] = {}
        self.zeros: dict[str, str] = {}
        self.exempt: Tensors = {}
        self.resting: Tensors = {}
        self._always_zero: set[str] | None = None
        self._gradients: list[float] = []

    def read(self, inputs: Inputs, index: int, omega: np.ndarray) -> Reading:
        """The truth at setting `index` of the inputs, which is omega."""
        found = self.exact.read(inputs, omega)
        self._widen(distances(self.plain.read(inputs, omega), found))
        if found.report:
            apart = gradient_distances(self.nudged.gradients(inputs, omega), found.report)
            self._widen(apart)
            self._gradients += apart.get("gradients", {}).values()
            self.gaps["gradients: median"] = float(np.median(self._gradients or [0.0]))
        if found.report and found.report.loss:
            zeros = zero_gradients(found.report)
            self._always_zero = zeros if self._always_zero is None else self._always_zero & zeros
        return found

    def steps(self, inputs: Inputs) -> Steps:
        """The truth of the training steps, their exempt weights taken as zero."""
        found = self.exact.steps(inputs)
        self.exempt, self.resting = exempt_weights(
            found, self._start, decay_of(self.exact.recipe.optimizer, len(inputs.steps))
        )
        for name, mask in self.exempt.items():
            self.zeros[name] = PART_REASON.format(int(mask.sum()), mask.size)
        self.zeros.update(dict.fromkeys(sorted(self._always_zero or ()), ZERO_REASON))
        moved = joint_error(found.weights, self._start)
        found = self.reduced_steps(found)
        for other in (self.plain, self.nudged):
            self._widen(step_distances(self.reduced_steps(other.steps(inputs)), found))
        # Few of the gradients that were looked at enter the steps, and which of them meet a kink is chance: a state may
        # be as far off as any of these, its second moments twice, and what the steps move as far as a tensor's.
        along = {"along the gradients": moved * min(self.gaps.get("gradient", 0.0), KINK)}
        self._widen({"steps: loss": along, "steps: weights": along})
        self._widen({"optimizer state": {"of the gradients": 2 * self.gaps.get("gradients", 0.0)}})
        return found

    def reduced(self, reading: Reading) -> Reading:
        """What of a program's reading the truth can judge: all of it."""
        return reading

    def reduced_steps(self, steps: Steps) -> Steps:
        """The steps of a program without the weights that are exempt."""
        return steps.reduced(lambda value: value, self.exempt)

    def _widen(self, found: Distances) -> None:
        for stage, parts in found.items():
            self.gaps[stage] = max([self.gaps.get(stage, 0.0), *parts.values()])


def nudged(weights: Weights) -> Weights:
    """The weights with relative noise of NUDGE."""
    rng = np.random.default_rng(5)
    noisy = {k: v * (1 + NUDGE * rng.standard_normal(v.shape)).astype(v.dtype) for k, v in weights.tensors.items()}
    return weights._replace(tensors=noisy)


def exact_backend(backends: Iterable[Framework]) -> Framework | None:
    """The first of the frameworks that computes in float64."""
    return next((backend for backend in backends if backend.in_float64()), None)
