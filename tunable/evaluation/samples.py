"""What a model is measured on: every clean picture at every level of noise and blur, or shrunk.

It follows docs/method.md, "Measuring protocol".
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tunable.data.degradations import protocol_residues, protocol_shrunk, with_residues
from tunable.data.pairs import Partners
from tunable.errors import DataError, TunableError
from tunable.evaluation import metrics
from tunable.evaluation.perceptual import Metric
from tunable.images.pictures import read, read_bytes
from tunable.specs.recipe import Recipe
from tunable.weights.storage import Header

SIGMAS = (5.0, 15.0, 30.0)  # Table 1's, 1/255
GIVEN = "given"  # in the place of a level: the degraded picture was given, not made
RHOS = (0.0, 1.0, 2.0, 3.0, 4.0)  # Table 3's, pixels


class Sample(NamedTuple):
    """A picture at one level.

    Attributes:
        path: of its file.
        sigma: of the noise, in 1/255; 0 where the picture is shrunk, GIVEN where the degraded one is given.
        rho: of the blur, in pixels; likewise.
        clean: (H, W, 3), floats in 0..1.
        degraded: (H, W, 3), or smaller for a network that enlarges.
        residues: what the blur and the noise changed, float64 (H, W, 3) by the kind of the degradation.
    """

    path: Path
    sigma: float | str
    rho: float
    clean: np.ndarray
    degraded: np.ndarray
    residues: Mapping[str, np.ndarray] = MappingProxyType({})


def levels_of(
    header: Header, sigmas: Iterable[float] | None = None, rhos: Iterable[float] | None = None
) -> list[tuple[float, float]]:
    """Choose the levels (sigma, rho) at which a network is measured; arguments and errors as `evaluate`."""
    scale = header.network.scale
    # A network that enlarges is measured without its recipe, also where this version does not accept it.
    recipe = header.known_recipe() if scale == 1 else header.recipe
    if header.recipe_values.get("task") == "style_transfer":
        raise TunableError("evaluate measures against a truth, which style transfer has not; try `tunable restore`")
    if scale != 1 and not (sigmas is None and rhos is None):
        raise TunableError(f"this network enlarges pictures {scale} times: it is measured without noise and blur")
    if rhos is None:
        rhos = RHOS if is_blurred(recipe) else (0.0,)
    return [(0.0, 0.0)] if scale != 1 else list(itertools.product(SIGMAS if sigmas is None else sigmas, rhos))


def samples(
    paths: list[Path],
    levels: list[tuple[float, float]],
    scale: int,
    max_pixels: int | None = None,
    crop: int | None = None,
    given: Partners = MappingProxyType({}),
    chosen: Iterable[int] | None = None,
) -> Iterator[Sample]:
    """Yield every picture at every level, degraded by the measuring protocol.

    Args:
        paths: of the pictures.
        levels: as `levels_of`.
        scale: of the network; where it is not 1 pictures are shrunk instead.
        max_pixels: as `read_picture`.
        crop: pixels of a central square that is taken of each; None: the whole picture.
        given: degraded pictures by the clean one; {}: they are made at every level.
        chosen: places in `paths` of those that are yielded; None: all.
    """
    for index in range(len(paths)) if chosen is None else chosen:
        path = paths[index]
        picture = read(path, max_pixels)
        if given:
            yield _given(path, picture, read(given[path], max_pixels), scale, crop)
            continue
        picture = picture if crop is None else central(picture, crop)
        for sigma, rho in levels:
            if scale == 1:
                residues = protocol_residues(picture, sigma, index, rho)
                degraded = with_residues(picture, residues)
                yield Sample(path, sigma, rho, picture, degraded, residues)
            else:
                yield Sample(path, sigma, rho, *protocol_shrunk(picture, scale))


def _given(path: Path, clean: np.ndarray, degraded: np.ndarray, scale: int, crop: int | None) -> Sample:
    """A pair, or of both the same square: the central one of the degraded picture, of `crop` pixels."""
    if crop is not None:
        top, left = (max(length - crop, 0) // 2 for length in degraded.shape[:2])
        degraded = degraded[top : top + crop, left : left + crop]
        clean = clean[scale * top : scale * (top + crop), scale * left : scale * (left + crop)]
    return Sample(path, GIVEN, 0.0, clean, degraded)


def central(picture: np.ndarray, side: int) -> np.ndarray:
    """Cut out the central square of a picture (H, W, C), `side` pixels wide where there are so many."""
    top, left = (max(length - side, 0) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def is_blurred(recipe: Recipe | None) -> bool:
    """Return whether a recipe trains its network on blurred pictures (the joint task of Table 3)."""
    return recipe is not None and any(step.kind == "gaussian_blur" for step in recipe.data.degradation)


def check_usable(
    path: Path, ssim: bool, scale: int, max_pixels: int | None, extra: Mapping[str, Metric] = MappingProxyType({})
) -> None:
    """Raise DataError for a picture that cannot be measured; arguments as `evaluate`, `scale` of the network."""
    height, width = read_bytes(path, max_pixels).shape[:2]
    inside = min(height, width)
    if scale != 1:
        inside = inside // scale * scale - 2 * scale
        if inside < 3:
            raise DataError(f"{path} is {width}x{height}: too small to be shrunk {scale} times and measured")
    cut = f" without a border of {scale} pixels" if scale != 1 else ""
    if ssim and inside < metrics.SSIM_WINDOW:
        needed = f"{metrics.SSIM_WINDOW}x{metrics.SSIM_WINDOW}"
        raise DataError(f"{path} is {width}x{height}; SSIM needs {needed} pixels{cut} (--no-ssim leaves it out)")
    for name, metric in extra.items():
        if inside < metric.least:
            needed = f"{metric.least}x{metric.least}"
            raise DataError(f"{path} is {width}x{height}; {name} needs {needed} pixels{cut} (--metrics without it)")
