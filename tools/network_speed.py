"""How many pixels a second plain networks restore on a CPU, beside the 16 x 64 residual network.

    python tools/network_speed.py --out docs/results/network_speed

Every network restores one picture of 512x512, network alone; networks take turns within a process, and each framework
has a process of its own. README.md holds ratios of medians, times.csv every time. The machine should do
nothing else meanwhile. What --out holds already is not measured again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import runs
from pydantic import TypeAdapter

from tunable.backends.registry import BACKENDS, get_framework
from tunable.files import write_text
from tunable.reports import tables
from tunable.specs.networks import NetworkSpec

SIDE, ROUNDS = 512, 5
FIRST = "resnet, 16 blocks of 64 channels"
NETWORKS = {
    FIRST: {"name": "resnet", "channels": 64, "blocks": 16},
    "resnet, 4 blocks of 32 channels": {"name": "resnet", "channels": 32, "blocks": 4},
    "unet, width 16": {"name": "unet", "width": 16},
    "unet, width 32": {"name": "unet", "width": 32},
    "compact, 16 layers of 64 channels": {"name": "compact"},
}
WANTED = {("torch", "unet, width 16"): 20, ("mindspore", "unet, width 16"): 12}


def seconds(backend: str) -> dict[str, list[float]]:
    """The times of one framework, in turns."""
    framework = get_framework(backend, "cpu")
    picture = np.random.default_rng(0).random((1, 3, SIDE, SIDE), dtype=np.float32)
    specs = {
        name: TypeAdapter(NetworkSpec).validate_python({**values, "tunable": False})
        for name, values in NETWORKS.items()
    }
    networks = {name: framework.build(spec, 0) for name, spec in specs.items()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(ROUNDS + 1):
        for name, network in networks.items():
            started = time.perf_counter()
            framework.run(network, picture, None)
            if turn:  # the first compiles and warms up
                times[name].append(time.perf_counter() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--here", choices=BACKENDS, help="measure one framework and print JSON; the program uses it")
    args = parser.parse_args()
    if args.here:
        print(json.dumps(seconds(args.here)))
        return
    path = args.out / "times.csv"
    if not path.is_file():
        args.out.mkdir(parents=True, exist_ok=True)
        rows = []
        for backend in BACKENDS:
            command = [sys.executable, __file__, "--out", str(args.out), "--here", backend]
            done = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            for name, times in json.loads(done.stdout.splitlines()[-1]).items():
                rows += [{"backend": backend, "network": name, "seconds": value} for value in times]
        write_text(path, tables.to_csv(rows))
    write_text(args.out / "README.md", page(runs.rows_of(path)))


def page(rows: list[dict]) -> str:
    """The ratios as Markdown."""
    lines = [
        "| framework | network | seconds | pixels per second, beside the first | wanted at least |",
        "|---" * 5 + "|",
    ]
    reached = []
    for backend in BACKENDS:
        medians = {
            name: statistics.median(
                float(row["seconds"]) for row in rows if (row["backend"], row["network"]) == (backend, name)
            )
            for name in NETWORKS
        }
        for name, value in medians.items():
            wanted, times = WANTED.get((backend, name)), medians[FIRST] / value
            lines.append(f"| {backend} | {name} | {value:.2f} | {times:.1f} | {wanted or ''} |")
            if wanted:
                word = "reached" if times >= wanted else "**not reached**"
                reached.append(f"{times:.0f} times as many pixels in {backend} (wanted: {wanted}; {word})")
    return "\n".join(
        [
            "# How fast the networks are\n",
            runs.GLOSSARY,
            "Beside the residual network of 16 blocks of 64 channels the U-Net of width 16 restores, in a second, "
            f"{' and '.join(reached)}.\n",
            *lines,
            "",
            "Made by `python tools/network_speed.py --out docs/results/network_speed` on a CPU with two cores: times "
            f"of one picture of {SIDE}x{SIDE}, network alone, medians of {ROUNDS} turns. torch has one thread, and "
            "MindSpore takes both cores whatever OMP_NUM_THREADS says, so frameworks are not compared here. All times "
            "are in [times.csv](times.csv).\n",
        ]
    )


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
