"""What being tunable costs, and MindSpore beside PyTorch (docs/results/speed).

    python tools/speed.py --out docs/results/speed

Runs `tunable bench`, whose raw times it keeps as CSV, and writes README.md from these: ratios beside what is wanted.
A CSV that is there already is not measured again. The machine should do nothing else meanwhile. Needs both
frameworks and TUNABLE_DATA.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import runs

from tunable.backends.registry import BACKENDS
from tunable.benchmark import network_timing
from tunable.commands.bench import compare
from tunable.files import write_text

MINI, PAPER = "configs/denoise/mini.yaml", "configs/denoise/paper.yaml"
LARGER = ("denoise_swinir", "denoise_real_nafnet")  # networks of other layers than convolutions
LOW_RANK = "training-low-rank"
RANK_4 = ["--set", "network.phi=base", "--set", "network.differences=low_rank", "--set", "network.rank=4"]
SMALLER = ["--set", "data.train=${TUNABLE_DATA}/BSD432", "--set", "data.batch=4"]
BENCHES = {  # name of the CSV -> (arguments of `tunable bench`, title)
    "networks": (
        ["networks", "--rounds", "5", "--turns", "2"],
        "Forward pass of the 16 x 64 residual network, p = 2, one 256x256 picture",
    ),
    "training-paper": (
        ["training", "--recipe", PAPER, *SMALLER, "--rounds", "7", "--turns", "1"],
        f"Training step of [{PAPER}](../../../{PAPER}) in batches of 4: 16 x 64, patches of 64x64, p = 2",
    ),
    LOW_RANK: (
        ["training", "--recipe", PAPER, *SMALLER, *RANK_4, "--rounds", "7", "--turns", "1"],
        f"The same with phi base and differences of rank 4 ([{PAPER}](../../../{PAPER}) otherwise)",
    ),
    "training-mini": (
        ["training", "--recipe", MINI, *SMALLER[:2], "--rounds", "25", "--turns", "2"],
        f"Training step of [{MINI}](../../../{MINI}): 4 x 32, 18 patches of 32x32, p = 2",
    ),
    **{
        f"training-{task}": (
            [
                "training",
                "--recipe",
                f"configs/{task}/mini.yaml",
                "--backends",
                "torch",
                "--rounds",
                "7",
                "--turns",
                "1",
            ],
            f"Training step of [configs/{task}/mini.yaml](../../../configs/{task}/mini.yaml), torch alone",
        )
        for task in LARGER
    },
}
WANTED = {  # (backend, case, ratio) -> at most
    ("torch", network_timing.FOLDED, "over_plain"): 1.00,
    ("mindspore", network_timing.FOLDED, "over_plain"): 1.00,
    ("torch", network_timing.PER_SAMPLE, "over_plain"): 1.12,
    ("mindspore", network_timing.PER_SAMPLE, "over_plain"): 1.20,
    ("mindspore", network_timing.PLAIN, "over_torch"): 1.80,
    ("mindspore", network_timing.PER_SAMPLE, "over_torch"): 1.80,
    ("torch", network_timing.WAIT, "share_of_step"): 0.05,
    ("mindspore", network_timing.WAIT, "share_of_step"): 0.05,
}
FORWARD = {(name, network_timing.SHARED, "over_plain"): 1.05 for name in ("torch", "mindspore")}
NOISE = 0.01  # by which equal programs differ
HEADINGS = {
    "over_plain": "time over the plain network's",
    "over_torch": "time over torch's",
    "share_of_step": "share of a step",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    args = parser.parse_args()
    tables, beyond, samples, forward = [], [], [], {}
    for name, (arguments, title) in BENCHES.items():
        path = args.out / f"{name}.csv"
        if not path.is_file():
            command = ["bench", *arguments, "--out", str(path)]
            print("tunable", *command, flush=True)
            subprocess.run([sys.executable, "-m", "tunable", *command], check=True)
        limits = {**WANTED, **FORWARD} if arguments[0] == "networks" else WANTED
        if any(task in name for task in LARGER):
            limits = {("torch", network_timing.PER_SAMPLE, "over_plain"): 1.25}
        if name == LOW_RANK:
            limits = {(backend, network_timing.PER_SAMPLE, "over_plain"): 1.40 for backend in BACKENDS}
        rows, training = compare(times(path)), arguments[0] == "training"
        tables += [f"## {title}\n", *table(rows, limits, training=training)]
        plain = {row["case"]: row["over_plain"] for row in rows if row["backend"] == "torch" and "over_plain" in row}
        if training:
            samples.append(plain[network_timing.PER_SAMPLE])
        else:
            forward = plain
        for row, key, heading, limit in cells(rows, limits, training=training):
            if limit is not None and row[key] > limit + NOISE:
                beyond.append(
                    f"{row['backend']}, {row['case']}, {heading}, `{name}`: {row[key]:.3f} (wanted: {limit:.2f})"
                )
    lines = [
        "# What being tunable costs\n",
        runs.GLOSSARY,
        f"**With one ω the network of 16 blocks of 64 channels takes {forward[network_timing.SHARED]:.3f} of the plain "
        f"one's time in PyTorch, and {forward[network_timing.FOLDED]:.3f} folded. A training step with an ω for every "
        f"sample takes {min(samples):.2f} to {max(samples):.2f}.** Above what was wanted by more than a hundredth: "
        f"{'; '.join(beyond) or 'nothing'}.\n",
        *tables,
        "Made by `python tools/speed.py --out docs/results/speed` on a CPU with two cores. Every number is a ratio of "
        "times that were measured side by side: cases take turns within a process, and frameworks take turns in "
        "processes of their own. The CSV files beside this page hold the raw times. Programs that are equal (plain and "
        "folded) differ by a hundredth, which is the noise.\n",
    ]
    write_text(args.out / "README.md", "\n".join(lines))


def times(path: Path) -> dict[str, network_timing.Times]:
    """The raw times of a CSV: backend -> case -> seconds."""
    seconds: dict[str, network_timing.Times] = {}
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            seconds.setdefault(row["backend"], {}).setdefault(row["case"], []).append(float(row["seconds"]))
    return seconds


def cells(rows: list[dict], limits: dict, *, training: bool) -> Iterator[tuple[dict, str, str, float | None]]:
    """What a table shows: its row, the key of the ratio, what that measures, and what is wanted at most, if that."""
    for row in rows:
        for key, heading in HEADINGS.items():
            same = (key == "over_torch" and row["backend"] == "torch") or (
                key == "over_plain" and row["case"] == network_timing.PLAIN
            )
            if key not in row or same:
                continue
            limit = limits.get((row["backend"], row["case"], key))
            if not training and (key == "over_torch" or row["case"] == network_timing.PER_SAMPLE):
                limit = None  # what is wanted of these concerns training
            yield row, key, heading, limit


def table(rows: list[dict], limits: dict, *, training: bool) -> list[str]:
    lines = ["| framework | case | ratio | measured | wanted at most |", "|---" * 5 + "|"]
    for row, key, heading, limit in cells(rows, limits, training=training):
        shown = "" if limit is None else f"{limit:.2f}"
        lines.append(f"| {row['backend']} | {row['case']} | {row[key]:.3f} | {heading} | {shown} |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
