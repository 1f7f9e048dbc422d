"""What a path shows of a knob, and whether that is good enough: range, steps back, dead zones, direction, colour."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tunable.errors import TunableError
from tunable.omega import format_omega
from tunable.response.measures import Measure
from tunable.response.paths import Path, is_trained, trained_throughout
from tunable.trained import Part

DEAD_ZONE = 0.02  # of the range: a step of a tenth of the travel that changes less belongs to a dead zone
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Tolerances:
    """What a knob may do and still pass.

    Attributes:
        back: how far it may fall back in one or more steps, as a share of the range; beyond it a knob is not monotone,
            or is reversed.
        dead: the share of the travel that may lie in dead zones.
        least: the least range of each knob's measure, p values; None: that of each measure.
        cast: the largest mean difference of a channel from the truth, in 1/255; None: any. An eye sees little below 2.
        seam: the largest step of the difference between tiled and whole across a border of tiles, in 1/255; None: any.

    Raises:
        TunableError: for a tolerance that is negative or no number.
    """

    back: float = 0.02
    dead: float = 0.5
    least: tuple[float, ...] | None = None
    cast: float | None = 2.0
    seam: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None and not 0 <= one < math.inf:
                    raise TunableError(f"the tolerance {name!r} must be a number of at least 0, not {one}")


@dataclass(frozen=True)
class Response:
    """How one knob answers along one path.

    Attributes:
        knob: its name.
        measure: the name of its measure.
        unit: of the values, "" for a share.
        path: where the other knobs are.
        omegas: the settings, n of p values.
        values: the measure at each, mean over pictures and levels.
        casts: mean difference of red, green and blue from the truth at each, in 1/255, of the picture that has most.
        range: largest value less smallest.
        least: the range below which the knob is dead.
        change: last value less first.
        back: how far it falls back in one or more steps, at most, as a share of the range.
        dead_zones: (from, to) of the knob's own values between which it does nothing.
        dead: the share of the travel that lies in them.
        monotone: whether it never steps back further than tolerated.
        reversed: whether it leads the other way than its objective asks for.
        cast: the largest of `casts` in magnitude.
        cast_at: its colour and setting, such as "blue at (1, 1)".
        seam: the largest seam of tiles at its ends and its middle, in 1/255; None where nothing could be cut.
        unjudged: why the knob is not judged here; "" where it is.
        faults: what is beyond a tolerance, a sentence each.
    """

    knob: str
    measure: str
    unit: str
    path: str
    omegas: list[tuple[float, ...]]
    values: list[float]
    casts: list[tuple[float, ...]]
    range: float
    least: float
    change: float
    back: float
    dead_zones: list[tuple[float, float]]
    dead: float
    monotone: bool
    reversed: bool
    cast: float
    cast_at: str
    seam: float | None
    unjudged: str
    faults: list[str]

    @property
    def verdict(self) -> str:
        """Failed, passed or not judged."""
        return "failed" if self.faults else "not judged" if self.unjudged else "passed"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict as plain values."""
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class End:
    """What a network does where all knobs are 0, or all 1.

    Attributes:
        omega: (p,).
        values: the measure of each knob by its name; nan for a measure that a single setting has not.
        cast: mean difference of red, green and blue from the truth, in 1/255, of the picture that has most.
        seam: the seam of tiles, as of a `Response`.
        trained: whether the network is known to have been trained there.
        faults: what is beyond a tolerance.
    """

    omega: tuple[float, ...]
    values: dict[str, float]
    cast: tuple[float, ...]
    seam: float | None
    trained: bool
    faults: list[str]

    @property
    def verdict(self) -> str:
        """Failed, passed or not judged."""
        return "failed" if self.faults else "passed" if self.trained else "not judged"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict as plain values."""
        return {**asdict(self), "verdict": self.verdict}


def judge(
    path: Path,
    name: str,
    measure: Measure,
    values: np.ndarray,
    casts: np.ndarray,
    seam: float | None,
    trained: Sequence[Part] | None,
    tolerances: Tolerances,
) -> Response:
    """Judge a knob along a path.

    Args:
        path: of n settings.
        name: the knob's.
        measure: the knob's.
        values: of the measure, (n,).
        casts: (n, 3), in 1/255.
        seam: the largest, in 1/255; None where there is none.
        trained: where the network was trained; None where that is unknown.
        tolerances: what may be.
    """
    least = measure.least if tolerances.least is None else tolerances.least[path.knob]
    finite = bool(np.isfinite(values).all())
    span, change, back, steps = (math.nan, math.nan, math.nan, np.zeros(0))
    if finite:
        span, change = float(np.ptp(values)), float(values[-1] - values[0])
        forward = values * (np.sign(change) or measure.direction)
        drop = float(np.max(np.maximum.accumulate(forward) - forward))
        back, steps = drop / span if span else 0.0, np.abs(np.diff(values))
    useless = finite and (span < least or span == 0)
    still = steps < DEAD_ZONE * span if not useless else np.ones(len(steps), dtype=bool)
    dead = float(np.mean(still)) if finite else math.nan
    turned = finite and not useless and change * measure.direction < -tolerances.back * span
    unjudged = _unjudged(path, measure, trained)
    faults = []
    if not unjudged and useless:
        faults.append(f"dead: the range of {measure.name} is {span:.3g}, less than {least:g}")
    if not unjudged and finite and not useless:
        if dead > tolerances.dead:
            faults.append(f"dead over {100 * dead:.0f} % of its travel, more than {100 * tolerances.dead:g} %")
        if back > tolerances.back:
            faults.append(f"not monotone: steps back by {100 * back:.1f} % of its range")
        if turned:
            faults.append(f"reversed: {measure.name} {'falls' if change < 0 else 'grows'} as the knob grows")
    known = [is_trained(omega, trained) for omega in path.omegas]
    faults += [
        f"not finite at {format_omega(omega)}"
        for omega, cast, sure in zip(path.omegas, casts, known, strict=True)
        if sure and not np.isfinite(cast).all()
    ]
    cast, where = _largest(path.omegas, casts)
    if any(known):
        worst, at = _largest(path.omegas[known], casts[known])
        faults += _colour(worst, at, tolerances)
    if seam is not None:
        faults += _seam(seam, tolerances)
    return Response(
        knob=name,
        measure=measure.name,
        unit=measure.unit,
        path=path.name,
        omegas=[rounded(omega) for omega in path.omegas],
        values=values.tolist(),
        casts=[tuple(row) for row in casts.tolist()],
        range=span,
        least=least,
        change=change,
        back=back,
        dead_zones=_zones(path.travel, still),
        dead=dead,
        monotone=finite and back <= tolerances.back,
        reversed=turned,
        cast=cast,
        cast_at=where,
        seam=seam,
        unjudged=unjudged,
        faults=faults,
    )


def judge_end(
    omega: np.ndarray,
    values: dict[str, float],
    cast: np.ndarray,
    seam: float | None,
    trained: Sequence[Part] | None,
    tolerances: Tolerances,
) -> End:
    """Judge the colours where all knobs are 0, or all 1, if the network was trained there; arguments as `judge`."""
    known, faults = is_trained(omega, trained), []
    if known:
        faults = _colour(*_largest(omega[None], cast[None]), tolerances)
        faults += [] if np.isfinite(cast).all() else [f"not finite at {format_omega(omega)}"]
    faults += [] if seam is None else _seam(seam, tolerances)
    return End(rounded(omega), values, tuple(cast.tolist()), seam, known, faults)


def rounded(omega: np.ndarray) -> tuple[float, ...]:
    """Return an omega (p,) as tables hold it."""
    return tuple(round(float(value), 6) for value in omega)


def _unjudged(path: Path, measure: Measure, trained: Sequence[Part] | None) -> str:
    if trained is None:
        return "it is not known where the network was trained"
    if not trained_throughout(path, trained):
        return "the network was hardly or never trained along this path"
    if measure.weighed and path.alone:
        return "with the other knobs near 0 its objective has nothing to be weighed against"
    return ""


def _zones(travel: np.ndarray, still: np.ndarray) -> list[tuple[float, float]]:
    """The stretches of consecutive steps that are still, (from, to) each."""
    zones: list[tuple[float, float]] = []
    for step in np.flatnonzero(still):
        low, high = round(float(travel[step]), 6), round(float(travel[step + 1]), 6)
        if zones and zones[-1][1] == low:
            low = zones.pop()[0]
        zones.append((low, high))
    return zones


def _largest(omegas: np.ndarray, casts: np.ndarray) -> tuple[float, str]:
    """The cast of the largest magnitude, and which colour and setting have it; nan where none is finite."""
    magnitudes = np.where(np.isfinite(casts), np.abs(casts), -1)
    place, colour = np.unravel_index(int(np.argmax(magnitudes)), magnitudes.shape)
    if magnitudes[place, colour] < 0:
        return math.nan, ""
    return float(casts[place, colour]), f"{COLOURS[colour]} at {format_omega(omegas[place])}"


def _colour(cast: float, where: str, tolerances: Tolerances) -> list[str]:
    if tolerances.cast is None or abs(cast) <= tolerances.cast or math.isnan(cast):
        return []
    return [f"colour cast of {cast:+.2f}/255, {where}, more than {tolerances.cast:g}"]


def _seam(seam: float, tolerances: Tolerances) -> list[str]:
    if tolerances.seam is None or seam <= tolerances.seam:
        return []
    return [f"a seam of tiles of {seam:.2g}/255, more than {tolerances.seam:g}"]
