"""Training in bfloat16 and with the channels of a pixel side by side, on this device (docs/results/half_precision).

    OMP_NUM_THREADS=1 python tools/half_precision.py --out docs/results/half_precision

Times training steps of U-Nets of several widths in PyTorch, as the recipe photo/wide takes them: eager and
channels_last, float32 and bfloat16, in turns on the same batch. Needs TUNABLE_DATA.
"""

import argparse
import platform
import sys
from itertools import product
from pathlib import Path

import numpy as np
import runs

from tunable.backends.registry import get_framework
from tunable.benchmark.turns import in_turns
from tunable.data.patches import Batches
from tunable.files import write_text
from tunable.parameters.starts import starting_weights
from tunable.reports import tables
from tunable.specs.reading import load_recipe

RECIPE, WIDTHS = "photo/wide", (16, 28, 32)
MODES, PRECISIONS = ("eager", "channels_last"), ("float32", "bfloat16")
INSTRUCTIONS = ("amx_bf16", "avx512_bf16")  # of processors that multiply bfloat16


def step(mode: str, width: int, precision: str, device: str):
    """A function that takes one training step, on the same batch every time."""
    recipe = load_recipe(RECIPE, [f"network.width={width}", f"precision={precision}"])
    backend = get_framework("torch", device, mode)
    network = backend.build(recipe.network, recipe.network_objectives)
    backend.assign(network, starting_weights(backend.specs(network), 0))
    trainer, batch = backend.trainer(network, recipe), Batches(recipe)[0]
    return lambda: trainer.step(batch, recipe.optimizer.learning_rate)


def instructions() -> str:
    """Which of INSTRUCTIONS this processor says that it has."""
    known = Path("/proc/cpuinfo")
    flags = set(known.read_text().split()) if known.is_file() else set()
    return ", ".join(one for one in INSTRUCTIONS if one in flags) or "none of them that the system names"


def report(args: argparse.Namespace) -> None:
    """Measure, and write the rows and the page."""
    cases, rows, ratios = list(product(MODES, PRECISIONS)), [], {}
    for width in WIDTHS:
        times = in_turns({case: step(case[0], width, case[1], args.device) for case in cases}, args.rounds)
        for mode, kind in cases:
            each = {"width": width, "mode": mode, "precision": kind}
            rows += [{**each, "round": place, "seconds": taken} for place, taken in enumerate(times[mode, kind])]
        ratios[width] = [float(np.median(np.divide(times[case], times[cases[0]]))) for case in cases]
    write_text(args.out / "steps.csv", tables.to_csv(rows))
    best = [each[-1] for each in ratios.values()]
    lines = [
        "# Training in bfloat16 on a CPU\n",
        runs.GLOSSARY,
        "On a processor with instructions for bfloat16, steps in bfloat16 with the channels of a pixel side by side "
        f"take {min(best):.2f} to {max(best):.2f} of the time of eager steps in float32.\n",
        "| width | " + " | ".join(", ".join(case) for case in cases) + " |",
        "|---" * (1 + len(cases)) + "|",
        *(f"| {width} | " + " | ".join(f"{one:.2f}" for one in each) + " |" for width, each in ratios.items()),
        "",
        "Made by `OMP_NUM_THREADS=1 python tools/half_precision.py --out docs/results/half_precision` on "
        f"{platform.machine()}, instructions for bfloat16: {instructions()}. Steps of the recipe `{RECIPE}`, a U-Net "
        f"on 8 patches of 96x96, in turns: medians over {args.rounds} rounds of a step's time over that of the first "
        "column in the same round. All times are in [steps.csv](steps.csv).\n",
    ]
    write_text(args.out / "README.md", "\n".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    return runs.guarded(report, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
