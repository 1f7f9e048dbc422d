"""VGG's features (Simonyan and Zisserman, ICLR 2015), by which objectives judge pictures (sections 4.1.3, 4.2)."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from mindspore_impl.layers import conv2d
from tunable.specs.networks import IMAGENET_MEAN, IMAGENET_STD
from tunable.weights.vgg import convs_up_to


class VGG(nn.Cell):
    """VGG-19 or VGG-16 up to one of its layers, whose weights are never trained.

    Args:
        weights: arrays by name, as tunable.weights.vgg.weights gives them.
        layer: such as relu3_3, after the ReLU, or conv5_4, before it.
        like: a parameter of the network that is trained: this one stands on its device, in its dtype.
        taps: layers up to that one, such as relu1_2, whose features are returned after the last ones.
    """

    def __init__(
        self, weights: dict[str, np.ndarray], layer: str, *, like: ms.Parameter, taps: Sequence[str] = ()
    ) -> None:
        super().__init__()
        names = convs_up_to(layer, weights)
        shapes = [weights[f"{name}.weight"].shape for name in names]
        self.convs = nn.CellList([conv2d(shape[1], shape[0], 3, num_objectives=0) for shape in shapes])
        # Before which convs a new stage begins, which halves the picture, and after which a ReLU follows.
        self.halved = tuple(i > 0 and names[i][:5] != names[i - 1][:5] for i in range(len(names)))
        self.rectified = tuple(name != layer for name in names)
        self.taps = tuple(names.index(tap.replace("relu", "conv")) for tap in taps)
        parts = ("weight", "bias")
        tensors = {f"convs.{i}.{part}": weights[f"{name}.{part}"] for i, name in enumerate(names) for part in parts}
        ops.freeze(self, tensors, like)

    def construct(self, x: ms.Tensor) -> ms.Tensor | tuple[ms.Tensor, ...]:
        """Return the features of pictures.

        Args:
            x: (N, 3, H, W) in 0..1; at least 4 pixels a side for stage 3, 16 for stage 5.

        Returns:
            (N, C, h, w), h and w a quarter of H and W in stage 3, a sixteenth in stage 5; with `taps` a tuple of
            these and of each tap's.
        """
        x = ops.scale_colours(ops.shift_colours(x, IMAGENET_MEAN, -1), IMAGENET_STD, -1)
        seen = []
        for i, conv in enumerate(self.convs):
            x = conv(ops.max_pool_x2(x) if self.halved[i] else x)
            if self.rectified[i]:
                x = _ops.relu(x)
            seen.append(x)
        if not self.taps:
            return x
        return (x, *[seen[i] for i in self.taps])
