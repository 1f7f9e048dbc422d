"""The control strategies that the paper's tables compare with (tunable.specs.control)."""

from mindspore_impl.control.adafm import AdaFM
from mindspore_impl.control.cfsnet import CFSNet
from mindspore_impl.control.cresmd import CResMD
from mindspore_impl.control.dynet import DyNet
from mindspore_impl.control.output_blend import OutputBlend

STRATEGIES = {"dynet": DyNet, "cfsnet": CFSNet, "cresmd": CResMD, "adafm": AdaFM, "output_blend": OutputBlend}

__all__ = ["STRATEGIES", "AdaFM", "CFSNet", "CResMD", "DyNet", "OutputBlend"]
