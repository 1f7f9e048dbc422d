"""DyNet: a tuning block behind every block of the main branch (Dynamic-Net, ICCV 2019)."""

from typing import Any

import torch
from torch import nn

from torch_impl import ops
from torch_impl.control.controlled import Controlled
from torch_impl.layers import Composite, conv2d
from tunable.specs.control import DyNetSpec


class TuningBlock(Composite):
    """Convolutions of 3x3 with ReLUs between them and reflected borders.

    Args:
        channels: of every convolution.
        depth: 2 or 3 convolutions.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__(0)
        self.conv1 = conv2d(channels, channels, 3, num_objectives=0, padding=0)
        self.conv2 = conv2d(channels, channels, 3, num_objectives=0, padding=0)
        self.conv3 = conv2d(channels, channels, 3, num_objectives=0, padding=0) if depth == 3 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the shape of x (N, C, H, W)."""
        y = self.conv2(ops.pad(torch.relu(self.conv1(ops.pad(x, (1, 1), "reflect"))), (1, 1), "reflect"))
        return y if self.conv3 is None else self.conv3(ops.pad(torch.relu(y), (1, 1), "reflect"))


class DyNet(Controlled, spec=DyNetSpec):
    """DyNet (Dynamic-Net, ICCV 2019): u = x + a T(x) behind every residual block, T a tuning block.

    At a = 0 it is its main branch. With the defaults it has 1,185,219 parameters, as many as the paper's network.
    """

    def build(self, spec: DyNetSpec) -> None:
        """Make the layers that the specification asks for; DyNetSpec says what each field means."""
        super().build(spec)
        count = spec.blocks if self.num_objectives else 0
        self.tuning = nn.ModuleList([TuningBlock(spec.channels, spec.tuning_depth) for _ in range(count)])

    def block(self, place: int, y: torch.Tensor, omega: Any) -> torch.Tensor:
        """Compute a block of the body and its tuning block, of features y (N, C, H, W)."""
        y = self.body[place](y)
        return y if omega is None else y + omega * self.tuning[place](y)
