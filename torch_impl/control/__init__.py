"""The control strategies that the paper's tables compare with (tunable.specs.control)."""

from torch_impl.control.adafm import AdaFM
from torch_impl.control.cfsnet import CFSNet
from torch_impl.control.cresmd import CResMD
from torch_impl.control.dynet import DyNet

STRATEGIES = {"dynet": DyNet, "cfsnet": CFSNet, "cresmd": CResMD, "adafm": AdaFM}

__all__ = ["STRATEGIES", "AdaFM", "CFSNet", "CResMD", "DyNet"]
