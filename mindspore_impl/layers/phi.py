"""phi, the per-layer map from omega to the aggregation weights alpha (Eq. 6)."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from tunable.specs.formulations import Formulation, pairs


class Phi(nn.Cell):
    """The two forms of phi without parameters (Eq. 6): `identity`, alpha = omega; `base`, alpha = (1, omega - omega*).

    With `bump`, the products omega_i omega_j - omega*_i omega*_j of every pair i < j follow.

    Args:
        formulation: which of the two, with which anchor omega*, with or without bump.
        num_objectives: p, at least 1.
    """

    def __init__(self, formulation: Formulation, num_objectives: int) -> None:
        super().__init__()
        self.base = formulation.phi == "base"
        self.pairs = pairs(num_objectives) if formulation.bump else []
        self.anchor = ms.Tensor(np.array(formulation.anchor)) if formulation.anchor else None

    def construct(self, omega: ms.Tensor) -> ms.Tensor:
        """Return alpha, (k,), (N, k) or (N, *size, k), for omega (p,), (N, p) or (N, *size, p)."""
        if not self.base:
            return omega
        anchor = None if self.anchor is None else self.anchor.astype(omega.dtype)
        return _ops.concat([_ops.ones_like(omega[..., :1]), steps(omega, self.pairs, anchor)], -1)


def steps(omega: ms.Tensor, products: list[tuple[int, int]], anchor: ms.Tensor | None) -> ms.Tensor:
    """Return the weights of the differences of phi `base`.

    Args:
        omega: (p,), (N, p), or of a map its pixels, (N, *size, p).
        products: the pairs of objectives whose products follow.
        anchor: omega* (p,), at which all weights are 0 to the bit, for its products round as those of omega; None: 0.

    Returns:
        (m,), (N, m) or (N, *size, m): omega, with products or without, minus the same of the anchor.
    """
    weights = _with_products(omega, products)
    return weights if anchor is None else weights - _with_products(anchor, products)


def _with_products(omega: ms.Tensor, products: list[tuple[int, int]]) -> ms.Tensor:
    parts = [omega]
    for i, j in products:
        parts.append(omega[..., i : i + 1] * omega[..., j : j + 1])
    return _ops.concat(parts, -1) if products else omega


class _Dense(nn.Dense):
    """The framework's dense layer, computed so that mixed precision does not round it."""

    def construct(self, omega: ms.Tensor) -> ms.Tensor:
        return ops.affine(omega, self.weight, self.bias)


def make_phi(formulation: Formulation, num_objectives: int) -> nn.Cell:
    """Build phi (Eq. 6).

    Args:
        formulation: its `phi` is affine: a linear layer p -> p with bias (the paper's); se: linear p -> 4 p, ReLU,
            linear 4 p -> p, softmax; identity: alpha = omega; base: alpha = (1, omega), for p + 1 kernels, which
            `anchor` and `bump` change.
        num_objectives: p, at least 1.

    Returns:
        What makes of omega (p,), (N, p) or (N, *size, p) the alpha (k,), (N, k) or (N, *size, k).
    """
    p = num_objectives
    if formulation.phi == "affine":
        return _Dense(p, p, has_bias=True)
    if formulation.phi == "se":
        return nn.SequentialCell(
            _Dense(p, 4 * p, has_bias=True), nn.ReLU(), _Dense(4 * p, p, has_bias=True), ops.Softmax()
        )
    return Phi(formulation, p)


def linear_layers(phi: nn.Cell) -> tuple[nn.Cell, ...]:
    """Return the linear layers of which a phi consists: one for `affine`, two for `se`, none for the others."""
    if isinstance(phi, nn.Dense):
        return (phi,)
    return (phi[0], phi[2]) if isinstance(phi, nn.SequentialCell) else ()


def alphas_of(stages: Sequence[Sequence[nn.Cell]], omega: ms.Tensor) -> ms.Tensor:
    """Evaluate the phi of many layers at once.

    Args:
        stages: the `linear_layers` of G layers: of all the first, and with `se` of all the second.
        omega: (p,) or (N, p).

    Returns:
        alpha of every layer, (G, k) or (G, N, k).
    """
    alphas = _affine(stages[0], _ops.expand_dims(omega, 0))
    return alphas if len(stages) == 1 else ops.softmax(_affine(stages[1], _ops.relu(alphas)))


def _affine(layers: Sequence[nn.Cell], x: ms.Tensor) -> ms.Tensor:
    """Each of G linear layers on its x, (G, in) or (G, N, in), or all on the same, (1, in) or (1, N, in)."""
    weight = ops.stack([layer.weight for layer in layers])
    bias = ops.stack([layer.bias for layer in layers])
    if x.ndim == 3:
        weight, bias = _ops.expand_dims(weight, 1), _ops.expand_dims(bias, 1)
    return ops.affine(x, weight, bias)
