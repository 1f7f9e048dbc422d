"""The PyTorch twin: tunable layers, the parametric multi-loss, the networks and their training."""

from torch_impl.folding import fold
from torch_impl.layers import (
    ChannelAttention,
    InstanceNorm2d,
    LayerNorm,
    LayerNorm2d,
    SimplifiedChannelAttention,
    TunableConv1d,
    TunableConv2d,
    TunableConv3d,
    TunableConvTranspose1d,
    TunableConvTranspose2d,
    TunableConvTranspose3d,
    TunableInstanceNorm2d,
    TunableLayerNorm,
    TunableLayerNorm2d,
    TunableLinear,
    TunableParameter,
    WindowAttention,
)
from torch_impl.networks import NAFNet, ResNet, StyleUNet, SwinIR, UNet
from torch_impl.objectives import MultiLoss, NoisePreservation, Reconstruction, Sharpening
from torch_impl.retrofit import TunedNetwork, from_endpoints, load_tuned, make_tunable

__all__ = [
    "ChannelAttention",
    "InstanceNorm2d",
    "LayerNorm",
    "LayerNorm2d",
    "MultiLoss",
    "NoisePreservation",
    "Reconstruction",
    "NAFNet",
    "ResNet",
    "StyleUNet",
    "SwinIR",
    "Sharpening",
    "SimplifiedChannelAttention",
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
    "TunedNetwork",
    "UNet",
    "WindowAttention",
    "fold",
    "from_endpoints",
    "load_tuned",
    "make_tunable",
]
