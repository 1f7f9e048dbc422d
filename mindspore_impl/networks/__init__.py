"""The paper's networks, tunable and plain (SPEC 4)."""

from mindspore_impl.networks.network import Network, initialise, parameter_specs
from mindspore_impl.networks.resnet import ResNet

NETWORKS = {"resnet": ResNet}

__all__ = ["NETWORKS", "Network", "ResNet", "initialise", "parameter_specs"]
