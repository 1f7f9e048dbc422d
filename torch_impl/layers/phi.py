"""phi, the per-layer map from omega to the aggregation weights alpha (Eq. 6)."""

from collections.abc import Sequence

import torch
from torch import nn

from torch_impl import ops
from tunable.specs.formulations import Formulation, pairs


class Phi(nn.Module):
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
        self.anchor = ops.Exact(formulation.anchor) if formulation.anchor else None

    def forward(self, omega: torch.Tensor) -> torch.Tensor:
        """Return alpha, (k,), (N, k) or (N, *size, k), for omega (p,), (N, p) or (N, *size, p)."""
        if not self.base:
            return omega
        anchor = None if self.anchor is None else self.anchor(omega.dtype)
        return torch.cat([torch.ones_like(omega[..., :1]), steps(omega, self.pairs, anchor)], -1)


def steps(omega: torch.Tensor, products: list[tuple[int, int]], anchor: torch.Tensor | None) -> torch.Tensor:
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


def _with_products(omega: torch.Tensor, products: list[tuple[int, int]]) -> torch.Tensor:
    parts = [omega[..., i : i + 1] * omega[..., j : j + 1] for i, j in products]
    return torch.cat([omega, *parts], -1) if products else omega


def make_phi(formulation: Formulation, num_objectives: int) -> nn.Module:
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
        return nn.Linear(p, p)
    if formulation.phi == "se":
        return nn.Sequential(nn.Linear(p, 4 * p), nn.ReLU(), nn.Linear(4 * p, p), nn.Softmax(-1))
    return Phi(formulation, p)


def linear_layers(phi: nn.Module) -> tuple[nn.Module, ...]:
    """Return the linear layers of which a phi consists: one for `affine`, two for `se`, none for the others."""
    if isinstance(phi, nn.Linear):
        return (phi,)
    return (phi[0], phi[2]) if isinstance(phi, nn.Sequential) else ()


def alphas_of(stages: Sequence[Sequence[nn.Module]], omega: torch.Tensor) -> torch.Tensor:
    """Evaluate the phi of many layers at once.

    Args:
        stages: the `linear_layers` of G layers: of all the first, and with `se` of all the second.
        omega: (p,) or (N, p).

    Returns:
        alpha of every layer, (G, k) or (G, N, k).
    """
    alphas = _affine(stages[0], omega.expand(len(stages[0]), *omega.shape))
    return alphas if len(stages) == 1 else torch.softmax(_affine(stages[1], torch.relu(alphas)), -1)


def _affine(layers: Sequence[nn.Module], x: torch.Tensor) -> torch.Tensor:
    """Each of G linear layers on its x, (G, in) or (G, N, in)."""
    with ops.no_autocast(x):
        weight = ops.stack([layer.get_parameter("weight") for layer in layers])
        bias = ops.stack([layer.get_parameter("bias") for layer in layers])[:, None]
        y = torch.baddbmm(bias, x.reshape(len(layers), -1, x.shape[-1]), weight.mT)
    return y.reshape(*x.shape[:-1], -1)
