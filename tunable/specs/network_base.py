"""What the specification of every network says: how its kernels depend on omega, and the facts that others ask for."""

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tunable.specs.formulations import DEFAULT_PHI, MOST_RANK, Formulation, Where, fault_of
from tunable.specs.schema import Section

MOST_CHANNELS = 2**14
MOST_BLOCKS = 10_000
Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Some = Annotated[int, Field(ge=1, le=MOST_BLOCKS)]
_Anchored = Annotated[float, Field(allow_inf_nan=False)]
NOT_ARGUMENTS = {"name", "tunable"}  # what only a recipe says: the class, and whether num_objectives is 0


class NetworkBase(Section):
    """What the specification of every network says."""

    without_maps: ClassVar[str] = ""  # why omega cannot be a map, one setting for every pixel; "" where it can
    without_folding: ClassVar[str] = ""  # why it cannot be folded at an omega; "" where it can
    strategy: ClassVar[bool] = False  # whether it is a control strategy, whose convolutions are ordinary
    not_arguments: ClassVar[frozenset[str]] = frozenset()  # fields of every network that have no meaning here

    tunable: bool = True  # false: the plain form of the same network
    phi: Literal["affine", "identity", "se", "base"] = Field(
        default=DEFAULT_PHI, description="Form of every layer's map from omega to the weights of its kernels (Eq. 6)."
    )
    differences: Literal["full", "low_rank", "scale"] = Field(
        default="full", description="What stands beside every base kernel: kernels, products of low rank, or scales."
    )
    rank: int = Field(default=0, ge=0, le=MOST_RANK, description="Rank of low_rank differences; 0 for the others.")
    anchor: list[_Anchored] = Field(
        default=[],
        max_length=16,
        description="The setting (p,) at which every layer is its base kernel; [] where that is omega = 0.",
    )
    bump: bool = Field(
        default=False, description="Whether each pair of objectives has kernels, weighed by the product of the two."
    )
    where: Where = Field(
        default="all",
        description='Which layers are tunable: "all", {"last": N}, or patterns of their names, such as ["body.3.*"]. '
        "The others are ordinary.",
    )

    @model_validator(mode="after")
    def _formulated(self) -> Self:
        fault = fault_of(self.phi, self.differences, self.rank, self.anchor, self.bump)
        if fault:
            raise ValueError(fault)
        return self

    @property
    def formulation(self) -> Formulation:
        """How the kernels of every layer depend on omega."""
        return Formulation(self.phi, self.differences, self.rank, self.anchor, self.bump)

    @property
    def wanted_objectives(self) -> int:
        """p, where the network is for so many objectives and no others; 0: for any."""
        return 0

    @property
    def title(self) -> str:
        """What messages call the network: its name, or the class of one's own."""
        return str(getattr(self, "name", ""))

    @property
    def scale(self) -> int:
        """Output pixels per input pixel along each side."""
        return 1

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this (networks pad for themselves: 1)."""
        return 1

    @property
    def padding_multiple(self) -> int:
        """The network itself pads height and width to multiples of so many pixels, and cuts its output back."""
        return 1

    def known(self, omega: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network knows of omega (N, p) or (p,): omega itself, unless its output depends on shares alone."""
        return omega

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments for the class of either twin, without `num_objectives`."""
        return self.model_dump(exclude=NOT_ARGUMENTS)
