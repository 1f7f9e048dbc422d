"""Metrics by the measuring protocol (SPEC 7), on numpy pictures (H, W, 3), in float64.

RGB, data range 1; nothing is clipped, rounded or cut off. Both frameworks are measured by this code.
"""

import numpy as np
from skimage.metrics import structural_similarity

from tunable_core import oracle
from tunable_core.errors import TunableError
from tunable_core.recipe import Objective

SSIM_WINDOW = 11  # what scikit-image's Gaussian of sigma 1.5 spans


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """-10 log10 of the mean squared difference, in dB, without epsilon: inf for equal pictures."""
    a, b = _pair(a, b)
    error = float(np.mean((a - b) ** 2))
    return -10 * float(np.log10(error)) if error else float("inf")


def psnr_eta(
    restored: np.ndarray,
    clean: np.ndarray,
    degraded: np.ndarray,
    specs: list[Objective],
    index: int,
    omega: np.ndarray,
) -> float:
    """PSNR to the target of the objective `specs[index]` at omega (p,): the paper's PSNR_eta, if that is `noise`."""
    clean, degraded = _pair(clean, degraded)
    sample = {"clean": clean.transpose(2, 0, 1)[None], "degraded": degraded.transpose(2, 0, 1)[None]}
    return psnr(restored, oracle.target(specs, index, sample, omega)[0].transpose(1, 2, 0))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity: Gaussian window 11, sigma 1.5, mean over channels. TunableError below 11x11 pixels."""
    a, b = _pair(a, b)
    if min(a.shape[:2]) < SSIM_WINDOW:
        raise TunableError(f"SSIM needs pictures of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, not {a.shape}")
    return float(
        structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1
        )
    )


def residual_fraction(restored: np.ndarray, clean: np.ndarray, degraded: np.ndarray, nu: float) -> float:
    """r*, the r in [0, 1] for which PSNR(restored, y + r nu (z - y)) is highest; nan where z = y or nu = 0.

    The mean squared difference is a parabola in r: its minimum is the least-squares fit, clipped.
    """
    restored, clean = _pair(restored, clean)
    degraded, _ = _pair(degraded, clean)
    residual = nu * (degraded - clean)
    power = float(np.sum(residual**2))
    if not power:
        return float("nan")
    return float(np.clip(np.sum((restored - clean) * residual) / power, 0, 1))


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures in float64; TunableError unless they are of one shape (H, W, C)."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 3:
        raise TunableError(f"metrics want two pictures of one shape (H, W, C), not {a.shape} and {b.shape}")
    return a, b
