"""phi, the per-layer map from omega to the aggregation weights alpha (Eq. 6)."""

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from tunable.errors import TunableError, nearest
from tunable.specs.networks import PHI_FORMS


class Phi(nn.Cell):
    """The two forms of phi without parameters (Eq. 6).

    Args:
        base: whether the form is `base`, alpha = (1, omega), or else `identity`, alpha = omega.
    """

    def __init__(self, *, base: bool) -> None:
        super().__init__()
        self.base = base

    def construct(self, omega: ms.Tensor) -> ms.Tensor:
        """Return alpha, (k,) or (N, k), for omega (p,) or (N, p)."""
        if self.base:
            return _ops.concat([_ops.ones_like(omega[..., :1]), omega], -1)
        return omega


class _Dense(nn.Dense):
    """The framework's dense layer, computed so that mixed precision does not round it."""

    def construct(self, omega: ms.Tensor) -> ms.Tensor:
        return ops.affine(omega, self.weight, self.bias)


def make_phi(form: str, num_objectives: int) -> nn.Cell:
    """Build phi (Eq. 6).

    Args:
        form: affine: a linear layer p -> p with bias (the paper's); se: linear p -> 4 p, ReLU, linear 4 p -> p,
            softmax; identity: alpha = omega; base: alpha = (1, omega), for p + 1 kernels.
        num_objectives: p, at least 1.

    Returns:
        The map from omega (p,) or (N, p) to alpha (k,) or (N, k).

    Raises:
        TunableError: for an unknown form.
    """
    if form not in PHI_FORMS:
        raise TunableError(f"unknown phi {form!r}{nearest(form, PHI_FORMS)}; known: {', '.join(PHI_FORMS)}")
    p = num_objectives
    if form == "affine":
        return _Dense(p, p, has_bias=True)
    if form == "se":
        return nn.SequentialCell(
            _Dense(p, 4 * p, has_bias=True), nn.ReLU(), _Dense(4 * p, p, has_bias=True), ops.Softmax()
        )
    return Phi(base=form == "base")
