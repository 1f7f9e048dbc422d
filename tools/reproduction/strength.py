"""Table 1: how much noise stays, by every control strategy, trained on the same data with the same steps.

All methods have the paper's residual network, its number of blocks in all, the recipe `denoise/mini`'s task, and a
scale's data, steps and learning rate. Methods of two stages have two rows: in `split` both stages share the steps, in
`doubled` each has all of them. DNI and the output blend are made of two plain networks, each with all steps. A strength
knob, `denoise/strength`'s, has a tenth of the steps, on a plain network that had the other nine tenths (`split`) or all
of them (`on plain`).
"""

from dataclasses import dataclass

from reproduction.registry import Experiment, Request, register
from reproduction.steps import Step, Steps, convert, train

SETS = ("CBSD68", "Kodak24")
SIGMAS = (5.0, 15.0, 30.0)  # 1/255


@dataclass(frozen=True)
class Scale:
    """What all methods share: the network's size, the steps, the learning rate, and the recipe's other settings."""

    channels: int
    blocks: int
    steps: int
    learning_rate: float
    settings: tuple[str, ...]


SCALES = {
    "mini": Scale(
        32, 4, 1500, 1e-3, ("data.train=${TUNABLE_DATA}/BSD432", "data.batch=8", "checkpoint={every: 750, keep: 1}")
    ),
    "paper": Scale(
        64,
        16,
        500_000,
        1e-4,
        (
            "data.train=${DIV2K}/DIV2K_train_HR",
            "data.patch=64",
            "data.batch=16",
            "data.workers=4",
            "schedule={kind: constant}",
            "checkpoint={every: 5000, keep: 3}",
        ),
    ),
}
_TARGETS = "omega.sampler={kind: mixture, weights: [0.5, 0.5], of: [corners, simplex]}"  # as denoise/strength
_GAINS = ("network.differences=scale", "network.anchor=[1, 0]", "network.where={last: 1}")


def steps_of(scale: str, seed: int) -> dict[str, Step]:
    """Every training and conversion of a seed by name."""
    size = SCALES[scale]

    def trained(recipe: str, *settings: str, steps: float = 1, blocks: int = size.blocks, rate: float = 1) -> Step:
        shared = (f"network.channels={size.channels}", f"network.blocks={blocks}", *size.settings)
        budget = (f"steps={round(steps * size.steps)}", f"optimizer.learning_rate={rate * size.learning_rate:g}")
        every = {one.partition("=")[0]: one for one in (*shared, *budget, f"seed={seed}", *settings)}
        return train(recipe, *every.values())

    def staged(recipe: str, each: float, blocks: int) -> Step:
        stages = (f"stages.{i}.steps={round(each * size.steps)}" for i in range(2))
        return trained(recipe, *stages, steps=2 * each, blocks=blocks)

    def knob(start: str, steps: float) -> Step:
        gains = (*_GAINS, _TARGETS, f"initial.weights=<{start}>", "initial.freeze=true", "optimizer.learning_rate=0.01")
        return trained("denoise/targets", *gains, steps=steps)

    half = size.blocks // 2
    table = {
        "plain": trained("control/dni_first"),
        "noise scratch": trained("control/dni_scratch", f"seed={seed + 100}"),
        "noise finetune": trained("control/dni_finetune", "initial.weights=<plain>", rate=0.1),
        "DNI scratch": convert("endpoints", "plain", "noise scratch"),
        "DNI finetune": convert("endpoints", "plain", "noise finetune"),
        "tunable paper": trained("denoise/mini", "network.phi=affine", "omega.sampler=uniform", "loss.normalise=none"),
        "tunable base": trained("denoise/mini"),
        "tunable low rank 4": trained("denoise/targets", "network.differences=low_rank", "network.rank=4", _TARGETS),
        "plain nine tenths": trained("control/dni_first", steps=0.9),
        "strength split": knob("plain nine tenths", 0.1),
        "strength on plain": knob("plain", 0.1),
        "blend": convert("blend", "plain", settings=("nu=0.9",)),
        "output blend": convert("outputs", "plain", "noise scratch"),
    }
    for name, recipe, blocks in (("DyNet", "dynet", half), ("CFSNet", "cfsnet", half), ("AdaFM", "adafm", size.blocks)):
        for budget, each in (("split", 0.5), ("doubled", 1)):
            table[f"{name} {budget}"] = staged(f"control/{recipe}", each, blocks)
    return table


METHODS = (
    "plain",
    "DNI scratch",
    "DNI finetune",
    "DyNet split",
    "CFSNet split",
    "AdaFM split",
    "tunable paper",
    "tunable base",
    "tunable low rank 4",
    "strength split",
    "strength on plain",
    "blend",
    "output blend",
    "DyNet doubled",
    "CFSNet doubled",
    "AdaFM doubled",
)


def steps(request: Request, seed: int) -> Steps:
    """The steps of a seed, in a folder of their own."""
    device = "cpu" if request.scale == "mini" else None
    return Steps(request.work / "strength" / f"seed-{seed}", steps_of(request.scale, seed), device)


def commands(request: Request):
    for seed in request.seeds:
        yield from steps(request, seed).commands(*request.chosen(METHODS))


def make(request: Request) -> None:
    for seed in request.seeds:
        for method in request.chosen(METHODS):
            steps(request, seed).make(method)


register(Experiment("table1", "Table 1: denoising strength", commands, make, METHODS))
