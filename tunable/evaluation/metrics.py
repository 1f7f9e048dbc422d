"""Metrics by the measuring protocol (docs/method.md, "Measuring protocol"), on numpy pictures (H, W, 3), in float64.

RGB, data range 1; nothing is clipped, rounded or cut off (`eight_bits` does, for super-resolution). Both frameworks are
measured by this code.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

import numpy as np

from tunable import oracle
from tunable.errors import TunableError
from tunable.objectives.restoration import PARTS
from tunable.specs.recipe import Recipe

LUMA = np.array([65.481, 128.553, 24.966])  # Y of R, G, B in [0, 1], beside an offset of 16
SSIM_WINDOW = 11  # what scikit-image's Gaussian of sigma 1.5 spans


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return -10 log10 of the mean squared difference of pictures (H, W, C), in dB; inf for equal pictures.

    Raises:
        TunableError: for pictures of different shapes.
    """
    a, b = _pair(a, b)
    error = float(np.mean((a - b) ** 2))
    return -10 * float(np.log10(error)) if error else float("inf")


def target(
    clean: np.ndarray,
    degraded: np.ndarray,
    recipe: Recipe,
    index: int,
    omega: np.ndarray,
    residues: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> np.ndarray:
    """Return the target of an objective, which the paper's PSNR_eta is measured to for the kind `noise` (Eq. 9).

    Args:
        clean: (H, W, 3).
        degraded: (H, W, 3).
        recipe: which also says whether objectives share the mean of their targets.
        index: of the objective, whose kind is rec, noise, residue or blur.
        omega: (p,).
        residues: what each degradation changed, (H, W, 3) by its kind, where the recipe has objectives of kind residue.

    Returns:
        float64 (H, W, 3).
    """
    clean, degraded = _pair(clean, degraded)
    named = {"clean": clean, "degraded": degraded, **residues}
    sample = {name: picture.transpose(2, 0, 1)[None] for name, picture in named.items()}
    return oracle.target(recipe, index, sample, omega)[0].transpose(1, 2, 0)


def part(picture: np.ndarray, space: str) -> np.ndarray:
    """Return the part of the colour space that an objective compares (docs/method.md, "Objectives").

    Args:
        picture: (H, W, 3).
        space: rgb, luma or chroma.

    Returns:
        float64 (H, W, k), k being 3 (the picture itself), 1 or 2.
    """
    picture = np.asarray(picture, dtype=np.float64)
    return picture if space == "rgb" else picture @ np.array(PARTS[space]).T


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Return the structural similarity of pictures (H, W, C): Gaussian window 11, sigma 1.5, mean over channels.

    Raises:
        TunableError: for pictures of different shapes, or below 11x11 pixels.
    """
    from skimage.metrics import structural_similarity  # here: it imports scipy

    a, b = _pair(a, b)
    if min(a.shape[:2]) < SSIM_WINDOW:
        raise TunableError(f"SSIM needs pictures of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, not {a.shape}")
    similarity = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1
    )
    return float(cast(float, similarity))  # without `full` or `gradient` it is the mean alone


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """Return a picture as an 8-bit file would hold it: clipped to [0, 1], rounded to multiples of 1/255, float64."""
    return np.round(np.clip(np.asarray(picture, dtype=np.float64), 0, 1) * 255) / 255


def luma(picture: np.ndarray) -> np.ndarray:
    """Return BT.601's Y as MATLAB defines it, of 16 to 235, over 255: (H, W, 3) in [0, 1] -> (H, W, 1).

    Equal pixels have equal Y: a matrix product's rounding may depend on the place.
    """
    weighted = np.asarray(picture, dtype=np.float64) * LUMA
    return (16 + weighted[..., :1] + weighted[..., 1:2] + weighted[..., 2:]) / 255


def sharpness(restored: np.ndarray, clean: np.ndarray) -> float:
    """Return how much fine detail there is, as a share of the truth's: the ratio of mean absolute Laplacians of luma.

    Args:
        restored: (H, W, 3).
        clean: the truth, (H, W, 3).

    Returns:
        0 for a flat picture, 1 for one as sharp as the truth, above 1 for a sharper one; invented texture counts as
        detail. nan where the truth is flat.

    Raises:
        TunableError: for pictures of different shapes, or below 3x3 pixels.
    """
    restored, clean = _pair(restored, clean)
    if min(clean.shape[:2]) < 3:
        raise TunableError(f"sharpness needs pictures of at least 3x3 pixels, not {clean.shape}")
    truth = _detail(clean)
    return _detail(restored) / truth if truth else float("nan")


def _detail(picture: np.ndarray) -> float:
    y = luma(picture)[..., 0]
    around = (y[2:, 1:-1] + y[:-2, 1:-1]) + (y[1:-1, 2:] + y[1:-1, :-2])  # of equal values: four times, to the bit
    return float(np.mean(np.abs(around - 4 * y[1:-1, 1:-1])))


def residual_fraction(restored: np.ndarray, clean: np.ndarray, degraded: np.ndarray, nu: float) -> float:
    """Return r*, the r in [0, 1] for which PSNR(restored, y + r nu (z - y)) is highest.

    The mean squared difference is a parabola in r: its minimum is the least-squares fit, clipped.

    Args:
        restored: (H, W, 3).
        clean: y, (H, W, 3).
        degraded: z, (H, W, 3).
        nu: the largest share of the noise that the objective keeps.

    Returns:
        r*; nan where z = y or nu = 0.
    """
    kept = share_kept(restored, clean, degraded)
    return float(np.clip(kept / nu, 0, 1)) if nu else float("nan")


def share_kept(restored: np.ndarray, clean: np.ndarray, degraded: np.ndarray) -> float:
    """Return the share r of what was degraded that is left: the least-squares fit of restored = y + r (z - y).

    Args:
        restored: (H, W, C).
        clean: y, (H, W, C).
        degraded: z, (H, W, C).

    Returns:
        r, not clipped: 0 where nothing is left and 1 for restored = z; nan where z = y.
    """
    restored, clean = _pair(restored, clean)
    degraded, _ = _pair(degraded, clean)
    residue = degraded - clean
    power = float(np.sum(residue**2))
    return float(np.sum((restored - clean) * residue)) / power if power else float("nan")


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Return the share of the box from 0 to a reference that is dominated by points, of which less is better.

    The box is cut along its last axis at every point, and the slices are added.

    Args:
        points: (n, p), losses of p objectives at n settings, at least 0.
        reference: (p,), the far corner of the box, above 0.

    Returns:
        0 where every point is beyond the box, 1 for a point at 0.
    """
    points = np.minimum(np.asarray(points, np.float64) / reference, 1.0)
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return 1 - float(points.min())
    edges, total = np.unique(points[:, -1]), 0.0
    for low, high in zip(edges, [*edges[1:], 1.0], strict=True):
        inside = points[points[:, -1] <= low][:, :-1]
        total += (high - low) * hypervolume(inside, np.ones(points.shape[1] - 1))
    return total


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures in float64; TunableError unless they are of one shape (H, W, C)."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 3:
        raise TunableError(f"metrics want two pictures of one shape (H, W, C), not {a.shape} and {b.shape}")
    return a, b
