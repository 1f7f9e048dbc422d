"""CFSNet: a second branch beside the main one, mixed channel by channel (ICCV 2019)."""

from itertools import pairwise
from typing import Any

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from mindspore_impl.control.controlled import Controlled, finer
from mindspore_impl.layers import Composite, conv2d, linear, parameter, value_at
from tunable.specs.control import CONTROL_WIDTHS, CFSNetSpec


class Branch(Composite):
    """A block of the tuning branch, conv2(relu(conv1(x))), without biases.

    Args:
        channels: of both convolutions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(0)
        self.conv1 = conv2d(channels, channels, 3, num_objectives=0, bias=False)
        self.conv2 = conv2d(channels, channels, 3, num_objectives=0, bias=False)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """Return the shape of x (N, C, H, W)."""
        return self.conv2(_ops.relu(self.conv1(x)))


class FoldedBlock(Composite):
    """Main and tuning block at one a: s x + conv2(relu(conv1(x))), with 2 C channels between the convolutions.

    Parameter: skip s (C, 1, 1).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(0)
        self.conv1 = conv2d(channels, 2 * channels, 3, num_objectives=0)
        self.conv2 = conv2d(2 * channels, channels, 3, num_objectives=0)
        self.skip = parameter((channels, 1, 1), num_objectives=0, value=1)

    def construct(self, x: ms.Tensor, omega: ms.Tensor | None = None) -> ms.Tensor:
        """Return the shape of x (N, C, H, W); omega is None."""
        return value_at(self.skip, None) * x + self.conv2(_ops.relu(self.conv1(x)))

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the skip; see ParameterSpec."""
        return {"skip": ("one", 0)}


class CFSNet(Controlled, spec=CFSNetSpec):
    """CFSNet (ICCV 2019): (1 - A) B(x) + A T(x) in place of every residual block B, T a block of a second branch.

    A (C,) is linear in a, by layers that all blocks share and two for each block. Folded, it is a residual network with
    twice as many channels inside its blocks. With the defaults it has 1,421,763 parameters.
    """

    def build(self, spec: CFSNetSpec) -> None:
        """Make the layers that the specification asks for; CFSNetSpec says what each field means."""
        super().build(spec)
        channels, count = spec.channels, spec.blocks if self.num_objectives else 0
        couplings = count + 1 if count and self.factors else count
        last = len(self.factors) - 1
        if not count and last > 0:  # folded, both branches side by side
            before = [2 * channels if place else channels for place in range(last + 1)]
            after = [channels if place == last else 2 * channels for place in range(last + 1)]
            each = zip(before, after, self.factors, strict=True)
            self.upsample = nn.CellList([conv2d(a, b * f**2, 3, num_objectives=0) for a, b, f in each])
        finest = [conv2d(channels, channels * f**2, 3, num_objectives=0, bias=False) for f in self.factors]
        widths = pairwise((*CONTROL_WIDTHS, channels))
        control = [linear(before, after, num_objectives=0, bias=False) for before, after in widths]
        self.tuning = nn.CellList([Branch(channels) for _ in range(count)])
        self.tuning_upsample = nn.CellList(finest if count else [])
        self.control = nn.SequentialCell(*control) if count else None
        self.couplings = nn.CellList([self._coupling(channels) for _ in range(couplings)])

    def _coupling(self, channels: int) -> nn.Cell:
        return nn.SequentialCell(*(linear(channels, channels, num_objectives=0, bias=False) for _ in range(2)))

    def make_block(self, channels: int, options: dict[str, Any]) -> nn.Cell:
        """Make a block of the body; when plain one that holds both branches."""
        return super().make_block(channels, options) if self.num_objectives else FoldedBlock(channels)

    def roles_of(self, name: str) -> tuple[str, str]:
        """Return the roles of weight and bias of an ordinary layer: all start at a tenth."""
        return "tenth", "zero"

    def mixed_at(self, omega: ms.Tensor | None) -> Any:
        """Return what the stages take in omega's place: of each block A, (1 or N, C, 1, 1) or a map; else None."""
        a = super().mixed_at(omega)
        if a is None or self.control is None:
            return None
        shared = self.control(_ops.ones((1, CONTROL_WIDTHS[0]), a.dtype))
        return tuple([a * coupling(shared)[:, :, None, None] for coupling in self.couplings])

    def block(self, place: int, y: ms.Tensor, omega: Any) -> ms.Tensor:
        """Compute a block of both branches, of features y (N, C, H, W)."""
        main = self.body[place](y)
        if omega is None:
            return main
        return (1 - omega[place]) * main + omega[place] * self.tuning[place](y)

    def stage(self, place: int, features: tuple[ms.Tensor, ...], omega: Any) -> tuple[ms.Tensor, ...]:
        """As the residual network's; both branches enlarge, and are mixed at the end of that."""
        index = place - len(self.body) - 1
        if omega is None or not 0 <= index < len(self.factors):
            return super().stage(place, features, None if index >= 0 else omega)
        x, main, factor = features[0], features[-1], self.factors[index]
        tuned = features[1] if index else main
        main = ops.pixel_shuffle(self.upsample[index](main), factor)
        tuned = ops.pixel_shuffle(self.tuning_upsample[index](tuned), factor)
        if index < len(self.factors) - 1:
            return x, tuned, main
        part = finer(omega[len(self.body)], self.upscale)
        return x, (1 - part) * main + part * tuned
