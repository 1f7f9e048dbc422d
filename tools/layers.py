"""What a tunable layer costs over an ordinary one: Fig. 3 of the paper, and every form (docs/results/layers).

    OMP_NUM_THREADS=1 python tools/layers.py --out docs/results/layers

Runs `tunable bench layers` per framework, in as many processes as TURNS says, whose rounds are joined. Keeps its CSV,
and writes README.md and plot.png from that: overheads beside what is wanted and what the paper claims. A framework that
the CSV holds already is not measured again. The CSV of another measurement may lie beside it as again.csv: the page
says where both agree. The machine should do nothing else meanwhile. Needs both frameworks.
"""

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

import runs

from tunable.backends.registry import BACKENDS, get_framework
from tunable.benchmark.layers import SIZE, Layer
from tunable.files import write_text
from tunable.reports import charts, layers, tables

TURNS = {"torch": 1, "mindspore": 3}  # MindSpore's times differ from process to process
WHOLE = ("kernel", "channels", "batch", "p", "rounds")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    args = parser.parse_args()
    path = args.out / "layers.csv"
    rows = read(path) if path.is_file() else []
    for name in BACKENDS:
        if not any(row["backend"] == name for row in rows):
            part = args.out / f"{name}.csv"
            options = f"--backends {name} --device cpu --turns {TURNS[name]}".split()
            command = ["bench", "layers", *options, "--out", str(part)]
            print("tunable", *command, flush=True)
            subprocess.run([sys.executable, "-m", "tunable", *command], check=True)
            rows += read(part)
            part.unlink()
            write_text(path, tables.to_csv(rows))
    charts.layer_overheads(args.out / "plot.png", rows, layers.CLAIMS)
    again = args.out / "again.csv"
    write_text(args.out / "README.md", page(rows, read(again) if again.is_file() else []))


def read(path: Path) -> list[dict]:
    """The rows of a CSV with their types."""
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update({name: int(row[name]) for name in WHOLE})
        row.update({name: float(row[name]) for name in ("seconds", "ratio", "low", "high")})
        row["backward"] = row["backward"] == "True"
    return rows


def above(rows: list[dict], quantity: str) -> set[tuple]:
    """The cases whose median (ratio) or quartile (low, high) lies above the limit."""
    limits = ((row, layers.limit_of(row)) for row in rows)
    return {
        tuple(row[name] for name in ("backend", *Layer._fields, "form", "p"))
        for row, limit in limits
        if limit is not None and row[quantity] > 1 + limit
    }


def compared(rows: list[dict], again: list[dict]) -> str:
    """What a second measurement says of those that exceed a limit."""
    if not again:
        return ""
    first, second = above(rows, "ratio"), above(again, "ratio")
    quartiles = len(above(rows, "low")), len(above(again, "low"))
    return (
        "A second measurement of everything ([again.csv](again.csv)) was made by the same command into another folder, "
        "while\n"
        f"tests ran. It has {len(second)} medians above their limits, and {len(first & second)} of these exceed their "
        f"limit in the first too.\nThe first measurement has {quartiles[0]} lower quartiles above a limit, and the "
        f"second has {quartiles[1]}.\n"
    )


def page(rows: list[dict], again: list[dict]) -> str:
    facts = [get_framework(name, "cpu").facts() for name in BACKENDS]
    versions = ", ".join(f"{name} {fact[name]}" for name, fact in zip(BACKENDS, facts, strict=True))
    return f"""# What a tunable layer costs

Words are explained in the [glossary](../../glossary.md).

With one ω, torch keeps every limit; with ω per sample it does so in the forms that `auto` chooses. MindSpore's numbers
are noisier, as said below.

Made by `OMP_NUM_THREADS=1 python tools/layers.py --out docs/results/layers`, which runs `tunable bench layers` and
keeps its numbers in [layers.csv](layers.csv). The CPU had {os.cpu_count()} cores, which other work shared. The versions
are {versions}. torch had one thread, and MindSpore (graph mode) had its own pool of threads. Feature maps have
{SIZE}x{SIZE} pixels, and linear layers as many rows. Layers have p kernels and the paper's phi, affine. The cases of a
layer take turns in one process. Every number is the median over rounds of a time divided by the ordinary layer's time
in the same round. *ordinary, again* is a second copy of the ordinary layer, whose difference from the first is noise.

![Overhead of one omega over channels, for kernels of 3, 5 and 7 pixels](plot.png)

The paper's Fig. 3 (a V100, 5000 runs) claims less than 5 % for p up to 4, and less than 20 % for more. The limits here
hold for dense convolutions of {layers.WIDE} channels and more. With one omega they are 5 % for p up to 4 and 10 % for
p = 8. With omega per sample they are 15 % in torch and 50 % in MindSpore.

{layers.document(rows)}
The sum of p kernels costs p C C k k multiply-adds and the convolution {SIZE}^2 C C k k, so the sum adds p parts in
{SIZE * SIZE:,}. What remains is the time to start some five more operators, which a layer of 16 channels, a point-wise
or a depth-wise layer may be too short to hide. `basis` runs p convolutions, and serves devices and exported files that
know no convolution with a kernel for each sample.

{compared(rows, again)}
In the first measurement torch keeps every limit. MindSpore's numbers are noisier. Its threads wait for each other where
other work takes a core, and its point-wise and largest layers move by tens of per cent, up and down, from process to
process; the cause is not known. A number above its limit means something only where the copy of the ordinary layer
stays near 0 and the quartiles lie close together. torch was measured in {TURNS["torch"]} process and MindSpore in
{TURNS["mindspore"]}, whose rounds are joined. MindSpore's forms `grouped` and `matmul` are about equally fast on
point-wise layers, and `auto` stays `matmul` there.

[CUDA](../cuda/README.md) has a page of its own. Ascend was not measured; `tunable bench layers --device ascend` prints
the line for `tunable/forms.py`.
"""


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
