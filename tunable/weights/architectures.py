"""What the shapes of a foreign file's tensors say of its network: kind, widths and depths.

The names are this project's: `tunable.weights.sources` has renamed the tensors before.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from tunable.arrays import Tensors
from tunable.errors import CheckpointError, nearest


class Facts:
    """What is known of a foreign network before its shapes are read.

    Attributes:
        tensors: those that the network computes with, by the file's names.
        buffers: those that follow from the others, such as attention masks, by the file's names.
        foreign_name: gives the file's name of a tensor from this project's.
        overrides: the arguments of the network that the user sets.
        img_range: the range that SwinIR computes in, None where the user does not say.
        assumed: one sentence for every fact that the file cannot say.
    """

    def __init__(
        self,
        tensors: Tensors,
        buffers: Tensors,
        foreign_name: Callable[[str], str],
        overrides: dict[str, Any],
        img_range: float | None = None,
    ) -> None:
        self.tensors, self.buffers, self.foreign_name = tensors, buffers, foreign_name
        self.overrides, self.img_range = overrides, img_range
        self.assumed: list[str] = []

    def assume(self, argument: str, sentence: str) -> None:
        """Say what is assumed of an argument of the network, unless the user has set it."""
        if argument not in self.overrides:
            self.assumed.append(sentence)


class Shapes:
    """The shapes of tensors by this project's names.

    Args:
        tensors: by this project's names; of a tunable network the kernels of one objective.
        foreign_name: gives the file's name of a tensor, which messages quote.
    """

    def __init__(self, tensors: Tensors, foreign_name: Callable[[str], str]) -> None:
        self.tensors, self.foreign_name = tensors, foreign_name

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def count(self, pattern: str) -> int:
        r"""Count the different numbers in the names that match a pattern with one group, such as `body.(\d+)`."""
        return len({match[1] for name in self.tensors if (match := re.match(pattern, name))})

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """Return a tensor's shape.

        Raises:
            CheckpointError: for a tensor that is missing, of another rank, or empty.
        """
        foreign_name = self.foreign_name(name)
        if name not in self.tensors:
            known = map(self.foreign_name, self.tensors)
            raise CheckpointError(f"it lacks tensor {foreign_name!r}{nearest(foreign_name, known)}")
        shape = self.tensors[name].shape
        if len(shape) != rank or 0 in shape:
            raise CheckpointError(f"tensor {foreign_name!r} has shape {shape}; {rank} numbers above zero are wanted")
        return shape

    def kernel(self, name: str) -> int:
        """Return how many output channels a convolution has."""
        return self.shape(name, 4)[0]

    def check_colours(self, first: str, last: str | None = None) -> None:
        """Raise CheckpointError unless the network takes and gives pictures of three channels."""
        channels = self.shape(first, 4)[1]
        if channels != 3:
            raise CheckpointError(
                f"it takes {channels} channels per pixel{' (grey pictures)' * (channels == 1)}; 3 are wanted"
            )
        if last and last in self and self.kernel(last) != 3:
            raise CheckpointError(f"it gives {self.kernel(last)} channels per pixel; 3 are wanted")


def edsr(shapes: Shapes, facts: Facts) -> dict[str, Any]:
    """Read the arguments of a residual network (EDSR); CheckpointError for shapes that are of none."""
    shapes.check_colours("head.weight", "tail.weight")
    channels, stages = shapes.kernel("head.weight"), shapes.count(r"upsample\.(\d+)\.")
    factors = [_factor(shapes.kernel(f"upsample.{i}.weight"), channels) for i in range(stages)]
    facts.assume("head_relu", "a ReLU after the first convolution (head_relu)")
    facts.assume("residual_scale", "residual_scale 0.1")
    facts.assume("mean", "the mean colour of DIV2K (mean)")
    return {
        "name": "resnet",
        "channels": channels,
        "blocks": shapes.count(r"body\.(\d+)\."),
        "upscale": math.prod(factors),
        "head_relu": True,
        "residual_scale": 0.1,
        "mean": True,
    }


def compact(shapes: Shapes, facts: Facts) -> dict[str, Any]:
    """Read the arguments of a compact network of Real-ESRGAN; CheckpointError for shapes that are of none."""
    parts = shapes.count(r"body\.(\d+)\.")
    if "body.1.weight" not in shapes:
        raise CheckpointError("its activations have no slopes; only PReLU is known here")
    if parts < 5 or parts % 2 == 0:
        raise CheckpointError(f"its body has {parts} parts with tensors; five or more, an odd number, are wanted")
    shapes.check_colours("body.0.weight")
    upscale = _factor(shapes.kernel(f"body.{parts - 1}.weight"), 3)
    if upscale not in (1, 2, 3, 4):
        raise CheckpointError(f"it enlarges {upscale} times, which is not known here")
    return {"name": "compact", "channels": shapes.kernel("body.0.weight"), "blocks": parts // 2 - 1, "upscale": upscale}


def nafnet(shapes: Shapes, facts: Facts) -> dict[str, Any]:
    """Read the arguments of a NAFNet; CheckpointError for shapes that are of none."""
    shapes.check_colours("intro.weight", "ending.weight")
    stages = shapes.count(r"downs\.(\d+)\.")
    return {
        "name": "nafnet",
        "width": shapes.kernel("intro.weight"),
        "middle": shapes.count(r"middle_blks\.(\d+)\."),
        "encoder": [shapes.count(rf"encoders\.{i}\.(\d+)\.") for i in range(stages)],
        "decoder": [shapes.count(rf"decoders\.{i}\.(\d+)\.") for i in range(stages)],
    }


def style_unet(shapes: Shapes, facts: Facts) -> dict[str, Any]:
    """Read the arguments of a style network; CheckpointError for shapes that are of none."""
    parts = shapes.count(r"encoder_decoder\.(\d+)\.")
    middle = [i for i in range(parts) if f"encoder_decoder.{i}.conv1.weight" in shapes]
    before = middle[0] if middle else parts // 2
    widths = [shapes.kernel(f"encoder_decoder.{i}.conv.weight") for i in range(before)]
    channels = shapes.kernel("conv_in.conv.weight")
    scales = len(set(widths) - {channels})
    if not scales:
        raise CheckpointError(
            f"its convolutions on the way down have {widths} channels, after a first one of {channels}"
        )
    after = parts - before - len(middle)
    facts.assume("normalise", "ImageNet's mean and deviation (normalise)")
    return {
        "name": "style_unet",
        "channels": channels,
        "scales": scales,
        "blocks": (before // scales, len(middle), after // scales),
    }


def swinir(shapes: Shapes, facts: Facts) -> dict[str, Any]:
    """Read the arguments of a SwinIR; CheckpointError for shapes that are of none."""
    group = "layers.{}.residual_group.blocks."
    groups = shapes.count(r"layers\.(\d+)\.")
    channels = shapes.kernel("conv_first.weight")

    def table(i: int) -> tuple[int, ...]:
        """The shape of the relative position bias table of a group's first block, (rows, heads)."""
        name = group.format(i) + "0.attn.relative_position_bias_table"
        return shapes.shape(name if name in shapes else name + ".weight", 2)

    window = (math.isqrt(table(0)[0]) + 1) // 2
    if (2 * window - 1) ** 2 != table(0)[0]:
        raise CheckpointError(f"a relative position bias table of {table(0)[0]} rows is of no window")
    hidden = shapes.shape(group.format(0) + "0.mlp.fc1.weight", 2)[0]
    arguments = {
        "name": "swinir",
        "channels": channels,
        "depths": [shapes.count(group.format(i).replace(".", r"\.") + r"(\d+)\.") for i in range(groups)],
        "heads": [table(i)[1] for i in range(groups)],
        "window": window,
        "mlp_ratio": _ratio(hidden, channels),
    }
    shapes.check_colours("conv_first.weight", "conv_last.weight")
    return arguments | _upsampler(shapes, facts)


