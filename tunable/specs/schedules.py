"""Learning-rate schedules: the factor on the base learning rate at a step, computed once for both twins."""

import math
from typing import Annotated, Literal

from pydantic import Field

from tunable.errors import TunableError
from tunable.specs.schema import MOST, Section


class _Schedule(Section):
    warmup: int = Field(default=0, ge=0, le=MOST)  # steps of linear rise before the schedule proper

    def factor(self, step: int, steps: int) -> float:
        """Factor at `step` (0-based) of a run of `steps` steps."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self._after_warmup(step - self.warmup, max(steps - self.warmup, 1))

    def _after_warmup(self, step: int, steps: int) -> float:
        raise TunableError(f"{type(self).__name__} does not say what its factor is")


class Constant(_Schedule):
    """The paper's: the learning rate never changes."""

    kind: Literal["constant"] = "constant"

    def _after_warmup(self, step: int, steps: int) -> float:
        return 1.0


class Cosine(_Schedule):
    """Half a cosine from 1 down to `final`."""

    kind: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1)

    def _after_warmup(self, step: int, steps: int) -> float:
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


class MultiStep(_Schedule):
    """Multiply by `gamma` at each of the milestones (steps after warm-up)."""

    kind: Literal["multistep"] = "multistep"
    milestones: list[Annotated[int, Field(ge=1, le=MOST)]] = Field(min_length=1, max_length=1000)
    gamma: float = Field(default=0.5, gt=0, le=1)

    def _after_warmup(self, step: int, steps: int) -> float:
        return self.gamma ** sum(step >= milestone for milestone in self.milestones)


Schedule = Annotated[Constant | Cosine | MultiStep, Field(discriminator="kind")]
