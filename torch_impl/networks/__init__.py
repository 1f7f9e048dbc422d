"""The paper's networks, tunable and plain (docs/method.md, "Networks")."""

from torch_impl.networks.compact import Compact
from torch_impl.networks.discriminator import Discriminator
from torch_impl.networks.nafnet import NAFNet
from torch_impl.networks.network import Network, initialise, parameter_specs
from torch_impl.networks.resnet import ResNet
from torch_impl.networks.style_unet import StyleUNet
from torch_impl.networks.swinir import SwinIR
from torch_impl.networks.unet import UNet
from torch_impl.networks.vgg import VGG

NETWORKS = {
    "resnet": ResNet,
    "nafnet": NAFNet,
    "swinir": SwinIR,
    "style_unet": StyleUNet,
    "unet": UNet,
    "compact": Compact,
}

__all__ = [
    "NETWORKS",
    "Compact",
    "VGG",
    "Discriminator",
    "NAFNet",
    "Network",
    "ResNet",
    "StyleUNet",
    "SwinIR",
    "UNet",
    "initialise",
    "parameter_specs",
]
