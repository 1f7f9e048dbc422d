"""What a recipe or a weights header may say of a network: its name, its arguments, its facts.

Both twins build a network from one of these specifications, so arguments and facts stand here once.

Every number has a largest value, far beyond what any network of these kinds has had: a specification comes from a file
that anybody may have written, and its facts must be told at once, and a picture padded to its multiples.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from tunable.specs.control import AdaFMSpec, CFSNetSpec, CResMDSpec, DyNetSpec, shares
from tunable.specs.formulations import KEYS
from tunable.specs.network_base import MOST_BLOCKS, NOT_ARGUMENTS, Channels, NetworkBase, Some
from tunable.specs.own import tagged
from tunable.specs.own_network import OwnNetwork
from tunable.specs.residual import ResNetSpec, shuffles

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


MOST_STAGES = 10  # each halves the picture: it is padded to a multiple of 1024 pixels at most
MOST_GROUPS = 1000
MOST_WINDOW = 64  # pixels a side; attention holds the fourth power of it for every window

_Any = Annotated[int, Field(ge=0, le=MOST_BLOCKS)]


class _WithNorms(NetworkBase):
    tunable_norms: bool = Field(default=False, description="Whether omega sets the scales and shifts of the norms too.")


class NAFNetSpec(_WithNorms):
    """NAFNet (Table 2b): a U-Net of blocks without activations, channels doubled at every stage."""

    name: Literal["nafnet"] = "nafnet"
    width: Channels = Field(
        default=32, description="Channels of the first stage; each following stage has twice as many."
    )
    middle: _Any = Field(default=12, description="Blocks between the encoder and the decoder.")
    encoder: list[_Any] = Field(
        default=[2, 2, 4, 8],
        min_length=1,
        max_length=MOST_STAGES,
        description="Blocks of every stage of the encoder, each of which ends by halving the picture.",
    )
    decoder: list[_Any] = Field(
        default=[2, 2, 2, 2],
        min_length=1,
        max_length=MOST_STAGES,
        description="Blocks of every stage of the decoder, the smallest picture first; as many stages as the encoder.",
    )

    @model_validator(mode="after")
    def _as_many(self):
        if len(self.encoder) != len(self.decoder):
            raise ValueError(f"encoder has {len(self.encoder)} stages, decoder {len(self.decoder)}: as many are wanted")
        return self

    @property
    def padding_multiple(self) -> int:
        """Pixels: the network pads each side to a multiple of it, for every stage halves the picture."""
        return 2 ** len(self.encoder)

    @property
    def halo(self) -> int | None:
        """None: global averages make every output pixel depend on the whole picture."""
        return None

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega, global averages and 1x1 convolutions of them left out; rounded."""
        width, area, total = self.width, 1.0, 9 * 3 * self.width * 2
        for blocks, mirrored in zip(self.encoder, reversed(self.decoder), strict=True):
            total += area * (blocks + mirrored) * _naf_block(width)
            total += area * 2 * width**2  # the 2x2 convolution with stride 2, 2 width channels out
            total += area / 4 * 2 * width * 4 * width  # the 1x1 convolution before the pixel shuffle
            width, area = 2 * width, area / 4
        return round(total + area * self.middle * _naf_block(width))


def _naf_block(width: int) -> int:
    return 2 * width**2 + 18 * width + width**2 + 2 * width**2 + width**2


