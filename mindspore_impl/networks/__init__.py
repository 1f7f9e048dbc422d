"""The paper's networks, tunable and plain (docs/method.md, "Networks")."""

from mindspore_impl.networks.compact import Compact
from mindspore_impl.networks.discriminator import Discriminator
from mindspore_impl.networks.nafnet import NAFNet
from mindspore_impl.networks.network import Network, initialise, parameter_specs
from mindspore_impl.networks.resnet import ResNet
from mindspore_impl.networks.style_unet import StyleUNet
from mindspore_impl.networks.swinir import SwinIR
from mindspore_impl.networks.unet import UNet
from mindspore_impl.networks.vgg import VGG

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
