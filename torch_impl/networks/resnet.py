"""The residual network of the paper's Tables 1, 3 and 4 (section 4.1)."""

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, call, conv2d
from torch_impl.networks.network import Network
from tunable.specs.formulations import Formulation
from tunable.specs.networks import DIV2K_MEAN, ResNetSpec, shuffles


class ResidualBlock(Composite):
    """A residual block, x + scale conv2(relu(conv1(x))), both convolutions 3x3."""

    def __init__(self, channels: int, *, num_objectives: int, formulation: Formulation, scale: float) -> None:
        super().__init__(num_objectives)
        self.scale = scale
        self.conv1 = conv2d(channels, channels, 3, num_objectives=num_objectives, formulation=formulation)
        self.conv2 = conv2d(channels, channels, 3, num_objectives=num_objectives, formulation=formulation)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the part's output, of the shape of x (N, C, H, W); omega is (p,) or (N, p), None when plain."""
        y = call(self.conv2, torch.relu(call(self.conv1, x, omega)), omega)
        return x + (y if self.scale == 1 else y * self.scale)


class ResNet(Network, spec=ResNetSpec):
    """The residual network of the paper's Tables 1, 3 and 4 (section 4.1).

    A convolution from 3 channels, residual blocks, a long skip, upsampling, a convolution to 3 channels. Pictures may
    have any size. With the defaults and num_objectives 0 it has the paper's 1,185,219 parameters.
    """

    def build(self, spec: ResNetSpec) -> None:
        """Make the layers that the specification asks for; ResNetSpec says what each field means."""
        options = {"num_objectives": self.num_objectives, "formulation": spec.formulation}
        channels = spec.channels
        self.factors = shuffles(spec.upscale)
        self.head_relu = spec.head_relu
        self.mean = spec.mean
        self.upscale = spec.upscale
        self.global_residual = spec.global_residual
        self.head = conv2d(3, channels, 3, **options)
        parts = {"scale": spec.residual_scale, **options}
        self.body = nn.ModuleList([ResidualBlock(channels, **parts) for _ in range(spec.blocks)])
        self.upsample = nn.ModuleList([conv2d(channels, channels * f**2, 3, **options) for f in self.factors])
        self.tail = conv2d(channels, 3, 3, **options)

    def compute(self, x: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
        """Restore x (N, 3, H, W); returns (N, 3, upscale H, upscale W)."""
        if self.mean:
            x = ops.shift_colours(x, DIV2K_MEAN, -1)
        first = call(self.head, x, omega)
        if self.head_relu:
            first = torch.relu(first)
        y = first
        for block in self.body:
            y = block(y, omega)
        y = y + first
        for factor, layer in zip(self.factors, self.upsample, strict=True):
            y = ops.pixel_shuffle(call(layer, y, omega), factor)
        y = call(self.tail, y, omega)
        if self.global_residual:
            y = y + (x if self.upscale == 1 else ops.nearest(x, self.upscale))
        return ops.shift_colours(y, DIV2K_MEAN, 1) if self.mean else y
