"""What a move of a knob costs where only the end of a network is tunable, beside the whole network.

    python tools/prepared.py --out docs/results/prepared

In each framework, and in onnxruntime from files that PyTorch wrote, one after the other in every round: the whole
network, and `.at(omega)` of a prepared picture. The tail is stated as its share of the multiply-adds. Then the sum of
heads, of the model that ships. `rounds.csv` gets every time; the table on standard output has the least of each, which
a busy machine delays least, and the median of the ratios of the same round.
"""

import argparse
import csv
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from tunable.backends.model import Model, WeightsModel, load
from tunable.backends.registry import get_framework, requested
from tunable.exports.judging import checked_export
from tunable.images.pictures import to_levels
from tunable.specs.formulations import Last
from tunable.specs.networks import NetworkSpec, ResNetSpec, UNetSpec
from tunable.weights.storage import Header

SIDE = 256
NETWORKS = {  # name -> specification, share of the multiply-adds behind the first tunable layer
    "ResNet 8 x 32, last 2 blocks": (ResNetSpec(channels=32, blocks=8, where=Last(last=5)), 2 / 8),
    "U-Net of width 16, last scale": (UNetSpec(where=["decoders.3.*", "tail"]), 7344 / 46176),
}


def made(backend: str, spec: NetworkSpec) -> WeightsModel:
    framework = get_framework(backend)
    return WeightsModel(framework, framework.build(spec, 2), Header(spec, ("a", "b"), ((0.0, 1.0),) * 2))


def timed(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


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
        start = time.perf_counter()
        restored = told.at(omega)
        middle = time.perf_counter()
        to_levels(restored)
        times.append((middle - start, time.perf_counter() - middle))
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {SIDE}x{SIDE} pixels\n")
    print("| network | in | tail, of the multiply-adds | whole | a move | ratio |")
    print("|---|---|---|---|---|---|")

    def note(name: str, place: str, share: float, times: list[tuple[float, float]]) -> None:
        whole, move = np.min(times, axis=0)
        ratio = np.median([second / first for first, second in times])
        print(
            f"| {name} | {place} | {share:.0%} | {1000 * whole:.0f} ms | {1000 * move:.0f} ms | {ratio:.2f} |",
            flush=True,
        )
        rows.extend((name, place, *pair) for pair in times)

    for name, (spec, share) in NETWORKS.items():
        for backend in requested():
            model = made(backend, spec)
            note(name, backend, share, compare(model, model, args.rounds))
            if backend == "torch":
                with tempfile.TemporaryDirectory() as folder:
                    checked_export(model, "onnx", Path(folder, "net.onnx"))
                    checked_export(model, "onnx", Path(folder, "net.onnx"), form="prepared")
                    for mode in ("session", "blocked"):
                        parts, whole = (load(Path(folder, f"net{part}.onnx"), mode=mode) for part in ("-trunk", ""))
                        note(name, f"onnxruntime, {mode}", share, compare(parts, whole, args.rounds))
    times = heads(requested()[0], args.rounds)
    rows += [("heads of denoise", "numpy", *pair) for pair in times]
    total, levels = (1000 * value for value in np.min(times, axis=0))
    print(
        f"\nHeads of `denoise`, one megapixel: {total:.1f} ms a move, and {levels:.1f} ms for its conversion to 8 bits."
    )
    with open(args.out / "rounds.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("network", "in", "whole_s", "move_s"), *rows])


if __name__ == "__main__":
    main()
