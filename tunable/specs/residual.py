"""The residual network of the paper's tables, and what the control strategies that are built of it share with it."""

from typing import Literal

from pydantic import Field

from tunable.specs.network_base import Channels, NetworkBase, Some

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # mean colour of the DIV2K photographs, R G B in 0..1


class ResNetSpec(NetworkBase):
    """The residual network of Tables 1, 3 and 4: conv, blocks of conv-ReLU-conv-skip, long skip, upsampling, conv."""

    name: Literal["resnet"] = "resnet"
    channels: Channels = Field(default=64, description="Channels of every layer between the first and the last.")
    blocks: Some = Field(default=16, description="Residual blocks.")
    upscale: Literal[1, 2, 3, 4] = Field(
        default=1,
        description="How many times as high and wide as the input the output is. Above 1, convolutions with a pixel "
        "shuffle stand before the last convolution.",
    )
    head_relu: bool = Field(
        default=False, description="Whether a ReLU follows the first convolution (MindEditing's EDSR)."
    )
    residual_scale: float = Field(default=1.0, allow_inf_nan=False, description="Factor of every block's residual.")
    mean: bool = Field(
        default=False,
        description="Whether the mean colour of DIV2K's photographs is subtracted from the input and added to the "
        "output.",
    )
    global_residual: bool = Field(
        default=False,
        description="Whether the input, enlarged to its nearest neighbours, is added to the output of the last "
        "convolution.",
    )

    @property
    def scale(self) -> int:
        """How many times as long each side of the output is as the same side of the input."""
        return self.upscale

    @property
    def halo(self) -> int:
        """Input pixels on each side on which an output pixel depends: one per 3x3 convolution, fewer when enlarged."""
        return 2 * self.blocks + 2 + len(shuffles(self.upscale))

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega (mixing the kernels is done once per picture, not per pixel)."""
        total, pixels = 3 * self.channels + 2 * self.blocks * self.channels**2, 1
        for factor in shuffles(self.upscale):
            total += pixels * factor**2 * self.channels**2
            pixels *= factor**2
        return 9 * (total + pixels * self.channels * 3)


def shuffles(upscale: int) -> list[int]:
    """Return the factors of the pixel shuffles that enlarge `upscale` times."""
    return {1: [], 2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}[upscale]
