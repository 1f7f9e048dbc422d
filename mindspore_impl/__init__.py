"""The MindSpore twin: tunable layers, the parametric multi-loss, the networks and their training."""

from mindspore_impl import ops  # noqa: F401  before all else: it prepares the environment for MindSpore
from mindspore_impl.control import AdaFM, CFSNet, CResMD, DyNet, OutputBlend
from mindspore_impl.folding import fold
from mindspore_impl.layers import (
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
from mindspore_impl.networks import Compact, NAFNet, ResNet, StyleUNet, SwinIR, UNet
from mindspore_impl.objectives import MultiLoss, NoisePreservation, Reconstruction, ResiduePreservation, Sharpening
from mindspore_impl.retrofit import TunedNetwork, from_endpoints, load_tuned, make_tunable

__all__ = [
    "AdaFM",
    "CFSNet",
    "CResMD",
    "ChannelAttention",
    "Compact",
    "DyNet",
    "InstanceNorm2d",
    "LayerNorm",
    "LayerNorm2d",
    "MultiLoss",
    "NoisePreservation",
    "Reconstruction",
    "ResiduePreservation",
    "NAFNet",
    "OutputBlend",
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
