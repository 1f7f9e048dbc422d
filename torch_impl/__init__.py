"""The PyTorch twin: tunable layers, the parametric multi-loss, the networks and their training."""

from torch_impl.folding import fold
from torch_impl.layers import TunableConv2d, TunableLinear, TunableParameter
from torch_impl.networks import ResNet
from torch_impl.objectives import MultiLoss, NoisePreservation, Reconstruction

__all__ = [
    "MultiLoss",
    "NoisePreservation",
    "Reconstruction",
    "ResNet",
    "TunableConv2d",
    "TunableLinear",
    "TunableParameter",
    "fold",
]
