"""phi, the per-layer map from omega to the aggregation weights alpha (Eq. 6)."""

import math

import mindspore as ms
from mindspore import nn, ops

from tunable_core.errors import TunableError, nearest
from tunable_core.networks import PHI_FORMS


class Phi(nn.Cell):
    """The two forms without parameters: `identity`, alpha = omega; `base`, alpha = (1, omega)."""

    def __init__(self, *, base: bool):
        super().__init__()
        self.base = base

    def construct(self, omega: ms.Tensor) -> ms.Tensor:
        """omega (p,) or (N, p) -> alpha (k,) or (N, k)."""
        if self.base:
            return ops.concat([ops.ones_like(omega[..., :1]), omega], -1)
        return omega


class _Softmax(nn.Cell):
    """Softmax over the last axis, by powers of e: MindSpore's exp is off by 4e-6 on a CPU, its pow by 1.4e-7."""

    def construct(self, logits: ms.Tensor) -> ms.Tensor:
        powers = ops.pow(math.e, logits - ops.stop_gradient(logits.max(-1, keepdims=True)))
        return powers / powers.sum(-1, keepdims=True)


def make_phi(form: str, num_objectives: int) -> nn.Cell:
    """Build phi.

    affine    a linear layer p -> p with bias (the paper's)
    se        linear p -> 4 p, ReLU, linear 4 p -> p, softmax
    identity  alpha = omega
    base      alpha = (1, omega), for p + 1 kernels
    """
    if form not in PHI_FORMS:
        raise TunableError(f"unknown phi {form!r}{nearest(form, PHI_FORMS)}; known: {', '.join(PHI_FORMS)}")
    p = num_objectives
    if form == "affine":
        return nn.Dense(p, p, has_bias=True)
    if form == "se":
        return nn.SequentialCell(
            nn.Dense(p, 4 * p, has_bias=True), nn.ReLU(), nn.Dense(4 * p, p, has_bias=True), _Softmax()
        )
    return Phi(base=form == "base")
