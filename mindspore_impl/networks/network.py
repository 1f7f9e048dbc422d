"""What every network shares: its plain or tunable form, its parameter specs, its start."""

import mindspore as ms
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.layers import Tunable, TunableConv2d
from tunable_core.errors import OmegaError
from tunable_core.initial import Initial, ParameterSpec, starting_weights
from tunable_core.networks import DEFAULT_PHI


def conv2d(
    in_channels: int, out_channels: int, kernel_size: int, *, num_objectives: int, phi: str = DEFAULT_PHI
) -> nn.Cell:
    """A same-size convolution of a network: tunable, or ordinary when num_objectives is 0."""
    padding = kernel_size // 2
    if num_objectives:
        return TunableConv2d(
            in_channels, out_channels, kernel_size, num_objectives=num_objectives, padding=padding, phi=phi, seed=0
        )
    pair = (kernel_size, kernel_size)
    options = {"stride": (1, 1), "padding": (padding, padding), "dilation": (1, 1), "groups": 1, "bias": True}
    return ops.ordinary_conv(in_channels, out_channels, pair, **options)


class Network(nn.Cell):
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

    def __call__(self, x: ms.Tensor, omega: ms.Tensor | None = None) -> ms.Tensor:
        """Raise OmegaError where omega and the network's form do not agree, in either mode."""
        # Here and not in construct: a compiled graph raises Python's own exceptions only.
        if (omega is not None) != bool(self.num_objectives):
            raise OmegaError(
                f"a tunable network wants omega ({self.num_objectives},)"
                if omega is None
                else "a plain network takes no omega"
            )
        return super().__call__(x) if omega is None else super().__call__(x, omega)

    def construct(self, x: ms.Tensor, omega: ms.Tensor | None = None) -> ms.Tensor:
        """x (N, C, H, W); omega (p,) or (N, p), None exactly when the network is plain."""
        return self.compute(x, omega)


def call(layer: nn.Cell, x: ms.Tensor, omega: ms.Tensor | None) -> ms.Tensor:
    """Call a tunable layer with omega, an ordinary one without."""
    return layer(x) if omega is None else layer(x, omega)


def parameter_specs(network: nn.Cell) -> list[ParameterSpec]:
    """Every parameter of a network of tunable and ordinary layers."""
    specs = []
    for name, cell in network.cells_and_names():
        prefix = name + "." if name else ""
        if isinstance(cell, Tunable):
            specs += cell.specs(prefix)
        elif isinstance(cell, nn.Conv2d | nn.Dense) and not _inside_tunable(network, name):
            fan_in = cell.weight[0].size
            specs.append(ParameterSpec(prefix + "weight", tuple(cell.weight.shape), "kernel", fan_in))
            if cell.bias is not None:
                specs.append(ParameterSpec(prefix + "bias", tuple(cell.bias.shape), "bias", fan_in))
    return specs


def initialise(network: nn.Cell, seed: int, initial: Initial | None = None) -> None:
    """Give the whole network its framework-neutral starting weights."""
    drawn = starting_weights(parameter_specs(network), seed, initial)
    for name, value in network.parameters_and_names():
        ops.assign(value, drawn[name])


def _inside_tunable(network: nn.Cell, name: str) -> bool:
    """Whether a cell belongs to a tunable layer's phi."""
    cells, parents = dict(network.cells_and_names()), name.split(".")
    return any(isinstance(cells.get(".".join(parents[:i])), Tunable) for i in range(len(parents)))
