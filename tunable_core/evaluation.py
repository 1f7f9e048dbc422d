"""Measuring a model over omega and noise levels by the protocol of SPEC 7 (printed beside every table).

Degraded pictures are the clean ones plus `protocol_noise`; neither input, output nor target is clipped
or rounded. Metrics run on numpy arrays, so both frameworks are measured by the same code.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunable_core import metrics, oracle
from tunable_core.backends import Model
from tunable_core.data import BUNDLED, BUNDLED_TEST, bundled, find_pictures
from tunable_core.degradations import protocol_degraded
from tunable_core.errors import DataError
from tunable_core.pictures import from_network, read, read_bytes, to_network
from tunable_core.recipe import Recipe, parse
from tunable_core.tiling import run_tiled

PROTOCOL = (
    "White Gaussian noise numpy.random.default_rng(index).standard_normal((H, W, 3)) in float64 times sigma/255, "
    "index = place in sorted file order, added in float64 and cast to float32; nothing clipped or rounded. "
    "PSNR: float64, RGB, data range 1, no border cut, mean over pictures of the per-picture value. "
    "PSNR_eta: the same against y + r nu (z - y). SSIM: Gaussian window 11, sigma 1.5. "
    "r*: the fraction of the largest kept noise, in [0, 1], that best explains the restored picture."
)


@dataclass(frozen=True)
class Measurement:
    """One picture at one noise level and one omega ((), for a plain network)."""

    picture: str
    sigma: float
    omega: tuple[float, ...]
    psnr: float
    psnr_eta: float
    ssim: float
    residual: float

    METRICS = ("psnr", "psnr_eta", "ssim", "residual")


def noise_objective(recipe: dict) -> tuple[int, object] | None:
    """(place in omega, objective) of the recipe's first noise-preservation objective, None without one."""
    if not recipe or "objectives" not in recipe:
        return None
    parsed = parse({key: value for key, value in recipe.items() if key != "folded_at"}, "the model's recipe")
    return next(((i, o) for i, o in enumerate(parsed.objectives) if o.kind == "noise"), None)


def trained_omega(recipe: dict) -> np.ndarray | None:
    """The omega that a plain network stands for: what it was folded at or trained with, None if unknown."""
    if "folded_at" in recipe:
        return np.asarray(recipe["folded_at"], dtype=np.float32)
    fixed = recipe.get("omega", {}).get("sampler", {}).get("value")
    return None if fixed is None else np.asarray(fixed, dtype=np.float32)


def measure(
    model: Model, clean: np.ndarray, degraded: np.ndarray, omega, *, ssim: bool = True, tile: int = 1024
) -> dict[str, float]:
    """The metrics of one picture (H, W, 3) at one omega; omega None for a plain network."""
    restored = from_network(run_tiled(model, to_network(degraded), omega, tile))
    values = {"psnr": metrics.psnr(restored, clean), "psnr_eta": np.nan, "residual": np.nan}
    values["ssim"] = metrics.ssim(restored, clean) if ssim else np.nan
    noise = noise_objective(model.header.recipe)
    aim = omega if omega is not None else trained_omega(model.header.recipe)
    if noise and aim is not None:
        index, objective = noise
        sample = {"clean": to_network(clean).astype(np.float64), "degraded": to_network(degraded).astype(np.float64)}
        target = from_network(oracle.target(objective, index, sample, np.asarray(aim, dtype=np.float64)))
        values["psnr_eta"] = metrics.psnr(restored, target)
        values["residual"] = metrics.residual_fraction(restored, clean, degraded, objective.nu)
    return values


def pictures_of(folders: list[str]) -> list[Path]:
    """The pictures of folders, in order; the word `bundled` stands for the photographs that no recipe trains on."""
    return [
        path for folder in folders for path in (bundled(BUNDLED_TEST) if folder == BUNDLED else find_pictures([folder]))
    ]


def evaluate(
    model: Model,
    folder: str | list[Path],
    omegas: np.ndarray | None,
    sigmas: Iterable[float],
    *,
    ssim: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Measurement]:
    """Measure every picture of a folder at every sigma (1/255) and omega ((K, p); None for a plain network).

    Every picture is read before any is measured: one that cannot be used (DataError) costs no work.
    """
    paths = pictures_of([folder]) if isinstance(folder, str) else folder
    for path in paths:
        _check_usable(path, ssim)
    points = [None] if omegas is None else list(omegas)
    sigmas = list(sigmas)
    total, rows = len(paths) * len(sigmas) * len(points), []
    for index, path in enumerate(paths):
        clean = read(path)
        for sigma in sigmas:
            degraded = protocol_degraded(clean, sigma, index)
            for omega in points:
                values = measure(model, clean, degraded, omega, ssim=ssim)
                place = () if omega is None else tuple(round(float(value), 6) for value in omega)
                rows.append(Measurement(path.name, float(sigma), place, **values))
                if progress:
                    progress(len(rows), total)
    return rows


def _check_usable(path: Path, ssim: bool) -> None:
    height, width = read_bytes(path).shape[:2]
    if ssim and min(height, width) < metrics.SSIM_WINDOW:
        wanted = f"{metrics.SSIM_WINDOW}x{metrics.SSIM_WINDOW}"
        raise DataError(f"{path} is {width}x{height}; SSIM needs {wanted} pixels (--no-ssim leaves it out)")


def summarise(rows: list[Measurement]) -> list[dict]:
    """Means over pictures per (omega, sigma), and over all sigma (sigma "mean"), in order of omega then sigma."""
    table = []
    for omega in sorted({row.omega for row in rows}):
        here = [row for row in rows if row.omega == omega]
        for sigma in [*sorted({row.sigma for row in here}), "mean"]:
            chosen = [row for row in here if sigma in ("mean", row.sigma)]
            means = {name: float(np.mean([getattr(row, name) for row in chosen])) for name in Measurement.METRICS}
            table.append({"omega": omega, "sigma": sigma, "pictures": len({row.picture for row in chosen}), **means})
    return table


def validation_pictures(recipe: Recipe) -> list[Path]:
    """The pictures that `data.validate` names."""
    return pictures_of(recipe.data.validation)


def validate(model: Model, recipe: Recipe, pictures: int = 4, size: int = 256, sigma: float = 15) -> dict[str, float]:
    """PSNR at the corners of omega on central crops of the first validation pictures; {} without any.

    Named "psnr" for a plain network, else by the corner: "psnr_1_0".
    """
    corners = np.eye(recipe.num_objectives, dtype=np.float32) if model.objectives else [None]
    values: dict[str, list[float]] = {}
    for index, path in enumerate(validation_pictures(recipe)[:pictures]):
        clean = read(path)
        top, left = (max(side - size, 0) // 2 for side in clean.shape[:2])
        clean = clean[top : top + size, left : left + size]
        degraded = protocol_degraded(clean, sigma, index)
        for omega in corners:
            name = "_".join(["psnr", *(f"{value:g}" for value in omega)]) if omega is not None else "psnr"
            values.setdefault(name, []).append(measure(model, clean, degraded, omega, ssim=False)["psnr"])
    return {name: float(np.mean(found)) for name, found in values.items()}
