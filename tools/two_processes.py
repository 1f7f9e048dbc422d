"""What a second process gains on a machine of two cores (docs/results/two_processes).

    python tools/two_processes.py --out docs/results/two_processes

denoise/mini is trained by `tunable train` in one process and, in turns with that, in two as torchrun or msrun starts
them, which take steps of twice as many samples; every process has one thread. Each is trained for a few steps and for
more, and the difference is that of the steps alone: starting, compiling and the last checkpoint take no part. Both the
clock on the wall and the processor's time are read, because other programs slow the first and not the second. Needs
TUNABLE_DATA.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import runs

from tunable.files import write_text
from tunable.reports import tables
from tunable.specs.reading import load_recipe

RECIPE, FEW, MORE = "denoise/mini", 10, 50
TITLES = {"torch": "PyTorch", "mindspore": "MindSpore"}


def seconds(backend: str, processes: int, steps: int) -> tuple[float, float]:
    """The time from start to end of one training, on the wall and of all processors."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "tunable", "train", RECIPE, "--backend", backend, "--device", "cpu", "--out", f"{folder}/run"]
        for setting in (*runs.FOLDERS, f"steps={steps}", f"checkpoint.every={steps}", "validation.pictures=1"):
            words += ["--set", setting]
        command = [sys.executable, *words]
        if processes > 1 and backend == "torch":
            command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", *words]
        elif processes > 1:
            msrun = str(Path(sys.executable).with_name("msrun"))
            counts = [f"--worker_num={processes}", f"--local_worker_num={processes}", "--join=True"]
            command = [msrun, *counts, f"--log_dir={folder}/msrun", "python", *words]  # msrun wants that very word
        before, began = os.times(), time.perf_counter()
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": programs}
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        after = os.times()
        spent = after.children_user - before.children_user + after.children_system - before.children_system
        return time.perf_counter() - began, spent


def report(args: argparse.Namespace) -> None:
    """Measure the rounds that are not there yet, and write the page."""
    path = args.out / "rounds.csv"
    for number in range(1, args.rounds + 1):
        for backend in args.backends:
            for processes in (1, 2):
                known = runs.rows_of(path)
                made = [(row["round"], row["framework"], row["processes"]) for row in known]
                if (str(number), backend, str(processes)) in made:
                    continue
                (wall_few, few), (wall_more, more) = (seconds(backend, processes, steps) for steps in (FEW, MORE))
                row = {"round": number, "framework": backend, "processes": processes}
                row |= {"wall": round(wall_more - wall_few, 3), "processor": round(more - few, 3)}
                write_text(path, tables.to_csv([*known, row]))
                print(row, flush=True)
    write_text(args.out / "README.md", page(runs.rows_of(path)))


def page(rows: list[dict]) -> str:
    """The page, from the rows."""
    samples = (MORE - FEW) * load_recipe(RECIPE).data.batch
    costs: dict[tuple[str, int, str], list[float]] = {}
    for row in rows:
        for clock in ("wall", "processor"):
            key = (row["framework"], int(row["processes"]), clock)
            costs.setdefault(key, []).append(float(row[clock]) / samples / int(row["processes"]))
    frameworks = [name for name in TITLES if (name, 2, "wall") in costs]
    middle = {key: float(np.median(values)) for key, values in costs.items()}
    said = "; ".join(
        f"in {TITLES[name]} they trained {middle[name, 1, 'wall'] / middle[name, 2, 'wall']:.2f} times as many samples "
        "in the same time"
        for name in frameworks
    )
    return "\n".join(
        [
            "# What a second process gains on two cores\n",
            runs.GLOSSARY,
            f"**Two processes instead of one: {said}.** Twice as many would be all that two cores can give.\n",
            "Made by `python tools/two_processes.py --out docs/results/two_processes`, on a CPU with two cores. Other "
            "programs slow the clock on the wall, so the processor's time stands beside it. "
            f"`{RECIPE}` was trained for {FEW} and for {MORE} steps, in turns, and the "
            "difference is the time of the steps: starting and compiling take no part. Two processes (`torchrun`, "
            "`msrun`) take steps of twice as many samples, and average their gradients by gloo or by MindSpore's "
            "collectives for CPUs ([several devices](../../several_devices.md)). PyTorch has one thread in each "
            "process. MindSpore keeps both cores busy with one process already, as its processor's time says, so that "
            "a second one finds no core of its own. "
            "[rounds.csv](rounds.csv) holds the seconds.\n",
            "| framework | processes | a sample on the wall, ms | a sample of the processor, ms |",
            "|---|---|---|---|",
            *(
                f"| {TITLES[name]} | {processes} | "
                + " | ".join(f"{1e3 * middle[name, processes, clock]:.2f}" for clock in ("wall", "processor"))
                + " |"
                for name in frameworks
                for processes in (1, 2)
            ),
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/two_processes"), help="folder of the results")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--backends", nargs="+", choices=TITLES, default=list(TITLES))
    return runs.guarded(report, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
