"""Paths through the settings of omega along which one knob is turned, chosen from where a network was trained.

A network that saw omega anywhere in its range is measured along axes: one knob is turned while the others stand still.
One that saw omega that sum to 1 is measured along edges: one knob is turned up while another is turned down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunable.errors import TunableError, nearest, shown
from tunable.omega import format_omega
from tunable.trained import Part, doubt

SETTINGS = 11  # along a path: ten steps of a tenth of the travel
TRAINED, EDGES, AXES = "trained", "edges", "axes"
KINDS = (TRAINED, EDGES, AXES)  # of paths that may be asked for

_NEAR_0 = 0.05  # of a knob that weighs nothing beside one that is turned

Ranges = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Path:
    """A way to turn a knob.

    Attributes:
        knob: its place in omega.
        name: where the other knobs are, such as "against noise" or "noise at 0.5"; a single setting's omega.
        omegas: (n, p), the knob's own value growing; n = 1 for a single setting.
        alone: whether there are other knobs and all are near 0, so that the knob's objective has nothing to be weighed
            against. A knob that is the only one is judged by what it does.
    """

    knob: int
    name: str
    omegas: np.ndarray
    alone: bool = False

    @property
    def travel(self) -> np.ndarray:
        """The knob's own values, (n,)."""
        return self.omegas[:, self.knob]


def is_trained(omega: np.ndarray, trained: Sequence[Part] | None) -> bool:
    """Return whether a network is known to have been trained at an omega (p,)."""
    return trained is not None and doubt(omega, trained) is None


def trained_throughout(path: Path, trained: Sequence[Part] | None) -> bool:
    """Return whether a network is known to have been trained at every setting of a path."""
    return all(is_trained(omega, trained) for omega in path.omegas)


def edges(objectives: Sequence[str]) -> list[Path]:
    """List the edges from every corner to every other: one knob from 0 to 1, another from 1 to 0, the rest at 0."""
    p, travel = len(objectives), np.linspace(0, 1, SETTINGS)
    rest = ", the others 0" if p > 2 else ""
    paths = []
    for knob in range(p):
        for other in (place for place in range(p) if place != knob):
            omegas = np.zeros((SETTINGS, p))
            omegas[:, knob], omegas[:, other] = travel, travel[::-1]
            paths.append(Path(knob, f"against {objectives[other]}{rest}", omegas.astype(np.float32)))
    return paths


def axes(objectives: Sequence[str], ranges: Ranges) -> list[Path]:
    """List the axes: every knob from one end of its range to the other, the others at their low, middle or high end.

    Args:
        objectives: their names, p.
        ranges: (low, high) of each knob; one without width is taken as (0, 1).
    """
    p, paths = len(objectives), []
    ranges = [(low, high) if low < high else (0.0, 1.0) for low, high in ranges]
    for knob in range(p):
        for share in (0, 0.5, 1) if p > 1 else (0,):
            still = [low + share * (high - low) for low, high in ranges]
            omegas = np.tile(still, (SETTINGS, 1))
            omegas[:, knob] = np.linspace(*ranges[knob], SETTINGS)
            values = [value for place, value in enumerate(still) if place != knob]
            where = objectives[1 - knob] if p == 2 else "the others"
            at = f"{values[0]:g}" if len(set(values)) == 1 else ("low", "middle", "high")[round(2 * share)]
            name = f"{where} at {at}" if p > 1 else "the only knob"
            alone = p > 1 and all(abs(value) <= _NEAR_0 for value in values)
            paths.append(Path(knob, name, omegas.astype(np.float32), alone))
    return paths


def ends(objectives: Sequence[str]) -> list[Path]:
    """List the settings all 0 and all 1 for every knob, as paths of one setting."""
    p = len(objectives)
    return [
        Path(knob, format_omega(np.full(p, value)), np.full((1, p), value, dtype=np.float32))
        for value in (0, 1)
        for knob in range(p)
    ]


def chosen(kind: str, objectives: Sequence[str], ranges: Ranges, trained: Sequence[Part] | None) -> list[Path]:
    """Choose the paths to measure.

    Args:
        kind: one of KINDS. `trained`: axes where the network was trained throughout one of them, else edges.
        objectives: their names, p.
        ranges: (low, high) of each knob.
        trained: where omega was in training; None where that is unknown.

    Raises:
        TunableError: for another kind, and for edges of a network with one knob, which has none.
    """
    if kind not in KINDS:
        raise TunableError(f"paths are {', '.join(KINDS)}, not {shown(kind)}{nearest(kind, KINDS)}")
    along = axes(objectives, ranges)
    if len(objectives) == 1:
        if kind == EDGES:
            raise TunableError("an edge leads from one knob to another; this network has a single knob")
        return along
    if kind == AXES or (kind == TRAINED and any(trained_throughout(path, trained) for path in along)):
        return along
    return edges(objectives)