class SwinIRSpec(_WithNorms):
    """SwinIR (Tables 2a, 5): groups of window-attention blocks."""

    without_maps: ClassVar[str] = "attention mixes pixels that would have settings of their own"

    name: Literal["swinir"] = "swinir"
    channels: Channels = Field(default=180, description="Channels of the features; a multiple of every group's heads.")
    depths: list[Some] = Field(
        default=[6, 6, 6, 6, 6, 6], min_length=1, max_length=MOST_GROUPS, description="Blocks of every group."
    )
    heads: list[Channels] = Field(
        default=[6, 6, 6, 6, 6, 6],
        min_length=1,
        max_length=MOST_GROUPS,
        description="Attention heads of every group; as many groups as `depths`.",
    )
    window: int = Field(default=8, ge=2, le=MOST_WINDOW, description="Side of an attention window in pixels.")
    shifted: bool = Field(
        default=True, description="Whether the windows of every other block are shifted by half a window."
    )
    mlp_ratio: float = Field(
        default=2.0,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Hidden channels of every MLP, as a multiple of `channels`.",
    )
    upscale: Literal[1, 2, 3, 4, 8] = Field(
        default=1, description="How many times as high and wide as the input the output is."
    )
    upsampler: Literal["", "pixelshuffle", "pixelshuffledirect", "nearest+conv"] = Field(
        default="", description='How the picture is enlarged; "" exactly where upscale is 1.'
    )
    features: Channels = Field(
        default=64, description="Channels of the upsampling convolutions of pixelshuffle and nearest+conv."
    )

    @model_validator(mode="after")
    def _fits(self):
        if len(self.depths) != len(self.heads):
            raise ValueError(f"{len(self.depths)} depths and {len(self.heads)} heads: as many are wanted")
        for heads in self.heads:
            if self.channels % heads:
                raise ValueError(f"channels {self.channels} must be a multiple of heads {heads}")
        if (self.upsampler == "") != (self.upscale == 1):
            raise ValueError(f"upscale {self.upscale} does not go with upsampler {self.upsampler!r}")
        if self.upsampler == "nearest+conv" and self.upscale not in (2, 4):
            raise ValueError(f"upsampler nearest+conv enlarges 2 or 4 times, not {self.upscale}")
        return self

    @property
    def scale(self) -> int:
        """How many times as long each side of the output is as the same side of the input."""
        return self.upscale

    @property
    def padding_multiple(self) -> int:
        """Pixels: the network pads each side to a multiple of it, a whole number of windows."""
        return self.window

    @property
    def halo(self) -> int | None:
        """None: shifted windows carry every pixel too far for a halo to be worth it."""
        return None

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega; products of attention included."""
        c, blocks = self.channels, sum(self.depths)
        attention = 4 * c**2 + 2 * c * self.window**2
        total = 27 * c + blocks * (attention + 2 * c * int(c * self.mlp_ratio)) + 9 * c**2 * (len(self.depths) + 1)
        f, pixels = self.features, 1
        if self.upsampler == "":
            return total + 27 * c
        if self.upsampler == "pixelshuffledirect":
            return total + 27 * c * self.upscale**2
        total += 9 * c * f
        if self.upsampler == "nearest+conv":
            for _ in range(self.upscale // 2):
                pixels *= 4
                total += 9 * pixels * f**2
            return total + pixels * (9 * f**2 + 27 * f)
        for factor in shuffles(self.upscale):
            total += 9 * pixels * factor**2 * f**2
            pixels *= factor**2
        return total + pixels * 27 * f


class StyleUNetSpec(_WithNorms):
    """The style transfer network (Fig. 7): strided down, residual blocks, nearest-neighbour up, instance norms."""

    name: Literal["style_unet"] = "style_unet"
    channels: Channels = Field(default=64, description="Channels of the first convolution, doubled at every scale.")
    scales: int = Field(default=2, ge=1, le=MOST_STAGES, description="How often the picture is halved.")
    blocks: tuple[Some, _Any, Some] = Field(
        (2, 6, 2),
        description="Convolutions of every scale on the way down, residual blocks, convolutions of every scale on the "
        "way up.",
    )
    normalise: bool = Field(
        default=True,
        description="Whether the input is normalised by the mean and standard deviation of ImageNet's colours, and "
        "the output brought back.",
    )
    global_residual: bool = Field(
        default=False,
        description="Whether the input is added to the output, so that training begins near the photograph.",
    )

    outer: Literal[3, 5, 7, 9] = Field(
        default=9,
        description="Pixels a side of the kernels of the first and the last convolution; the others have 3.",
    )
    padding: Literal["zeros", "reflect"] = Field(
        default="zeros",
        description="What a convolution sees beyond the border: zeros, along which it may draw lines, or the features "
        "reflected.",
    )

    @property
    def padding_multiple(self) -> int:
        """Pixels: the network pads each side to a multiple of it, for every scale halves the picture."""
        return 2**self.scales

    @property
    def halo(self) -> int | None:
        """None: instance norms make every output pixel depend on the whole picture."""
        return None

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega; rounded."""
        down, middle, up = self.blocks
        c, area, total = self.channels, 1.0, self.outer**2 * 3 * self.channels * 2
        for _ in range(self.scales):
            total += area * 9 * up_down(c, up)
            area /= 4
            total += area * 9 * (2 * c**2 + (down - 1) * 4 * c**2)
            c *= 2
        return round(total + area * middle * 18 * c**2)


