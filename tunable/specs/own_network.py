"""What a recipe or a header says of a network of one's own (docs/own_parts.md)."""

from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from tunable.specs.formulations import Last
from tunable.specs.network_base import MOST_CHANNELS, NOT_ARGUMENTS, NetworkBase
from tunable.specs.own import OfFramework
from tunable.specs.plan import Plan


class OwnNetwork(OfFramework, NetworkBase):
    """A network of one's own: its class, what `make_tunable` is told, and its facts.

    A file that `make_tunable`'s network wrote has a `plan`, which says what `make_tunable` made.
    """

    model_config = ConfigDict(extra="allow")
    without_maps: ClassVar[str] = "a network of one's own takes one omega for a picture"

    name: Literal["import"] = "import"
    upscale: int = Field(default=1, ge=1, le=8)
    halo: int | None = Field(default=None, ge=0, le=MOST_CHANNELS)
    plan: Plan | None = None

    @model_validator(mode="after")
    def _made_tunable(self) -> Self:
        if self.differences != "full" or self.rank:
            raise ValueError("differences of a network of one's own are full")
        if isinstance(self.where, Last):
            raise ValueError('where: {last: N} is for networks of this package; name layers, such as ["body.3.*"]')
        if (plan := self.plan) and (plan.phi, plan.anchor, plan.bump) != (self.phi, self.anchor, self.bump):
            raise ValueError("plan says of phi, anchor or bump what the network does not")
        return self

    @property
    def wanted_objectives(self) -> int:
        """p, where a plan says it; 0: any."""
        return self.plan.num_objectives if self.plan else 0

    @property
    def scale(self) -> int:
        """Output pixels per input pixel along each side."""
        return self.upscale

    @property
    def title(self) -> str:
        """The class."""
        return self.named

    @property
    def multiply_adds(self) -> int:
        """0: nobody knows."""
        return 0

    @property
    def knobs(self) -> dict[str, Any]:
        """What `make_tunable` is told."""
        where = None if self.where == "all" else self.where
        return {"phi": self.phi, "where": where, "anchor": self.anchor, "bump": self.bump}

    def arguments(self) -> dict[str, Any]:
        """Return everything that the specification says, but the class, whether it is tunable, and the plan."""
        return self.model_dump(exclude={*NOT_ARGUMENTS, "reference", "plan"})
