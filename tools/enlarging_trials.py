"""How the weight of perception in configs/super_resolution/mini.yaml was chosen (docs/results/super_resolution/trials).

    python tools/enlarging_trials.py --work runs/reproduce/mini/super_resolution

Needs TUNABLE_DATA, torch, and VGG16, which names the file that tools/vgg16.py makes. From the weights of start.yaml in
--work, after as many steps as a trial wants, trains mini.yaml with other weights and other features; measures five
points from fidelity to perception on central crops of Kodak24, no picture of which a table shows; writes raw rows and
README.md. What --work and --out hold already is not made again.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import runs
from reproduction.measuring import kept_rows, restorer
from reproduction.printed import LINE
from reproduction.steps import Steps, train

from tunable.data.degradations import protocol_shrunk
from tunable.data.patches import find_pictures
from tunable.evaluation.measuring import compare_enlarged
from tunable.evaluation.perceptual import chosen
from tunable.evaluation.samples import central
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_network, write

TASK = "super_resolution"
LONGEST = 20000  # steps of start.yaml
SCALE, SIDE, SHOWN = 4, 256, 160  # times; pixels of a crop that is measured, and of one that is shown
PLACES = range(0, 24, 4)  # of Kodak24: pictures 1, 5, 9, 13, 17 and 21
POINTS = LINE[::-1]  # from (1, 0), fidelity, to (0, 1), perception
MEASURES = {
    "psnr": ("PSNR", 2),
    "lpips": ("LPIPS", 4),
    "sharpness": ("sharpness", 3),
    "grid": ("grid", 2),
    "hatching": ("hatching", 2),
}


class Trial(NamedTuple):
    """What perception is in a trial: `vgg.layer`, the weights of its parts beside a rec_weight of 1, and the steps."""

    layer: str
    vgg: float
    adv: float
    grid: float = 0.0
    shrunk: float = 0.0
    steps: int = 500
    before: int = 8000  # of fidelity alone
    squares: bool = False  # whether the last of these are of squared errors

    @property
    def name(self) -> str:
        parts = {"vgg": self.vgg, "adv": self.adv, "grid": self.grid, "shrunk": self.shrunk}
        words = [self.layer, *(f"{name} {weight:g}" for name, weight in parts.items() if weight)]
        return ", ".join([*words, *["squares"] * self.squares])

    @property
    def start(self) -> str:
        """The name of the training of fidelity alone; the longest is the recipe's own."""
        longest = "squares" if self.squares else "start"
        return longest if self.before == LONGEST else f"start of {self.before} steps"

    @property
    def settings(self) -> tuple[str, ...]:
        parts = {"rec": 1.0, "vgg": self.vgg, "adv": self.adv, "grid": self.grid, "shrunk": self.shrunk}
        weights = ", ".join(f"{name}_weight: {weight}" for name, weight in parts.items())
        perception = f"{{name: perception, kind: gan, {weights}}}"
        objectives = f"objectives=[{{name: fidelity, kind: rec}}, {perception}]"
        return (f"initial.weights=<{self.start}>", objectives, f"vgg.layer={self.layer}", f"steps={self.steps}")


TRIALS = (
    Trial("conv3_3", 0.003, 0.005),
    Trial("units", 0.3, 0.005),
    Trial("units", 0.1, 0.005),
    Trial("units", 0.3, 0.005, 10.0),
    Trial("units", 0.3, 0.005, 30.0),
    Trial("conv3_3", 0.002, 0.003, 10.0),
    Trial("units", 0.7, 0.005, 10.0, 10.0, 1500),
    Trial("units", 0.5, 0.005, 10.0, 10.0, 1500, LONGEST),
    Trial("units", 0.25, 0.005, 10.0, 10.0, 1500, LONGEST),
    Trial("units", 0.5, 0.001, 10.0, 10.0, 1000, LONGEST),
    Trial("units", 0.25, 0.002, 20.0, 10.0, 1000, LONGEST),
    Trial("units", 0.25, 0.002, 20.0, 10.0, 1000, LONGEST, True),
)


def steps(work: Path) -> Steps:
    table = {"start": train(f"{TASK}/start"), "squares": train(f"{TASK}/squares", "initial.weights=<start>")}
    for trial in TRIALS:
        if trial.start not in table:
            table[trial.start] = train(f"{TASK}/start", f"steps={trial.before}")
        table[trial.name] = train(f"{TASK}/mini", *trial.settings)
    return Steps(work, table, "cpu")


