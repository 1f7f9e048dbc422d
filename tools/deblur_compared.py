"""The model `deblur` on photographs out of focus, beside an unsharp mask and deconvolution.

    python tools/deblur_compared.py --out docs/results/deblur

Needs TUNABLE_DATA and scikit-image. The unsharp mask gets the radius of the true blur, and the strength that is best
for each picture; the Wiener filter gets the true blur itself, and the balance that is best. Nobody knows either without
the sharp picture; the networks are told nothing. What lies in raw/ already is not made again.

The pictures: the central 384x320 pixels of Kodak24, blurred by a Gaussian of 1 or 2 pixels, with white noise and JPEG
of quality 95; and as they are, which a restoration should leave alone.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import runs
from photo_compared import HEIGHT, WIDTH, Case, highest, measured, restored, unchanged
from pydantic import TypeAdapter

from tunable.data.degradations import Degradation, degrade
from tunable.evaluation.metrics import psnr
from tunable.files import write_text
from tunable.images.folders import list_pictures
from tunable.images.pictures import from_network, read, to_network
from tunable.specs.reading import expand

SETS = {f"rho {rho:g}, sigma {sigma:g}": (rho, sigma) for rho in (1.0, 2.0) for sigma in (2.0, 10.0)} | {
    "sharp": (0, 0)
}
AMOUNTS = tuple(0.25 * step for step in range(13))  # of the unsharp mask
BALANCES = tuple(10 ** (0.5 * step) for step in range(-10, 5))  # of the Wiener filter
METHODS = {
    "noisy": "as it is",
    "unsharp": "unsharp mask",
    "wiener": "Wiener filter",
    "photo": "`photo`",
    "deblur": "`deblur`",
}
PADDED = 16  # pixels that are mirrored around a picture, which the Wiener filter takes for periodic


def cases(which: str) -> Iterator[Case]:
    """Every picture of a set."""
    rho, sigma = SETS[which]
    steps = [{"kind": "gaussian_blur", "sigma": rho}, {"kind": "gaussian_noise", "sigma": sigma}]
    pipeline = TypeAdapter(list[Degradation]).validate_python([*steps, {"kind": "jpeg", "quality": 95}] if rho else [])
    for index, path in enumerate(list_pictures(expand("${TUNABLE_DATA}/Kodak24"))):
        clean = read(path)
        top, left = ((side - part) // 2 for side, part in zip(clean.shape, (HEIGHT, WIDTH), strict=False))
        clean = clean[top : top + HEIGHT, left : left + WIDTH]
        blurred = degrade(to_network(clean), pipeline, np.random.default_rng(index))[0]
        yield path.stem, clean, from_network(blurred)


def unsharp(rho: float, clean: np.ndarray, blurred: np.ndarray) -> float:
    """The highest PSNR of an unsharp mask whose radius is `rho` pixels."""
    from scipy.ndimage import gaussian_filter

    missing = blurred - gaussian_filter(blurred, (rho, rho, 0), mode="mirror")
    return highest(lambda place: psnr(np.clip(blurred + AMOUNTS[place] * missing, 0, 1), clean), len(AMOUNTS), 0)


def wiener(rho: float, clean: np.ndarray, blurred: np.ndarray) -> float:
    """The highest PSNR of scikit-image's Wiener filter that knows the blur of `rho` pixels."""
    from skimage.restoration import wiener as filtered

    axis = np.arange(-10, 11)
    profile = np.exp(-(axis**2) / (2 * rho**2))
    spread = np.outer(profile, profile) / profile.sum() ** 2
    around = np.pad(blurred.astype(np.float64), ((PADDED, PADDED), (PADDED, PADDED), (0, 0)), "reflect")

    def reached(place: int) -> float:
        colours = [filtered(around[..., colour], spread, BALANCES[place]) for colour in range(3)]
        return psnr(np.clip(np.stack(colours, -1)[PADDED:-PADDED, PADDED:-PADDED], 0, 1), clean)

    return highest(reached, len(BALANCES), len(BALANCES) // 2)


def values(rho: float) -> dict[str, Callable[[], Callable[[np.ndarray, np.ndarray], float]]]:
    """What each method reaches on a picture that was blurred by `rho` pixels."""
    return {
        "noisy": unchanged,
        "unsharp": lambda: partial(unsharp, rho),
        "wiener": lambda: partial(wiener, rho),
        "photo": lambda: restored("photo"),
        "deblur": lambda: restored("deblur"),
    }


def report(args: argparse.Namespace) -> None:
    """Measure what is missing, and write the page."""
    means = {
        which: {
            name: measured(
                args.out / "raw" / f"{which.replace(', ', '-').replace(' ', '')}-{name}.csv", cases(which), make
            )
            for name, make in values(SETS[which][0]).items()
            if which != "sharp" or name in ("photo", "deblur")
        }
        for which in SETS
    }
    made = [which for which in SETS if which != "sharp"]
    ahead = [means[which]["deblur"] - max(means[which][name] for name in ("unsharp", "wiener")) for which in made]
    gains = [means[which]["deblur"] - means[which]["noisy"] for which in made]
    lines = [
        "# The model `deblur` on photographs out of focus\n",
        runs.GLOSSARY,
        f"At its default `deblur`, which is told nothing, gains {min(gains):.1f} to {max(gains):.1f} dB, and is "
        f"{min(ahead):+.1f} to {max(ahead):+.1f} dB from the better of an unsharp mask and a Wiener filter that know "
        f"the blur and take what is best for each picture. Sharp photographs keep {means['sharp']['deblur']:.1f} dB.\n",
        "PSNR in dB, RGB, mean over Kodak24.\n",
        "| blur (pixels) and noise (1/255) | " + " | ".join(METHODS.values()) + " |",
        "|---" * (1 + len(METHODS)) + "|",
    ]
    for which in SETS:
        row = [f"{means[which][name]:.2f}" if name in means[which] else "" for name in METHODS]
        lines.append(f"| {which} | " + " | ".join(row) + " |")
    lines += [
        "",
        f"Kodak24 is cut to its central {WIDTH}x{HEIGHT} pixels, blurred by a Gaussian of standard deviation rho, and "
        "compressed as JPEG of quality 95 after white noise was added.\n",
        "Made by `python tools/deblur_compared.py --out docs/results/deblur` with PyTorch on a CPU; raw/ has every "
        "picture. The filters are scikit-image's and SciPy's.\n",
    ]
    write_text(args.out / "README.md", "\n".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    return runs.guarded(report, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
