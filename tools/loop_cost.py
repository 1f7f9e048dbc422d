"""What the training loop costs beside the network, and what the batches cost beside a step (docs/results/loop).

    python tools/loop_cost.py --out docs/results/loop

**The loop.** denoise/mini is trained by `tunable train`'s own loop, with none of the options that cost something, in
each framework in a process of its own. After each of its steps a hand-written step (tools/by_hand.py) is taken on the
same batch with a network of its own, which begins with the same weights. Both are timed by the processor's time, so
that other programs of the machine are not counted: with torch of the thread that trains, with MindSpore, whose threads
compute together, of all threads. The batches lie ready.

**The batches.** For every mini recipe: the processor's time that a batch takes, pictures decoded already, over the
time of a step. On one core that is the share of a training that loading costs; with a core to spare it is hidden.

**Waiting.** For every mini recipe that begins with weights of its own: what `tunable train` says at its end of the time
that it waited for batches.

Needs both frameworks, TUNABLE_DATA and VGG16. One thread: OMP_NUM_THREADS=1. What --out holds already is not measured
again.
"""

import argparse
import logging
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import runs
from by_hand import BY_HAND

from tunable.backends.registry import get_framework
from tunable.data.patches import Batches
from tunable.files import write_text
from tunable.parameters.starts import starting_weights
from tunable.reports import tables
from tunable.specs.reading import load_recipe
from tunable.tolerances import joint_error
from tunable.training.loop import train
from tunable.weights import storage

RECIPE, STEPS, FIRST = "denoise/mini", 60, 20  # the first steps are slower: they reserve memory
MOST_LOOP, MOST_LOADING = 0.02, 0.05
RECIPES = (
    "denoise/mini",
    "denoise_deblur/mini",
    "denoise_real_nafnet/mini",
    "denoise_swinir/mini",
    "style_transfer/mini",
    "super_resolution/mini",
    "super_resolution_swinir/mini",
)
TAKEN = 25  # batches and steps of each, of which the median counts
WAITED = 40  # steps of each
CLOCKS = {"torch": time.thread_time, "mindspore": time.process_time}
TITLES = {"torch": "PyTorch", "mindspore": "MindSpore"}


class Drawing(np.random.Generator):
    """A generator that counts the seconds of the processor which its large draws take."""

    spent = 0.0

    def poisson(self, *arguments: Any, **options: Any) -> Any:
        return self._timed(super().poisson, *arguments, **options)

    def standard_normal(self, *arguments: Any, **options: Any) -> Any:
        return self._timed(super().standard_normal, *arguments, **options)

    @staticmethod
    def _timed(draw: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        began = time.thread_time()
        drawn = draw(*arguments, **options)
        Drawing.spent += time.thread_time() - began
        return drawn


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.thread_time) -> float:
    """The processor's time that a call takes: of this thread, or by another clock."""
    began = clock()
    call()
    return clock() - began


def loop(name: str, steps: int) -> tuple[list[dict], list[dict]]:
    """Seconds of every step of the loop and of those by hand behind it, and how far their weights end apart."""
    recipe = load_recipe(RECIPE, [f"steps={steps}", f"checkpoint.every={steps}", "validation.pictures=1"])
    backend, clock = get_framework(name, "cpu"), CLOCKS[name]
    by_hand, rows = {}, []
    for words, made_by in BY_HAND[name].items():
        network = backend.build(recipe.network, recipe.network_objectives)
        backend.assign(network, starting_weights(backend.specs(network), recipe.seed))
        by_hand[words] = made_by(network, recipe.objectives[1].nu), network
    batches = Batches(recipe)
    made = [batches[index] for index in range(steps)]
    began = clock()

    def after(step: int, _: int, loss: float) -> None:
        nonlocal began
        took, rate = {"loop": clock() - began}, recipe.learning_rate_at(step - 1)
        took |= {words: seconds(partial(one.step, made[step - 1], rate), clock) for words, (one, _) in by_hand.items()}
        if FIRST < step < steps:  # the last step writes the weights
            rows.append({"step": step, **took, "loss": loss})
        began = clock()

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Batches, "__getitem__", lambda _, at: made[at]):
        train(recipe, backend, folder, progress=after)
        trained, _ = storage.load(Path(folder) / "model.safetensors")
    apart = {words: joint_error(backend.parameters(network), trained) for words, (_, network) in by_hand.items()}
    return rows, [{"framework": name, "step": words, "weights_apart": value} for words, value in apart.items()]


