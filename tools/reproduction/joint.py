"""Table 3: noise and blur with a knob each, by CResMD and by the tunable network, at the four corners.

omega is (noise, blur). The tunable network removes that much of both; for CResMD it is the amount of both that it is
told to expect, so its condition is (omega_2, omega_1), blur first.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

from reproduction.joint_page import SETS, write_page
from reproduction.measuring import kept_rows, restorer
from reproduction.printed import CORNERS
from reproduction.registry import Experiment, Request, register
from reproduction.scales import SCALES
from reproduction.steps import Step, Steps, keep_trainings
from tunable.data.patches import find_pictures
from tunable.evaluation import metrics, perceptual
from tunable.evaluation.samples import samples
from tunable.images.pictures import from_network, to_network

METHODS = ("CResMD", "tunable paper", "tunable base")
LEVELS = tuple(product((5.0, 15.0, 30.0), (0.0, 2.0, 4.0)))  # sigma in 1/255, rho in pixels; the paper: 0 to 4
CROP = 200  # pixels a side: NIQE needs 194
PICTURES = 4


def steps_of(scale: str, seed: int) -> dict[str, Step]:
    """Every training of a seed by name."""
    size = SCALES[scale]
    as_printed = ("network.phi=affine", "omega.sampler=uniform", "loss.normalise=none")
    return {
        "CResMD": size.trained("control/cresmd", seed),
        "tunable paper": size.trained("denoise_deblur/mini", seed, *as_printed),
        "tunable base": size.trained("denoise_deblur/mini", seed),
    }


def steps(request: Request, seed: int) -> Steps:
    """The steps of a seed, in a folder of their own."""
    return Steps(request.work / "joint" / f"seed-{seed}", steps_of(request.scale, seed), SCALES[request.scale].device)


def commands(request: Request) -> Iterator[str]:
    """The command lines behind the rows that were asked for."""
    for seed in request.seeds:
        yield from steps(request, seed).commands(*request.chosen(METHODS))


def given(method: str, omega: tuple) -> tuple:
    """What the network of a method is given for a corner (noise, blur) of the table."""
    return omega[::-1] if method == "CResMD" else omega


def measure(request: Request, seed: int, method: str) -> Iterator[dict]:
    """One row for every picture, level and corner."""
    restore = restorer(steps(request, seed).make(method))
    extra = perceptual.chosen(("lpips", "niqe"))
    for name in SETS:
        paths = find_pictures([f"${{TUNABLE_DATA}}/{name}"])[: request.pictures or PICTURES]
        for sample in samples(paths, list(LEVELS), 1, crop=CROP):
            for omega in CORNERS:
                restored = from_network(restore(to_network(sample.degraded), given(method, omega)))
                seen = metrics.eight_bits(restored), metrics.eight_bits(sample.clean)
                row = {"method": method, "seed": seed, "set": name, "picture": sample.path.name}
                row |= {"sigma": sample.sigma, "rho": sample.rho, "omega": omega}
                row["psnr"] = metrics.psnr(restored, sample.clean)
                yield row | {key: metric(*seen) for key, metric in extra.items()}


def make(request: Request) -> None:
    """Train and measure what is missing, and write the page from all rows that there are."""
    out = request.out / "table3"
    for seed in request.seeds:
        for method in request.chosen(METHODS):
            kept_rows(out / "raw" / f"{method}, seed {seed}.csv", partial(measure, request, seed, method))
            print(f"table3: {method}, seed {seed}", flush=True)
        keep_trainings(out / "trainings.csv", steps(request, seed).trainings(*METHODS))
    write_page(out, METHODS, SCALES[request.scale], LEVELS, CROP)


register(Experiment("table3", "Table 3: noise and blur with a knob each", commands, make, METHODS))
