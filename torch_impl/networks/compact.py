"""The compact network of Real-ESRGAN: convolutions and PReLU at the size of the input, one pixel shuffle at the end."""

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, call, conv2d, parameter, value_at
from torch_impl.networks.network import Network
from tunable.specs.formulations import Formulation
from tunable.specs.networks import CompactSpec


class PReLU(Composite):
    """Parametric ReLU: x where it is positive and slope x elsewhere.

    Parameter: weight (C,), one slope for each channel, which starts at 0.25; tunable as a TunableParameter.

    Args:
        channels: C.
        num_objectives: p, or 0 for ordinary slopes.
        formulation: how the slopes depend on omega.
    """

    def __init__(self, channels: int, *, num_objectives: int, formulation: Formulation) -> None:
        super().__init__(num_objectives)
        self.weight = parameter((channels,), num_objectives=num_objectives, value=0.25, formulation=formulation)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the shape of x (N, C, H, W); omega, also a map of it, is not used where the slopes are ordinary."""
        return ops.prelu(x, value_at(self.weight, omega if self.num_objectives else None))

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the slopes when plain; see ParameterSpec."""
        return {"weight": ("quarter", 0)}


class Compact(Network, spec=CompactSpec):
    """The compact network of Real-ESRGAN (SRVGGNetCompact), which many programs run.

    A convolution from 3 channels, more convolutions, each of them followed by a PReLU, and a convolution to
    3 upscale^2 channels whose output a pixel shuffle enlarges. The input, enlarged to its nearest neighbours, is added.
    Its layers have the official names, `body.0` and so on. With the defaults and num_objectives 0 it has
    595,459 parameters.
    """

    def build(self, spec: CompactSpec) -> None:
        """Make the layers that the specification asks for; CompactSpec says what each field means."""
        options = {"num_objectives": self.num_objectives, "formulation": spec.formulation}
        slopes = {**options, "num_objectives": self.num_objectives if spec.tunable_slopes else 0}
        self.upscale = spec.upscale
        body = []
        for before in [3] + [spec.channels] * spec.blocks:
            body.append(conv2d(before, spec.channels, 3, **options))
            body.append(PReLU(spec.channels, **slopes))
        body.append(conv2d(spec.channels, 3 * spec.upscale**2, 3, **options))
        self.body = nn.ModuleList(body)
        self.stages = [[f"body.{2 * place}", f"body.{2 * place + 1}"] for place in range(spec.blocks + 1)]
        self.stages += [[f"body.{2 * spec.blocks + 2}"]]

    def begin(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the input twice: one is added at the end."""
        return x, x

    def stage(
        self, place: int, features: tuple[torch.Tensor, ...], omega: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the input and the features."""
        y = call(self.body[2 * place], features[1], omega)
        if 2 * place + 1 < len(self.body):
            y = self.body[2 * place + 1](y, omega)
        return features[0], y

    def end(self, x: torch.Tensor, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return (N, 3, upscale H, upscale W)."""
        if self.upscale == 1:
            return x + features[1]
        return ops.nearest(x, self.upscale) + ops.pixel_shuffle(features[1], self.upscale)
