"""The mini recipes' programs share this: training runs, and fifty steps of both frameworks and a perturbed run."""

import argparse
import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean

import numpy as np

from tunable.backends.registry import get_framework
from tunable.errors import TunableError
from tunable.files import write_text
from tunable.parameters.starts import starting_weights
from tunable.reports import tables
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import Recipe
from tunable.tolerances import PERTURBATION, joint_error
from tunable.weights import storage

# What the pages on configs/denoise/mini.yaml were measured with; the recipe itself trains on bundled photographs.
FOLDERS = ("data.train=${TUNABLE_DATA}/BSD432", "data.validate=${TUNABLE_DATA}/Kodak24")
GLOSSARY = "Words are explained in the [glossary](../../glossary.md).\n"  # on every page, beneath its title
STEPS = 50
SHORT = (f"steps={STEPS}", "schedule={kind: cosine, warmup: 10}")


def tunable(*words: str, **variables: str) -> float:
    """Run `tunable` with these words, one thread and variables of the environment; the processor's seconds it took."""
    before = os.times()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    subprocess.run([sys.executable, "-m", "tunable", *words], check=True, env=environment)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def train(recipe: str, out: Path, backend: str, *settings: str) -> None:
    """`tunable train` with one thread, unless the run is there already."""
    if (out / "model.safetensors").is_file():
        return
    command = ["train", recipe, "--backend", backend, "--device", "cpu", "--out", str(out), "--resume"]
    for setting in settings:
        command += ["--set", setting]
    tunable(*command)


def rows_of(path: Path) -> list[dict]:
    """The rows of a CSV, [] where there is none."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def spread(values: Iterable[float], digits: int = 2) -> str:
    """A mean over seeds, with half the distance of the extremes where there are several: `31.91 ± 0.13`."""
    values = list(values)
    half = (max(values) - min(values)) / 2
    return f"{fmean(values):.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")


def perturb(path: Path, recipe: Recipe, seed: int) -> None:
    """The recipe's starting weights with relative noise of PERTURBATION: what correct programs cannot tell apart."""
    backend = get_framework("torch", "cpu")
    network = backend.build(recipe.network, recipe.network_objectives)
    weights = starting_weights(backend.specs(network), recipe.seed, recipe.initial)
    rng = np.random.default_rng([17, seed])
    perturbed = {
        key: (value * (1 + PERTURBATION * rng.standard_normal(value.shape))).astype(np.float32)
        for key, value in weights.items()
    }
    storage.save(path, perturbed, storage.Header.of(recipe))


def beside(recipe: str, work: Path, out: Path, *settings: str) -> list[str]:
    """Markdown on STEPS steps of both frameworks from equal weights on equal batches, and of torch from perturbed ones.

    Raw losses in steps-NAME.csv, weights' distances in steps-weights.csv.
    """
    names = ("torch", "mindspore", "perturbed")
    folders = {name: work / f"{STEPS}-{name}" for name in names}
    for name, run in folders.items():
        if not (out / f"steps-{name}.csv").is_file():
            overrides = list(settings)
            if name == "perturbed":
                path = work / "perturbed.safetensors"
                perturb(path, load_recipe(recipe, list(settings)), 0)
                overrides.append(f"initial.weights={path}")
            train(recipe, run, "mindspore" if name == "mindspore" else "torch", *SHORT, *overrides)
            write_text(out / f"steps-{name}.csv", (run / "metrics.csv").read_text(encoding="utf-8"))
    if not (out / "steps-weights.csv").is_file():
        weights = {name: storage.load(run / "model.safetensors")[0] for name, run in folders.items()}
        apart = [{"run": name, "apart": joint_error(weights[name], weights["torch"])} for name in names[1:]]
        write_text(out / "steps-weights.csv", tables.to_csv(apart))
    apart = {row["run"]: float(row["apart"]) for row in rows_of(out / "steps-weights.csv")}
    losses = {name: np.array([float(row["loss"]) for row in rows_of(out / f"steps-{name}.csv")]) for name in names}
    gaps = {name: np.abs(losses[name] / losses["torch"] - 1) for name in names[1:]}
    return [
        f"Both frameworks were also trained for {STEPS} steps from the same weights on the same batches, with a "
        f"shorter schedule, and torch once more from weights that differ by a relative {PERTURBATION:g} (the perturbed "
        "run). The table holds the distances to torch. A distance that the perturbed run shows too is rounding that "
        "grew.\n",
        "| run | loss, step 1 | loss, at most | weights after the last step |",
        "|---|---|---|---|",
        *(f"| {name} | {gaps[name][0]:.1e} | {gaps[name].max():.1e} | {apart[name]:.1e} |" for name in names[1:]),
        "",
    ]


def main(report: Callable, about: str, pictures: int, which: str, tasks: Iterable[str] | None = None) -> int:
    """Read --work, --out and --pictures (and the task, one of `tasks`), and report; an error is one line and status 2.

    about            the program's docstring
    pictures, which  the default of --pictures, and which they are
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    if tasks:
        parser.add_argument("task", choices=tasks)
    parser.add_argument("--work", type=Path, required=True, help="folder of the training runs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--pictures", type=int, default=pictures, help=which)
    return guarded(report, parser.parse_args())


def guarded(work: Callable, *arguments) -> int:
    """Call work(*arguments) -> 0; an error of the project or of a program that it runs is one line and 2.

    A signal is one line and 128 + its number, as the command line has it; what is done is kept.
    """
    try:
        work(*arguments)
    except KeyboardInterrupt as error:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 128 + getattr(error, "number", signal.SIGINT)
    except (TunableError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
