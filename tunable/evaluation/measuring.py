"""Measuring a model over omega, noise and blur levels, by one protocol.

It follows docs/method.md, "Measuring protocol".

Degraded pictures are the clean ones, blurred where that is asked for, plus `protocol_noise`; neither input, output nor
target is clipped or rounded. Metrics run on numpy arrays, so both frameworks are measured by the same code.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from tunable.backends.model import Model
from tunable.data.pairs import Partners, check_pair, partners
from tunable.data.patches import BUNDLED, BUNDLED_TEST, bundled, check_pictures, find_pictures, say_what_is_used
from tunable.errors import TunableError
from tunable.evaluation import metrics
from tunable.evaluation.perceptual import Metric
from tunable.evaluation.samples import GIVEN, Sample, check_usable, is_blurred, levels_of, samples
from tunable.images.pictures import from_network, read, to_network
from tunable.images.tiling import run_tiled
from tunable.objectives import Objective
from tunable.objectives.restoration import NoisePreservation
from tunable.omega import shares
from tunable.specs.recipe import Recipe
from tunable.specs.samplers import Fixed
from tunable.training.ranks import ALONE, Ranks
from tunable.weights.storage import Header


@dataclass(frozen=True)
class Measurement:
    """One picture at one noise level, one blur level and one omega ((), for a plain network); nan: does not apply.

    Pictures that a network enlarges have sigma and rho 0; of a pair that was given sigma is GIVEN.
    """

    picture: str
    sigma: float | str  # 1/255
    rho: float  # pixels; 0: no blur
    omega: tuple[float, ...]
    psnr: float
    psnr_eta: float  # to the target of the first objective of kind noise or residue
    psnr_gamma: float  # to the target of the first objective of kind blur
    ssim: float
    residual: float
    psnr_y: float = math.nan  # of a network that enlarges, as the next
    sharpness: float = math.nan
    ssim_eta: float = math.nan  # to the target of psnr_eta
    lpips: float = math.nan  # on request, as the next
    niqe: float = math.nan

    METRICS = ("psnr", "psnr_eta", "psnr_gamma", "ssim", "residual", "psnr_y", "sharpness", "ssim_eta", "lpips", "niqe")


def objectives_of(header: Header) -> list[Objective]:
    """Return the objectives that a network was trained for, [] where its file names no recipe.

    Raises:
        RecipeError: for a recipe that this version does not accept.
    """
    recipe = header.known_recipe()
    return recipe.objectives if recipe else []


def trained_omega(header: Header) -> np.ndarray | None:
    """Return the omega (p,) for which a plain network stands: where it was folded, or trained; None if unknown."""
    if header.folded_at is not None:
        return np.asarray(header.folded_at, dtype=np.float32)
    sampler = header.recipe.omega.sampler if header.recipe else None
    return np.asarray(sampler.value, dtype=np.float32) if isinstance(sampler, Fixed) else None


def measure(
    model: Model,
    clean: np.ndarray,
    degraded: np.ndarray,
    omega: ArrayLike | None,
    *,
    ssim: bool = True,
    tile: int | None = None,
    residues: Mapping[str, np.ndarray] = MappingProxyType({}),
    extra: Mapping[str, Metric] = MappingProxyType({}),
) -> dict[str, float]:
    """Restore one picture and measure the result.

    Args:
        model: which does not enlarge.
        clean: (H, W, 3), floats in 0..1.
        degraded: likewise.
        omega: (p,); None for a plain network.
        ssim: whether SSIM is measured too.
        tile: as `run_tiled`.
        residues: what each degradation changed, (H, W, 3) by its kind.
        extra: what is measured too, by its name, as `tunable.evaluation.perceptual.chosen` gives it.

    Returns:
        The metrics of PROTOCOL by name, nan for what does not apply.
    """
    restored = from_network(run_tiled(model, to_network(degraded), omega, tile, whole=math.inf))
    values = {"psnr": metrics.psnr(restored, clean), "psnr_eta": np.nan, "psnr_gamma": np.nan, "residual": np.nan}
    values |= {"ssim": metrics.ssim(restored, clean) if ssim else np.nan, "ssim_eta": np.nan}
    if extra:
        values |= _extra(extra, metrics.eight_bits(restored), metrics.eight_bits(clean))
    recipe = model.header.known_recipe()
    specs = recipe.objectives if recipe else []
    aim = omega if omega is not None else trained_omega(model.header)
    for name, kinds in (("psnr_eta", ("noise", "residue")), ("psnr_gamma", ("blur",))):
        index = next((i for i, spec in enumerate(specs) if spec.kind in kinds), None)
        if recipe is None or index is None or aim is None or not recipe.residues <= set(residues):
            continue
        target = metrics.target(clean, degraded, recipe, index, np.asarray(aim, dtype=np.float64), residues)
        spec = specs[index]
        part = partial(metrics.part, space=getattr(spec, "space", "rgb"))
        values[name] = metrics.psnr(part(restored), part(target))
        if isinstance(spec, NoisePreservation):
            has_ssim = ssim and spec.space != "chroma"  # SSIM compares means, and chroma has means of about 0
            values["ssim_eta"] = metrics.ssim(part(restored), part(target)) if has_ssim else np.nan
            values["residual"] = metrics.residual_fraction(part(restored), part(clean), part(degraded), spec.nu)
    return values


def measure_enlarged(
    model: Model,
    clean: np.ndarray,
    shrunk: np.ndarray,
    omega: ArrayLike | None,
    *,
    ssim: bool = True,
    extra: Mapping[str, Metric] = MappingProxyType({}),
) -> dict[str, float]:
    """Enlarge one picture and measure the result.

    Args:
        model: which enlarges by `scale`.
        clean: (H, W, 3), floats in 0..1; height and width are multiples of the scale.
        shrunk: (H / scale, W / scale, 3).
        omega: (p,); None for a plain network.
        ssim: whether SSIM is measured too.
        extra: as `measure`.

    Returns:
        The metrics of SHRUNK_PROTOCOL by name, nan for what does not apply.
    """
    restored = from_network(run_tiled(model, to_network(shrunk), omega, whole=math.inf))
    return compare_enlarged(restored, clean, model.header.network.scale, ssim=ssim, extra=extra)


def compare_enlarged(
    restored: np.ndarray,
    clean: np.ndarray,
    scale: int,
    *,
    ssim: bool = True,
    extra: Mapping[str, Metric] = MappingProxyType({}),
) -> dict[str, float]:
    """Measure a picture that was enlarged by a network or by other means; arguments as `measure_enlarged`."""
    inside = (slice(scale, -scale),) * 2
    restored, clean = metrics.eight_bits(restored)[inside], metrics.eight_bits(clean)[inside]
    y, y_clean = metrics.luma(restored), metrics.luma(clean)
    return {
        "psnr": metrics.psnr(restored, clean),
        "psnr_y": metrics.psnr(y, y_clean),
        "psnr_eta": math.nan,
        "psnr_gamma": math.nan,
        "ssim": metrics.ssim(y, y_clean) if ssim else math.nan,
        "residual": math.nan,
        "sharpness": metrics.sharpness(restored, clean),
        **_extra(extra, restored, clean),
    }


def _extra(extra: Mapping[str, Metric], restored: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    return {name: metric(restored, clean) for name, metric in extra.items()}


def pictures_of(folders: list[str], recursive: bool = False) -> list[Path]:
    """List the pictures of folders, in order; "bundled" stands for the photographs that no recipe trains on."""
    return [
        path
        for folder in folders
        for path in (bundled(BUNDLED_TEST) if folder == BUNDLED else find_pictures([folder], recursive))
    ]


def evaluate(
    model: Model,
    folder: str | list[Path],
    omegas: np.ndarray | None,
    sigmas: Iterable[float] | None = None,
    rhos: Iterable[float] | None = None,
    *,
    ssim: bool = True,
    progress: Callable[[int, int], None] | None = None,
    max_pixels: int | None = None,
    given: Partners = MappingProxyType({}),
    ranks: Ranks = ALONE,
    extra: Mapping[str, Metric] = MappingProxyType({}),
) -> list[Measurement]:
    """Measure every picture of a folder at every level and omega; pictures are shrunk for a network that enlarges.

    Args:
        model: of any framework.
        folder: a folder, or a list of pictures.
        omegas: (K, p); None for a plain network.
        sigmas: noise levels in 1/255; None: SIGMAS.
        rhos: blur levels in pixels; None: RHOS for a network trained on blurred pictures, else 0.
        ssim: whether SSIM is measured too.
        progress: called with how many measurements are done, and how many there are.
        max_pixels: as `read_picture`.
        given: the degraded picture of every clean one, as `tunable.data.pairs.partners` finds them; {}: they are made.
        ranks: the processes that share the pictures; each returns the measurements of all.
        extra: as `measure`.

    Returns:
        One measurement per picture, level and omega, in this order.

    Raises:
        TunableError: for levels of a network that enlarges or of given pictures, and for style transfer, which has no
            truth.
        DataError: for a picture that cannot be used, before any is measured.
    """
    levels = levels_of(model.header, sigmas, rhos)
    scale = model.header.network.scale
    paths = pictures_of([folder]) if isinstance(folder, str) else folder
    if given:
        if not (sigmas is None and rhos is None):
            raise TunableError("the degraded pictures are given: they are measured without more noise and blur")
        levels, paths = [(0.0, 0.0)], [*given]
        check_pictures(paths, lambda path: check_pair(path, given[path], scale, max_pixels), "the pairs", max_pixels)
        check_pictures([*given.values()], lambda path: read(path, max_pixels), "the degraded", max_pixels)
    check = partial(check_usable, ssim=ssim, scale=scale, max_pixels=max_pixels, extra=extra)
    check_pictures(paths, check, str(folder) if isinstance(folder, str) else "the list", max_pixels)
    points = [None] if omegas is None else list(omegas)
    places = [() if omega is None else tuple(round(float(value), 6) for value in omega) for omega in points]
    labels = [(GIVEN if given else float(sigma), float(rho), place) for (sigma, rho), place in product(levels, places)]
    values = np.zeros((len(paths), len(labels), len(Measurement.METRICS)))
    mine = [index for index in range(len(paths)) if index % ranks.size == ranks.rank]
    settings = product(mine, enumerate(labels))
    done = 0
    for sample in samples(paths, levels, scale, max_pixels, given=given, chosen=mine):
        compare = partial(measure, residues=sample.residues) if scale == 1 else measure_enlarged
        for omega in points:
            index, (place, _) = next(settings)
            found = compare(model, sample.clean, sample.degraded, omega, ssim=ssim, extra=extra)
            values[index, place] = [found.get(name, math.nan) for name in Measurement.METRICS]
            done += 1
            if progress:
                progress(done, len(mine) * len(labels))
    every = ranks.total(values).tolist()
    return [
        Measurement(path.name, *label, *row)
        for path, rows in zip(paths, every, strict=True)
        for label, row in zip(labels, rows, strict=True)
    ]


def summarise(rows: list[Measurement]) -> list[dict]:
    """Take the means over pictures.

    Args:
        rows: of one model.

    Returns:
        One row per omega, sigma and rho, and after each omega's rows their mean, whose sigma and rho are "mean"; where
        nothing is blurred, rho is 0 in every row.
    """
    table = []
    for omega in sorted({row.omega for row in rows}):
        here = [row for row in rows if row.omega == omega]
        levels = sorted({(row.sigma, row.rho) for row in here})
        for sigma, rho in [*levels, ("mean", "mean" if any(rho for _, rho in levels) else 0.0)]:
            chosen = [row for row in here if sigma == "mean" or (row.sigma, row.rho) == (sigma, rho)]
            means = {name: float(np.mean([getattr(row, name) for row in chosen])) for name in Measurement.METRICS}
            pictures = len({row.picture for row in chosen})
            table.append({"omega": omega, "sigma": sigma, "rho": rho, "pictures": pictures, **means})
    return table


def validation_pictures(recipe: Recipe) -> list[Path]:
    """Return the pictures that `data.validate` names."""
    return pictures_of(recipe.data.validation, recipe.data.recursive)


def validation_partners(recipe: Recipe) -> dict[Path, Path]:
    """Return the degraded pictures that `data.validate_degraded` names by the clean one; {} where it names none."""
    data = recipe.data
    if not data.validation_degraded:
        return {}
    return partners(data.validation, data.validation_degraded, recipe.network.scale, data.recursive)


def check_validation(recipe: Recipe, max_pixels: int | None = None) -> None:
    """Raise DataError for the pictures of `data.validate` that cannot be used."""
    scale, given = recipe.network.scale, validation_partners(recipe)
    check = partial(check_usable, ssim=False, scale=scale, max_pixels=max_pixels)
    check_pictures(validation_pictures(recipe), check, "data.validate", max_pixels)
    check_pictures([*given], lambda path: check_pair(path, given[path], scale, max_pixels), "data.validate", max_pixels)
    check_pictures([*given.values()], lambda path: read(path, max_pixels), "data.validate_degraded", max_pixels)


def say_validation(recipe: Recipe) -> None:
    """Log which pictures `validate` measures, and how."""
    spec = recipe.validation
    noise = f"noise of {spec.sigma:g}/255" if recipe.network.scale == 1 else "shrunk"
    noise = "degraded as given" if recipe.data.validation_degraded else noise
    which = f"the first {spec.pictures}" if len(validation_pictures(recipe)) > spec.pictures else "all"
    how = f"; measured: {which}, central {spec.size}x{spec.size} pixels, {noise}"
    if recipe.task != "style_transfer":
        say_what_is_used("validation", recipe.data.validation, recipe.data.recursive, how)


def validation_settings(recipe: Recipe) -> list[np.ndarray]:
    """Return the omegas of a validation, each (p,), from (1, 0, ...) on."""
    points = shares(recipe.validation.points - 1, recipe.num_objectives)
    return list(points[::-1].astype(np.float32))


def validate(model: Model, recipe: Recipe, max_pixels: int | None = None) -> dict[str, float]:
    """Measure PSNR and SSIM at the settings of `recipe.validation` on its pictures.

    They are blurred where training blurs, shrunk instead of noisy where the network enlarges, and neither where their
    degraded partners are given.

    Returns:
        Means by the name, "psnr" in dB and "ssim" for a plain network, else by the setting, "psnr_1_0"; SSIM is left
        out where crops are smaller than its window. And "score", the mean over settings of the PSNR to what is wanted
        there: the target that psnr_eta is measured to where there is one, else the clean picture. NaN where the network
        returns NaN. {} without pictures, and for style transfer, which has no truth.

    Raises:
        DataError: for a picture that cannot be used.
    """
    settings = validation_settings(recipe) if model.objectives else [None]
    spec = recipe.validation
    if recipe.task == "style_transfer":
        return {}
    similar = spec.size >= metrics.SSIM_WINDOW
    values: dict[str, list[float]] = {}
    for sample in validation_samples(recipe, max_pixels):
        similar = similar and min(sample.clean.shape[:2]) >= metrics.SSIM_WINDOW
        for omega in settings:
            at = "" if omega is None else "".join(f"_{value:g}" for value in omega)
            found = measure(model, sample.clean, sample.degraded, omega, ssim=similar, residues=sample.residues)
            for name in ("psnr", "ssim"):
                values.setdefault(name + at, []).append(found[name])
            wanted = found["psnr" if math.isnan(found["psnr_eta"]) else "psnr_eta"]
            values.setdefault("score", []).append(wanted)
    means = {name: float(np.mean(numbers)) for name, numbers in values.items()}
    order = ("psnr", *(["ssim"] if similar else []), "score")  # the last column is the score
    return {name: mean for first in order for name, mean in means.items() if name.startswith(first)}


def validation_samples(recipe: Recipe, max_pixels: int | None = None) -> Iterator[Sample]:
    """Yield the samples that `validate` measures, in order."""
    spec, scale = recipe.validation, recipe.network.scale
    levels = [(spec.sigma, spec.rho if is_blurred(recipe) else 0.0)]
    chosen = validation_pictures(recipe)[: spec.pictures]
    yield from samples(chosen, levels, scale, max_pixels, spec.size, validation_partners(recipe))
