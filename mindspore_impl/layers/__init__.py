"""Tunable layers (SPEC 2)."""

from mindspore_impl.layers.conv import TunableConv2d
from mindspore_impl.layers.linear import TunableLinear
from mindspore_impl.layers.parameter import TunableParameter
from mindspore_impl.layers.tunable import Tunable

__all__ = ["Tunable", "TunableConv2d", "TunableLinear", "TunableParameter"]
