"""Memory and time of restoring a picture of 24 megapixels, beside one of 1 megapixel (docs/results/big_pictures).

    OMP_NUM_THREADS=1 python tools/big_pictures.py --out docs/results/big_pictures

The mini denoiser of docs/results/denoise_mini restores a photograph, continued by its mirror images to every size, with
`tunable restore` in a fresh process per backend, size and round; sizes and backends take turns. The model `photo` does
so too, in PyTorch with as many threads as there are cores, as a user would run it. Keeps every process in
processes.csv and writes README.md from it; what processes.csv holds already is not measured again. Needs both
frameworks, onnxruntime and TUNABLE_DATA.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import runs

from tunable.commands import main as tunable
from tunable.data.patches import find_pictures
from tunable.files import write_text
from tunable.images import tiling
from tunable.images.pictures import read_bytes, write
from tunable.images.tiling import DEFAULT_TILE
from tunable.reports import tables

MODEL = "docs/results/denoise_mini/torch.safetensors"
PHOTOGRAPHS = "${TUNABLE_DATA}/Kodak24"
SIZES = {1: (1000, 1000), 24: (6000, 4000)}  # megapixels -> width, height
BACKENDS = ("torch", "mindspore", "onnx")
ROUNDS = 3
CASES = [(index, backend, size, 8) for index in range(ROUNDS) for backend in BACKENDS for size in SIZES]
PHOTO = "photo"  # stands in the place of a backend
CASES += [(0, "torch", 24, 16), *((index, PHOTO, 24, 8) for index in range(ROUNDS))]  # round, backend, megapixels, bits
MEMORY, RATIO = 1.5, 1.25  # GB, and time per pixel over 1 megapixel's, at most
SECONDS = 150  # of the model `photo`, at most: what is wanted of a U-Net of width 32, of width 16 it would be 60


def picture(folder: Path, megapixels: int, bits: int) -> Path:
    return folder / f"{megapixels}-{bits}.png"


def make_pictures(folder: Path) -> None:
    """The first photograph, continued by its mirror images; with 16 bits, levels that 8 could not say."""
    photograph = read_bytes(find_pictures([PHOTOGRAPHS])[0])
    for megapixels, bits in {case[2:] for case in CASES}:
        width, height = SIZES[megapixels]
        rows = ((0, height - photograph.shape[0]), (0, width - photograph.shape[1]), (0, 0))
        levels = np.pad(photograph, rows, mode="symmetric")
        if bits == 16:
            levels = levels.astype(np.uint16) * 257
            levels += np.arange(width, dtype=np.uint16)[:, None] % 100
        write(picture(folder, megapixels, bits), levels)


def timed(words: list[str]) -> None:
    """`tunable restore` in this process; prints the seconds that the restoration took within it, as JSON."""
    whole, seconds = tiling.run_tiled, []

    def run_tiled(*arguments, **options):
        start = time.perf_counter(), time.process_time()
        restored = whole(*arguments, **options)
        seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        return restored

    tiling.run_tiled = run_tiled
    status = tunable(["restore", *words])
    if status:
        sys.exit(status)
    print(json.dumps(seconds[0]))


def measure(folder: Path, backend: str, megapixels: int, bits: int, index: int) -> dict:
    """One process: seconds of the clock and of the processor, whole and the restoration alone, and its peak memory."""
    model = folder / "mini.onnx" if backend == "onnx" else MODEL
    words = [model, picture(folder, megapixels, bits), "--omega", "0.5,0.5", "--backend", backend, "--device", "cpu"]
    variables = dict(os.environ)
    if backend == PHOTO:
        words = [picture(folder, megapixels, bits), "--model", PHOTO, "--backend", "torch", "--device", "cpu"]
        variables.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, __file__, "--here", *map(str, words), "-o", str(folder / "restored.png")]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    restoring, cpu_restoring = json.loads(printed.splitlines()[-1])
    return {
        "round": index,
        "backend": backend,
        "megapixels": megapixels,
        "bits": bits,
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "restoring_seconds": restoring,
        "restoring_cpu_seconds": cpu_restoring,
    }


def measured(path: Path) -> None:
    """Complete the rows of all processes."""
    rows = runs.rows_of(path)
    known = {(int(row["round"]), row["backend"], int(row["megapixels"]), int(row["bits"])) for row in rows}
    cases = [case for case in CASES if case not in known]
    if not cases:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # This runs in its own process: a child's peak memory counts from the peak of the process that starts it.
        subprocess.run([sys.executable, __file__, "--pictures", name], check=True)
        export = ["export", MODEL, "--format", "onnx", "--backend", "torch", "-o", str(folder / "mini.onnx")]
        subprocess.run([sys.executable, "-m", "tunable", *export], check=True)
        for index, backend, megapixels, bits in cases:
            rows.append(measure(folder, backend, megapixels, bits, index))
            print(rows[-1], flush=True)
            write_text(path, tables.to_csv(rows))


def page(rows: list[dict]) -> str:
    def values(backend, megapixels, bits, key):
        same = (backend, str(megapixels), str(bits))
        return np.array([float(row[key]) for row in rows if (row["backend"], row["megapixels"], row["bits"]) == same])

    memory, times = [], []
    for backend in BACKENDS:
        peaks = [f"{values(backend, size, 8, 'peak_mb').max() / 1000:.2f} GB" for size in SIZES]
        memory.append(f"| {backend} | {' | '.join(peaks)} |")
        cells = []
        for key in ("restoring_cpu_seconds", "restoring_seconds", "cpu_seconds", "seconds"):
            small, large = (values(backend, size, 8, key) / size for size in SIZES)  # µs per pixel
            ratios = large / small
            spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
            cells.append(f"{np.median(small):.2f} | {np.median(large):.2f} | {spread}")
        times += [
            f"| {backend} | restoration | {' | '.join(cells[:2])} |",
            f"| {backend} | whole process | {' | '.join(cells[2:])} |",
        ]
    (width, height), (small, _) = SIZES[24], SIZES[1]
    seconds, peak = values(PHOTO, 24, 8, "seconds"), values(PHOTO, 24, 8, "peak_mb").max() / 1000
    return "\n".join([
        "# Big pictures\n",
        runs.GLOSSARY,
        f"Restoring 24 megapixels with torch takes {values('torch', 24, 8, 'peak_mb').max() / 1000:.2f} GB of memory, "
        f"and {values('torch', 24, 16, 'peak_mb').max() / 1000:.2f} GB with 16 bits per channel. At most {MEMORY} GB "
        f"was wanted. The model `photo` takes {np.median(seconds):.0f} s for them by the clock ({seconds.min():.0f} to "
        f"{seconds.max():.0f} s), from the start of the command to the written file, and {peak:.2f} GB; at most "
        f"{SECONDS} s were wanted of a network of twice the width of `denoise`, and its width is 28 for 16.\n",
        "Made by `OMP_NUM_THREADS=1 python tools/big_pictures.py --out docs/results/big_pictures`, with every process "
        "in [processes.csv](processes.csv). The mini ResNet of [denoise_mini](../denoise_mini/README.md) restores a "
        f"photograph of Kodak24 from PNG to PNG. The photograph is extended by its mirror images to {width}x{height} "
        f"pixels and to {small}x{small}. `tunable restore` works in tiles of at most {DEFAULT_TILE} pixels, each time "
        f"in a process of its own, in {ROUNDS} rounds on two CPU cores. torch has one thread; the other two have their "
        "own pools of threads. `photo` runs in PyTorch with as many threads as there are cores, at its default.\n",
        "The first table holds the largest peak memory of the whole process.\n",
        "| backend | 1 megapixel | 24 megapixels |",
        "|---|---|---|",
        *memory,
        "",
        "The second table holds microseconds per pixel, by the processor's time and by the clock, as medians of the "
        "rounds. *Ratio* divides 24 megapixels by 1, and gives the median, the least and the largest of the rounds. "
        f"For the restoration, which is the network and its tiles, at most {RATIO} was wanted. The whole process also "
        "starts the framework, compiles, reads and writes. The clock includes time that other work took.\n",
        "| backend | measured | processor, 1 | 24 | ratio | clock, 1 | 24 | ratio |",
        "|---|---|---|---|---|---|---|---|",
        *times,
        "",
    ])  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--pictures", type=Path, help="only make the pictures, in this folder")
    parser.add_argument("--here", nargs=argparse.REMAINDER, help="words for one `tunable restore` in this process")
    args = parser.parse_args()
    if args.here:
        timed(args.here)
    elif args.pictures:
        make_pictures(args.pictures)
    elif args.out is None:
        parser.error("--out is wanted")
    else:
        path = args.out / "processes.csv"
        measured(path)
        write_text(args.out / "README.md", page(runs.rows_of(path)))


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
