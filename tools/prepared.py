"""What a move of a knob costs where only the end of a network is tunable, beside the whole network.

    OMP_NUM_THREADS=1 python tools/prepared.py --out docs/results/prepared

In each framework, and in onnxruntime from files that PyTorch wrote, one after the other in every round: the whole
network, and `.at(omega)` of a prepared picture (rounds.csv). Then the sum of heads, of the model that ships, and its
conversion to 8 bits (heads.csv). Times are the processor's, of all threads of this process, so that other programs of
the machine are not counted; onnxruntime has one thread, as a second one would be counted while it waits. machine.csv
says how busy the machine was. README.md is made of these files: the least of the times, and the median of the ratios of
the same round. What --out holds already is not measured again.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import runs

from tunable.backends.model import Model, WeightsModel, load
from tunable.backends.registry import get_framework, requested
from tunable.exports.judging import checked_export
from tunable.files import write_text
from tunable.images.pictures import to_levels
from tunable.parameters.layouts import layout, tunable_layers
from tunable.reports import tables
from tunable.specs.formulations import Last
from tunable.specs.networks import NetworkSpec, ResNetSpec, UNetSpec
from tunable.weights.storage import Header

SIDE = 256
NETWORKS = {
    "ResNet 8 x 32, last 2 blocks": ResNetSpec(channels=32, blocks=8, where=Last(last=5)),
    "U-Net of width 16, last scale": UNetSpec(where=["decoders.3.*", "tail"]),
}


def made(backend: str, spec: NetworkSpec) -> WeightsModel:
    framework = get_framework(backend)
    return WeightsModel(framework, framework.build(spec, 2), Header(spec, ("a", "b"), ((0.0, 1.0),) * 2))


class OneThread(onnxruntime.SessionOptions):
    """What sessions are opened with, without a pool of threads."""

    def __init__(self) -> None:
        super().__init__()
        self.intra_op_num_threads = 1


def timed(function, *arguments) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def compare(model: Model, whole: Model, rounds: int) -> list[tuple[float, float]]:
    """Seconds of the whole network and of a move, in turns; the first of each, which compiles, is left out."""
    x = np.random.default_rng(0).uniform(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    prepared, times = model.prepare(x), []
    for turn in range(rounds + 1):
        omega = [turn / rounds, 1 - turn / rounds]
        times.append((timed(whole.run, x, omega), timed(prepared.at, omega)))
    return times[1:]


def heads(backend: str, rounds: int) -> list[tuple[float, float]]:
    """Seconds of a sum and of its conversion to 8 bits, of one megapixel of the model that ships."""
    x = np.random.default_rng(0).uniform(size=(1, 3, 1000, 1000)).astype(np.float32)
    told, times = load("denoise", backend).heads(x), []
    for turn in range(rounds + 1):
        omega = [turn / rounds, 1 - turn / rounds]
        start = time.process_time()
        restored = told.at(omega)
        middle = time.process_time()
        to_levels(restored)
        times.append((middle - start, time.process_time() - middle))
    return times[1:]


def share(spec: NetworkSpec) -> float:
    """The tunable layers' share of the multiply-adds, where they are all that follows and as fine as the picture."""
    chosen = tunable_layers(spec, 2) or set()
    kernels = [shape for name, shape in layout(spec, 0) if name.removesuffix(".weight") in chosen]
    return sum(map(math.prod, kernels)) / spec.multiply_adds


