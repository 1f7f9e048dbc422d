"""Measuring a network along paths: pictures in, certificate out."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path as File
from typing import Any

import numpy as np

from tunable.backends.model import Model
from tunable.data.patches import check_pictures
from tunable.errors import TunableError
from tunable.evaluation import metrics
from tunable.evaluation.measuring import pictures_of
from tunable.evaluation.samples import Sample, check_usable, levels_of, samples
from tunable.images.pictures import from_network, to_network
from tunable.images.tiling import run_tiled
from tunable.response import paths as ways
from tunable.response.judging import End, Response, Tolerances, judge, judge_end, rounded
from tunable.response.measures import Measure, measures_of
from tunable.response.seams import largest_seam
from tunable.trained import describe

Levels = list[tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """One knob's measure for one picture, level and setting.

    Attributes:
        picture: the name of its file.
        sigma: of the noise, in 1/255.
        rho: of the blur, in pixels.
        knob: its name.
        path: where the other knobs are.
        omega: the setting, p values.
        value: of the knob's measure; nan where that is not defined.
        red: mean difference of the channel from the truth, in 1/255, without that of the noise that is kept.
        green: likewise.
        blue: likewise.
    """

    picture: str
    sigma: float
    rho: float
    knob: str
    path: str
    omega: tuple[float, ...]
    value: float
    red: float
    green: float
    blue: float


@dataclass(frozen=True)
class KnobCertificate:
    """What the knobs of a network do.

    Attributes:
        source: what was measured, such as the path of its file.
        objectives: the names of the knobs, in omega's order.
        trained: where the network was trained, in words; "" where that is unknown.
        pictures: the names of the pictures.
        levels: (sigma, rho) in 1/255 and pixels; (0, 0) where pictures were shrunk, or taken as they are.
        facts: of the framework that ran.
        tolerances: by which was judged; of a style transfer no colour cast is.
        responses: of every knob along every path.
        ends: where all knobs are 0, and all 1.
        rows: every value, in the order in which it was measured.
    """

    source: str
    objectives: tuple[str, ...]
    trained: str
    pictures: list[str]
    levels: Levels
    facts: dict[str, str]
    tolerances: Tolerances
    responses: list[Response]
    ends: list[End]
    rows: list[Row] = field(repr=False)

    @property
    def faults(self) -> list[str]:
        """What is beyond a tolerance, with the knob and path that it is found on."""
        found = [f"{each.knob}, {each.path}: {fault}" for each in self.responses for fault in each.faults]
        return found + [f"all knobs at {each.omega[0]:g}: {fault}" for each in self.ends for fault in each.faults]

    @property
    def passed(self) -> bool:
        """Whether nothing is beyond a tolerance."""
        return not self.faults

    @property
    def judged(self) -> bool:
        """Whether any knob was judged along any path."""
        return any(not response.unjudged for response in self.responses)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the rows as plain values."""
        kept = ("source", "objectives", "trained", "pictures", "levels", "facts")
        return {
            **{name: getattr(self, name) for name in kept},
            "tolerances": asdict(self.tolerances),
            "passed": self.passed,
            "judged": self.judged,
            "faults": self.faults,
            "responses": [response.to_dict() for response in self.responses],
            "ends": [end.to_dict() for end in self.ends],
        }


