"""What a recipe or a header says of a network of one's own (docs/own_parts.md)."""

from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from tunable.specs.formulations import Last
from tunable.specs.network_base import MOST_CHANNELS, NOT_ARGUMENTS, NetworkBase
from tunable.specs.own import OfFramework


class OwnNetwork(OfFramework, NetworkBase):
    """A network of one's own: its class, what `make_tunable` is told, and its facts."""

    model_config = ConfigDict(extra="allow")
    without_maps: ClassVar[str] = "a network of one's own takes one omega for a picture"

    name: Literal["import"] = "import"
    upscale: int = Field(default=1, ge=1, le=8)
    halo: int | None = Field(default=None, ge=0, le=MOST_CHANNELS)

    @model_validator(mode="after")
    def _made_tunable(self) -> Self:
        if self.differences != "full" or self.rank:
            raise ValueError("differences of a network of one's own are full")
        if isinstance(self.where, Last):
            raise ValueError('where: {last: N} is for networks of this package; name layers, such as ["body.3.*"]')
        return self

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
        """Return everything that the specification says, but the class and whether it is tunable."""
        return self.model_dump(exclude={*NOT_ARGUMENTS, "reference"})
