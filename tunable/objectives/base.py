"""What every objective is: keys of a recipe, and in float64 a number for each sample."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from tunable.errors import TunableError
from tunable.specs.schema import Section

NORMALISE_FLOOR = 1e-3  # `normalise: sum` divides by max(sum of omega, this) (docs/method.md, "Objectives")
_STEP = 1e-6  # of central differences, which are exact to 1e-9 then

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Objective(Section):
    """An objective of a recipe: its name, and the number lambda_i that weighs it (Eq. 7).

    A kind adds `kind: Literal[...]`, its keys, and `value`.
    """

    enlarges: ClassVar[bool] = True  # whether it judges networks that enlarge: whether its target has no degraded part

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)
    weight: Weight = 1.0  # lambda_i of Eq. 7

    if TYPE_CHECKING:
        kind: Any  # the word that a recipe has for it: a literal of each kind's own

    @property
    def least(self) -> int:
        """Pixels that it needs along each side of the restored picture."""
        return 1

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Names of the objectives on whose targets its own builds."""
        return ()

    def value(
        self, restored: np.ndarray, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray
    ) -> np.ndarray:
        """Compute L_i of every sample in float64, not yet times omega or lambda.

        Args:
            restored: what the network made, (N, C, H, W).
            sample: pictures by name, `clean` and `degraded` among them, float64 of the same shape.
            knob: its own omega of every sample, (N,).
            below: the targets of the objectives that it builds on, (N, C, H, W).

        Returns:
            (N,).

        Raises:
            TunableError: where nobody wrote it down.
        """
        raise TunableError(f"the oracle does not know objectives of kind {self.kind}, as {self.name} is")

    def gradient(
        self, restored: np.ndarray, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray
    ) -> np.ndarray:
        """Return the gradient of the sum of `value` in `restored`, (N, C, H, W): by central differences.

        Arguments are those of `value`. A kind that knows its gradient computes that instead.
        """
        slope = np.zeros_like(restored)
        for place in np.ndindex(restored.shape[1:]):  # in all samples at once, which do not touch each other
            step = np.zeros_like(restored)
            step[:, *place] = _STEP
            above, beneath = (self.value(restored + sign * step, sample, knob, *below) for sign in (1, -1))
            slope[:, *place] = (above - beneath) / (2 * _STEP)
        return slope
