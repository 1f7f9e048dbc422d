"""The control strategies that the paper's tables compare with, as networks built of the residual network.

They are networks of this project in everything but what omega does: their convolutions are ordinary, and omega weighs
branches, channels or features beside them. Three of them know one number, the share of the second of two objectives,

    a = omega_2 / max(omega_1 + omega_2, 1e-3),

which is omega_2 itself where the two sum to one; for example omega (0.25, 0.75) and (0.5, 1.5) are both a = 0.75.
Their plain form (`tunable: false`) is the network that folding makes of them.
"""

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tunable.specs.formulations import KEYS
from tunable.specs.network_base import NOT_ARGUMENTS, Channels, NetworkBase, Some
from tunable.specs.residual import ResNetSpec, shuffles

LEAST_SUM = 1e-3  # of omega_1 + omega_2, below which a share of it is taken of this
CONTROL_WIDTHS = (512, 256, 128)  # of CFSNet's shared control: its input, and what its first two linear layers return


def shares(omega: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of omega (N, p) or (p,) counts where its scale does not: omega_i / max(sum_j omega_j, 1e-3)."""
    return omega / np.maximum(omega.sum(-1, keepdims=True), LEAST_SUM)


class Strategy(NetworkBase):
    """What the control strategies share: a residual network, its main branch, and p."""

    strategy: ClassVar[bool] = True
    not_arguments: ClassVar[frozenset[str]] = frozenset({*KEYS, "where"})
    # What the residual network of a strategy is, where a plain one may choose.
    head_relu: ClassVar[bool] = False
    residual_scale: ClassVar[float] = 1.0
    mean: ClassVar[bool] = False
    global_residual: ClassVar[bool] = False

    channels: Channels = Field(default=64, description="Channels of every layer between the first and the last.")
    blocks: Some = Field(default=16, description="Residual blocks of the main branch.")
    upscale: Literal[1, 2, 3, 4] = Field(
        default=1, description="How many times as high and wide as the input the output is."
    )

    @model_validator(mode="after")
    def _no_formulation(self) -> Self:
        fields = type(self).model_fields
        for key in sorted(self.not_arguments):
            if getattr(self, key) != fields[key].default:
                raise ValueError(f"{key} is for tunable layers: the convolutions of {self.title} are ordinary")
        return self

    @property
    def main(self) -> ResNetSpec:
        """The main branch: the plain residual network of whose tensors the strategy has all, by the same names."""
        return ResNetSpec(channels=self.channels, blocks=self.blocks, upscale=self.upscale, tunable=False)

    @property
    def equal(self) -> ResNetSpec:
        """The plain residual network with which the strategy is compared."""
        return self.main

    @property
    def scale(self) -> int:
        """How many times as long each side of the output is as the same side of the input."""
        return self.upscale

    @property
    def halo(self) -> int:
        """Input pixels on each side on which an output pixel depends: one per 3x3 convolution, fewer when enlarged."""
        return self.main.halo

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega (what is computed once per picture is left out)."""
        return self.main.multiply_adds

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments for the class of either twin, without `num_objectives`."""
        return self.model_dump(exclude={*NOT_ARGUMENTS, *self.not_arguments})


class _OfTwo(Strategy):
    """A strategy between two objectives, trained in two stages, with a block for tuning beside every main one."""

    blocks: Some = Field(
        default=8, description="Residual blocks of the main branch, beside each of which stands one for tuning."
    )

    @property
    def wanted_objectives(self) -> int:
        """Two: a is the share of the second."""
        return 2

    def known(self, omega: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a, the share of the second objective."""
        return shares(omega)[..., 1:]

    @property
    def equal(self) -> ResNetSpec:
        """The plain residual network of as many blocks in all."""
        return self.main.model_copy(update={"blocks": 2 * self.blocks})


class DyNetSpec(_OfTwo):
    """DyNet (Dynamic-Net, ICCV 2019): behind every block, features plus a times a small network of them."""

    without_folding: ClassVar[str] = (
        "every tuning block has a ReLU inside, so no convolution of the main branch can take it in; at each omega the "
        "network runs all its layers"
    )

    name: Literal["dynet"] = "dynet"
    tuning_depth: Literal[2, 3] = Field(
        default=2, description="Convolutions of every tuning block; 2 make it as large as a residual block."
    )

    @property
    def halo(self) -> int:
        """Input pixels on each side on which an output pixel depends."""
        return self.main.halo + (self.blocks * self.tuning_depth if self.tunable else 0)

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega."""
        tuning = 9 * self.blocks * self.tuning_depth * self.channels**2 if self.tunable else 0
        return self.main.multiply_adds + tuning


class CFSNetSpec(_OfTwo):
    """CFSNet (ICCV 2019): beside every block a second one; omega mixes the two channel by channel."""

    name: Literal["cfsnet"] = "cfsnet"

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega; folded as many, in convolutions twice as wide inside a block."""
        more, pixels, factors = 0, 1, shuffles(self.upscale)
        for factor in factors if self.tunable or len(factors) > 1 else []:
            more += 9 * pixels * factor**2 * self.channels**2
            pixels *= factor**2
        return self.equal.multiply_adds + more


class CResMDSpec(Strategy):
    """CResMD (ECCV 2020): omega is a condition, what is wrong with the picture, and scales every block's residual."""

    global_residual: ClassVar[bool] = True

    name: Literal["cresmd"] = "cresmd"


class AdaFMSpec(Strategy):
    """AdaFM (CVPR 2019): behind every convolution, features plus a times a depth-wise convolution of them."""

    name: Literal["adafm"] = "adafm"
    kernel: Literal[1, 3, 5, 7] = Field(
        default=1, description="Taps along both sides of the depth-wise convolutions; 1 scales and shifts channels."
    )

    @property
    def wanted_objectives(self) -> int:
        """Two: a is the share of the second."""
        return 2

    def known(self, omega: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a, the share of the second objective."""
        return shares(omega)[..., 1:]

    @property
    def depth_wise(self) -> bool:
        """Whether depth-wise convolutions stand behind the others; folded, those of one tap do not."""
        return self.tunable or self.kernel > 1

    @property
    def halo(self) -> int:
        """Input pixels on each side on which an output pixel depends: `kernel` widens every convolution."""
        return self.main.halo * (1 + self.kernel // 2)

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the input, at one omega."""
        if not self.depth_wise:
            return self.main.multiply_adds
        outputs, pixels = self.channels * (1 + 2 * self.blocks), 1  # of all convolutions, per pixel
        for factor in shuffles(self.upscale):
            outputs += pixels * factor**2 * self.channels
            pixels *= factor**2
        return self.main.multiply_adds + self.kernel**2 * (outputs + 3 * pixels)
