"""What is built from tunable layers: the same code in its tunable form and, with num_objectives 0, in its plain one."""

from copy import deepcopy
from typing import Any, Self

import mindspore as ms
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.layers.conv import TunableConv2d
from mindspore_impl.layers.linear import TunableLinear
from mindspore_impl.layers.norm import Norm, TunableInstanceNorm2d, TunableLayerNorm, TunableLayerNorm2d, TunableNorm
from mindspore_impl.layers.parameter import TunableParameter
from tunable.specs.formulations import Formulation

_TUNABLE_NORMS: dict[type[Norm], type[TunableNorm]] = {
    kind.ordinary: kind for kind in (TunableInstanceNorm2d, TunableLayerNorm, TunableLayerNorm2d)
}

DEFAULT = Formulation()


class Composite(nn.Cell):
    """Base of networks and of their larger parts, which are plain where their number of objectives is 0.

    It keeps what its constructor was given: a subclass passes on `num_objectives` alone, and takes it by keyword.

    Args:
        num_objectives: p, or 0 for the plain form.
    """

    _given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments, **keywords) -> Self:
        """Keep copies of the arguments, from which `rebuilt` makes the part once more."""
        part = super().__new__(cls)
        object.__setattr__(part, "_given", deepcopy((arguments, keywords)))  # a list may change after this
        return part

    def __init__(self, num_objectives: int) -> None:
        super().__init__()
        self.num_objectives = num_objectives

    def rebuilt(self, num_objectives: int) -> "Composite":
        """Build the part once more, with the constructor's other arguments; its weights are not set.

        Args:
            num_objectives: p, or 0 for the plain form.

        Returns:
            A part of the same class.
        """
        arguments, keywords = self._given
        return type(self)(*arguments, **{**keywords, "num_objectives": num_objectives})

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the parameters that this part itself holds when plain; see ParameterSpec."""
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
    padding_mode: str = "zeros",
    formulation: Formulation = DEFAULT,
) -> nn.Cell:
    """Make a two-dimensional convolution, tunable, or ordinary when num_objectives is 0.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps along both sides.
        num_objectives: p, or 0 for the ordinary layer.
        stride: pixels from one output to the next.
        padding: pixels added on every side; None: half the kernel, which keeps the size at stride 1.
        groups: parts of the channels that do not see each other.
        bias: whether a bias is added.
        padding_mode: what is added: zeros, reflect or replicate.
        formulation: how the kernels depend on omega.
    """
    padding = kernel_size // 2 if padding is None else padding
    if num_objectives:
        options = {"stride": stride, "padding": padding, "groups": groups, "bias": bias, "seed": 0}
        options |= {"num_objectives": num_objectives, "padding_mode": padding_mode, **formulation.keywords()}
        return TunableConv2d(in_channels, out_channels, kernel_size, **options)
    options = {"stride": (stride,) * 2, "padding": (padding,) * 2, "dilation": (1, 1), "groups": groups, "bias": bias}
    return ops.ordinary_conv(in_channels, out_channels, (kernel_size,) * 2, padding_mode=padding_mode, **options)


def linear(
    in_features: int, out_features: int, *, num_objectives: int, bias: bool = True, formulation: Formulation = DEFAULT
) -> nn.Cell:
    """Make a linear layer, tunable, or ordinary when num_objectives is 0; arguments as for `conv2d`."""
    if num_objectives:
        options = {"num_objectives": num_objectives, "bias": bias, "seed": 0, **formulation.keywords()}
        return TunableLinear(in_features, out_features, **options)
    return nn.Dense(in_features, out_features, has_bias=bias)


def norm(
    kind: type[Norm], channels: int, *, num_objectives: int, eps: float = 1e-5, formulation: Formulation = DEFAULT
) -> nn.Cell:
    """Make a norm, which is called with omega whether it is tunable or ordinary.

    Args:
        kind: the class of the ordinary norm.
        channels: the length of the axis of channels.
        num_objectives: p, or 0 for the ordinary norm.
        eps: what is added to the variance, above 0.
        formulation: how scale and shift depend on omega.
    """
    if num_objectives:
        options = {"num_objectives": num_objectives, "eps": eps, "seed": 0, **formulation.vector_keywords()}
        return _TUNABLE_NORMS[kind](channels, **options)
    return kind(channels, eps=eps)


def parameter(
    shape: tuple[int, ...], *, num_objectives: int, value: float = 0, formulation: Formulation = DEFAULT
) -> nn.Cell | ms.Parameter:
    """Make a free parameter, tunable, or ordinary when num_objectives is 0; its holder then names it in `roles`.

    Args:
        shape: shape of the parameter.
        num_objectives: p, or 0 for the ordinary parameter.
        value: 0, 0.25 or 1, with which it starts.
        formulation: how the kernels depend on omega.
    """
    if num_objectives:
        options = {"num_objectives": num_objectives, "value": value, "seed": 0, **formulation.vector_keywords()}
        return TunableParameter(shape, **options)
    return ops.parameter(shape, value)


def call(layer: nn.Cell, x: ms.Tensor, omega: ms.Tensor | None) -> ms.Tensor:
    """Call a layer with omega; an ordinary convolution or linear layer, and a part where omega is None, without."""
    return layer(x) if omega is None or isinstance(layer, ops.ORDINARY) else layer(x, omega)


def value_at(parameter: nn.Cell | ms.Parameter, omega: ms.Tensor | None) -> ms.Tensor:
    """Return the value of a free parameter: (*shape), or (N, *shape) where it is tunable and omega is (N, p)."""
    return parameter(omega) if isinstance(parameter, nn.Cell) else parameter
