"""The model `photo` on photographs with the noise of cameras, beside other programs.

    python tools/photo_compared.py --out docs/results/photo
    python tools/photo_compared.py --out docs/results/photo --methods noisy denoise photo nlm  # without BM3D

Needs TUNABLE_DATA; scikit-image for non-local means, and the package bm3d (`pip install --no-deps bm3d`; free for
non-commercial use alone, and no part of this project) for BM3D. Both get the setting that is best for each picture,
which nobody knows without the clean one; the networks get none. What lies in raw/ already is not made again.

The pictures: the central 384x320 pixels of Kodak24, with two levels of noise in linear light and JPEG; the 27 test
pairs of PolyU; and Kodak24 as it is, which a restoration should leave alone.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import fmean

import noise_compared
import numpy as np
import runs
from pydantic import TypeAdapter

from tunable import load
from tunable.data.degradations import Degradation, degrade
from tunable.errors import TunableError
from tunable.evaluation.metrics import psnr
from tunable.files import write_text
from tunable.images.folders import list_pictures
from tunable.images.pictures import from_network, read, to_network
from tunable.models import MODELS
from tunable.reports import tables
from tunable.specs.reading import expand

HEIGHT, WIDTH, NOISIEST = 320, 384, 34  # pixels; dB
LEVELS = {
    "weak": (0.004, 0.004, 92),
    "strong": (0.015, 0.010, 90),
}  # gain and reading noise of full scale; JPEG quality
SIGMAS = (2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0)  # in 1/255, what BM3D and non-local means are told
METHODS = {"noisy": "as it is", "denoise": "`denoise`", "photo": "`photo`", "nlm": "non-local means", "bm3d": "BM3D"}
SETS = {
    "weak": "Kodak24, weak noise",
    "strong": "Kodak24, strong noise",
    "polyu": "PolyU, test",
    "clean": "Kodak24, clean",
}
NETWORKS = ("denoise", "photo")
NOISES = {"photo/finer": "noise_finer.csv", "photo/wide": "noise.csv", "photo/last": "noise_last.csv"}
Case = tuple[str, np.ndarray, np.ndarray]  # name of the picture, clean and noisy (H, W, 3)


def camera(gain: float, sigma: float, quality: int) -> list[Degradation]:
    """Noise of photons and of reading in linear light, then JPEG."""
    sensor = {"kind": "poisson_gaussian", "gain": 255 * gain, "sigma": 255 * sigma}
    steps = [{"kind": "linear_light", "steps": [sensor]}, {"kind": "jpeg", "quality": quality}]
    return TypeAdapter(list[Degradation]).validate_python(steps)


def cases(which: str) -> Iterator[Case]:
    """Every picture of a set."""
    if which == "polyu":
        pairs = [list_pictures(expand(f"${{TUNABLE_DATA}}/PolyU/test/{kind}")) for kind in ("clean", "noisy")]
        for clean, noisy in zip(*pairs, strict=True):
            yield clean.stem, read(clean), read(noisy)
        return
    for index, path in enumerate(list_pictures(expand("${TUNABLE_DATA}/Kodak24"))):
        clean = read(path)
        if which == "clean":
            yield path.stem, clean, clean
            continue
        top, left = ((side - part) // 2 for side, part in zip(clean.shape, (HEIGHT, WIDTH), strict=False))
        clean = clean[top : top + HEIGHT, left : left + WIDTH]
        noisy = degrade(to_network(clean), camera(*LEVELS[which]), np.random.default_rng(index))[0]
        yield path.stem, clean, from_network(noisy)


def best(denoiser: Callable[[np.ndarray, float], np.ndarray], clean: np.ndarray, noisy: np.ndarray) -> float:
    """The highest PSNR over SIGMAS, found by going uphill from the noise that there is."""
    at = int(np.argmin(np.abs(np.array(SIGMAS) - 255 * np.sqrt(np.mean((noisy - clean) ** 2)))))
    return highest(lambda place: psnr(denoiser(noisy, SIGMAS[place] / 255), clean), len(SIGMAS), at)


def highest(value: Callable[[int], float], count: int, at: int) -> float:
    """The highest of `count` values with one summit, found by going uphill from the place `at`."""

    def reached(place: int) -> float:
        if place not in found:
            found[place] = value(place) if 0 <= place < count else -np.inf
        return found[place]

    found: dict[int, float] = {}
    while (ahead := max((at - 1, at + 1), key=reached)) and reached(ahead) > reached(at):
        at = ahead
    return reached(at)


def bm3d(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """BM3D of a colour picture (H, W, 3)."""
    try:
        from bm3d import bm3d_rgb
    except ImportError:
        raise TunableError("bm3d is not installed: pip install --no-deps bm3d") from None
    return bm3d_rgb(noisy.astype(np.float64), sigma)


def non_local_means(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """scikit-image's fast non-local means of a colour picture (H, W, 3), with the strength that it recommends."""
    from skimage.restoration import denoise_nl_means

    strength = {"patch_size": 5, "patch_distance": 6, "h": 0.8 * sigma, "sigma": sigma, "fast_mode": True}
    return denoise_nl_means(noisy, channel_axis=2, **strength)


