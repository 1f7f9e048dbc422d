"""What being tunable costs, and MindSpore beside PyTorch (docs/results/speed).

    python tools/speed.py --out docs/results/speed

Runs `tunable bench networks` and `tunable bench training` on configs/denoise/mini.yaml; writes their raw times as CSV
and README.md with the ratios beside what is wanted. The machine should do nothing else meanwhile. Needs both frameworks
and TUNABLE_DATA.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tunable_core import benchmark
from tunable_core.files import write_text

RECIPE = "configs/denoise/mini.yaml"
BENCHES = {
    "networks": (["--rounds", "5"], "Forward pass of the 16 x 64 residual network, p = 2, one 256x256 picture."),
    "training": (
        ["--recipe", RECIPE, "--rounds", "25"],
        f"Training step of [{RECIPE}](../../../{RECIPE}): 4 x 32 residual network, p = 2.",
    ),
}
WANTED = {  # (bench, backend, case, ratio) -> at most
    ("networks", "torch", benchmark.SHARED, "over_plain"): 1.05,
    ("networks", "torch", benchmark.FOLDED, "over_plain"): 1.00,
    ("networks", "mindspore", benchmark.SHARED, "over_plain"): 1.05,
    ("networks", "mindspore", benchmark.FOLDED, "over_plain"): 1.00,
    ("training", "torch", benchmark.PER_SAMPLE, "over_plain"): 1.12,
    ("training", "mindspore", benchmark.PER_SAMPLE, "over_plain"): 1.20,
    ("training", "mindspore", benchmark.PLAIN, "over_torch"): 1.80,
    ("training", "mindspore", benchmark.PER_SAMPLE, "over_torch"): 1.80,
    ("training", "torch", benchmark.WAIT, "share_of_step"): 0.05,
    ("training", "mindspore", benchmark.WAIT, "share_of_step"): 0.05,
}
HEADINGS = {
    "over_plain": "time over the plain network's",
    "over_torch": "time over torch's",
    "share_of_step": "share of a step",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--turns", type=int, default=2, help="turns of each framework (default 2)")
    args = parser.parse_args()
    lines = [
        "# What being tunable costs\n",
        "Made by `python tools/speed.py --out docs/results/speed`; on a CPU with two cores. Every number is a ratio of "
        "times measured side by side: cases take turns within a process, frameworks take turns in processes of their "
        "own. Raw times: networks.csv, training.csv.\n",
    ]
    for what, (options, title) in BENCHES.items():
        command = [
            "bench",
            what,
            *options,
            "--turns",
            str(args.turns),
            "--out",
            str(args.out / f"{what}.csv"),
            "--json",
        ]
        print("tunable", *command, flush=True)
        done = subprocess.run([sys.executable, "-m", "tunable_core", *command], check=True, stdout=subprocess.PIPE)
        lines += [f"## {title}\n", *table(what, json.loads(done.stdout))]
    write_text(args.out / "README.md", "\n".join(lines))


def table(what: str, rows: list[dict]) -> list[str]:
    lines = ["| framework | case | ratio | of what | wanted at most |", "|---" * 5 + "|"]
    for row in rows:
        for key, heading in HEADINGS.items():
            if key not in row or (key == "over_torch" and row["backend"] == "torch"):
                continue
            if key == "over_plain" and row["case"] == benchmark.PLAIN:
                continue
            wanted = WANTED.get((what, row["backend"], row["case"], key))
            limit = "" if wanted is None else f"{wanted:.2f}"
            lines.append(f"| {row['backend']} | {row['case']} | {row[key]:.3f} | {heading} | {limit} |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
