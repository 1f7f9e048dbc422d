"""How a network was made tunable where it stood, as its file says it (docs/make_tunable.md)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tunable.specs.formulations import Formulation, fault_of, pairs
from tunable.specs.schema import Section


class Plan(Section):
    """How a network was made tunable: what is needed to make another network alike.

    Attributes:
        num_objectives: p.
        phi: how the weights of the kernels follow from omega.
        train: "all", or "differences", where the given weights stay as they are.
        rank: of the differences as matrices (first axis, the others); 0: any.
        tensors: name in the network -> name in the file, of what is tunable.
        differences: "full", or "scale", where they scale the rows of kernels.
        anchor: omega* (p,), where the network is the given one; [] where that is omega = 0.
        bump: whether each pair of knobs has a difference too.
        base: the digest of the weights that differences start from, where a header holds the plan and only they are
            trained; else "".
    """

    num_objectives: int = Field(ge=1, le=1000)
    phi: Literal["affine", "identity", "se", "base"]
    train: Literal["all", "differences"] = "all"
    rank: int = Field(0, ge=0, le=2**20)
    tensors: dict[str, str]
    differences: Literal["full", "scale"] = "full"
    anchor: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(default=[], max_length=1000)
    bump: bool = False
    base: str = Field("", max_length=64)

    @model_validator(mode="after")
    def _formulated(self) -> Self:
        fault = fault_of(self.phi, self.differences, 0, self.anchor, self.bump) or self._formulation.misfit(
            self.num_objectives
        )
        if fault or (self.differences == "scale" and (self.rank or self.train != "differences")):
            raise ValueError(fault or "differences that scale are trained alone, and have no rank")
        return self

    @property
    def _formulation(self) -> Formulation:
        return Formulation(self.phi, self.differences, 0, self.anchor, self.bump)

    @property
    def num_differences(self) -> int:
        """m: one for each knob, with `bump` one for each pair too."""
        return self._formulation.num_differences(self.num_objectives)

    @property
    def products(self) -> list[tuple[int, int]]:
        """The pairs of knobs that have a difference."""
        return pairs(self.num_objectives) if self.bump else []
