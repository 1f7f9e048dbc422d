"""phi, the per-layer map from omega to the aggregation weights alpha (Eq. 6)."""

import torch
from torch import nn

from tunable.errors import TunableError, nearest
from tunable.specs.networks import PHI_FORMS


class Phi(nn.Module):
    """The two forms of phi without parameters (Eq. 6).

    Args:
        base: whether the form is `base`, alpha = (1, omega), or else `identity`, alpha = omega.
    """

    def __init__(self, *, base: bool) -> None:
        super().__init__()
        self.base = base

    def forward(self, omega: torch.Tensor) -> torch.Tensor:
        """Return alpha, (k,) or (N, k), for omega (p,) or (N, p)."""
        if self.base:
            return torch.cat([torch.ones_like(omega[..., :1]), omega], -1)
        return omega


def make_phi(form: str, num_objectives: int) -> nn.Module:
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
        return nn.Linear(p, p)
    if form == "se":
        return nn.Sequential(nn.Linear(p, 4 * p), nn.ReLU(), nn.Linear(4 * p, p), nn.Softmax(-1))
    return Phi(base=form == "base")
