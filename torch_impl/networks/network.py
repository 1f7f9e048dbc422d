"""What every network shares: its plain or tunable form, its parameter specs, its start."""

import torch
from torch import nn

from torch_impl.layers import Tunable, TunableConv2d
from tunable_core.errors import OmegaError
from tunable_core.initial import Initial, ParameterSpec, starting_weights
from tunable_core.networks import DEFAULT_PHI


def conv2d(
    in_channels: int, out_channels: int, kernel_size: int, *, num_objectives: int, phi: str = DEFAULT_PHI
) -> nn.Module:
    """A same-size convolution of a network: tunable, or ordinary when num_objectives is 0."""
    padding = kernel_size // 2
    if num_objectives:
        return TunableConv2d(
            in_channels, out_channels, kernel_size, num_objectives=num_objectives, padding=padding, phi=phi, seed=0
        )
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding)


class Network(nn.Module):
    """Base of the networks, called as network(x, omega) when tunable and as network(x) when plain.

    A subclass passes its own constructor arguments on, builds its layers and defines `compute(x, omega)`.
    """

    def __init__(self, num_objectives: int, **arguments):
        super().__init__()
        self.num_objectives = num_objectives
        self.arguments = arguments

    def plain(self) -> "Network":
        """The same network built without tunable layers, its weights not set."""
        return type(self)(num_objectives=0, **self.arguments)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """x (N, C, H, W); omega (p,) or (N, p), None exactly when the network is plain."""
        if (omega is not None) != bool(self.num_objectives):
            raise OmegaError(
                f"a tunable network wants omega ({self.num_objectives},)"
                if omega is None
                else "a plain network takes no omega"
            )
        return self.compute(x, omega)


def call(layer: nn.Module, x: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
    """Call a tunable layer with omega, an ordinary one without."""
    return layer(x) if omega is None else layer(x, omega)


def parameter_specs(network: nn.Module) -> list[ParameterSpec]:
    """Every parameter of a network of tunable and ordinary layers."""
    specs = []
    for name, module in network.named_modules():
        prefix = name + "." if name else ""
        if isinstance(module, Tunable):
            specs += module.specs(prefix)
        elif isinstance(module, nn.Conv2d | nn.Linear) and not _inside_tunable(network, name):
            fan_in = module.weight[0].numel()
            specs.append(ParameterSpec(prefix + "weight", tuple(module.weight.shape), "kernel", fan_in))
            if module.bias is not None:
                specs.append(ParameterSpec(prefix + "bias", tuple(module.bias.shape), "bias", fan_in))
    return specs


def initialise(network: nn.Module, seed: int, initial: Initial | None = None) -> None:
    """Give the whole network its framework-neutral starting weights."""
    drawn = starting_weights(parameter_specs(network), seed, initial)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(torch.from_numpy(drawn[name]))


def _inside_tunable(network: nn.Module, name: str) -> bool:
    """Whether a module belongs to a tunable layer's phi."""
    parents = name.split(".")
    return any(isinstance(network.get_submodule(".".join(parents[:i])), Tunable) for i in range(len(parents)))