class UNetSpec(NetworkBase):
    """A U-Net without norms and attention: two 3x3 convolutions at every scale, the input added at the end."""

    name: Literal["unet"] = "unet"
    width: Channels = Field(default=16, description="Channels at full size, doubled whenever the picture is halved.")
    depth: int = Field(default=4, ge=1, le=MOST_STAGES, description="How often the picture is halved.")

    @property
    def padding_multiple(self) -> int:
        """Pixels: the network pads each side to a multiple of it, for it halves the picture `depth` times."""
        return 2**self.depth

    @property
    def halo(self) -> int:
        """Input pixels on each side on which an output pixel depends, where pieces begin at multiples of 2^depth."""
        reach = 2  # the smallest scale has two convolutions of 3x3
        for _ in range(self.depth):
            reach = 2 * reach + 1  # in pixels half as wide: from the left one of a pair to the right one of another
            reach += 4  # two convolutions down and two up
        return reach + 1  # the last convolution

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega; rounded."""
        area, before, total = 1.0, 3, 27 * self.width
        for channels in [self.width * 2**scale for scale in range(self.depth)]:
            total += area * 9 * (before * channels + channels**2)  # down
            total += area / 4 * (4 * channels**2 + 2 * channels**2)  # the 2x2 with stride 2, the 1x1
            total += area * 9 * (2 * channels**2 + channels**2)  # up
            area, before = area / 4, channels
        return round(total + area * 9 * 6 * before**2)


class CompactSpec(NetworkBase):
    """Real-ESRGAN's compact network: 3x3 convolutions and PReLU, a pixel shuffle at the end, the input added."""

    name: Literal["compact"] = "compact"
    channels: Channels = Field(default=64, description="Channels of every layer between the first and the last.")
    blocks: Some = Field(
        default=16, description="Convolutions with a PReLU between the first convolution and the last."
    )
    upscale: Literal[1, 2, 3, 4] = Field(
        default=1, description="How many times as high and wide as the input the output is."
    )
    tunable_slopes: bool = Field(default=False, description="Whether omega sets the slopes of the PReLUs too.")

    @property
    def scale(self) -> int:
        """Output pixels per input pixel along each side."""
        return self.upscale

    @property
    def halo(self) -> int:
        """Input pixels on each side on which an output pixel depends: one per convolution."""
        return self.blocks + 2

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega."""
        return 9 * self.channels * (3 + self.blocks * self.channels + 3 * self.upscale**2)


def up_down(channels: int, convs: int) -> int:
    """Weights per tap of one scale's convs upwards: the first halves the channels."""
    return 2 * channels**2 + (convs - 1) * channels**2


class OutputBlendSpec(NetworkBase):
    """Whole plain networks, whose pictures omega mixes; or one, mixed with its input: every omega of one inference."""

    strategy: ClassVar[bool] = True
    not_arguments: ClassVar[frozenset[str]] = frozenset({*KEYS, "where"})
    without_folding: ClassVar[str] = "its picture is a sum of others, and no network of its kind makes the sum"

    name: Literal["output_blend"] = "output_blend"
    of: Annotated[
        ResNetSpec | NAFNetSpec | SwinIRSpec | StyleUNetSpec | UNetSpec | CompactSpec, Field(discriminator="name")
    ] = Field(description="The plain network, of which there are `ends`.")
    ends: int = Field(default=2, ge=1, le=16, description="How many networks, one for each objective; 1 with `nu`.")
    nu: float = Field(
        default=0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Part of what the one network removed that is added again where omega_2 is 1; 0 without a blend "
        "with the input.",
    )

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.of.tunable or not self.tunable:
            raise ValueError("output_blend is set by omega, and the networks that it holds (of) are plain")
        if (self.ends == 1) != (self.nu > 0):
            raise ValueError(f"one network with nu, or several without: received ends {self.ends} and nu {self.nu:g}")
        if self.nu and self.of.scale > 1:
            raise ValueError(f"the input is no picture of the output's size: of enlarges {self.of.scale} times")
        return self

    @property
    def wanted_objectives(self) -> int:
        """As many as there are ends; the input is one of them where it is blended with."""
        return max(self.ends, 2)

    def known(self, omega: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the share of every end, or omega_2, which is all that counts where the input is blended with."""
        return omega[..., 1:] if self.nu else shares(omega)

    @property
    def equal(self) -> ResNetSpec | NAFNetSpec | SwinIRSpec | StyleUNetSpec | UNetSpec | CompactSpec:
        """The plain network with which it is compared."""
        return self.of

    @property
    def scale(self) -> int:
        """How many times as long each side of the output is as the same side of the input."""
        return self.of.scale

    @property
    def padding_multiple(self) -> int:
        """Pixels: its networks pad each side to a multiple of it."""
        return self.of.padding_multiple

    @property
    def halo(self) -> int | None:
        """Input pixels on each side on which an output pixel depends, as of its networks."""
        return self.of.halo

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, of all its networks; another omega of the same picture costs nothing."""
        return self.ends * self.of.multiply_adds

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments for the class of either twin, without `num_objectives`."""
        return self.model_dump(exclude={*NOT_ARGUMENTS, *self.not_arguments})


NetworkSpec = Annotated[
    ResNetSpec
    | NAFNetSpec
    | SwinIRSpec
    | StyleUNetSpec
    | UNetSpec
    | CompactSpec
    | DyNetSpec
    | CFSNetSpec
    | CResMDSpec
    | AdaFMSpec
    | OutputBlendSpec
    | OwnNetwork,
    Field(discriminator="name"),
    BeforeValidator(tagged("name")),
]