def loading(name: str) -> dict:
    """The median seconds of a batch, of its draws and of a step of a recipe."""
    recipe, backend = load_recipe(name), get_framework("torch", "cpu")
    batches, network = Batches(recipe), backend.build(recipe.network, recipe.network_objectives)
    trainer = backend.trainer(network, recipe)
    made = [batches[index] for index in range(TAKEN)]  # which decodes their pictures
    prepared = np.median([seconds(lambda index=index: batches[index]) for index in range(TAKEN)])
    drawn = []
    with mock.patch.object(np.random, "Generator", Drawing):
        for index in range(TAKEN):
            Drawing.spent = 0.0
            _ = batches[index]
            drawn.append(Drawing.spent)
    steps = [seconds(lambda batch=batch: trainer.step(batch, 1e-5)) for batch in made][1:]
    return {
        "recipe": name,
        "batch": float(prepared),
        "draws": float(np.median(drawn)),
        "step": float(np.median(steps)),
    }


def waiting(name: str) -> dict:
    """What `tunable train` itself says, after WAITED steps of a recipe, of how long it waited for batches."""
    with tempfile.TemporaryDirectory() as folder:
        run, short = Path(folder) / "run", (f"steps={WAITED}", f"checkpoint.every={WAITED}", "validation.pictures=1")
        runs.train(name, run, "torch", *short)
        said = re.search(r"([\d.]+) % of (\d+) s were spent waiting", (run / "log.txt").read_text(encoding="utf-8"))
    assert said, "a training says it at its end"
    return {"recipe": name, "percent": said[1], "seconds": said[2]}


def measure(args: argparse.Namespace) -> None:
    """The loop of one framework, in this process."""
    rows, apart = loop(args.backend, args.steps)
    write_text(args.out / f"loop-{args.backend}.csv", tables.to_csv(rows))
    write_text(args.out / f"apart-{args.backend}.csv", tables.to_csv(apart))


def report(args: argparse.Namespace) -> None:
    """Measure what is not there yet, and write the page."""
    logging.disable(logging.WARNING)
    if args.backend:
        return measure(args)
    for backend in BY_HAND:
        if not (args.out / f"loop-{backend}.csv").is_file():
            own = ("--backend", backend, "--out", str(args.out), "--steps", str(args.steps))
            subprocess.run([sys.executable, __file__, *own], check=True)
    for name in RECIPES:
        known = runs.rows_of(args.out / "loading.csv")
        if name not in [row["recipe"] for row in known]:
            write_text(args.out / "loading.csv", tables.to_csv([*known, loading(name)]))
        known = runs.rows_of(args.out / "waiting.csv")
        begins = load_recipe(name).initial.weights is None
        if begins and name not in [row["recipe"] for row in known]:
            write_text(args.out / "waiting.csv", tables.to_csv([*known, waiting(name)]))
    write_text(args.out / "README.md", page(args.out))


def compared(out: Path) -> list[dict]:
    """The loop of each framework against each step by hand."""
    found = []
    for backend, ways in BY_HAND.items():
        rows, apart = (runs.rows_of(out / f"{name}-{backend}.csv") for name in ("loop", "apart"))
        own = np.array([float(row["loop"]) for row in rows])
        for words, end in zip(ways, apart, strict=True):
            alone = np.array([float(row[words]) for row in rows])
            ratio, (low, high) = np.median(own) / np.median(alone), np.percentile(own / alone, [25, 75])
            found.append(
                {
                    "framework": f"[{TITLES[backend]}](loop-{backend}.csv)",
                    "beside": words,
                    "ratio": ratio,
                    "half": f"{low:.3f} to {high:.3f}",
                    "ms": 1e3 * np.median(alone),
                    "apart": float(end["weights_apart"]),
                    "pairs": len(rows),
                }
            )
    return found


def loop_lines(rows: list[dict]) -> list[str]:
    """What the loop costs, in each framework."""
    return [
        "| framework | step | loop over it | half of the pairs | pairs | the step, ms | weights apart |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row['framework']} | {row['beside']} | {row['ratio']:.3f} | {row['half']} | {row['pairs']} | "
            f"{row['ms']:.1f} | {row['apart']:.1e} |"
            for row in rows
        ),
        "",
    ]


