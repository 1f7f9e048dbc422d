"""An objective of one's own in a recipe: which class, and its arguments."""

from typing import Literal

from pydantic import ConfigDict

from tunable.objectives.base import Objective
from tunable.specs.own import OfFramework


class OwnObjective(OfFramework, Objective):
    """An objective of one's own (docs/own_parts.md)."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["import"]
