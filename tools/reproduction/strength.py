"""Table 1: how much noise stays, by every control strategy, trained on the same data with the same steps.

All methods have the paper's residual network, its number of blocks in all, the recipe `denoise/mini`'s task, and a
scale's data, steps and learning rate. Methods of two stages have two rows: in `split` both stages share the steps, in
`doubled` each has all of them. DNI and the output blend are made of two plain networks with all steps each, the budget
of `doubled`; the table says how many steps a row had in all.

A strength knob, `denoise/strength`'s, has a tenth of the steps, on a plain network that had the other nine tenths
(`split`) or all of them (`on plain`). This plain network adds its input to its output (`residual`), as those of
`denoise/unet` and `photo` do, and the knob scales what it adds. Other rows marked `residual` tell what that alone is
worth.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

from reproduction.measuring import degraded_set, kept_rows, measured, restorer
from reproduction.printed import LINE
from reproduction.registry import Experiment, Request, register
from reproduction.scales import SCALES
from reproduction.steps import Step, Steps, convert, keep_trainings
from reproduction.strength_page import SETS, SIGMAS, write_page

CROP = 96  # pixels a side of what is measured
PICTURES = 24  # of every set, the first ones: all of Kodak24
NU = 0.9  # of the noise, the largest part that is kept


TARGETS = "omega.sampler={kind: mixture, weights: [0.5, 0.5], of: [corners, simplex]}"  # as denoise/strength
LOW_RANK = ("network.differences=low_rank", "network.rank=4")
_RESIDUAL = "network.global_residual=true"  # z + net(z): the blend with the input is then a scale of net's last layer
_GAINS = (_RESIDUAL, "network.differences=scale", "network.anchor=[1, 0]", "network.where={last: 1}")


def steps_of(scale: str, seed: int) -> dict[str, Step]:
    """Every training and conversion of a seed by name."""
    size = SCALES[scale]

    def trained(recipe: str, *settings: str, **shares: float) -> Step:
        return size.trained(recipe, seed, *settings, **shares)

    def staged(recipe: str, each: float, blocks: int) -> Step:
        stages = (f"stages.{i}.steps={round(each * size.steps)}" for i in range(2))
        return trained(recipe, *stages, steps=2 * each, blocks=blocks)

    def knob(start: str) -> Step:
        gains = (*_GAINS, TARGETS, f"initial.weights=<{start}>", "initial.freeze=true", "optimizer.learning_rate=0.01")
        return trained("denoise/targets", *gains, steps=0.1)

    half = size.blocks // 2
    table = {
        "plain": trained("control/dni_first"),
        "noise scratch": trained("control/dni_scratch", f"seed={seed + 100}"),
        "noise finetune": trained("control/dni_finetune", "initial.weights=<plain>", rate=0.1),
        "DNI scratch": convert("endpoints", "plain", "noise scratch"),
        "DNI finetune": convert("endpoints", "plain", "noise finetune"),
        "tunable paper": trained("denoise/mini", "network.phi=affine", "omega.sampler=uniform", "loss.normalise=none"),
        "tunable base": trained("denoise/mini"),
        "tunable low rank 4": trained("denoise/targets", *LOW_RANK, TARGETS),
        "tunable residual low rank 4": trained("denoise/targets", *LOW_RANK, TARGETS, _RESIDUAL),
        "plain residual": trained("control/dni_first", _RESIDUAL),
        "blend residual": convert("blend", "plain residual", settings=("nu=0.9",)),
        "plain residual nine tenths": trained("control/dni_first", _RESIDUAL, steps=0.9),
        "strength split": knob("plain residual nine tenths"),
        "strength on plain": knob("plain residual"),
        "blend": convert("blend", "plain", settings=("nu=0.9",)),
        "output blend": convert("outputs", "plain", "noise scratch"),
    }
    for name, recipe, blocks in (("DyNet", "dynet", half), ("CFSNet", "cfsnet", half), ("AdaFM", "adafm", size.blocks)):
        for budget, each in (("split", 0.5), ("doubled", 1)):
            table[f"{name} {budget}"] = staged(f"control/{recipe}", each, blocks)
    return table


METHODS = (
    "plain",
    "plain residual",
    "DNI scratch",
    "DNI finetune",
    "DyNet split",
    "DyNet doubled",
    "CFSNet split",
    "CFSNet doubled",
    "AdaFM split",
    "AdaFM doubled",
    "tunable paper",
    "tunable base",
    "tunable low rank 4",
    "tunable residual low rank 4",
    "strength split",
    "strength on plain",
    "blend",
    "blend residual",
    "output blend",
)


def steps(request: Request, seed: int) -> Steps:
    """The steps of a seed, in a folder of their own."""
    folder = request.work / "strength" / f"seed-{seed}"
    return Steps(folder, steps_of(request.scale, seed), SCALES[request.scale].device)


def commands(request: Request) -> Iterator[str]:
    """The command lines behind the rows that were asked for."""
    for seed in request.seeds:
        yield from steps(request, seed).commands(*request.chosen(METHODS))


def measure(request: Request, seed: int, method: str) -> Iterator[dict]:
    """One row for every set, level and setting: means over the pictures."""
    restore = restorer(steps(request, seed).make(method))
    for name, sigma in product(SETS, SIGMAS):
        clean, degraded = degraded_set(name, sigma, CROP, request.pictures or PICTURES)
        for omega in LINE if not method.startswith("plain") else LINE[-1:]:
            found = measured(restore(degraded, omega), clean, degraded, omega, NU)
            told = {"method": method, "seed": seed, "set": name, "sigma": sigma, "pictures": len(clean)}
            yield {**told, "omega": omega, **found}


def make(request: Request) -> None:
    """Train and measure what is missing, and write the page from all rows that there are."""
    out = request.out / "table1"
    for seed in request.seeds:
        for method in request.chosen(METHODS):
            rows = kept_rows(out / "raw" / f"{method}, seed {seed}.csv", partial(measure, request, seed, method))
            print(f"table1: {method}, seed {seed}, {len(rows)} rows", flush=True)
        keep_trainings(out / "trainings.csv", steps(request, seed).trainings(*METHODS))
    table = steps(request, request.seeds[0])
    write_page(out, {method: table.budget(method) for method in METHODS}, SCALES[request.scale])


register(Experiment("table1", "Table 1: denoising strength", commands, make, METHODS))
