"""What every tunable layer shares: phi, the number of kernels, its parameter specs, its start."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers.phi import make_phi
from tunable.docstrings import inherit_arguments
from tunable.errors import TunableError
from tunable.omega import check_tensor
from tunable.parameters.specs import ParameterSpec
from tunable.parameters.starts import starting_weights
from tunable.specs.networks import num_kernels

_Ordinary = TypeVar("_Ordinary", bound=nn.Module)


class Tunable(nn.Module):
    """Base of the tunable layers: kernels are stacked on the first axis and aggregated by phi(omega).

    Attributes:
        kind: the layer's name in the oracle.
        inputs: what a call takes, by name and in order.
    """

    kind = ""
    inputs: tuple[str, ...] = ("x", "omega")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        inherit_arguments(cls)

    def __init__(self, num_objectives: int, phi: str) -> None:
        super().__init__()
        if num_objectives < 1:
            raise TunableError(f"a tunable layer needs num_objectives >= 1, not {num_objectives}")
        self.num_objectives = num_objectives
        self.phi_form = phi
        self.phi = make_phi(phi, num_objectives)
        self.num_kernels = num_kernels(num_objectives, phi)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True):
        # Kernels have an axis more than `channels_last` knows. Their sum is laid out anew in every call, so they keep
        # their order: in one dimension, a change of dtype or device reaches them and one of memory format does not.
        return super()._apply(lambda tensor: fn(tensor.flatten()).reshape(tensor.shape), recurse)

    def __call__(self, *inputs, **keywords) -> torch.Tensor:
        """Raise OmegaError for an omega of another shape; the inputs are x and omega, or omega alone."""
        if not torch.compiler.is_compiling():  # a comparison of sizes would fix those that a graph leaves open
            self._check(*inputs, **keywords)
        return super().__call__(*inputs, **keywords)

    def alpha(self, omega: torch.Tensor) -> torch.Tensor:
        """The aggregation weights (Eq. 6), omega (p,) or (N, p) -> (k,) or (N, k), as exact as the parameters."""
        with ops.no_autocast(omega):
            return self.phi(omega)

    def roles(self) -> dict[str, tuple[str, int]]:
        """(role, fan_in) of the layer's own parameters, by local name; see ParameterSpec."""
        raise TunableError(f"{type(self).__name__} declares no parameters")

    def specs(self, prefix: str = "") -> list[ParameterSpec]:
        """Every parameter of the layer, phi's included, names prefixed."""
        roles = self.roles()
        specs = []
        for name, value in self.named_parameters():
            role, fan_in = roles.get(name, ("phi", value.shape[-1] if value.ndim == 2 else self.num_objectives))
            specs.append(ParameterSpec(prefix + name, tuple(value.shape), role, fan_in, self.phi_form))
        return specs

    def start(self, seed: int | None) -> None:
        """Fill the layer with its default starting weights; None draws the seed from the framework."""
        drawn = starting_weights(self.specs(), ops.fresh_seed() if seed is None else seed)
        with torch.no_grad():
            for name, value in self.named_parameters():
                value.copy_(torch.from_numpy(drawn[name]))

    def mixed_into(self, ordinary: _Ordinary, omega: torch.Tensor) -> _Ordinary:
        """The ordinary layer with this one's weight and bias at omega (p,); OmegaError for another shape."""
        check_tensor(omega, self.num_objectives, dims=(1,))
        ordinary = ordinary.to(omega.device, self.get_parameter("weight").dtype)
        with torch.no_grad():
            alpha = self.alpha(omega)
            for name, value in ordinary.named_parameters():  # the weight, and the bias where there is one
                value.copy_(ops.aggregate(alpha, self.get_parameter(name)))
        return ordinary

    def fold(self, omega: torch.Tensor) -> nn.Module | nn.Parameter:
        """The ordinary layer, or parameter, equal to this one at omega (p,)."""
        raise TunableError(f"{type(self).__name__} has no ordinary form")

    def options(self) -> dict:
        """Keyword arguments with which the oracle computes this layer."""
        return {}

    def _check(self, *inputs, **keywords) -> None:
        named = dict(zip(self.inputs, inputs, strict=False)) | keywords
        check_tensor(named.get("omega"), self.num_objectives, len(named["x"]) if "x" in named else None)
