"""omega, the interactive parameters: checking, parsing, naming, grids (paper section 3.2).

`omega` is (p,), one setting for a whole batch, (N, p), one per sample, or a map (N, p, H, W), one per pixel. Values lie
in [0, 1] and need not sum to one. How training draws them is in `sampling`.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunable.errors import OmegaError, nearest, shown

STRENGTH = "strength"  # a knob of this name is what --strength sets
MOST_POINTS = 2**16  # of a grid: the corners of the most objectives that a recipe may have
MOST_SHARES = 10_000  # points of a grid over sum 1
MOST_SHOWN = 100  # along an edge of what is shown side by side


def check_omega(
    omega: ArrayLike,
    objectives: int | Sequence[str],
    batch: int | None = None,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Check an omega for a network; any finite value passes, and `check_range` is the stricter test.

    Args:
        omega: (p,), (N, p), or a map (N, p, H, W).
        objectives: their names, or how many they are.
        batch: the N that an omega per sample and a map must have; None: any.
        size: height and width that a map must have; None: no map is taken.

    Returns:
        The omega as float32 of the same shape.

    Raises:
        OmegaError: for another shape, and for values that are not finite numbers.
    """
    num_objectives, names = (objectives, "") if isinstance(objectives, int) else _named(objectives)
    try:
        if np.iscomplexobj(omega):
            raise TypeError
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
            array = np.asarray(omega, dtype=np.float32)
    except (TypeError, ValueError):
        raise _no_numbers(omega) from None
    if size is not None and array.ndim == 4:
        check_map(array.shape, num_objectives, batch, size, names)
    elif array.ndim not in (1, 2) or array.shape[-1] != num_objectives:
        a_map = "" if size is None else f", or a map (N, {num_objectives}, {size[0]}, {size[1]})"
        raise OmegaError(
            f"omega has shape {array.shape}; the network has {num_objectives} objectives{names}, "
            f"so it must be ({num_objectives},) or (N, {num_objectives}){a_map}"
        )
    if batch is not None and array.ndim == 2 and len(array) != batch:
        raise OmegaError(f"omega has {len(array)} rows for a batch of {batch}")
    if not np.isfinite(array).all():
        received = "a map of which some are not" if array.ndim > 2 else shown(array.tolist())
        raise OmegaError(f"omega must be finite, not {received}")
    return array


def axes_of(omega: ArrayLike) -> int:
    """Return how many axes an omega has, 4 if it is a map; OmegaError where its rows differ in length."""
    try:
        return np.ndim(omega)
    except (TypeError, ValueError):
        raise _no_numbers(omega) from None


def check_map(
    shape: Sequence[int], num_objectives: int, samples: int | None, size: Sequence[int], names: str = ""
) -> None:
    """Raise OmegaError unless an omega of a shape can be a map (N, p, *size).

    Args:
        shape: of the omega, of as many axes.
        num_objectives: p.
        samples: N; None: any.
        size: of what the map is for, such as height and width in pixels.
        names: of the objectives, as a message ends with them.
    """
    if shape[1] != num_objectives:
        raise OmegaError(
            f"omega has {shape[1]} maps, of shape {tuple(shape)}; {num_objectives} are wanted, one for each "
            f"objective{names}"
        )
    if samples is not None and shape[0] != samples:
        raise OmegaError(f"omega has maps for {shape[0]} samples, but the input has {samples}")
    if tuple(shape[2:]) != tuple(size):
        received, wanted = ("x".join(map(str, sides)) for sides in (shape[2:], size))
        raise OmegaError(f"omega is a map of {received} pixels, height x width; {wanted} are wanted")


def check_tensor(
    omega: object,
    num_objectives: int,
    samples: int | None = None,
    *,
    dims: tuple[int, ...] = (1, 2),
    size: Sequence[int] | None = None,
    without_maps: str = "",
) -> None:
    """Raise OmegaError unless a framework's tensor can be an omega, by its shape alone: its values are not read.

    Args:
        omega: the tensor, (p,), (N, p), or a map (N, p, *size).
        num_objectives: p.
        samples: the N that an omega per sample and a map must have; None: any.
        dims: how many axes it may have if it is no map; (1,) admits (p,) alone.
        size: of what a map is for, such as height and width; None or (): no map is taken.
        without_maps: why a network takes none, "" for one that does.

    Raises:
        OmegaError: for what is no tensor, or has another shape.
    """
    expected = " or ".join(f"({'N, ' * (n - 1)}{num_objectives}{',' * (n == 1)})" for n in dims)
    if size:
        expected += f", or a map (N, {', '.join(map(str, (num_objectives, *size)))})"
    shape = getattr(omega, "shape", None)
    if shape is None:
        raise OmegaError(f"omega must be a tensor {expected}, not {type(omega).__name__}")
    if size and len(shape) == 2 + len(size):
        check_map(shape, num_objectives, samples, size)
        return
    if len(shape) not in dims or shape[-1] != num_objectives:
        if without_maps and len(shape) == 4:
            expected += f" and no map, for {without_maps}"
        raise OmegaError(f"omega must be a tensor {expected}, not one of shape {tuple(shape)}")
    if len(shape) == 2 and samples is not None and shape[0] != samples:
        raise OmegaError(f"omega has {shape[0]} rows, one per sample, but the input has {samples} samples")


