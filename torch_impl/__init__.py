"""The PyTorch twin: tunable layers, the parametric multi-loss, the networks and their training."""

from torch_impl.folding import fold
from torch_impl.layers import (
    TunableConv1d,
    TunableConv2d,
    TunableConv3d,
    TunableConvTranspose1d,
    TunableConvTranspose2d,
    TunableConvTranspose3d,
    TunableLinear,
    TunableParameter,
)
from torch_impl.networks import ResNet
from torch_impl.objectives import MultiLoss, NoisePreservation, Reconstruction

__all__ = [
    "MultiLoss",
    "NoisePreservation",
    "Reconstruction",
    "ResNet",
    "TunableConv1d",
    "TunableConv2d",
    "TunableConv3d",
    "TunableConvTranspose1d",
    "TunableConvTranspose2d",
    "TunableConvTranspose3d",
    "TunableLinear",
    "TunableParameter",
    "fold",
]
