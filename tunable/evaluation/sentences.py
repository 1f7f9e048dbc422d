"""What the numbers of a table mean: the measuring protocol in sentences (docs/method.md, "Measuring protocol")."""

import math
from collections.abc import Iterable

from tunable.data.degradations import PROTOCOL_BLUR
from tunable.evaluation.samples import GIVEN

NOISE_PROTOCOL = (
    "White Gaussian noise numpy.random.default_rng(index).standard_normal((H, W, 3)) in float64 times sigma/255, "
    "index = place in sorted file order, added in float64 and cast to float32; nothing clipped or rounded."
)
METRICS_PROTOCOL = (
    "PSNR: float64, RGB, data range 1, no border cut, mean over pictures of the per-picture value. "
    "PSNR_eta: the same against y + r nu (z - y). SSIM, and SSIM_eta against the same: Gaussian window 11, sigma 1.5. "
    "What ends in eta, and r*, compare luma or chroma alone where the objective does. "
    "r*: the fraction of the largest kept noise, in [0, 1], that best explains the restored picture."
)
PROTOCOL = f"{NOISE_PROTOCOL} {METRICS_PROTOCOL}"
BLUR_PROTOCOL = (
    f"Before the noise, a Gaussian blur of {PROTOCOL_BLUR}x{PROTOCOL_BLUR} pixels and standard deviation rho pixels "
    "(rho 0: none), borders reflected, in float64; z - y holds the blur's residue too. PSNR_gamma: against "
    "y_eta + omega_blur gamma (y_eta - g * y_eta), y_eta as for PSNR_eta, g a Gaussian of 9x9 pixels and sigma 2.5, "
    "borders reflected."
)
GIVEN_PROTOCOL = "Clean and degraded pictures are those of the files; nothing was added, clipped or rounded."
SHRINKING_PROTOCOL = (
    "Pictures cut at the bottom and on the right to multiples of the scale, shrunk by MATLAB's antialiased bicubic (8 "
    "bits after both passes, borders replicated)."
)
ENLARGED_PROTOCOL = (
    "The restored picture is clipped and rounded to 8 bits, and `scale` "
    "pixels are cut off at each border; then PSNR on RGB, PSNR_Y and SSIM (Gaussian window 11, sigma 1.5) on BT.601's "
    "Y as MATLAB defines it, data range 255, and sharpness: mean absolute Laplacian of Y over the truth's. Means over "
    "pictures of the per-picture values."
)
PERCEPTUAL_PROTOCOL = (
    "LPIPS and NIQE see the restored picture clipped and rounded to 8 bits. LPIPS: the heads of lpips 0.1.4 on a "
    "VGG-16 tuned for edges, which is not the published network: to be compared with its like alone. NIQE: as "
    "scikit-video 1.1.11 computes it, on Y."
)
SHRUNK_PROTOCOL = f"{SHRINKING_PROTOCOL} {ENLARGED_PROTOCOL}"


def protocol(rows: Iterable[dict]) -> str:
    """Say what the numbers of a summary mean: PROTOCOL, with a sentence on blur if there is any, or SHRUNK_PROTOCOL.

    Of pairs that were given it says that in the place of how they were degraded.
    """
    rows = list(rows)
    if any(not math.isnan(row.get(name, math.nan)) for row in rows for name in ("lpips", "niqe")):
        plain = [{**row, "lpips": math.nan, "niqe": math.nan} for row in rows]
        return f"{protocol(plain)} {PERCEPTUAL_PROTOCOL}"
    if any(row["sigma"] == GIVEN for row in rows):
        return f"{GIVEN_PROTOCOL} {ENLARGED_PROTOCOL if is_enlarged(rows) else METRICS_PROTOCOL}"
    if is_enlarged(rows):
        return SHRUNK_PROTOCOL
    return f"{PROTOCOL} {BLUR_PROTOCOL}" if any(row["rho"] for row in rows) else PROTOCOL


def is_enlarged(rows: Iterable[dict]) -> bool:
    """Return whether a summary is of a network that enlarges."""
    return any(not math.isnan(row["psnr_y"]) for row in rows)
