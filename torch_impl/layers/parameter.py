"""The tunable free parameter."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers.tunable import Tunable
from tunable.omega import check_tensor
from tunable.parameters.specs import constant_role
from tunable.specs.formulations import DEFAULT_PHI, Formulation


class TunableParameter(Tunable):
    """A free parameter (a scale, a bias table) whose value is set by omega (Eqs. 3, 6).

    Parameters: weight (k, *shape), phi.*; k is the number of kernels, p or (phi `base`) p + 1.

    Args:
        shape: shape of the parameter.
        num_objectives: p, at least 1.
        value: 0, 0.25 or 1, what the parameter is at every omega before training.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        anchor: omega* (p,), at which the layer is its base kernel; () where that is omega = 0.
        bump: whether each pair of objectives has a kernel, weighed by the product of the two.
        seed: seed of the starting weights; None draws one from the framework's generator.

    Raises:
        TunableError: for num_objectives below 1, another value than these, or an unknown phi.
    """

    kind = "parameter"
    inputs = ("omega",)

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        num_objectives: int,
        value: float = 0,
        phi: str = DEFAULT_PHI,
        anchor: Sequence[float] = (),
        bump: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(num_objectives, Formulation(phi, anchor=anchor, bump=bump))
        self.shape = tuple(shape)
        self.value = value
        self.weight = nn.Parameter(torch.empty(self.num_kernels, *self.shape))
        self.bias = None
        self.start(seed)

    def forward(self, omega: torch.Tensor) -> torch.Tensor:
        """Return the parameter's value: (*shape) for omega (p,), (N, *shape) for omega (N, p).

        Where it has one number per channel, its shape (C,) or (C, 1, 1), omega may be a map (N, p, H, W), and the value
        is (N, C, H, W).
        """
        alpha, value, _ = self.at(omega)
        if alpha is not None and alpha.ndim > 2:
            return ops.at_outputs(alpha, value.reshape(self.num_kernels, -1), alpha.ndim - 2)
        return value if alpha is None else ops.aggregate(alpha, value)

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the layer's parameters by local name, as ParameterSpec explains them."""
        return {"weight": (constant_role(self.value), 0)}

    def _check(self, *inputs, **keywords) -> None:
        omega: Any = dict(zip(self.inputs, inputs, strict=False)).get("omega", keywords.get("omega"))
        per_channel = max(self.shape[1:], default=1) == 1
        size = omega.shape[2:] if per_channel and getattr(omega, "ndim", 0) == 4 else None
        if not isinstance(omega, tuple):
            check_tensor(omega, self.num_objectives, size=size)

    def fold(self, omega: torch.Tensor) -> nn.Parameter:
        """Return the ordinary parameter that equals this one at omega (p,); OmegaError for another shape."""
        check_tensor(omega, self.num_objectives, dims=(1,))
        with torch.no_grad():
            return nn.Parameter(self(omega).clone())