def _upsampler(shapes: Shapes, facts: Facts) -> dict[str, Any]:
    """The arguments of SwinIR's end; none where it keeps the size."""
    arguments: dict[str, Any] = {}
    if "conv_hr.weight" in shapes:
        ups = shapes.count(r"conv_up\.(\d+)\.")
        arguments = {"upsampler": "nearest+conv", "upscale": 2**ups, "features": shapes.kernel("conv_hr.weight")}
        if ups == 1 and "upscale" not in facts.overrides:
            raise CheckpointError(
                "its upsampler nearest+conv has one convolution: it may enlarge 2 times, or be the unofficial one that "
                "keeps the size, which is not known here; --set upscale=2 if it does enlarge"
            )
    elif "conv_before_upsample.weight" in shapes:
        features, stages = shapes.kernel("conv_before_upsample.weight"), shapes.count(r"upsample\.(\d+)\.")
        factors = [_factor(shapes.kernel(f"upsample.{i}.weight"), features) for i in range(stages)]
        arguments = {"upsampler": "pixelshuffle", "upscale": math.prod(factors), "features": features}
    elif "upsample.0.weight" in shapes:
        arguments = {"upsampler": "pixelshuffledirect", "upscale": _factor(shapes.kernel("upsample.0.weight"), 3)}
    upsampler, upscale = arguments.get("upsampler"), arguments.get("upscale")
    if upsampler and upscale not in ((2, 4) if upsampler == "nearest+conv" else (2, 3, 4, 8)):
        raise CheckpointError(f"its upsampler {upsampler} enlarges {upscale} times, which is not known here")
    return arguments


def _factor(outputs: int, inputs: int) -> int:
    """How many times a pixel shuffle enlarges, from the channels that the convolution before it gives and takes."""
    factor = math.isqrt(outputs // inputs)
    if factor**2 * inputs != outputs:
        raise CheckpointError(
            f"a convolution before a pixel shuffle gives {outputs} channels for {inputs}, no square times"
        )
    return factor


def _ratio(hidden: int, channels: int) -> float:
    """The ratio that gives `hidden` as int(channels * ratio)."""
    ratio = hidden / channels
    return ratio if int(channels * ratio) == hidden else math.nextafter(ratio, math.inf)
