"""What a recipe or a weights header may say of a network: its name, its arguments, its facts.

Both twins build a network from one of these specifications, so arguments and facts stand here once.
"""

from typing import Literal

from pydantic import Field

from tunable_core.schema import Section

PHI_FORMS = ("affine", "identity", "se", "base")
DEFAULT_PHI = "base"  # docs/results/starts; the paper's is "affine"


def num_kernels(num_objectives: int, phi: str) -> int:
    """Kernels per tunable layer: p, and one more (the base kernel) for phi `base`; 0 for a plain layer."""
    return num_objectives + 1 if phi == "base" and num_objectives else num_objectives


class _Network(Section):
    tunable: bool = True  # false: the plain form of the same network
    phi: Literal["affine", "identity", "se", "base"] = DEFAULT_PHI

    @property
    def scale(self) -> int:
        """Output pixels per input pixel along each side."""
        return 1

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this (networks pad for themselves: 1)."""
        return 1

    def arguments(self) -> dict:
        """Constructor arguments for the class of either twin, without `num_objectives`."""
        return self.model_dump(exclude={"name", "tunable"})


class ResNetSpec(_Network):
    """The residual network of Tables 1 and 3: conv, blocks of conv-ReLU-conv-skip, long skip, conv."""

    name: Literal["resnet"] = "resnet"
    channels: int = Field(64, ge=1)
    blocks: int = Field(16, ge=1)

    @property
    def halo(self) -> int:
        """Input pixels on each side on which an output pixel depends (one per 3x3 convolution)."""
        return 2 * self.blocks + 2

    @property
    def multiply_adds(self) -> int:
        """Per pixel of the picture, at one omega (mixing the kernels is done once per picture, not per pixel)."""
        return 9 * (3 * self.channels + 2 * self.blocks * self.channels**2 + self.channels * 3)


NetworkSpec = ResNetSpec  # one network so far; with a second, a union told apart by `name`