def check_range(omega: np.ndarray, omega_range: Sequence[Sequence[float]]) -> np.ndarray:
    """Return an omega unchanged if it lies in the trained range, p pairs. Raises OmegaError if it does not.

    Args:
        omega: (p,), (N, p), or a map (N, p, H, W).
        omega_range: the lowest and the highest value of each knob.
    """
    low, high = np.asarray(omega_range, dtype=np.float64).T
    rows = np.moveaxis(omega, 1, -1) if omega.ndim > 2 else omega
    if np.any(rows < low - 1e-6) or np.any(rows > high + 1e-6):
        trained = ", ".join(f"[{a:g}, {b:g}]" for a, b in zip(low, high, strict=True))
        if omega.ndim > 2:
            axes = (0, 2, 3)
            spans = ", ".join(f"[{a:.6g}, {b:.6g}]" for a, b in zip(omega.min(axes), omega.max(axes), strict=True))
            raise OmegaError(f"omega, a map that spans {spans}, lies outside the trained range {trained}")
        values = ", ".join(f"{value:.6g}" for value in np.ravel(omega))
        raise OmegaError(f"omega ({values}) lies outside the trained range {trained}")
    return omega


def parse_omega(text: str, objectives: Sequence[str], start: Sequence[float] = ()) -> np.ndarray:
    """Read "0.7,0.3", or "noise=0.3,fidelity=0.7" in any order, as an omega (p,); OmegaError.

    Args:
        text: what a user wrote.
        objectives: the names of the p knobs.
        start: (p,), where knobs stand that `text` does not name; (): it must name all of them.
    """
    parts = [part.strip() for part in text.split(",")]
    p, names = _named(objectives)
    if "=" in text:
        parts = _in_order(text, parts, objectives, start)
    elif len(parts) != p:
        count = "1 value" if len(parts) == 1 else f"{len(parts)} values"
        raise OmegaError(f"omega {shown(text)} has {count}; the network has {p}{names}: give {example(objectives)}")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        raise OmegaError(f"omega must be {p} numbers like {example(objectives)}, not {shown(text)}") from None
    return check_omega(values, objectives)


def of_strength(strength: float, objectives: Sequence[str], start: Sequence[float] = ()) -> np.ndarray:
    """Return the omega (p,) that cleans by a strength in 0..100.

    Args:
        strength: of a network with the knobs fidelity and noise it gives s/100 and 1 - s/100; otherwise it is the knob
            `strength`, s/100.
        objectives: the names of the p knobs.
        start: (p,), where the other knobs stand.

    Raises:
        OmegaError: for a network without these knobs, or with others beside `strength` and no start.
    """
    share = strength / 100
    if set(objectives) == {"fidelity", "noise"}:
        values = {"fidelity": share, "noise": 1 - share}
    elif STRENGTH in objectives and (start or len(objectives) == 1):
        values = {**dict(zip(objectives, start, strict=False)), STRENGTH: share}
    else:
        p, names = _named(objectives)
        raise OmegaError(
            f"a strength is for a network whose knobs are fidelity and noise, or that ships with a knob {STRENGTH}; "
            f"this one has {p}{names}"
        )
    return check_omega([values[name] for name in objectives], objectives)


def _in_order(text: str, parts: list[str], objectives: Sequence[str], start: Sequence[float]) -> list[str]:
    """The values of "b=2, a=1" in the order of the names; what `text` does not name is as in `start`."""
    values: dict[str, str] = {}
    for part in parts:
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise OmegaError(f"omega {shown(text)} has a value without a name: name all of them, or none")
        if name not in objectives:
            known = ", ".join(objectives)
            raise OmegaError(f"omega names {shown(name)}{nearest(name, objectives)}; the knobs are {known}")
        if name in values:
            raise OmegaError(f"omega {shown(text)} names {name} twice")
        values[name] = value
    values = {**{name: str(value) for name, value in zip(objectives, start, strict=False)}, **values}
    missing = [name for name in objectives if name not in values]
    if missing:
        raise OmegaError(f"omega {shown(text)} lacks a value for {', '.join(missing)}: give {example(objectives)}")
    return [values[name] for name in objectives]


def _no_numbers(omega: object) -> OmegaError:
    return OmegaError(f"omega must be numbers of shape (p,) or (N, p), not {shown(omega)}")


def _named(objectives: Sequence[str]) -> tuple[int, str]:
    return len(objectives), f" ({', '.join(objectives)})"


def example(objectives: Sequence[str]) -> str:
    """Say how an omega of these objectives may be written: "1,0 or fidelity=1,noise=0"."""
    values = ["1", *"0" * (len(objectives) - 1)]
    named = ",".join(f"{name}={value}" for name, value in zip(objectives, values, strict=True))
    return f"{','.join(values)} or {named}"


