"""The adversary of objectives of kind `gan`, as a recipe names it.

It is no part of a weights file; both twins build it from this section.
"""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from tunable.parameters.specs import ParameterSpec
from tunable.specs.optimizers import Adam, Optimizer, with_kind
from tunable.specs.schema import Section

DISCRIMINATOR = "discriminator"  # the column of its loss in a run's log


class Discriminator(Section):
    """The network that tells restored pictures from clean ones (`discriminator:` in a recipe; section 4.1.3).

    It is ESRGAN's with fewer scales: at each of `scales` scales a 3x3 convolution and a 4x4 one that halves the
    picture, each followed by a batch norm (the very first is not) and a leaky ReLU; the mean over all pixels; two
    linear layers with `hidden` units between, the last without a bias, for the losses are of differences.

    Attributes:
        channels: of the first scale; they double at each scale that follows, up to eight times as many.
        scales: how many there are.
        hidden: units between the linear layers.
        optimizer: its own, without an average; its learning rate follows the recipe's schedule.
    """

    channels: int = Field(default=64, ge=1, le=2**14)
    scales: int = Field(default=4, ge=1, le=8)
    hidden: int = Field(default=100, ge=1, le=2**14)
    optimizer: Annotated[Optimizer, BeforeValidator(with_kind)] = Adam()

    @model_validator(mode="after")
    def _without_average(self) -> Self:
        if self.optimizer.average:
            raise ValueError(
                f"optimizer.average is of the network, which is saved: that of a discriminator must be 0, not "
                f"{self.optimizer.average:g}"
            )
        if self.optimizer.accumulate > 1:
            raise ValueError(f"optimizer.accumulate of a discriminator must be 1, not {self.optimizer.accumulate}")
        return self

    @property
    def least(self) -> int:
        """Return how many pixels a picture needs along each side."""
        return 2**self.scales

    def widths(self) -> list[int]:
        """Return the channels of every scale."""
        return [self.channels * min(2**scale, 8) for scale in range(self.scales)]

    def specs(self) -> list[ParameterSpec]:
        """Return the spec of every parameter, in order."""
        specs: list[ParameterSpec] = []
        before = 3
        for scale, width in enumerate(self.widths()):
            for conv, (channels, taps) in enumerate(((before, 3), (width, 4))):
                name = f"blocks.{2 * scale + conv}"
                fan_in = channels * taps**2
                specs.append(ParameterSpec(f"{name}.conv.weight", (width, channels, taps, taps), "kernel", fan_in))
                if scale + conv == 0:
                    specs.append(ParameterSpec(f"{name}.conv.bias", (width,), "bias", fan_in))
                else:
                    specs.append(ParameterSpec(f"{name}.norm.weight", (width,), "one"))
                    specs.append(ParameterSpec(f"{name}.norm.bias", (width,), "zero"))
            before = width
        specs.append(ParameterSpec("hidden.weight", (self.hidden, before), "kernel", before))
        specs.append(ParameterSpec("hidden.bias", (self.hidden,), "bias", before))
        specs.append(ParameterSpec("out.weight", (1, self.hidden), "kernel", self.hidden))
        return specs

    @property
    def multiply_adds(self) -> float:
        """Return the multiply-adds per pixel of the picture, without those of the linear layers."""
        kernels = [spec for spec in self.specs() if spec.role == "kernel" and len(spec.shape) == 4]
        areas = (0.25 ** ((i + 1) // 2) for i in range(len(kernels)))
        total = 0.0
        for spec, area in zip(kernels, areas, strict=True):
            out, inputs, height, width = spec.shape
            total += area * out * inputs * height * width
        return total
