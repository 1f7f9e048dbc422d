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
    Result,
    Tensors,
    Training,
    Weights,
    distances,
    gradient_distances,
    training_distances,
    zero_gradients,
)
from tunable.certificate.rows import rms
from tunable.specs.recipe import Recipe
from tunable.tolerances import PERTURBATION

ZERO_REASON = "zero in float64 at every omega: the loss does not depend on it (as on a bias before a norm)"
RUNS = 3  # of training from perturbed weights: whether one of them meets a kink is chance


class Exact:
    """The network in float64, and others beside it, whose distances are the model's gaps.

    Of layers and outputs the gap is how far the network in float32 is from float64, in the same framework on the CPU.
    Of gradients it is also how far float64 is from itself with weights that are perturbed by a float32's rounding, for
    a ReLU or a maximum may decide otherwise then; of their median over omega it is that alone, in which a faulty
    float32 program has no part. Of training it is how far the perturbation takes the network in float32 from itself.

    Attributes:
        gaps: stage -> the largest error that was seen.
        references: stage -> the network in float32, as `rms` of its errors at every setting (0: not compared).
        zeros: parameters whose true gradient is zero at every omega read so far -> the reason.
    """

    def __init__(self, backend: Framework, weights: Weights, recipe: Recipe | None) -> None:
        self.name = f"{backend.name}64"
        exact = backend.in_float64()
        assert exact, "exact_backend chose one that computes in float64"
        self.exact = Program.of(self.name, exact, weights, recipe)
        self.perturbed = Program.of(self.name, exact, weights._replace(tensors=perturbed(weights.tensors)), recipe)
        self.plain = Program.of(backend.name, get_framework(backend.name, "cpu"), weights, recipe)
        self._start = weights.tensors
        self.gaps: dict[str, float] = {}
        self.references: dict[str, np.ndarray] = {}
        self._zeros: set[str] | None = None
        self._gradients: list[float] = []

    @property
    def zeros(self) -> dict[str, str]:
        """The parameters whose true gradient is zero at every omega that was read, with the reason."""
        return dict.fromkeys(sorted(self._zeros or ()), ZERO_REASON)

    def read(self, inputs: Inputs, index: int, omega: np.ndarray) -> Reading:
        """Return the truth at setting `index` of the inputs, which is omega."""
        reading = self.exact.read(inputs, omega)
        plain = distances(self.plain.read(inputs, omega), reading)
        self._widen(plain)
        self._refer(inputs, index, plain)
        if reading.report:
            apart = gradient_distances(self.perturbed.gradients(inputs, omega), reading.report)
            self._widen(apart)
            self._gradients += apart.get("gradients", {}).values()
            self.gaps["gradients: median"] = float(np.median(self._gradients or [0.0]))
        if reading.report and reading.report.loss:
            zeros = zero_gradients(reading.report)
            self._zeros = zeros if self._zeros is None else self._zeros & zeros
        return reading

    def train(self, inputs: Inputs) -> Training:
        """Return the truth of the training steps."""
        single = self.plain.train(inputs)
        for seed in range(RUNS):
            self._widen(training_distances(self.plain.train(inputs, perturbed(self._start, seed)), single))
        true = self.exact.train(inputs)
        self._refer(inputs, len(inputs.omegas), training_distances(single, true))
        return true

    def reduced(self, result: Result) -> Result:
        """Return what of a program's result the truth can judge, which is all of it."""
        return result

    def _refer(self, inputs: Inputs, index: int, apart: Distances) -> None:
        for stage, parts in apart.items():
            self.references.setdefault(stage, np.zeros(len(inputs.omegas) + 1))[index] = rms(parts)

    def _widen(self, apart: Distances) -> None:
        for stage, parts in apart.items():
            self.gaps[stage] = max([self.gaps.get(stage, 0.0), *parts.values()])


def perturbed(tensors: Tensors, seed: int = 5) -> Tensors:
    """Weights with relative noise of PERTURBATION."""
    rng = np.random.default_rng(seed)
    return {
        name: value * (1 + PERTURBATION * rng.standard_normal(value.shape)).astype(value.dtype)
        for name, value in tensors.items()
    }


def exact_backend(backends: Iterable[Framework]) -> Framework | None:
    """Return the first of the frameworks that computes in float64; None where none does."""
    return next((backend for backend in backends if backend.in_float64()), None)
