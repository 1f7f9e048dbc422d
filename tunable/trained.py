"""Which part of the square (or cube) of omega a network saw in training, and whether an omega lies in it.

A network answers any omega, but what it never saw it guesses: one that was trained on omega that sum to 1 may restore
worse at (1, 1) than at (0.5, 0.5), which asks the same of it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, TypeAdapter, ValidationError

from tunable.omega import format_omega
from tunable.specs.samplers import Mixture, Sampler, named
from tunable.specs.schema import Section

MOST = 64  # parts; a mixture of more is not described
OFTEN = 0.25  # of all draws: a network trained less than that on omega from anywhere knows its other parts better
_NEAR = 0.02  # 0.33 three times sums to 1

_Value = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_WHOLE, _LINE, _UNITS, _VERTICES = "anywhere", "sum 1", "unit vectors", "vertices"
_OF = {
    "uniform": _WHOLE,
    "beta": _WHOLE,
    "condition": _WHOLE,
    "log_uniform": _WHOLE,
    "simplex": _LINE,
    "annealed": _LINE,
    "corners": _UNITS,
    "cube": _VERTICES,
}
_WORDS = {
    _WHOLE: "anywhere in [0, 1]",
    _LINE: "summing to 1",
    _UNITS: "one knob 1 and the others 0",
    _VERTICES: "each knob 0 or 1, but not all 0",
}


class Part(Section):
    """One part of what was trained: where omega was, a name or one point, and in which share of all draws."""

    omega: Literal["anywhere", "sum 1", "unit vectors", "vertices"] | Annotated[list[_Value], Field(max_length=16)]
    share: float = Field(gt=0, le=1.000001, allow_inf_nan=False)
    low: float = Field(default=0, ge=0, lt=1)  # of anywhere: the least that each knob was

    def holds(self, omega: np.ndarray) -> bool:
        """Return whether an omega (p,) lies in this part."""
        if self.omega == _WHOLE:
            return bool(omega.min() >= self.low - _NEAR)
        if self.omega == _LINE:
            return abs(omega.sum() - 1) <= _NEAR
        if isinstance(self.omega, list):
            return len(self.omega) == len(omega) and bool(np.abs(omega - np.array(self.omega)).max() <= _NEAR)
        vertex = bool(np.minimum(np.abs(omega), np.abs(omega - 1)).max() <= _NEAR)
        ones = round(float(omega.sum()))
        return vertex and (ones == 1 if self.omega == _UNITS else ones > 0)

    def __str__(self) -> str:
        if not isinstance(self.omega, str):
            return f"at {format_omega(self.omega)}"
        return f"anywhere in [{self.low:g}, 1]" if self.low else _WORDS[self.omega]


def parts_of(sampler: Sampler) -> tuple[Part, ...] | None:
    """Return where a sampler draws omega, equal parts together; None where it has too many or is one's own."""
    shares: dict[tuple[str, float], tuple[Any, float]] = {}

    def add(sampler: Sampler, share: float) -> None:
        if isinstance(sampler, Mixture):
            for one, weight in zip(sampler.of, sampler.weights, strict=True):
                add(one, share * weight / sum(sampler.weights))
            return
        where = list(sampler.value) if sampler.kind == "fixed" else _OF.get(sampler.kind)
        key = str(where), sampler.low if sampler.kind == "log_uniform" else 0.0
        shares[key] = (where, shares.get(key, (where, 0.0))[1] + share)

    add(sampler, 1.0)
    if len(shares) > MOST or any(where is None for where, _ in shares.values()):  # nobody knows where one's own draws
        return None
    return tuple(
        Part(omega=where, share=round(share, 6), low=low)
        for (_, low), (where, share) in shares.items()
        if round(share, 6)
    )


def parts_of_recipe(recipe: dict[str, Any]) -> tuple[Part, ...] | None:
    """Return the same of a recipe as a header holds it; None where it does not say."""
    if not recipe.get("objectives"):
        return None
    try:
        sampler = recipe.get("omega", {}).get("sampler", "uniform")
        return parts_of(TypeAdapter(Sampler).validate_python(named(sampler)))
    except (ValidationError, AttributeError, TypeError, RecursionError):
        return None


def describe(trained: Sequence[Part]) -> str:
    """Say where omega was in training: "80 % one knob 1 and the others 0, 20 % anywhere in [0, 1]"."""
    if len(trained) == 1:
        return str(trained[0])
    return ", ".join(f"{100 * part.share:.3g} % {part}" for part in sorted(trained, key=lambda part: -part.share))


def doubt(omega: ArrayLike, trained: Sequence[Part] | None) -> str | None:
    """Say why a network may answer an omega (p,) badly, "never" or "rarely" trained; None where it need not."""
    omega = np.asarray(omega, dtype=np.float64)
    inside = bool(np.all((omega >= -_NEAR) & (omega <= 1 + _NEAR)))  # no sampler draws anything else
    holding = [part for part in trained or () if inside and part.holds(omega)]
    if trained is None or any(part.omega != _WHOLE for part in holding):
        return None
    if not holding:
        return "never"
    return "rarely" if holding[0].share < OFTEN else None
