"""Runs that are killed, over and over, and go on (docs/results/survival).

    python tools/kills.py --backend torch --kills 200 --out docs/results/survival/kills-torch.csv

A small run with averages, a scaled loss, validation and its best checkpoint is trained once without interruption. Then
it is trained again and again while SIGKILL ends its process: at a random moment, or at an exact point of saving (before
or after a file is made, synced, renamed, copied, removed, or half written). Every time it must go on, and at its end
every bit of weights, averages, best checkpoint and records must be the uninterrupted run's. The raw output has a line
for each kill, the last line counts what was found, and the exit status is 1 where anything differs.

Processes are forked from one that has imported the framework, so that a kill costs a second.
"""

import argparse
import csv
import importlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tunable.backends import registry
from tunable.errors import TunableError
from tunable.specs.recipe import Recipe, parse
from tunable.training.checkpoints import Checkpoints
from tunable.training.loop import train
from tunable.weights import storage

STEPS = 10  # with a checkpoint after each
WHOLE = "whole"  # the folder of the run that nobody disturbs
RECORDS = ("metrics.csv", "validation.csv")
FILES = ("model.safetensors", "model_last.safetensors", "checkpoints/best.safetensors")
POINTS = {  # where a process ends itself -> what is called there
    "make": (tempfile, "mkstemp"),
    "sync": (os, "fsync"),
    "rename": (os, "replace"),
    "copy": (shutil, "copyfile"),
    "remove": (os, "unlink"),
    "half": (storage, "memoryview"),  # the header is written, the tensors are not
}


def recipe_of(folder: Path) -> Recipe:
    """The run: averages, a scaled loss, validation, and a best checkpoint that changes."""
    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(rng.integers(0, 256, (24, 28, 3), dtype=np.uint8)).save(pictures / f"{name}.png")
    return parse(
        {
            "task": "denoise",
            "network": {"name": "resnet", "channels": 4, "blocks": 1},
            "objectives": [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise"}],
            "data": {
                "train": str(pictures),
                "validate": str(pictures),
                "patch": 8,
                "batch": 1,
                "degradation": [{"kind": "gaussian_noise", "sigma": 25}],
            },
            "optimizer": {"kind": "adamw", "learning_rate": 1e-3, "average": 0.9},
            "schedule": "cosine",
            "precision": {"kind": "float32", "loss_scale": {"kind": "dynamic", "window": 3}},
            "validation": {"pictures": 1, "size": 16},
            "steps": STEPS,
            "checkpoint": {"every": 1, "keep": 2},
        }
    )


def child(name: str, mode: str, recipe: Recipe, out: Path, point: tuple[str, int, str] | None) -> int:
    """Fork a process that trains the run, or goes on with it; it ends itself at a point (name, call, before or after).

    Returns:
        Its process id.
    """
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        logging.disable()
        if point:
            end_at(*point)
        train(recipe, registry.get_framework(name, "cpu", mode), out, resume=True)
        if out.name == WHOLE:
            (out / "modules.txt").write_text("\n".join(sys.modules))
        status = 0
    except TunableError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    except BaseException:  # which os._exit would swallow
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
    raise AssertionError("the child has ended")


def end_at(name: str, call: int, when: str) -> None:
    """Let this process kill itself at the n-th call of what `name` stands for."""
    module, function = POINTS[name]
    real: Callable[..., Any] = getattr(module, function, memoryview)
    calls = 0

    def fatal(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **options)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, function, fatal)


def differences(out: Path, whole: Path) -> list[str]:
    """The files of a finished run that are not the uninterrupted run's."""
    found = [name for name in RECORDS if (out / name).read_bytes() != (whole / name).read_bytes()]
    for name in FILES:
        ours, theirs = (storage.load_tensors(place / name)[0] for place in (out, whole))
        if ours.keys() != theirs.keys() or any(ours[key].tobytes() != theirs[key].tobytes() for key in theirs):
            found.append(name)
    left = [path.name for path in (out / "checkpoints").iterdir() if path.name.startswith(".")]
    return found + left


def main() -> int:
    """Train, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=registry.BACKENDS, required=True)
    parser.add_argument("--mode", help="of the backend; MindSpore: pynative, which compiles nothing in every process")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60, help="no kill begins later")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a CSV, raw")
    args = parser.parse_args()
    mode = args.mode or {"torch": "eager", "mindspore": "pynative"}[args.backend]
    registry._module(args.backend)  # imported here, and nothing of it used: so it can be forked
    rng, begun, kills, runs, faults = np.random.default_rng(args.seed), time.monotonic(), 0, 0, 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, open(args.out, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["kill", "run", "point", "call", "when", "seconds", "checkpoint", "result"])
        folder = Path(place)
        recipe = recipe_of(folder)
        _, status = os.waitpid(child(args.backend, mode, recipe, folder / WHOLE, None), 0)
        assert status == 0, "the uninterrupted run failed"
        for name in (folder / WHOLE / "modules.txt").read_text().split("\n"):  # not again in every process
            with suppress(Exception):
                importlib.import_module(name)
        started = time.monotonic()
        os.waitpid(child(args.backend, mode, recipe, folder / "again", None), 0)
        span = time.monotonic() - started
        run = folder / "run"
        while kills < args.kills and time.monotonic() - begun < 60 * args.minutes:
            point = None
            if rng.random() < 0.7:
                when = ("before", "after")[rng.integers(2)]
                point = (list(POINTS)[rng.integers(len(POINTS))], int(rng.integers(1, 16)), when)
            process, started = child(args.backend, mode, recipe, run, point), time.monotonic()
            if point is None:
                time.sleep(rng.uniform(0, span))
                os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            seconds = time.monotonic() - started
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            kills += killed
            result = "killed" if killed else f"status {os.waitstatus_to_exitcode(status)}"
            if not killed and status != 0:
                faults += 1
            if status == 0:
                runs += 1
                found = differences(run, folder / WHOLE)
                faults += bool(found)
                result = f"differs: {' '.join(found)}" if found else "finished, equal"
                newest = STEPS
                shutil.rmtree(run)
            else:
                newest = Checkpoints(run).newest_step() or 0
            name, call, when = point or ("random", "", "")
            table.writerow([kills if killed else "", runs, name, call, when, f"{seconds:.2f}", newest, result])
            file.flush()
        if run.exists():  # the last one goes on to its end
            _, status = os.waitpid(child(args.backend, mode, recipe, run, None), 0)
            found = ["status"] if status else differences(run, folder / WHOLE)
            runs, faults = runs + 1, faults + bool(found)
            table.writerow(["", runs, "none", "", "", "", STEPS, f"differs: {found}" if found else "finished, equal"])
        table.writerow([f"{args.backend} {mode}: {kills} kills, {runs} runs finished, {faults} faults"])
    print(f"{args.backend} {mode}: {kills} kills, {runs} runs finished, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
