"""Tunable layers (docs/method.md, "Layers"), the ordinary norms, and what is built from both."""

from torch_impl.layers.attention import ChannelAttention, SimplifiedChannelAttention, WindowAttention
from torch_impl.layers.composite import Composite, call, conv2d, linear, norm, parameter, value_at
from torch_impl.layers.conv import (
    TunableConv1d,
    TunableConv2d,
    TunableConv3d,
    TunableConvTranspose1d,
    TunableConvTranspose2d,
    TunableConvTranspose3d,
)
from torch_impl.layers.linear import TunableLinear
from torch_impl.layers.norm import (
    BatchNorm2d,
    InstanceNorm2d,
    LayerNorm,
    LayerNorm2d,
    Norm,
    TunableInstanceNorm2d,
    TunableLayerNorm,
    TunableLayerNorm2d,
)
from torch_impl.layers.parameter import TunableParameter
from torch_impl.layers.tunable import Tunable

__all__ = [
    "BatchNorm2d",
    "ChannelAttention",
    "Composite",
    "InstanceNorm2d",
    "LayerNorm",
    "LayerNorm2d",
    "Norm",
    "SimplifiedChannelAttention",
    "Tunable",
    "TunableConv1d",
    "TunableConv2d",
    "TunableConv3d",
    "TunableConvTranspose1d",
    "TunableConvTranspose2d",
    "TunableConvTranspose3d",
    "TunableInstanceNorm2d",
    "TunableLayerNorm",
    "TunableLayerNorm2d",
    "TunableLinear",
    "TunableParameter",
    "WindowAttention",
    "call",
    "conv2d",
    "value_at",
    "linear",
    "norm",
    "parameter",
]
