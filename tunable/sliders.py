"""The sliders that a reader of a page turns, and the omega that they stand for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunable.backends.model import Model
from tunable.omega import STRENGTH, of_strength

_BLENDED = {"fidelity", "noise"}  # one slider for both


@dataclass(frozen=True)
class Knob:
    """A slider.

    Attributes:
        name: its label.
        low: the value at its left end.
        high: the value at its right end.
        start: where it stands at first.
    """

    name: str
    low: float
    high: float
    start: float


def knobs_of(model: Model, start: Sequence[float] = ()) -> list[Knob]:
    """Return the sliders of a model: one for each objective, or one alone for how strongly noise is removed.

    Args:
        model: of any backend.
        start: the setting (p,) at first; (): the middle of every range.

    Returns:
        The sliders in the order of omega; [] for a plain network. A network whose knobs are fidelity and noise has one
        slider, `strength`, of 0 to 100.
    """
    names, ranges = model.objectives, model.header.omega_range
    if set(names) == _BLENDED:
        at = dict(zip(names, start or (0.5, 0.5), strict=True))
        return [Knob(STRENGTH, 0, 100, 100 * at["fidelity"])]
    middle = [(low + high) / 2 for low, high in ranges]
    sides = zip(names, ranges, start or middle, strict=True)
    return [Knob(name.replace("_", " "), low, high, at) for name, (low, high), at in sides]


def omega_of(model: Model, values: Sequence[float]) -> np.ndarray | None:
    """Return the omega (p,) that sliders of `knobs_of` stand for; None for a plain network."""
    if not model.objectives:
        return None
    if set(model.objectives) == _BLENDED:
        return of_strength(values[0], model.objectives)
    return np.array(values[: len(model.objectives)], np.float32)
