"""CResMD: a condition scales the residual of every block (ECCV 2020)."""

from typing import Any

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl.layers import Composite, TunableParameter, conv2d, value_at
from mindspore_impl.layers.maps import enlarged
from mindspore_impl.networks.resnet import ResNet
from tunable.specs.control import CResMDSpec


class ConditionScale(TunableParameter):
    """One factor for every channel, affine in the condition: b + W c, a tunable parameter of phi `base`.

    Args:
        channels: C.
        num_objectives: p, how many numbers the condition has.
    """

    def __init__(self, channels: int, num_objectives: int) -> None:
        super().__init__((channels, 1, 1), num_objectives=num_objectives, seed=0)

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the factors by local name, as ParameterSpec explains them."""
        return {"weight": ("condition", self.num_objectives)}


class ScaledBlock(Composite):
    """A residual block, x + s(c) conv2(relu(conv1(x))).

    Args:
        channels: of both convolutions.
        num_objectives: p.
    """

    def __init__(self, channels: int, *, num_objectives: int) -> None:
        super().__init__(num_objectives)
        self.conv1 = conv2d(channels, channels, 3, num_objectives=0)
        self.conv2 = conv2d(channels, channels, 3, num_objectives=0)
        self.scale = ConditionScale(channels, num_objectives)

    def construct(self, x: ms.Tensor, omega: Any = None) -> ms.Tensor:
        """Return the shape of x (N, C, H, W); omega is the condition, as a tunable layer takes it."""
        return x + value_at(self.scale, omega) * self.conv2(_ops.relu(self.conv1(x)))


class CResMD(ResNet, spec=CResMDSpec):
    """CResMD (ECCV 2020): z + s(c) net(z) with x + s(c) conv2(relu(conv1(x))) in it, s affine in the condition c.

    omega is the condition: what is wrong with the picture, for example (rho / 4, sigma / 50) of blur and noise. Folded,
    the scales are inside the convolutions. With the defaults and p = 2 it has 1,188,300 parameters.
    """

    long_skip = False

    def build(self, spec: CResMDSpec) -> None:
        """Make the layers that the specification asks for; CResMDSpec says what each field means."""
        super().build(spec)
        self.scale_tail = ConditionScale(3, self.num_objectives) if self.num_objectives else None

    def make_block(self, channels: int, options: dict[str, Any]) -> nn.Cell:
        """Make a block of the body."""
        if not self.num_objectives:
            return super().make_block(channels, options)
        return ScaledBlock(channels, num_objectives=self.num_objectives)

    def roles_of(self, name: str) -> tuple[str, str]:
        """Return the roles of weight and bias of an ordinary layer: all start at a tenth."""
        return "tenth", "zero"

    def stage(self, place: int, features: tuple[ms.Tensor, ...], omega: Any) -> tuple[ms.Tensor, ...]:
        """As the residual network's; what it returns is scaled."""
        features = super().stage(place, features, omega)
        if self.scale_tail is None or place < len(self.stages) - 1:
            return features
        return features[0], value_at(self.scale_tail, enlarged(omega, self.upscale)) * features[1]