def shares_of(rows: list[dict]) -> dict[str, float]:
    """What a batch takes of a step, by recipe."""
    return {row["recipe"]: float(row["batch"]) / float(row["step"]) for row in rows}


def above(shares: dict[str, float]) -> str:
    """The recipes whose batches take more of a step than they should."""
    found = [f"`{name}` ({100 * share:.1f} %)" for name, share in shares.items() if share > MOST_LOADING]
    return ", ".join(found) or "none"


def page(out: Path) -> str:
    """The page, from the CSV files."""
    found = compared(out)
    first = {row["framework"]: row["ratio"] for row in reversed(found)}
    both = " and ".join(f"{first[framework]:.3f} times in {framework}" for framework in reversed(first))
    rows = runs.rows_of(out / "loading.csv")
    shares = shares_of(rows)
    waits = runs.rows_of(out / "waiting.csv")
    longest = max(waits, key=lambda row: float(row["percent"]))
    lines = [
        "# What the training loop costs\n",
        runs.GLOSSARY,
        f"**A step of the loop takes {both} what a step written by hand takes** (wanted: at most {1 + MOST_LOOP:g}). "
        f"**Loading should take at most {100 * MOST_LOADING:g} % of a step.** Above it on one core: {above(shares)} "
        f"([but](#loading)); on two cores no training waited for more than {longest['percent']} % of its time.\n",
        "Made by `python tools/loop_cost.py --out docs/results/loop`, on a CPU with two cores that had nothing else to "
        "do. Times are the processor's: of the thread that trains with PyTorch, of all threads with MindSpore, whose "
        f"threads compute together. The loop trains `{RECIPE}` with what `tunable train` does besides: "
        "schedule, guard, log, TensorBoard and progress. The step by hand "
        "([tools/by_hand.py](../../../tools/by_hand.py)) runs the network, the two distances, the gradients and "
        "the framework's own Adam on the same batch, in turns with the loop. Both began with the same weights.\n",
        *loop_lines(found),
        "MindSpore's `nn.Adam` is one operator, and computes something else than Adam "
        "([framework traps](../../framework_traps.md)), so that weights soon part. The optimizer of this package is "
        "written in operators, and the last row has one so written by hand. What the loop costs beyond that is the "
        "check of every gradient, and what `tunable train` does besides. Weights that are 0 apart were computed alike. "
        "MindSpore's threads spin while they wait, which counts, so busy neighbours lengthen its loop.\n",
        "## Loading\n",
        "| recipe | a batch, ms | its draws alone, ms | a step, ms | batch over step |",
        "|---|---|---|---|---|",
        *(
            f"| {row['recipe']} | {1e3 * float(row['batch']):.2f} | {1e3 * float(row['draws']):.2f} | "
            f"{1e3 * float(row['step']):.1f} | {shares[row['recipe']]:.1%} |"
            for row in rows
        ),
        "",
        "A thread beside the training prepares the batches (`data.workers`), so with a core to spare the training "
        "waits for none of this, and on one core it costs this share. Steps are PyTorch's, one thread. Pictures are "
        "decoded once, which is not counted. The draws are numpy's `poisson` and `standard_normal`. The faster a "
        "machine multiplies, the larger the share. What is left of `denoise_real_nafnet/mini` is its draws, of photons "
        "above all: numpy draws exact Poisson numbers one by one.\n",
    ]
    return "\n".join([*lines, *waiting_lines(waits)])


def waiting_lines(waits: list[dict]) -> list[str]:
    """How long trainings waited for their batches, as they say themselves."""
    return [
        "## Waiting\n",
        f"What `tunable train` itself says of {WAITED} steps in PyTorch, with one worker and one thread, on two cores. "
        "The two recipes of super-resolution begin with the weights of another training and were not asked. It says "
        "so at its end, and above 5 % as a warning at the first checkpoint, with what helps.\n",
        "| recipe | waited for batches | seconds |",
        "|---|---|---|",
        *(f"| {row['recipe']} | {row['percent']} % | {row['seconds']} |" for row in waits),
        "",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/loop"), help="folder of the results")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the loop and by hand")
    parser.add_argument("--backend", choices=BY_HAND, help="measure its loop alone, and write no page")
    return runs.guarded(report, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
