"""The measure of each knob, which follows from the kind of its objective.

    kind     measure      what it is
    noise    noise kept   r of the least-squares fit restored = y + r (z - y), y the clean and z the degraded picture
    residue  noise residue kept, blur residue kept: r of the least-squares fit restored = y + r d, d that residue
    rec      PSNR         to the clean picture in dB, at most `MOST_PSNR`
    blur     sharpening   c of the least-squares fit restored = y + c (y - g * y), g the objective's Gaussian
    gan      sharpness    fine detail as a share of the truth's (`metrics.sharpness`); of `features` too
    style    change       root mean square distance from what the start of the path gives, in 1/255

Noise kept, residues kept and PSNR look at luma or chroma alone where the objective does. A network whose recipe is
unknown is measured by change too, and so are residues that the measuring protocol does not make (JPEG, photons).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tunable.data.filters import gaussian_blur
from tunable.evaluation import metrics
from tunable.evaluation.measuring import compare_enlarged
from tunable.evaluation.samples import Sample
from tunable.objectives import Objective
from tunable.objectives.restoration import UNSHARP_SIGMA, UNSHARP_SIZE, NoisePreservation, ResiduePreservation
from tunable.weights.storage import Header

MOST_PSNR = 60.0  # dB: rounding to 8 bits leaves 59

_WORDS = {"gaussian_noise": "noise", "gaussian_blur": "blur"}  # what the measuring protocol makes

Reading = Callable[[Sample, np.ndarray, np.ndarray], float]  # sample, restored, restored at the path's start -> value


@dataclass(frozen=True)
class Measure:
    """What a knob is measured by.

    Attributes:
        name: such as "noise kept" or "PSNR of luma".
        unit: in which its values are; "" for a share.
        least: the range below which a knob does nothing.
        direction: 1 where a larger omega should give more of it, else -1.
        weighed: whether its objective has one target whatever omega is, so that it must be weighed against another.
        relative: whether it is a distance from the path's start, which a single setting has not.
        read: its value for a restored picture; nan where it is not defined, such as noise kept without noise.
    """

    name: str
    unit: str
    least: float
    direction: int
    weighed: bool
    read: Reading
    relative: bool = False


def measures_of(header: Header) -> list[Measure]:
    """Return the measure of every knob of a network, in omega's order; change where its recipe is unknown."""
    recipe = header.recipe
    if recipe is None:
        return [_change(weighed=False)] * header.num_objectives
    return [_measure(spec, header.network.scale) for spec in recipe.objectives]


def _measure(spec: Objective, scale: int) -> Measure:
    space = getattr(spec, "space", "rgb")
    if isinstance(spec, NoisePreservation):
        name = "noise kept" if space == "rgb" else f"{space} noise kept"
        direction = -1 if spec.residual == "remove" else 1
        return Measure(name, "", 0.02, direction, spec.residual == "full", partial(_kept, space))
    if isinstance(spec, ResiduePreservation) and spec.of in _WORDS:
        name = f"{_WORDS[spec.of]} residue kept"
        name = name if space == "rgb" else f"{space} {name}"
        return Measure(name, "", 0.02, 1, True, partial(_residue_kept, space, spec.of))
    if spec.kind == "rec":
        name = "PSNR" if space == "rgb" else f"PSNR of {space}"
        return Measure(name, "dB", 0.1, 1, True, partial(_psnr, space, scale))
    if spec.kind == "blur":
        return Measure("sharpening", "", 0.02, 1, False, _sharpening)
    if spec.kind in ("gan", "features"):
        return Measure("sharpness", "", 0.02, 1, True, partial(_sharpness, scale))
    return _change(weighed=True)


def _change(weighed: bool) -> Measure:
    return Measure("change", "1/255", 0.5, 1, weighed, _distance, relative=True)


def _kept(space: str, sample: Sample, restored: np.ndarray, start: np.ndarray) -> float:
    part = partial(metrics.part, space=space)
    return metrics.share_kept(part(restored), part(sample.clean), part(sample.degraded))


def _residue_kept(space: str, of: str, sample: Sample, restored: np.ndarray, start: np.ndarray) -> float:
    if of not in sample.residues:
        return math.nan
    part = partial(metrics.part, space=space)
    return metrics.share_kept(part(restored), part(sample.clean), part(sample.clean + sample.residues[of]))


def _psnr(space: str, scale: int, sample: Sample, restored: np.ndarray, start: np.ndarray) -> float:
    if scale != 1:
        value = compare_enlarged(restored, sample.clean, scale, ssim=False)["psnr"]
    else:
        value = metrics.psnr(metrics.part(restored, space), metrics.part(sample.clean, space))
    return min(value, MOST_PSNR)


def _sharpness(scale: int, sample: Sample, restored: np.ndarray, start: np.ndarray) -> float:
    if scale != 1:
        return compare_enlarged(restored, sample.clean, scale, ssim=False)["sharpness"]
    return metrics.sharpness(restored, sample.clean)


def _sharpening(sample: Sample, restored: np.ndarray, start: np.ndarray) -> float:
    clean = sample.clean.astype(np.float64)
    blurred = gaussian_blur(clean.transpose(2, 0, 1), UNSHARP_SIGMA, UNSHARP_SIZE).transpose(1, 2, 0)
    return metrics.share_kept(restored, clean, 2 * clean - blurred)  # of y + (y - g * y)


def _distance(sample: Sample, restored: np.ndarray, start: np.ndarray) -> float:
    return 255 * math.sqrt(np.mean((restored.astype(np.float64) - start) ** 2))
