"""AdaFM: a depth-wise convolution behind every convolution (CVPR 2019)."""

from typing import Any

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from mindspore_impl.control.controlled import Controlled, finer
from mindspore_impl.layers import Composite, conv2d
from tunable.specs.control import AdaFMSpec


def modulated(y: ms.Tensor, layer: nn.Cell | None, a: ms.Tensor | None) -> ms.Tensor:
    """Return y + a layer(y); without a, folded, layer(y), or y where the layer is in the convolution before it."""
    if layer is None:
        return y
    return layer(y) if a is None else y + a * layer(y)


class ModulatedBlock(Composite):
    """A residual block, x + DW2(conv2(relu(DW1(conv1(x))))).

    Args:
        channels: of all convolutions.
        kernel: taps along both sides of the depth-wise ones.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(0)
        self.conv1 = conv2d(channels, channels, 3, num_objectives=0)
        self.conv2 = conv2d(channels, channels, 3, num_objectives=0)
        self.modulate1 = conv2d(channels, channels, kernel, num_objectives=0, groups=channels)
        self.modulate2 = conv2d(channels, channels, kernel, num_objectives=0, groups=channels)

    def construct(self, x: ms.Tensor, omega: ms.Tensor | None = None) -> ms.Tensor:
        """Return the shape of x (N, C, H, W); omega is a, None where the block is folded."""
        y = _ops.relu(modulated(self.conv1(x), self.modulate1, omega))
        return x + modulated(self.conv2(y), self.modulate2, omega)


class AdaFM(Controlled, spec=AdaFMSpec):
    """AdaFM (CVPR 2019): x + a DW(x) behind every convolution of the residual network, DW depth-wise.

    DW starts at zero. Folded, it is inside the convolution before it, or where it has more taps than one an ordinary
    depth-wise convolution. With the defaults it has 1,189,449 parameters in 16 blocks.
    """

    def build(self, spec: AdaFMSpec) -> None:
        """Make the layers that the specification asks for; AdaFMSpec says what each field means."""
        self.kernel = spec.kernel if self.num_objectives or spec.kernel > 1 else 0
        super().build(spec)
        sizes = [spec.channels * factor**2 for factor in self.factors]
        self.modulate_head = self._depth_wise(spec.channels)
        self.modulate_upsample = nn.CellList([self._depth_wise(size) for size in sizes] if self.kernel else [])
        self.modulate_tail = self._depth_wise(3)

    def _depth_wise(self, channels: int) -> Any:
        if not self.kernel:
            return None
        return conv2d(channels, channels, self.kernel, num_objectives=0, groups=channels)

    def make_block(self, channels: int, options: dict[str, Any]) -> nn.Cell:
        """Make a block of the body."""
        return ModulatedBlock(channels, self.kernel) if self.kernel else super().make_block(channels, options)

    def roles_of(self, name: str) -> tuple[str, str]:
        """Return the roles of weight and bias of an ordinary layer: the depth-wise ones start at zero."""
        return ("zero", "zero") if "modulate" in name else super().roles_of(name)

    def stage(self, place: int, features: tuple[ms.Tensor, ...], omega: Any) -> tuple[ms.Tensor, ...]:
        """As the residual network's, with a depth-wise convolution behind every convolution."""
        x, y, index = features[0], features[-1], place - len(self.body) - 1
        if not self.kernel or -len(self.body) - 1 < index < 0:
            return super().stage(place, features, omega)
        if place == 0:
            y = modulated(self.head(y), self.modulate_head, omega)
            return x, y, y
        if index < len(self.factors):
            setting = None if omega is None else finer(omega, self.finer[index])
            y = modulated(self.upsample[index](y), self.modulate_upsample[index], setting)
            return x, ops.pixel_shuffle(y, self.factors[index])
        setting = None if omega is None else finer(omega, self.upscale)
        return x, modulated(self.tail(y), self.modulate_tail, setting)

    def _before_tunable(self) -> int:
        """How many stages come before the first that omega changes: none, or all when plain."""
        return 0 if self.num_objectives else len(self.stages)
