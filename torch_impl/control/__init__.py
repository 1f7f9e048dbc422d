"""The control strategies that the paper's tables compare with (tunable.specs.control)."""

from torch_impl.control.adafm import AdaFM
from torch_impl.control.cfsnet import CFSNet
from torch_impl.control.cresmd import CResMD
from torch_impl.control.dynet import DyNet
from torch_impl.control.output_blend import OutputBlend

STRATEGIES = {"dynet": DyNet, "cfsnet": CFSNet, "cresmd": CResMD, "adafm": AdaFM, "output_blend": OutputBlend}

__all__ = ["STRATEGIES", "AdaFM", "CFSNet", "CResMD", "DyNet", "OutputBlend"]
