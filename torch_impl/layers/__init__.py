"""Tunable layers (SPEC 2)."""

from torch_impl.layers.conv import TunableConv2d
from torch_impl.layers.linear import TunableLinear
from torch_impl.layers.parameter import TunableParameter
from torch_impl.layers.tunable import Tunable

__all__ = ["Tunable", "TunableConv2d", "TunableLinear", "TunableParameter"]