def crops(side: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Central squares of pictures of Kodak24: name, clean, and shrunk."""
    every = find_pictures(["${TUNABLE_DATA}/Kodak24"])
    for place in PLACES:
        yield every[place].name, *protocol_shrunk(central(read(every[place]), side), SCALE)


def measure(path: Path) -> Iterator[dict]:
    """A row for every crop and setting of a network."""
    restore, extra = restorer(path), chosen(("lpips",))
    for name, clean, shrunk in crops(SIDE):
        for omega in POINTS:
            restored = from_network(restore(to_network(shrunk), omega))
            found = compare_enlarged(restored, clean, SCALE, ssim=False, extra=extra)
            found |= {"grid": grid(restored - clean), "hatching": hatching(restored - clean)}
            yield {"picture": name, "omega_2": omega[1], **{metric: found[metric] for metric in MEASURES}}


def grid(difference: np.ndarray) -> float:
    """How much of a pattern that repeats with every pixel of the small picture a difference holds, in levels of 255.

    As `grid` of objectives of kind `features` (docs/method.md), over the whole picture in place of windows.
    """
    height, width, colours = difference.shape
    cells = difference.reshape(height // SCALE, SCALE, width // SCALE, SCALE, colours).mean((0, 2))
    return 255 * float(np.abs(cells - cells.mean((0, 1))).mean())


def hatching(difference: np.ndarray) -> float:
    """How much of a pattern a difference holds that repeats with every second pixel of the small picture, in levels.

    The difference is shrunk, and multiplied with 1 and -1 in turns, along rows, along columns and along both. Of each
    the absolute mean of windows of 4x4 is taken, and the mean over the windows; the sum of the three counts.
    """
    height, width, colours = difference.shape
    rows, columns = height // SCALE, width // SCALE
    shrunk = difference.reshape(rows, SCALE, columns, SCALE, colours).mean((1, 3))
    down, across = np.indices((rows, columns))
    total = 0.0
    for turns in (down, across, down + across):
        signed = shrunk * (1 - 2 * (turns % 2))[..., None]
        total += np.abs(signed.reshape(rows // 4, 4, columns // 4, 4, colours).mean((1, 3))).mean()
    return 255 * float(total)


def means(rows: list[dict], metric: str) -> list[float]:
    """Of a trial: the means over crops, from (1, 0) to (0, 1)."""
    return [fmean(row[metric] for row in rows if row["omega_2"] == omega[1]) for omega in POINTS]


def sheet(path: Path, table: Steps) -> None:
    """The middle of every crop: a column for the start and for each trial at (0, 1), and the truth."""
    if path.is_file():
        return
    restores, rows = {name: restorer(table.make(name)) for name in table.table}, []
    for _, clean, shrunk in crops(SHOWN):
        row = [from_network(restore(to_network(shrunk), (0.0, 1.0))) for restore in restores.values()]
        rows.append([*row, clean])
    labels = [re.sub(r"(vgg|adv|grid|shrunk) ", "", name) for name in restores]
    write(path, contact_sheet(rows, [*labels, "truth"]))


def report(work: Path, out: Path) -> None:
    table, lines = steps(work), []
    for trial in TRIALS:
        rows = kept_rows(out / f"{trial.name}.csv", partial(lambda name: measure(table.make(name)), trial.name))
        found = {metric: means(rows, metric) for metric in MEASURES}
        falls = (sum(b < a for a, b in pairwise(found[metric])) for metric in ("psnr", "lpips"))
        cells = [trial.name, f"{trial.before:,} + {trial.steps:,}"]
        cells += [f"{count} of {len(POINTS) - 1}" for count in falls]
        for metric, (_, digits) in MEASURES.items():
            cells.append(" → ".join(f"{found[metric][i]:.{digits}f}" for i in (0, -1)))
        lines.append(f"| {' | '.join(cells)} |")
        print(f"trials: {lines[-1]}", flush=True)
    sheet(out / "sheet.png", table)
    notes = out / "notes.md"
    text = [
        "# How perception was chosen for Table 4\n",
        "Words are explained in the [glossary](../../../glossary.md).\n",
        notes.read_text(encoding="utf-8") if notes.is_file() else "",
        "| vgg.layer and weights | steps | PSNR falls at | LPIPS improves at | "
        + " | ".join(f"{title}, (1, 0) → (0, 1)" for title, _ in MEASURES.values())
        + " |",
        "|---" * (4 + len(MEASURES)) + "|",
        *lines,
        "",
        "![The middle of every crop at (0, 1), a column for each trial](sheet.png)\n",
        "A column's title holds vgg.layer and the weights of vgg, adv, grid and shrunk.\n",
        f"Made by `python tools/enlarging_trials.py`. Numbers are means over central crops of {SIDE}x{SIDE} pixels of "
        f"{len(PLACES)} pictures of Kodak24 ({', '.join(str(place + 1) for place in PLACES)}), which no table of "
        "super-resolution holds; raw rows stand beside this page. Steps are counted from (1, 0) to (0, 1). One seed. "
        "grid is how much of a pattern that repeats with every pixel of the small picture the difference to the truth "
        "holds, hatching that of one that repeats with every second pixel, in levels of 255. steps are those of "
        "fidelity alone and, behind them, the trial's own.\n",
    ]
    write_text(out / "README.md", "\n".join(text))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/reproduce/mini/super_resolution"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/super_resolution/trials"))
    args = parser.parse_args()
    sys.exit(runs.guarded(report, args.work, args.out))
