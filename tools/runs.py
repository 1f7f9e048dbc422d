"""What the programs for the mini recipes share: training runs, and fifty steps of both frameworks beside each other."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tunable_core.backends import BACKENDS
from tunable_core.checkpoint import load
from tunable_core.files import write_text
from tunable_core.tolerances import joint_error

STEPS = 50
SHORT = (f"steps={STEPS}", "schedule={kind: cosine, warmup: 10}")


def train(recipe: str, out: Path, backend: str, *settings: str) -> None:
    """`tunable train` with one thread, unless the run is there already."""
    if (out / "model.safetensors").is_file():
        return
    command = ["train", recipe, "--backend", backend, "--device", "cpu", "--out", str(out), "--resume"]
    for setting in settings:
        command += ["--set", setting]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "tunable_core", *command], check=True, env=one_thread)


def rows_of(path: Path) -> list[dict]:
    """The rows of a CSV, [] where there is none."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def beside(recipe: str, work: Path, out: Path, *settings: str) -> list[str]:
    """Markdown on STEPS steps of both frameworks from equal weights on equal batches; raw losses in steps-NAME.csv."""
    runs = {name: work / f"{STEPS}-{name}" for name in BACKENDS}
    losses = {}
    for name, run in runs.items():
        kept = out / f"steps-{name}.csv"
        if not kept.is_file():
            train(recipe, run, name, *SHORT, *settings)
            write_text(kept, (run / "log.csv").read_text(encoding="utf-8"))
        losses[name] = np.array([float(row["loss"]) for row in rows_of(kept)])
    torch, mindspore = (losses[name] for name in BACKENDS)
    gaps = np.abs(mindspore - torch) / np.abs(torch)
    lines = [
        f"{STEPS} steps of both frameworks from the same weights on the same batches, its schedule shortened: the "
        f"losses differ by {gaps[0]:.1e} (relative) at the first step, {gaps.max():.1e} at most (step "
        f"{gaps.argmax() + 1}); raw losses: [torch](steps-torch.csv), [MindSpore](steps-mindspore.csv)."
    ]
    if all((run / "model.safetensors").is_file() for run in runs.values()):
        weights = [load(run / "model.safetensors")[0] for run in runs.values()]
        write_text(out / "steps-weights.txt", f"{joint_error(weights[1], weights[0]):.2e}\n")
    apart = (out / "steps-weights.txt").read_text(encoding="utf-8").strip()
    return [*lines, f"After them all weights together are {apart} apart.\n"]