def unchanged() -> Callable[[np.ndarray, np.ndarray], float]:
    """Nothing done."""
    return lambda clean, noisy: psnr(noisy, clean)


def restored(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """A model that ships, at its default."""
    model, omega = load(name), MODELS[name].omega
    return lambda clean, noisy: psnr(np.clip(from_network(model.run(to_network(noisy), omega)), 0, 1), clean)


VALUES = {
    "noisy": unchanged,
    "denoise": lambda: restored("denoise"),
    "photo": lambda: restored("photo"),
    "nlm": lambda: partial(best, non_local_means),
    "bm3d": lambda: partial(best, bm3d),
}


def measured(table: Path, pictures: Iterator[Case], make: Callable[[], Callable]) -> float:
    """The mean of what `make()` says of pictures, with all values in `table`; what is not there is measured."""
    rows = runs.rows_of(table)
    value, known = make(), {row["picture"] for row in rows}
    for picture, clean, noisy in pictures:
        if picture not in known:
            rows.append({"picture": picture, "noisy": psnr(noisy, clean), "psnr": value(clean, noisy)})
            print(table.stem, picture, f"{rows[-1]['psnr']:.2f}", flush=True)
            write_text(table, tables.to_csv(rows))
    return fmean(float(row["psnr"]) for row in rows)


def values_of(out: Path, which: str) -> dict[str, dict[str, float]]:
    """What lies in raw/ of a set: PSNR by method and picture. A method may have been measured on some of them."""
    found = {name: runs.rows_of(out / "raw" / f"{which}-{name}.csv") for name in METHODS}
    return {name: {row["picture"]: float(row["psnr"]) for row in rows} for name, rows in found.items() if rows}


def ahead(values: dict[str, dict[str, float]], rival: str) -> float:
    """By how many dB `photo` is above another method, in the mean of the pictures that both were measured on."""
    return fmean(values["photo"][picture] - psnr for picture, psnr in values[rival].items())


def cell(values: dict[str, dict[str, float]], name: str) -> str:
    """A method's mean; where it was measured on some pictures alone, also their number and what `photo` has there."""
    if name not in values:
        return ""
    mean, count = fmean(values[name].values()), len(values[name])
    if count == len(values["photo"]):
        return f"{mean:.2f}"
    return f"{mean:.2f} on {count}, `photo` {fmean(values['photo'][picture] for picture in values[name]):.2f}"


def trained_on_them(out: Path, pictures: Iterable[str]) -> float:
    """The mean PSNR on pictures of PolyU's test of a network trained on its training pairs (tools/polyu.py)."""
    rows = runs.rows_of(out.parent / "denoise_real_polyu" / "torch" / "table.csv")
    found = {Path(row["picture"]).stem: float(row["psnr"]) for row in rows if float(row["omega_1"]) == 1}
    return fmean(found[picture] for picture in pictures)


def report(args: argparse.Namespace) -> None:
    """Measure what is missing, and write the page of what lies in raw/."""
    for which in args.sets:
        for name in args.methods:
            if which != "clean" or name in NETWORKS:
                measured(args.out / "raw" / f"{which}-{name}.csv", cases(which), VALUES[name])
    values = {which: values_of(args.out, which) for which in SETS}
    if not all("photo" in each for each in values.values()):
        return
    real = {picture: psnr for picture, psnr in values["polyu"]["noisy"].items() if psnr < NOISIEST}
    noisiest = {
        name: fmean(values["polyu"][name][picture] - psnr for picture, psnr in real.items())
        for name in ("photo", "nlm", "bm3d")
        if real.keys() <= values["polyu"].get(name, {}).keys()
    }
    made = [which for which in SETS if which != "clean"]
    gains = {which: ahead(values[which], "noisy") for which in made}
    rivals = [name for name in ("bm3d", "nlm") if any(name in values[which] for which in made)]
    words = {"weak": "weak noise", "strong": "strong noise", "polyu": "PolyU"}
    methods = [name for name in METHODS if any(name in each for each in values.values())]
    lines = [
        "# The model `photo` on photographs with the noise of cameras\n",
        runs.GLOSSARY,
        f"At its default `photo` gains {gains['weak']:.1f} and {gains['strong']:.1f} dB on made noise, and "
        f"{gains['polyu']:.2f} dB on the real noise of PolyU. On its {len(real)} pictures below {NOISIEST} dB, which "
        "are full of texture, the gains are "
        + ", ".join(f"{gain:.2f} dB ({METHODS[name]})" for name, gain in noisiest.items())
        + f". Clean photographs keep {fmean(values['clean']['photo'].values()):.1f} dB. Beside other "
        "programs, which are told the setting that is best for each picture, it has: "
        + "; ".join(
            f"{METHODS[name]}, "
            + ", ".join(
                f"{ahead(values[which], name):+.2f} dB on {words[which]}" for which in made if name in values[which]
            )
            for name in rivals
        )
        + ".\n",
        "For scale: a small NAFNet that was trained on PolyU's own training pairs, by the same five cameras, gains "
        f"{trained_on_them(args.out, real) - fmean(real.values()):.2f} dB on these {len(real)} "
        "([its page](../denoise_real_polyu/README.md)).\n",
        "![Two photographs with such noise, cleaned by denoise and by three presets of photo, beside the truth]"
        "(../../images/gallery/photo.webp)\n",
        "PSNR in dB, RGB, mean over the pictures. The other programs were told, for each picture, the noise level at "
        "which they do best, which nobody knows without the clean picture. `photo` and `denoise` were told nothing. "
        "Where a program was measured on some pictures alone, the mean of `photo` on these stands beside.\n",
        "| pictures | " + " | ".join(METHODS[name] for name in methods) + " |",
        "|---" * (1 + len(methods)) + "|",
    ]
    for which, title in SETS.items():
        lines.append(f"| {title} | " + " | ".join(cell(values[which], name) for name in methods) + " |")
    lines += [
        "",
        f"Kodak24 is cut to its central {WIDTH}x{HEIGHT} pixels. Its noise is made in linear light: a gain of "
        + " and ".join(f"{gain:g} (reading {sigma:g}, JPEG {quality})" for gain, sigma, quality in LEVELS.values())
        + " of full scale, then JPEG with colour at half the size. PolyU holds 27 test pairs of real photographs by "
        "five cameras; the clean one is the mean of many shots. The third part of `photo`'s training was changed once "
        "after a measurement on these pictures (the model's card).\n",
        "Made by `python tools/photo_compared.py --out docs/results/photo` with PyTorch on a CPU; raw/ has every "
        "picture, and what lies there is not measured again. Non-local means is scikit-image's"
        + (
            "; BM3D is the package [bm3d](https://pypi.org/project/bm3d/), which is free for non-commercial use alone "
            "and is no part of this project.\n"
            if "bm3d" in methods
            else ".\n"
        ),
    ]
    noises = {name: runs.rows_of(args.out / file) for name, file in NOISES.items()}
    lines += [
        "## The noise that it learned\n",
        "A network removes the noise that it was shown. Beside the training pairs of PolyU, standard deviations in "
        "1/255 and the correlation of pixels that are one, two and four apart: medians, and the middle half. Chroma "
        "noise of real photographs is far smoother than their luma noise. The last row counts those that lie, in every "
        "column, within the range of nine tenths of the pairs.\n",
        noise_compared.report(noises),
        "\nMade by `python tools/noise_compared.py --recipe photo/wide --out docs/results/photo/noise.csv`, and with "
        "photo/finer and photo/last, the parts of the training before and after it, the others.\n",
    ]
    write_text(args.out / "README.md", "\n".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--sets", choices=SETS, nargs="+", default=list(SETS), help="to be measured, all by default")
    parser.add_argument("--methods", choices=METHODS, nargs="+", default=list(METHODS), help="likewise")
    return runs.guarded(report, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
