"""How the kernels of each block move along lines between the corners of omega, and where they lie beside each other."""

import fnmatch
import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunable.analysis import embedding, kernels
from tunable.analysis.kernels import Kernel, Kernels
from tunable.errors import OmegaError, TunableError, nearest, shown
from tunable.models import find
from tunable.omega import MOST_SHOWN, format_omega

SETTINGS = 11  # along a line, where its shape is measured: steps of a tenth, as in Fig. 9
POINTS = 5  # along a line that are laid out beside each other, as in Fig. 8
MOST_POINTS = 5000  # that t-SNE lays out


@dataclass(frozen=True)
class Movement:
    """How the kernels of a block move along a line.

    Attributes:
        block: its name.
        line: the ends, such as "(0, 1) → (1, 0)".
        layers: how many kernels it has.
        values: how many numbers these hold.
        moved: the distance between the kernels at both ends over the norm of the longer of the two.
        turned: the angle between the kernels at both ends in degrees; 0 where they differ in length alone.
        first: the first component's share of the variance, 1 where kernels move on a straight line; nan without any.
        bend: the largest distance from where they would be if they moved evenly on the straight line between the ends,
            over the distance of these; nan where both ends are one.
    """

    block: str
    line: str
    layers: int
    values: int
    moved: float
    turned: float
    first: float
    bend: float


@dataclass(frozen=True)
class Point:
    """The kernels of a block at an omega (p,), laid out in two dimensions."""

    block: str
    omega: tuple[float, ...]
    x: float
    y: float


@dataclass(frozen=True)
class Profile:
    """The small kernels that a layer consists of along a line, by their first principal component.

    Of a layer with three inputs these are the kernels of its outputs, of one with three outputs the kernels of its
    inputs: pictures of red, green and blue. Of any other layer they are the kernels of its outputs.

    Attributes:
        layer: its name.
        line: as of a `Movement`.
        omegas: the settings, n of p values.
        scores: (kernels, n), where each kernel lies along the component that all of them have together.
        share: that component's share of the variance.
        pictures: (n, 3, height, width), the first component of the kernels at each setting; None where they are no
            pictures.
    """

    layer: str
    line: str
    omegas: list[tuple[float, ...]]
    scores: np.ndarray
    share: float
    pictures: np.ndarray | None


@dataclass(frozen=True)
class Analysis:
    """What `analyze` returns.

    Attributes:
        source: the file.
        objectives: the names of the p knobs.
        trained: where omega was in training, in words; "" where that is unknown.
        movements: of every block along every line.
        points: of every block at every setting that was laid out.
        profiles: of the first and the last layer along every line.
        fixed: the layers that no omega changes, and that are left out.
        seed: of t-SNE.
    """

    source: str
    objectives: tuple[str, ...]
    trained: str
    movements: list[Movement]
    points: list[Point]
    profiles: list[Profile]
    fixed: tuple[str, ...]
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        profiles = [
            asdict(each)
            | {"scores": each.scores.tolist(), "pictures": None if each.pictures is None else each.pictures.tolist()}
            for each in self.profiles
        ]
        return {**asdict(self), "profiles": profiles}


def analyze(model: str | Path, *, points: int = POINTS, layers: Sequence[str] = (), seed: int = 0) -> Analysis:
    """Follow the kernels of a network along lines between the corners of omega.

    With two knobs this is the line from (0, 1) to (1, 0); with more of them the lines from corner to corner around.

    Args:
        model: a weights file, a checkpoint, a file of `make_tunable`, or the name of a model that ships.
        points: settings along each line that t-SNE lays out.
        layers: patterns of the names of those that count; (): all.
        seed: of t-SNE.

    Raises:
        BackendError: where scikit-learn is not installed.
        OmegaError: for fewer than 2 points.
        TunableError: for a pattern that fits no layer, too many points, and as `tunable.analysis.kernels.read`.
    """
    if not 2 <= points <= MOST_SHOWN:
        raise OmegaError(f"a line has 2 to {MOST_SHOWN} points, not {points}")
    embedding.check_installed()
    path = find(model)
    found = kernels.read(path)
    tuned = _chosen(found, layers, path)
    blocks: dict[str, list[Kernel]] = {}
    for name, kernel in tuned.items():
        blocks.setdefault(block_of(name), []).append(kernel)
    ends = kernels.corners(found.ranges)
    lines = list(itertools.pairwise(ends if len(ends) == 2 else [*ends, ends[0]]))
    lines = [(second, first) for first, second in lines] if len(found.ranges) == 2 else lines  # as the paper has it
    settings = np.array(
        list(dict.fromkeys(tuple(omega) for line in lines for omega in _between(line, points).tolist()))
    )
    if len(blocks) * len(settings) > MOST_POINTS:
        raise TunableError(
            f"{len(blocks)} blocks at {len(settings)} settings are more points than the {MOST_POINTS} that can be "
            "laid out: choose fewer points, or layers"
        )
    convolutions = [name for name, kernel in tuned.items() if kernel(ends[:1])[0].ndim > 1]
    profiled = dict.fromkeys(convolutions[:1] + convolutions[-1:])
    return Analysis(
        str(model),
        found.objectives,
        found.trained,
        [_movement(block, line, each) for line in lines for block, each in blocks.items()],
        _laid_out(blocks, settings, seed),
        [_profile(name, line, tuned[name]) for line in lines for name in profiled],
        found.fixed,
        seed,
    )


