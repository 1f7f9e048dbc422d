"""What knobs cost a network that was made tunable: docs/results/knobs.

    python tools/knobs.py --out docs/results/knobs

The plain ResNet of Table 1 (16 blocks, 64 channels, 1,185,219 parameters), what `make_tunable` makes of it with two
objectives, and that folded take turns in one process per framework, on one picture, omega another at every call. Keeps
every round in rounds.csv and writes README.md from it; a rounds.csv that is there is not measured again. The machine
should do nothing else meanwhile. Needs both frameworks.
"""

import argparse
import csv
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import runs

from tunable_core.backends import BACKENDS, get_backend
from tunable_core.files import write_text
from tunable_core.networks import ResNetSpec
from tunable_core.reports import tables

SIZE = 64  # pixels along each side
ROUNDS = 101
CASES = ("given", "again", "folded", "tuned")


def measure(name: str) -> list[dict]:
    """Seconds of each case and round, and how often the network was compiled, of one framework."""
    backend, impl = get_backend(name, "cpu"), importlib.import_module(f"{name}_impl")
    given, again = (backend.build(ResNetSpec(tunable=False), 0) for _ in range(2))
    tuned = impl.make_tunable(given, 2)
    folded = impl.fold(tuned, tensor(name, np.array([0.3, 0.8], np.float32)))
    rng = np.random.default_rng(0)
    x = tensor(name, rng.uniform(size=(1, 3, SIZE, SIZE)).astype(np.float32))
    networks, rows = {"given": given, "again": again, "folded": folded, "tuned": tuned}, []
    with running(name):
        for index in range(-3, ROUNDS):  # the first three warm up, and compile
            omega = tensor(name, rng.uniform(size=2).astype(np.float32))
            for case in rng.permutation(CASES):
                inputs = (x, omega) if case == "tuned" else (x,)
                start = time.perf_counter()
                values(name, networks[case](*inputs))
                seconds = time.perf_counter() - start
                if index >= 0:
                    rows.append({"backend": name, "round": index, "case": str(case), "seconds": seconds})
    if name == "mindspore" and len(tuned.compile_cache) != 1:
        sys.exit(f"compiled {len(tuned.compile_cache)} times")
    return rows


def tensor(name: str, array: np.ndarray):
    module = importlib.import_module(name)
    return module.from_numpy(array) if name == "torch" else module.Tensor(array)


def values(name: str, output) -> np.ndarray:
    return output.numpy() if name == "torch" else output.asnumpy()


def running(name: str):
    """Without gradients; MindSpore in graph mode."""
    if name == "torch":
        return importlib.import_module("torch").no_grad()
    return importlib.import_module("mindspore_impl.ops").running("graph")


def page(rows: list[dict]) -> str:
    lines = []
    for name in BACKENDS:
        seconds = {case: np.array([float(r["seconds"]) for r in rows if (r["backend"], r["case"]) == (name, case)])
                   for case in CASES}  # fmt: skip
        ratios = {case: np.median(seconds[case] / seconds["given"]) for case in CASES}
        added = 1e3 * np.median(seconds["tuned"] - seconds["given"])
        noise = 1e3 * np.median(seconds["again"] - seconds["given"])
        lines.append(
            f"| {name} | {ratios['again']:.3f} | {ratios['folded']:.3f} | {ratios['tuned']:.3f} "
            f"| {added:+.2f} ms | {noise:+.2f} ms |"
        )
    table = "\n".join(lines)
    return f"""# What knobs cost a network that was made tunable

Made by `python tools/knobs.py --out docs/results/knobs`; every round in [rounds.csv](rounds.csv). The plain ResNet of
Table 1 (1,185,219 parameters), `make_tunable(network, 2)` of it and that folded, on one picture of {SIZE}x{SIZE} on two
CPU cores, taking turns, ω another at every call: medians of {ROUNDS} rounds of times over the given network's in the
same round. *again* is a second copy of the given network: what it differs by is noise.

| framework | again | folded | with knobs | knobs add | noise |
|---|---|---|---|---|---|
{table}

The kernels of all 34 layers are summed anew in every call, 1.2 million multiply-adds per knob whatever the picture's
size. Wanted are at most 1.02 of a folded network, which is kept, and 2 ms for another ω, which is not. MindSpore (graph
mode) compiled the network once for all ω.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--here", choices=BACKENDS, help="one framework in this process; prints JSON")
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.here)))
        return
    if args.out is None:
        parser.error("--out is wanted")
    rows, path = [], args.out / "rounds.csv"
    if not path.is_file():
        for name in BACKENDS:
            command = [sys.executable, __file__, "--here", name]
            rows += json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
        args.out.mkdir(parents=True, exist_ok=True)
        write_text(path, tables.to_csv(rows))
    with open(path, encoding="utf-8") as file:
        write_text(args.out / "README.md", page(list(csv.DictReader(file))))


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