def format_omega(omega: ArrayLike) -> str:
    """Write an omega (p,) as tables and labels have it: "(0.25, 0.75)"."""
    return "(" + ", ".join(f"{value:.4g}" for value in np.asarray(omega, dtype=np.float64)) + ")"


def grid(num_objectives: int, points: int) -> np.ndarray:
    """Return all omegas with each coordinate one of `points` even steps over [0, 1]: (points**p, p)."""
    if points < 2:
        raise OmegaError(f"a grid needs at least 2 points per axis, not {points}")
    if points > MOST_POINTS or points**num_objectives > MOST_POINTS:
        raise OmegaError(
            f"{points} points along each of {num_objectives} axes are more than the {MOST_POINTS} that a grid may have"
        )
    axis = np.linspace(0, 1, points, dtype=np.float32)
    return np.array(list(itertools.product(axis, repeat=num_objectives)), dtype=np.float32)


def count_shares(divisions: int, num_objectives: int) -> int:
    """Return how many omegas `shares` returns."""
    return math.comb(divisions + num_objectives - 1, num_objectives - 1)


def shares(divisions: int, num_objectives: int) -> NDArray[np.float64]:
    """Return every omega of sum 1 whose values are multiples of 1 / divisions, from (0, ..., 1) on.

    Returns:
        float64 (comb(divisions + p - 1, p - 1), p): p - 1 bars among so many stars.
    """
    length, count = divisions + num_objectives - 1, count_shares(divisions, num_objectives)
    bars = np.array(list(itertools.combinations(range(length), num_objectives - 1)), dtype=np.int64)
    bars = bars.reshape(count, num_objectives - 1)
    edges = np.hstack([np.full((count, 1), -1), bars, np.full((count, 1), length)])
    return (np.diff(edges, axis=1) - 1) / divisions


def line(points: int) -> np.ndarray:
    """Return the line omega_1 + omega_2 = 1 from (0, 1) to (1, 0): (points, 2)."""
    if points < 2:
        raise OmegaError(f"a line needs at least 2 points, not {points}")
    if points > MOST_POINTS:
        raise OmegaError(f"a line of {points} points has more than {MOST_POINTS}, the limit")
    first = np.linspace(0, 1, points)
    return np.stack([first, 1 - first], axis=1).astype(np.float32)


def sweep(num_objectives: int, points: int, *, square: bool = False, start: Sequence[float] = ()) -> list[np.ndarray]:
    """Omegas to show side by side, in rows (n, p) of one and more: from one end of every knob to the other.

    One objective: a row from 0 to 1. Two: the row `line`, or, square, all of [0, 1]^2, omega_1 growing to the right and
    omega_2 upwards. Three: the triangle of those that sum to one, its corners the unit vectors, the first on top.
    Three and more of a model that has a default, `start` (p,): a row for every knob, from 0 to 1, the others as there.

    Raises OmegaError for fewer than 2 points along an edge, for other numbers of objectives, and for a square that
    is not of two.
    """
    if points < 2:
        raise OmegaError(f"a sweep needs at least 2 points, not {points}")
    if points > MOST_SHOWN:
        raise OmegaError(f"a sweep has at most {MOST_SHOWN} points along an edge, not {points}")
    if square and num_objectives != 2:
        raise OmegaError(f"a square sweep is for two objectives; this network has {num_objectives}")
    steps = np.linspace(0, 1, points, dtype=np.float32)
    if num_objectives == 1:
        return [steps[:, None]]
    if num_objectives == 2:
        return [np.stack([steps, np.full(points, up)], 1) for up in steps[::-1]] if square else [line(points)]
    if start and num_objectives > 2:
        rows = [np.tile(np.array(start, np.float32), (points, 1)) for _ in start]
        for knob, row in enumerate(rows):
            row[:, knob] = steps
        return rows
    if num_objectives == 3:
        top = points - 1
        return [
            np.array([[top - row, row - place, place] for place in range(row + 1)], dtype=np.float32) / top
            for row in range(points)
        ]
    raise OmegaError(f"a sweep is for one, two or three objectives; this network has {num_objectives}")


def tour(num_objectives: int, points: int, start: Sequence[float] = ()) -> np.ndarray:
    """Omegas of an animation that starts where it ends, (n, p): there and back, or round the triangle of `sweep`.

    With a row for every knob: there and back with each, from where `start` has it.
    """
    rows = sweep(num_objectives, points, start=start)
    if start and num_objectives > 2:
        ways = []
        for knob, row in enumerate(rows):
            up, down = row[row[:, knob] > start[knob]], row[row[:, knob] < start[knob]]
            ways += [*up, *up[-2::-1], *down[::-1], *down[1:]]
        return np.stack([np.array(start, np.float32), *ways])
    if num_objectives < 3:
        return np.concatenate([rows[0], rows[0][-2:0:-1]])
    down, along, up = [row[-1] for row in rows], rows[-1][::-1], [row[0] for row in rows[::-1]]
    return np.stack([*down, *along[1:], *up[1:-1]])
