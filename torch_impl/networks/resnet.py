"""The residual network of the paper's Tables 1, 3 and 4 (section 4.1)."""

import math
from typing import Any

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, call, conv2d
from torch_impl.layers.maps import enlarged
from torch_impl.networks.network import Network
from tunable.specs.formulations import Formulation
from tunable.specs.residual import DIV2K_MEAN, ResNetSpec, shuffles


class ResidualBlock(Composite):
    """A residual block, x + scale conv2(relu(conv1(x))), both convolutions 3x3."""

    def __init__(self, channels: int, *, num_objectives: int, formulation: Formulation, scale: float) -> None:
        super().__init__(num_objectives)
        self.scale = scale
        self.conv1 = conv2d(channels, channels, 3, num_objectives=num_objectives, formulation=formulation)
        self.conv2 = conv2d(channels, channels, 3, num_objectives=num_objectives, formulation=formulation)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the part's output, of the shape of x (N, C, H, W).

        omega is (p,), (N, p) or a map (N, p, H, W); None when plain.
        """
        y = call(self.conv2, torch.relu(call(self.conv1, x, omega)), omega)
        return x + (y if self.scale == 1 else y * self.scale)


class ResNet(Network, spec=ResNetSpec):
    """The residual network of the paper's Tables 1, 3 and 4 (section 4.1).

    A convolution from 3 channels, residual blocks, a long skip, upsampling, a convolution to 3 channels. Pictures may
    have any size. With the defaults and num_objectives 0 it has the paper's 1,185,219 parameters.
    """

    long_skip = True  # whether the first convolution's output is added to that of the blocks

    def build(self, spec: Any) -> None:
        """Make the layers that the specification asks for; ResNetSpec says what each field means."""
        options = {"num_objectives": 0 if spec.strategy else self.num_objectives, "formulation": spec.formulation}
        channels = spec.channels
        self.factors = shuffles(spec.upscale)
        self.finer = [math.prod(self.factors[:place]) for place in range(len(self.factors))]
        self.head_relu = spec.head_relu
        self.mean = spec.mean
        self.upscale = spec.upscale
        self.global_residual = spec.global_residual
        self.head = conv2d(3, channels, 3, **options)
        parts = {"scale": spec.residual_scale, **options}
        self.body = nn.ModuleList([self.make_block(channels, parts) for _ in range(spec.blocks)])
        self.upsample = nn.ModuleList([conv2d(channels, channels * f**2, 3, **options) for f in self.factors])
        self.tail = conv2d(channels, 3, 3, **options)
        self.stages = [["head"]]
        self.stages += [[f"body.{place}"] for place in range(spec.blocks)]
        self.stages += [[f"upsample.{place}"] for place in range(len(self.factors))]
        self.stages += [["tail"]]

    def make_block(self, channels: int, options: dict[str, Any]) -> nn.Module:
        """Make a block of the body, whose keywords are those of a residual block."""
        return ResidualBlock(channels, **options)

    def begin(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the input, its mean subtracted where the network does so, twice: one is added at the end."""
        if self.mean:
            x = ops.shift_colours(x, DIV2K_MEAN, -1)
        return x, x

    def stage(
        self, place: int, features: tuple[torch.Tensor, ...], omega: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the input, the first convolution's output up to the long skip, and the features."""
        x, y, blocks = features[0], features[-1], len(self.body)
        if place == 0:
            y = call(self.head, y, omega)
            y = torch.relu(y) if self.head_relu else y
            return x, y, y
        if place <= blocks:
            y = self.block(place - 1, y, omega)
            if place < blocks:
                return x, features[1], y
            return x, y + features[1] if self.long_skip else y
        if place <= blocks + len(self.factors):
            index = place - blocks - 1
            y = call(self.upsample[index], y, enlarged(omega, self.finer[index]))
            return x, ops.pixel_shuffle(y, self.factors[index])
        return x, call(self.tail, y, enlarged(omega, self.upscale))

    def block(self, place: int, y: torch.Tensor, omega: Any) -> torch.Tensor:
        """Compute a block of the body, of features y (N, C, H, W); omega as for a stage."""
        return self.body[place](y, omega)

    def end(self, x: torch.Tensor, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return (N, 3, upscale H, upscale W)."""
        first, y = features
        if self.global_residual:
            y = y + (first if self.upscale == 1 else ops.nearest(first, self.upscale))
        return ops.shift_colours(y, DIV2K_MEAN, 1) if self.mean else y
