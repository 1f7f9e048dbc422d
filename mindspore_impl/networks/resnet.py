"""The residual network of the paper's Tables 1 and 3 (section 4.1)."""

import mindspore as ms
from mindspore import nn, ops

from mindspore_impl.layers import call, conv2d
from mindspore_impl.networks.network import Network
from tunable_core.networks import DEFAULT_PHI


class ResidualBlock(nn.Cell):
    """x + conv2(relu(conv1(x)))."""

    def __init__(self, channels: int, *, num_objectives: int, phi: str):
        super().__init__()
        self.conv1 = conv2d(channels, channels, 3, num_objectives=num_objectives, phi=phi)
        self.conv2 = conv2d(channels, channels, 3, num_objectives=num_objectives, phi=phi)

    def construct(self, x: ms.Tensor, omega: ms.Tensor | None) -> ms.Tensor:
        return x + call(self.conv2, ops.relu(call(self.conv1, x, omega)), omega)


class ResNet(Network):
    """conv 3 -> channels, `blocks` residual blocks, long skip, conv channels -> 3; any size, same size out.

    num_objectives  p, or 0 for the plain form
    channels        width; blocks: depth (the paper: 64 and 16, 1,185,219 parameters when plain)
    phi             form of every layer's phi
    """

    def __init__(self, *, num_objectives: int, channels: int = 64, blocks: int = 16, phi: str = DEFAULT_PHI):
        super().__init__(num_objectives, channels=channels, blocks=blocks, phi=phi)
        self.head = conv2d(3, channels, 3, num_objectives=num_objectives, phi=phi)
        self.body = nn.CellList(
            [ResidualBlock(channels, num_objectives=num_objectives, phi=phi) for _ in range(blocks)]
        )
        self.tail = conv2d(channels, 3, 3, num_objectives=num_objectives, phi=phi)

    def compute(self, x: ms.Tensor, omega: ms.Tensor | None) -> ms.Tensor:
        """x (N, 3, H, W) -> (N, 3, H, W)."""
        first = call(self.head, x, omega)
        y = first
        for block in self.body:
            y = block(y, omega)
        return call(self.tail, y + first, omega)
