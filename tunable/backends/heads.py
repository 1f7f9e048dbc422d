"""Pictures that are affine in omega: a base and differences from one inference, from which any omega is their sum.

Where the last layer alone is tunable, and its kernels are affine in omega, so is what the network returns:

    restored(omega) = base + sum_j t_j difference_j,   t = omega - anchor, with `bump` also t_i t_j of every pair i < j

The anchor is the formulation's omega*, or 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tunable.errors import TunableError
from tunable.omega import axes_of, check_omega
from tunable.parameters.layouts import layout, tunable_layers
from tunable.specs.formulations import Formulation, pairs
from tunable.specs.networks import NetworkSpec


@dataclass(frozen=True)
class Heads:
    """Base and difference pictures.

    Attributes:
        base: (N, 3, H, W), not clipped: what is restored at omega = anchor.
        differences: (N, m, 3, H, W): for every knob what it adds as it grows by 1, with `bump` one for each pair too.
        objectives: the names of the knobs, p of them.
        anchor: (p,).
    """

    base: np.ndarray
    differences: np.ndarray
    objectives: tuple[str, ...]
    anchor: tuple[float, ...]

    def at(self, omega: ArrayLike) -> np.ndarray:
        """Return the pictures at an omega: (N, 3, H, W), not clipped.

        Args:
            omega: (p,), (N, p) with one for each, or a map (N, p, H', W') with one for each pixel of what was restored.

        Raises:
            OmegaError: for an omega of another shape, or of values that are not finite.
        """
        height, width = self.base.shape[2:]
        rows = np.shape(omega)[2] if axes_of(omega) == 4 else 0
        factor = max(height // rows, 1) if rows else 1
        given = check_omega(omega, self.objectives, len(self.base), (height // factor, width // factor))
        if given.ndim == 4:
            given = given.repeat(factor, axis=2).repeat(factor, axis=3)
        else:
            given = np.broadcast_to(given, (len(self.base), len(self.objectives)))[:, :, None, None]
        steps = given - np.array(self.anchor, np.float32)[:, None, None]
        if self.differences.shape[1] > len(self.objectives):
            products = [steps[:, i] * steps[:, j] for i, j in pairs(len(self.objectives))]
            steps = np.concatenate([steps, np.stack(products, 1)], 1)
        restored, steps = np.empty(self.base.shape, np.float32), steps.astype(np.float32)
        for picture, base, weights, differences in zip(restored, self.base, steps, self.differences, strict=True):
            if weights.shape[1:] == (1, 1):  # one product: several times faster
                np.dot(weights.ravel(), differences.reshape(len(weights), -1), out=picture.reshape(-1))
            else:
                np.sum(weights[:, None] * differences, 0, out=picture)
            picture += base
        return restored


def heads_fault(spec: NetworkSpec, num_objectives: int) -> str | None:
    """Say why a network's pictures are not affine in omega; None where they are: only its last layer is tunable.

    Args:
        spec: of the network, valid.
        num_objectives: p; 0 for a plain network.
    """
    if not num_objectives:
        return "a plain network has no knobs: there are no difference pictures"
    if spec.name == "import":
        return "of a network of one's own nobody knows which layer is the last"
    if spec.phi == "se":
        return "with phi se, a softmax, pictures are not affine in omega: they are no base and differences"
    *_, last = (name.rpartition(".")[0] for name, _ in layout(spec.model_copy(update={"where": "all"}), 0))
    chosen = tunable_layers(spec, num_objectives)
    if chosen != {last}:
        others = (
            "every layer" if chosen is None else ", ".join(sorted(chosen)[:3]) + (", ..." if len(chosen) > 3 else "")
        )
        return f"pictures are affine in omega where the last layer, {last}, alone is tunable; here it is {others}"
    return None


def settings(formulation: Formulation, num_objectives: int) -> np.ndarray:
    """Return the omega (1 + m, p) at which a network tells its heads: the anchor, a step along each knob, each pair."""
    steps = np.eye(num_objectives)
    if formulation.bump:
        steps = np.concatenate([steps, [steps[i] + steps[j] for i, j in pairs(num_objectives)]])
    return (np.concatenate([np.zeros((1, num_objectives)), steps]) + anchor_of(formulation, num_objectives)).astype("f")


def anchor_of(formulation: Formulation, num_objectives: int) -> tuple[float, ...]:
    """Return the omega (p,) of the base picture."""
    return tuple(formulation.anchor) or (0.0,) * num_objectives


def told_apart(pictures: Sequence[Any], num_objectives: int) -> list[Any]:
    """Return base and differences of the pictures at `settings`; of arrays, or of the tensors of any framework."""
    base, place = pictures[0], 1 + num_objectives
    heads = [base]
    for j in range(num_objectives):
        heads.append(pictures[1 + j] - base)
    if len(pictures) > place:  # two loops, for MindSpore compiles this
        for i in range(num_objectives):
            for j in range(i + 1, num_objectives):
                heads.append(pictures[place] - pictures[1 + i] - pictures[1 + j] + base)
                place += 1
    return heads


def check_heads(spec: NetworkSpec, num_objectives: int) -> None:
    """Raise TunableError for a network whose pictures are not affine in omega."""
    fault = heads_fault(spec, num_objectives)
    if fault:
        raise TunableError(fault)