def measured(rounds: int) -> list[dict]:
    """The rows of rounds.csv."""
    rows = []

    def note(name: str, place: str, times: list[tuple[float, float]]) -> None:
        rows.extend({"network": name, "in": place, "whole_s": whole, "move_s": move} for whole, move in times)

    for name, spec in NETWORKS.items():
        for backend in requested():
            model = made(backend, spec)
            note(name, backend, compare(model, model, rounds))
            if backend == "torch":
                with tempfile.TemporaryDirectory() as folder:
                    checked_export(model, "onnx", Path(folder, "net.onnx"))
                    checked_export(model, "onnx", Path(folder, "net.onnx"), form="prepared")
                    for mode in ("session", "blocked"):
                        parts, whole = (load(Path(folder, f"net{part}.onnx"), mode=mode) for part in ("-trunk", ""))
                        note(name, f"onnxruntime, {mode}", compare(parts, whole, rounds))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    onnxruntime.SessionOptions = OneThread
    paths = [args.out / name for name in ("rounds.csv", "heads.csv", "machine.csv")]
    if not all(path.is_file() for path in paths):
        loads = [os.getloadavg()[0]]
        rows = measured(args.rounds)
        loads.append(os.getloadavg()[0])
        sums = [{"sum_s": total, "levels_s": levels} for total, levels in heads(requested()[0], args.rounds)]
        loads.append(os.getloadavg()[0])
        machine = [{"cores": os.cpu_count(), "load_least": min(loads), "load_most": max(loads)}]
        for path, each in zip(paths, (rows, sums, machine), strict=True):
            write_text(path, tables.to_csv(each))
    write_text(args.out / "README.md", page(*map(runs.rows_of, paths)))


def page(rows: list[dict], sums: list[dict], machine: list[dict]) -> str:
    """The tables as Markdown, with what they say."""
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        times.setdefault((row["network"], row["in"]), []).append((float(row["whole_s"]), float(row["move_s"])))
    ratios = {key: statistics.median(move / whole for whole, move in pairs) for key, pairs in times.items()}
    shares = {name: share(spec) for name, spec in NETWORKS.items()}
    total, levels = (1000 * min(float(row[key]) for row in sums) for key in ("sum_s", "levels_s"))
    (facts,) = machine
    lines = [
        "# What a move of a knob costs where only the end of a network is tunable\n",
        runs.GLOSSARY,
        f"Where the tail has {min(shares.values()):.0%} to {max(shares.values()):.0%} of the multiply-adds, a move "
        f"takes {min(ratios.values()):.2f} to {max(ratios.values()):.2f} of the time of the whole network. With heads "
        f"a move at one megapixel takes {total:.0f} ms, and no network.\n",
        "Made by `OMP_NUM_THREADS=1 python tools/prepared.py --out docs/results/prepared`, with every time in "
        "[rounds.csv](rounds.csv) and [heads.csv](heads.csv). Times are the processor's, with one thread in PyTorch "
        f"and onnxruntime: other work shared the machine ({facts['cores']} cores at a load of "
        f"{float(facts['load_least']):.0f} to {float(facts['load_most']):.0f}), which lengthens them and hardly moves "
        f"the ratios. Pictures are {SIDE}x{SIDE}, p is 2 and φ is `base`. In every round the whole network and "
        "`.at(omega)` of a prepared picture take turns. Times are the least of the rounds; the ratio is the median of "
        "that of each round.\n",
        "| network | in | tail, of the multiply-adds | whole | a move | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for (name, place), pairs in times.items():
        whole, move = (f"{1000 * min(column):.0f} ms" for column in zip(*pairs, strict=True))
        lines.append(f"| {name} | {place} | {shares[name]:.0%} | {whole} | {move} | {ratios[name, place]:.2f} |")
    lines += [
        "\n* **The tail** is every stage from the first one that has a tunable layer; files that `--form prepared` "
        "wrote are cut at the layer itself.",
        "* **onnxruntime** moves with features and kernels in blocks of channels in both modes ([form prepared]"
        "(../../export.md#as-fast-as-folded)). The modes differ in the whole network, which is slower with kernels "
        "that are computed from ω than in blocks.",
        f"* **Heads** of `denoise`, one megapixel in numpy: {total:.1f} ms for the sum, and "
        f"{levels:.1f} ms for its conversion to 8 bits. A page's own program is measured [by itself]"
        "(../live_page/README.md).",
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