def certify(
    model: Model,
    data: str,
    *,
    source: str = "the network",
    sigmas: Iterable[float] | None = None,
    rhos: Iterable[float] | None = None,
    along: str = ways.TRAINED,
    tolerances: Tolerances | None = None,
    limit: int | None = None,
    crop: int | None = None,
    recursive: bool = False,
    max_pixels: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> KnobCertificate:
    """Measure every knob of a network along its paths, and judge those along which it was trained.

    Args:
        model: of any framework, tunable.
        data: a folder of clean pictures, one picture, or the word bundled.
        source: what the certificate calls the network.
        sigmas: noise levels in 1/255; None: as `evaluate`.
        rhos: blur levels in pixels; None: likewise.
        along: which paths, one of `paths.KINDS`.
        tolerances: by which is judged; None: the usual ones.
        limit: how many pictures are taken, the first ones; None: all.
        crop: pixels of the central square that is taken of each picture; None: the whole picture.
        recursive: whether pictures in sub-folders are taken too.
        max_pixels: as `read_picture`.
        progress: called with how many restorations are done, and how many there are.

    Raises:
        TunableError: for a plain network, for levels that its task has not, and for tolerances of another number.
        DataError: for a picture that cannot be used, before any is restored.
    """
    header, tolerances = model.header, tolerances or Tolerances()
    objectives = model.objectives
    if not objectives:
        raise TunableError("this network is plain: it has no knobs to measure")
    if tolerances.least is not None and len(tolerances.least) != len(objectives):
        raise TunableError(f"{len(tolerances.least)} least ranges for the {len(objectives)} knobs")
    turned = ways.chosen(along, objectives, header.omega_range, header.trained)
    levels, measures = _levels(model, sigmas, rhos), measures_of(header)
    if _is_style(model):
        tolerances = replace(tolerances, cast=None)  # to change colours is its task
    files = [File(data)] if File(data).is_file() else pictures_of([data], recursive)
    files = files[:limit]
    check_pictures(
        files, partial(check_usable, ssim=False, scale=header.network.scale, max_pixels=max_pixels), data, max_pixels
    )
    draw = partial(samples, files, levels, header.network.scale, max_pixels, crop)
    _check_defined(objectives, measures, draw())
    every = [*turned, *ways.ends(objectives)]
    rows, values, casts, seams = _measured(model, every, measures, draw(), len(files), len(levels), progress)
    responses, ends, p = [], [], len(objectives)
    for index, path in enumerate(turned):
        seam = _worst(seams.get(rounded(omega)) for omega in path.omegas)
        name, measure = objectives[path.knob], measures[path.knob]
        responses.append(judge(path, name, measure, values[index], casts[index], seam, header.trained, tolerances))
    for first in range(len(turned), len(every), p):
        omega = every[first].omegas[0]
        here = {name: float(values[first + knob][0]) for knob, name in enumerate(objectives)}
        seam = seams.get(rounded(omega))
        ends.append(judge_end(omega, here, casts[first][0], seam, header.trained, tolerances))
    return KnobCertificate(
        source=source,
        objectives=objectives,
        trained=describe(header.trained) if header.trained else "",
        pictures=[file.name for file in files],
        levels=levels,
        facts={"backend": model.backend.name, **model.backend.facts()},
        tolerances=tolerances,
        responses=responses,
        ends=ends,
        rows=rows,
    )


def _is_style(model: Model) -> bool:
    return model.header.recipe_values.get("task") == "style_transfer"


def _levels(model: Model, sigmas: Iterable[float] | None, rhos: Iterable[float] | None) -> Levels:
    if not _is_style(model):
        return levels_of(model.header, sigmas, rhos)
    if not (sigmas is None and rhos is None):
        raise TunableError("style transfer takes pictures as they are: it is measured without noise and blur")
    return [(0.0, 0.0)]


_WITHOUT = {"noise": "they have no noise", "blur": "they are not blurred"}  # by a word of the measure's name


def _check_defined(objectives: tuple[str, ...], measures: list[Measure], drawn: Iterable[Sample]) -> None:
    """TunableError for a measure that no picture defines, such as noise kept without noise."""
    left = dict(zip(objectives, measures, strict=True))
    for sample in drawn:
        whole = sample.clean, sample.clean
        left = {name: measure for name, measure in left.items() if math.isnan(measure.read(sample, *whole))}
        if not left:
            return
    name, measure = next(iter(left.items()))
    raise TunableError(
        f"knob {name} is measured by {measure.name}, which these pictures at these levels do not define: "
        + next((why for word, why in _WITHOUT.items() if word in measure.name), "they are flat")
    )


def _measured(
    model: Model,
    every: list[ways.Path],
    measures: list[Measure],
    drawn: Iterable[Sample],
    pictures: int,
    levels: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Row], list[np.ndarray], list[np.ndarray], dict[tuple[float, ...], float | None]]:
    """Every row; per path the mean values (n,) and largest casts (n, 3); the first picture's seams by setting."""
    uses: dict[tuple[float, ...], list[tuple[int, int]]] = {}  # setting -> (path, place along it)
    for index, path in enumerate(every):
        for place, omega in enumerate(path.omegas):
            uses.setdefault(rounded(omega), []).append((index, place))
    compared = {
        rounded(path.omegas[0]) for path in every if measures[path.knob].relative and len(path.omegas) > 1
    }  # the starts from which distances are taken
    cut = {rounded(path.omegas[place]) for path in every for place in (0, len(path.omegas) // 2, -1)}
    found = [[([], []) for _ in path.omegas] for path in every]
    rows, seams, done = [], {}, 0
    total = pictures * levels * len(uses) + 2 * len(cut)

    def restore(sample: Sample, omega: tuple[float, ...]) -> np.ndarray:
        nonlocal done
        restored = from_network(run_tiled(model, to_network(sample.degraded), omega, whole=math.inf))
        done += 1
        if progress:
            progress(done, total)
        return restored

    for number, sample in enumerate(drawn):
        starts = {omega: restore(sample, omega) for omega in compared}
        for omega, places in uses.items():
            restored = starts[omega] if omega in starts else restore(sample, omega)
            cast = _cast(sample, restored)
            for index, place in places:
                path = every[index]
                measure = measures[path.knob]
                value = math.nan
                if np.isfinite(cast).all() and not (measure.relative and len(path.omegas) == 1):
                    start = starts.get(rounded(path.omegas[0]), restored)
                    value = measure.read(sample, restored, start)
                found[index][place][0].append(value)
                found[index][place][1].append(cast)
                here = sample.path.name, float(sample.sigma), float(sample.rho), model.objectives[path.knob], path.name
                rows.append(Row(*here, omega, value, *cast.tolist()))
            if number == 0 and omega in cut:
                seams[omega] = largest_seam(model, sample.degraded, np.array(omega, dtype=np.float32))
                done += 2
    values = [np.array([_mean(*place) for place in path]) for path in found]
    casts = [np.array([_largest(place[1], levels) for place in path]) for path in found]
    return rows, values, casts, seams


def _cast(sample: Sample, restored: np.ndarray) -> np.ndarray:
    """Mean shift of each channel from the truth in 1/255, (3,), without the mean of the noise that is kept."""
    shift = np.mean(restored.astype(np.float64) - sample.clean, axis=(0, 1))
    if sample.degraded.shape == sample.clean.shape and np.isfinite(shift).all():
        kept = metrics.share_kept(restored, sample.clean, sample.degraded)
        residue = np.mean(sample.degraded.astype(np.float64) - sample.clean, axis=(0, 1))
        shift = shift - (0 if math.isnan(kept) else kept) * residue
    return 255 * shift


def _largest(casts: list[np.ndarray], levels: int) -> np.ndarray:
    """Of the means over each picture's levels, the one of largest magnitude in every channel, (3,)."""
    pictures = np.reshape(casts, (-1, levels, 3)).mean(axis=1)
    if not np.isfinite(pictures).all():
        return np.full(3, math.nan)
    return pictures[np.argmax(np.abs(pictures), axis=0), range(3)]


def _mean(values: list[float], casts: list[np.ndarray]) -> float:
    """The mean where the measure is defined; nan where the network's output was not finite anywhere."""
    if not np.isfinite(casts).all():
        return math.nan
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _worst(seams: Iterable[float | None]) -> float | None:
    found = [seam for seam in seams if seam is not None]
    return float(np.max(found)) if found else None