def block_of(layer: str) -> str:
    """Return the block of a layer: its name up to the last number, or its first part: body.3 of body.3.conv1, head."""
    parts = layer.split(".")
    numbers = [place for place, each in enumerate(parts) if each.isdecimal()]
    return ".".join(parts[: numbers[-1] + 1] if numbers else parts[:1])


def _chosen(found: Kernels, patterns: Sequence[str], path: str | Path) -> dict[str, Kernel]:
    if not found.tuned:
        raise TunableError(f"{path} holds no kernel that omega changes")
    for pattern in patterns:
        if not fnmatch.filter(found.tuned, pattern):
            raise TunableError(f"no layer that omega sets is called {shown(pattern)}{nearest(pattern, found.tuned)}")
    return {
        name: kernel
        for name, kernel in found.tuned.items()
        if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


Line = tuple[np.ndarray, np.ndarray]  # both ends, (p,)


def _between(line: Line, points: int) -> np.ndarray:
    shares = np.linspace(0, 1, points)[:, None]
    return np.round((1 - shares) * line[0] + shares * line[1], 12)


def _named(line: Line) -> str:
    return f"{format_omega(line[0])} → {format_omega(line[1])}"


def _joined(block: list[Kernel], omegas: np.ndarray) -> np.ndarray:
    """All kernels of a block as one vector at each omega, (n, values)."""
    return np.concatenate([kernel(omegas).reshape(len(omegas), -1) for kernel in block], axis=1)


def _movement(name: str, line: Line, block: list[Kernel]) -> Movement:
    vectors = _joined(block, _between(line, SETTINGS))
    start, end = vectors[0], vectors[-1]
    longer, apart = (max(map(_norm, (start, end))), _norm(end - start))
    cosine = start @ end / max(_norm(start) * _norm(end), math.ulp(0.0))
    straight = start + np.linspace(0, 1, SETTINGS)[:, None] * (end - start)
    shares = embedding.components(vectors)[2]
    return Movement(
        name,
        _named(line),
        len(block),
        vectors.shape[1],
        apart / longer if longer else 0.0,
        math.degrees(math.acos(min(max(cosine, -1.0), 1.0))),
        float(shares[0]) if shares.any() else math.nan,
        max(map(_norm, vectors - straight)) / apart if apart else math.nan,
    )


def _norm(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))


def _laid_out(blocks: dict[str, list[Kernel]], settings: np.ndarray, seed: int) -> list[Point]:
    """Every block at every setting; blocks of one shape share a space, and those of others have their own."""
    alike: dict[tuple, list[str]] = {}
    for name, block in blocks.items():
        alike.setdefault(tuple(kernel(settings[:1]).shape for kernel in block), []).append(name)
    groups = [np.concatenate([_joined(blocks[name], settings) for name in names]) for names in alike.values()]
    places = iter(embedding.plane(embedding.together(groups), seed).tolist())
    names = [name for group in alike.values() for name in group]
    laid = {name: [Point(name, tuple(omega), *next(places)) for omega in settings.tolist()] for name in names}
    return [point for name in blocks for point in laid[name]]


def _profile(name: str, line: Line, kernel: Kernel) -> Profile:
    omegas = _between(line, SETTINGS)
    tuned = kernel(omegas)  # (n, out, in, *size)
    pictures = tuned.ndim == 5 and 3 in tuned.shape[1:3]
    if pictures and tuned.shape[2] != 3:
        tuned = tuned.swapaxes(1, 2)  # (n, kernels, 3, *size)
    count, units, *shape = tuned.shape
    rows = tuned.reshape(count, units, -1)
    scores, _, shares = embedding.components(rows.reshape(count * units, -1), 1)
    firsts: list[np.ndarray] = []
    for each in rows if pictures else ():
        first = embedding.components(each, 1)[1][0]
        firsts.append(-first if firsts and first @ firsts[-1] < 0 else first)  # a component has no sign of its own
    return Profile(
        name,
        _named(line),
        [tuple(omega) for omega in omegas.tolist()],
        scores[:, 0].reshape(count, units).T,
        float(shares[0]),
        np.stack(firsts).reshape(count, *shape) if pictures else None,
    )
