"""The stages of a training (`stages:` in a recipe): one after the other, each with parameters that stay as they are.

Strategies that are trained in two stages need them: the main branch for the first objective, then what tunes it, for
the second, with the main branch frozen. Every network may have stages.
"""

import fnmatch
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from tunable.errors import nearest, shown
from tunable.specs.formulations import MOST_PATTERNS
from tunable.specs.schema import MOST, Section

_Pattern = Annotated[str, Field(min_length=1, max_length=1000)]
_Patterns = Annotated[list[_Pattern], Field(max_length=MOST_PATTERNS)]
_Value = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Stage(Section):
    """One stage of a training.

    Attributes:
        steps: how many.
        omega: its omega (p,), where that is one and the same; None: drawn as the recipe's `omega` says.
        train: patterns of the names of the parameters that are trained; []: all but those of `freeze`.
        freeze: patterns of the names of those that stay as they are.
        learning_rate: at which the schedule begins anew; None: the optimizer's.
    """

    steps: int = Field(ge=1, le=MOST)
    omega: Annotated[list[_Value], Field(min_length=1, max_length=16)] | None = None
    train: _Patterns = []
    freeze: _Patterns = []
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def trained(self, names: Iterable[str]) -> list[str]:
        """Choose the parameters that this stage trains.

        Args:
            names: of all parameters of the network.

        Returns:
            Some of them, in their order.

        Raises:
            ValueError: where a pattern matches none, or nothing is left to train.
        """
        known = list(names)
        if self.train and self.freeze:
            raise ValueError("either train or freeze says which parameters move, not both")
        for pattern in (*self.train, *self.freeze):
            if not fnmatch.filter(known, pattern):
                raise ValueError(f"no parameter of the network is called {shown(pattern)}{nearest(pattern, known)}")
        chosen = {name for pattern in (self.train or self.freeze) for name in fnmatch.filter(known, pattern)}
        trained = [name for name in known if (name in chosen) == bool(self.train)]
        if not trained:
            raise ValueError("freezes every parameter of the network: nothing is left to train")
        return trained
