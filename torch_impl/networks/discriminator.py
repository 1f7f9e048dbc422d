"""The discriminator of section 4.1.3: ESRGAN's, with fewer scales and a mean over all pixels before its last layers."""

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import BatchNorm2d, Composite, conv2d, linear


class DiscriminatorBlock(Composite):
    """leaky_relu(norm(conv(x))), with slope 0.2.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps along both sides, 3 or 4, for which a padding of 1 fits.
        stride: 1, or 2 to halve the picture.
        norm: whether there is a batch norm; without it the convolution has a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int, norm: bool) -> None:
        super().__init__(0)
        options = {"stride": stride, "padding": 1, "bias": not norm, "num_objectives": 0}
        self.conv = conv2d(in_channels, out_channels, kernel_size, **options)
        self.norm = BatchNorm2d(out_channels) if norm else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features (N, out, H // stride, W // stride) of x (N, in, H, W)."""
        y = self.conv(x)
        return ops.leaky_relu(y if self.norm is None else self.norm(y), 0.2)


class Discriminator(Composite):
    """Scores pictures: the more they look like clean ones to it, the higher. It is always plain.

    Args:
        widths: channels of every scale (tunable.specs.discriminator).
        hidden: units between the two linear layers.
    """

    def __init__(self, *, widths: list[int], hidden: int) -> None:
        super().__init__(0)
        blocks, before = [], 3
        for scale, width in enumerate(widths):
            blocks.append(DiscriminatorBlock(before, width, 3, stride=1, norm=scale > 0))
            blocks.append(DiscriminatorBlock(width, width, 4, stride=2, norm=True))
            before = width
        self.blocks = nn.ModuleList(blocks)
        self.hidden = linear(before, hidden, num_objectives=0)
        self.out = linear(hidden, 1, num_objectives=0, bias=False)  # losses see differences of scores only

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score pictures x (N, 3, H, W), at least 2 to the number of scales pixels a side; returns (N,)."""
        for block in self.blocks:
            x = block(x)
        x = ops.global_mean(x).reshape(len(x), -1)
        return self.out(ops.leaky_relu(self.hidden(x), 0.2)).reshape(-1)
