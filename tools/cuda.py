"""An NVIDIA GPU: the parity suite and a certificate on it, and what being tunable costs there (docs/results/cuda).

    python tools/cuda.py --out docs/results/cuda

Needs torch with CUDA and TUNABLE_DATA; MindSpore is not needed, its part was recorded in a pack. What --out holds
already is not made again, so that the page can be written anew without a GPU.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import layers
import runs
import speed

from tunable.commands.bench import compare
from tunable.files import write_text
from tunable.reports import charts
from tunable.reports import layers as report

SUITE = ("layers", "drawn", "limits", "objectives", "networks", "perceptual", "optimizers", "structure", "modes")
SUITE += ("trajectories", "training")
MODEL = "docs/results/denoise_mini/mindspore"
TUNABLE = [sys.executable, "-m", "tunable"]
TRAINED = ["--set", "data.train=${TUNABLE_DATA}/BSD432"]
ON_CUDA = ["--backends", "torch", "--device", "cuda", "--rounds", "25", "--turns", "1"]
TEXTS = {
    "machine.txt": [*TUNABLE, "doctor"],
    "parity.txt": [sys.executable, "-m", "pytest", *(f"parity_tests/test_{name}.py" for name in SUITE)],
    "verify.txt": [
        *TUNABLE, "verify", f"{MODEL}.safetensors", "--backends", "torch", "--against", f"{MODEL}.pack.safetensors"
    ],
}  # fmt: skip
BENCHES = {  # name of the CSV -> (arguments of `tunable bench`, title)
    "networks": (["networks"], speed.BENCHES["networks"][1]),
    "training-paper": (
        ["training", "--recipe", "configs/denoise/paper.yaml", *TRAINED],
        "Training step of configs/denoise/paper.yaml: 16 x 64, batches of 16 patches of 64x64",
    ),
    **{
        f"training-{task}": (
            ["training", "--recipe", f"configs/{task}/mini.yaml", *TRAINED],
            f"Training step of configs/{task}/mini.yaml",
        )
        for task in ("denoise", "denoise_swinir", "denoise_real_nafnet")
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cuda = {**os.environ, "TUNABLE_BACKENDS": "torch", "TUNABLE_DEVICE_TORCH": "cuda"}
    for name, command in TEXTS.items():
        if not (args.out / name).is_file():
            print(*command, flush=True)
            done = subprocess.run(command, env=cuda, stdout=subprocess.PIPE, text=True, check=False)
            write_text(args.out / name, done.stdout)  # a failed comparison is a result too
    for name, (arguments, _) in BENCHES.items():
        bench(args.out / f"{name}.csv", [*arguments, *ON_CUDA])
    bench(args.out / "layers.csv", ["layers", "--backends", "torch", "--device", "cuda"])
    rows = layers.read(args.out / "layers.csv")
    charts.layer_overheads(args.out / "plot.png", rows, report.CLAIMS)
    write_text(args.out / "README.md", page(args.out, rows))


def bench(path: Path, arguments: list[str]) -> None:
    if not path.is_file():
        subprocess.run([*TUNABLE, "bench", *arguments, "--out", str(path)], check=True)


def page(out: Path, rows: list[dict]) -> str:
    lines = [
        "# On an NVIDIA GPU\n",
        runs.GLOSSARY,
        (out / "notes.md").read_text(encoding="utf-8"),
        "Made by `python tools/cuda.py --out docs/results/cuda`: [machine](machine.txt), [the parity suite]"
        "(parity.txt), [a certificate](verify.txt) of weights that MindSpore trained, judged by a "
        f"[pack](../../../{MODEL}.pack.safetensors) that was recorded on a CPU, and times.\n",
        "## The parity suite\n",
        "```text\n" + (out / "parity.txt").read_text(encoding="utf-8").strip() + "\n```\n",
    ]
    for name, (_, title) in BENCHES.items():
        times = speed.times(out / f"{name}.csv")
        lines += [f"## {title}\n", *speed.table(compare(times), {}, training=name != "networks")]
    added = sorted(1e6 * (row["seconds"] - _ordinary(rows, row)) for row in rows if _plain_shared(row))
    lines += [
        "## Single layers, 128x128 pixels\n",
        f"One omega adds a median of {added[len(added) // 2]:.0f} microseconds to a dense convolution's call "
        f"({added[0]:.0f} to {added[-1]:.0f}), however many channels and objectives it has.\n",
        "![Overhead of one omega over channels, for kernels of 3, 5 and 7 pixels](plot.png)\n",
        report.document(rows),
    ]
    return "\n".join(lines)


def _plain_shared(row: dict) -> bool:
    return (row["kind"], row["form"], row["backward"]) == ("dense", report.SHARED, False)


def _ordinary(rows: list[dict], row: dict) -> float:
    same = [r for r in rows if r["form"] == "ordinary" and all(r[f] == row[f] for f in report.Layer._fields)]
    return same[0]["seconds"]


if __name__ == "__main__":
    main()
