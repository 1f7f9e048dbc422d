"""What is built from tunable layers: the same code in its tunable form and, with num_objectives 0, in its plain one."""

from typing import Any, Self

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers.conv import TunableConv2d
from torch_impl.layers.linear import TunableLinear
from torch_impl.layers.norm import Norm, TunableInstanceNorm2d, TunableLayerNorm, TunableLayerNorm2d, TunableNorm
from torch_impl.layers.parameter import TunableParameter
from tunable.specs.networks import DEFAULT_PHI

_TUNABLE_NORMS: dict[type[Norm], type[TunableNorm]] = {
    kind.ordinary: kind for kind in (TunableInstanceNorm2d, TunableLayerNorm, TunableLayerNorm2d)
}


class Composite(nn.Module):
    """Base of networks and of their larger parts, which are plain where their number of objectives is 0.

    It keeps what its constructor was given: a subclass passes on `num_objectives` alone, and takes it by keyword.

    Args:
        num_objectives: p, or 0 for the plain form.
    """

    _given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments, **keywords) -> Self:
        """Keep the arguments, from which `rebuilt` makes the part once more."""
        part = super().__new__(cls)
        object.__setattr__(part, "_given", (arguments, keywords))
        return part

    def __init__(self, num_objectives: int) -> None:
        super().__init__()
        self.num_objectives = num_objectives

    def rebuilt(self, num_objectives: int) -> "Composite":
        """The same built once more with the constructor's other arguments, its weights not set.

        Args:
            num_objectives: p, or 0 for the plain form.
        """
        arguments, keywords = self._given
        return type(self)(*arguments, **{**keywords, "num_objectives": num_objectives})

    def roles(self) -> dict[str, tuple[str, int]]:
        """(role, fan_in) of the parameters that this module itself holds when plain; see ParameterSpec."""
        return {}


def conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    num_objectives: int,
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
    bias: bool = True,
    phi: str = DEFAULT_PHI,
) -> nn.Module:
    """A convolution, tunable, or ordinary when num_objectives is 0. Padding None: half the kernel."""
    padding = kernel_size // 2 if padding is None else padding
    if num_objectives:
        options = {"stride": stride, "padding": padding, "groups": groups, "bias": bias, "phi": phi, "seed": 0}
        return TunableConv2d(in_channels, out_channels, kernel_size, num_objectives=num_objectives, **options)
    options = {"stride": (stride,) * 2, "padding": (padding,) * 2, "dilation": (1, 1), "groups": groups, "bias": bias}
    return ops.ordinary_conv(in_channels, out_channels, (kernel_size,) * 2, **options)


def linear(
    in_features: int, out_features: int, *, num_objectives: int, bias: bool = True, phi: str = DEFAULT_PHI
) -> nn.Module:
    """A linear layer, tunable, or ordinary when num_objectives is 0."""
    if num_objectives:
        return TunableLinear(in_features, out_features, num_objectives=num_objectives, bias=bias, phi=phi, seed=0)
    return nn.Linear(in_features, out_features, bias)


def norm(
    kind: type[Norm], channels: int, *, num_objectives: int, eps: float = 1e-5, phi: str = DEFAULT_PHI
) -> nn.Module:
    """A norm of an ordinary kind, tunable, or as it is when num_objectives is 0. Called with omega in either case."""
    if num_objectives:
        return _TUNABLE_NORMS[kind](channels, num_objectives=num_objectives, eps=eps, phi=phi, seed=0)
    return kind(channels, eps=eps)


def parameter(
    shape: tuple[int, ...], *, num_objectives: int, value: float = 0, phi: str = DEFAULT_PHI
) -> nn.Module | nn.Parameter:
    """A free parameter, tunable, or ordinary when num_objectives is 0: its holder names it in `roles`."""
    if num_objectives:
        return TunableParameter(shape, num_objectives=num_objectives, value=value, phi=phi, seed=0)
    return nn.Parameter(torch.full(shape, float(value)))


def call(layer: nn.Module, x: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
    """Call a tunable layer with omega, an ordinary one without."""
    return layer(x) if omega is None else layer(x, omega)


def value_at(parameter: nn.Module | nn.Parameter, omega: torch.Tensor | None) -> torch.Tensor:
    """The value of a free parameter: (*shape), or (N, *shape) for omega (N, p)."""
    return parameter(omega) if isinstance(parameter, nn.Module) else parameter
