"""Tunable layers (SPEC 2)."""

from mindspore_impl.layers.conv import (
    TunableConv1d,
    TunableConv2d,
    TunableConv3d,
    TunableConvTranspose1d,
    TunableConvTranspose2d,
    TunableConvTranspose3d,
)
from mindspore_impl.layers.linear import TunableLinear
from mindspore_impl.layers.parameter import TunableParameter
from mindspore_impl.layers.tunable import Tunable

__all__ = [
    "Tunable",
    "TunableConv1d",
    "TunableConv2d",
    "TunableConv3d",
    "TunableConvTranspose1d",
    "TunableConvTranspose2d",
    "TunableConvTranspose3d",
    "TunableLinear",
    "TunableParameter",
]
