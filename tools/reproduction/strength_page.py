"""The page of Table 1: what its rows say, tables beside the paper's numbers, plots, trainings."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import numpy as np
import runs

from reproduction import plots
from reproduction.measuring import kept_rows
from reproduction.pages import GLOSSARY, trainings
from reproduction.printed import LINE, TABLE1
from reproduction.scales import Scale
from tunable.evaluation import metrics
from tunable.evaluation.sentences import NOISE_PROTOCOL
from tunable.files import write_text
from tunable.omega import format_omega

SETS = ("CBSD68", "Kodak24")
SIGMAS = (5.0, 15.0, 30.0)  # 1/255
FRONT = ("CBSD68", 15.0)  # where hypervolumes are taken
CORNER = 1.1 * 0.9 * FRONT[1] / 255 * np.sqrt(2 / np.pi)  # of their box: 1.1 times the distance of both targets
NEAR = 0.3  # dB below the plain network at (1, 0) that are allowed
LOWEST = -9  # dB beside the blend that the plot shows
TIED = 0.05  # dB below a blend that count as a tie
RIVALS, BLENDS = ("DNI", "DyNet", "CFSNet"), ("blend", "blend residual", "output blend")
SHARES = {"DyNet": ("blocks",), "CFSNet": ("blocks",), "AdaFM": ()}  # of what the main branch has half


def reason(method: str) -> str:
    """Why a method is below the plain network at (1, 0), where its construction says so."""
    family, *more = method.split()
    if more == ["paper"]:
        return ": a uniform ω seldom comes near the corner, and few steps leave it unfinished there"
    halves = (*SHARES.get(family, ()), *(("steps",) if "split" in more else ()))
    return f": its main branch has half of the {' and of the '.join(halves)}" if halves else ""


class Results:
    """The rows of all methods and seeds that were measured."""

    def __init__(self, folder: Path, methods: Iterable[str]) -> None:
        found = [row for path in sorted(folder.glob("*.csv")) for row in kept_rows(path, list)]
        self.methods = [name for name in methods if any(row["method"] == name for row in found)]
        self.pictures = sorted({int(row["pictures"]) for row in found})  # of each set
        self._values: dict[tuple, list[float]] = {}
        self.seeds: dict[str, list[int]] = {name: [] for name in self.methods}
        for row in found:
            place = (row["method"], row["seed"], row["set"], (row["omega_1"], row["omega_2"]))
            for column in ("psnr", "psnr_eta"):
                self._values.setdefault((column, *place), []).append(row[column])
            if (row["set"], row["sigma"]) == FRONT:
                self._values.setdefault(("front", *place[:2]), []).append((row["rec"], row["noise"]))
            if row["method"] in self.seeds and row["seed"] not in self.seeds[row["method"]]:
                self.seeds[row["method"]].append(row["seed"])

    def at(self, column: str, method: str, name: str, omega: tuple) -> list[float]:
        """The means over levels of every seed; [] where that was not measured."""
        places = [(column, method, seed, name, omega) for seed in self.seeds[method]]
        return [fmean(self._values[place]) for place in places if place in self._values]

    def hypervolumes(self, method: str) -> list[float]:
        """Of every seed, over the settings of the table."""
        box = np.full(2, CORNER)
        return [metrics.hypervolume(np.array(self._values["front", method, seed]), box) for seed in self.seeds[method]]

    def gap(self, method: str, other: str, column: str, name: str, omega: tuple) -> float:
        """Mean over their common seeds of one method's dB above another's."""
        values = []
        for seed in self.seeds[method]:
            pair = [self._values.get((column, each, seed, name, omega)) for each in (method, other)]
            if pair[0] and pair[1]:
                values.append(fmean(pair[0]) - fmean(pair[1]))
        return fmean(values) if values else float("nan")


def write_page(out: Path, budgets: dict[str, int], size: Scale) -> None:
    """Write README.md and the plots beside the raw rows; `budgets` are the training steps of every method in all."""
    results = Results(out / "raw", budgets)
    _plots(out, results)
    notes = out / "notes.md"
    lines = [
        "# Table 1: how much noise stays\n",
        GLOSSARY,
        notes.read_text(encoding="utf-8") if notes.is_file() else "",
        "![PSNR over the settings of every method](plot.png)\n",
        "![Hypervolumes of every method](bars.png)\n",
        *_verdicts(results),
        *_tables(results, budgets),
        *_hypervolumes(results),
        *trainings(out, size, "table1"),
        "Numbers are means over σ 5, 15 and 30 and over central crops of 96x96 pixels of the first "
        f"{' or '.join(map(str, results.pictures))} pictures of each set; the paper measures all of them, whole. "
        "Several seeds give their mean ± half their distance. Raw rows are in [raw](raw).\n",
        f"Protocol: {NOISE_PROTOCOL} PSNR in dB to y, and PSNR_η to y + 0.9 ω₂ (z - y), data range 1, on RGB, mean "
        "over pictures of the per-picture value.\n",
    ]
    write_text(out / "README.md", "\n".join(lines))


def _verdicts(results: Results) -> list[str]:
    lines = ["## What was wanted, and what was reached\n"]
    plain = "plain"
    for method in results.methods:
        gaps = [results.gap(method, plain, "psnr", name, LINE[-1]) for name in SETS]
        if method != plain and not any(np.isnan(gaps)) and min(gaps) < -NEAR:
            lines.append(f"* At (1, 0) *{method}* is {-min(gaps):.2f} dB below the plain network{reason(method)}.")
    if len(lines) > 1:
        lines.append(f"* Every other method is within {NEAR} dB of the plain network at (1, 0).")
    for method in (name for name in results.methods if name.startswith("strength")):
        lines += _beside(results, method)
    return [*lines, ""] if len(lines) > 1 else []


def _beside(results: Results, method: str) -> list[str]:
    """What a row is above each rival and blend at every setting of both sets, and where that is less than wanted."""
    heads = [f"{name} {format_omega(omega)}" for name in SETS for omega in LINE]
    lines, missed = ["| beside | wanted | " + " | ".join(heads) + " |", "|---" * (len(heads) + 2) + "|"], []
    for other in (name for name in results.methods if name.split()[0] in RIVALS or name in BLENDS):
        wanted = -TIED if other in BLENDS else 0.0
        gaps = [results.gap(method, other, "psnr_eta", name, omega) for name in SETS for omega in LINE]
        if any(np.isnan(gaps)):
            continue
        below = [gap < wanted for gap in gaps]
        if any(below):
            missed.append(f"*{other}* at {sum(below)} of {len(gaps)} places, by up to {-min(gaps):.2f} dB")
        shown = (round(gap, 2) + 0.0 for gap in gaps)  # no minus before a zero
        cells = (f"**{gap:+.2f}**" if bad else f"{gap:+.2f}" for gap, bad in zip(shown, below, strict=True))
        lines.append(f"| {other} | {wanted:+.2f} | " + " | ".join(cells) + " |")
    if len(lines) == 2:
        return []
    told = (
        f"It is below what was wanted beside {'; '.join(missed)}." if missed else "It is nowhere below what was wanted."
    )
    return [f"\n*{method}* beside the others, dB of PSNR_η, the mean of the seeds that both have. {told}\n", *lines]


def _tables(results: Results, budgets: dict[str, int]) -> list[str]:
    lines = []
    for name in SETS:
        for column, title in (("psnr_eta", "PSNR_η"), ("psnr", "PSNR")):
            lines += [f"## {title} on {name}\n", "| method | steps | " + " | ".join(map(format_omega, LINE)) + " |"]
            lines.append("|---" * (len(LINE) + 2) + "|")
            for place, method in enumerate(results.methods):
                values = [results.at(column, method, name, omega) for omega in LINE]
                cells = (runs.spread(v) if v else "" for v in values)
                lines.append(f"| {method} | {budgets[method]:,} | " + " | ".join(cells) + " |")
                family = method.split()[0]
                last = family not in {other.split()[0] for other in results.methods[place + 1 :]}
                if family in TABLE1 and last:
                    cells = (f"{value:.2f}" for value in TABLE1[family][name][column == "psnr_eta"])
                    lines.append(f"| *{family}, as the paper prints it* | | " + " | ".join(cells) + " |")
            lines.append("")
    return lines


def _hypervolumes(results: Results) -> list[str]:
    lines = [
        "## Hypervolume\n",
        "The share of a box that a method's settings dominate, where the axes are both objectives' own losses at their "
        f"full ends. The box ends at 1.1 times the distance of both targets. On {FRONT[0]} at σ {FRONT[1]:g}, over the "
        "five settings. More is better.\n",
        "| method | hypervolume |",
        "|---|---|",
    ]
    return [*lines, *(f"| {m} | {runs.spread(results.hypervolumes(m), 4)} |" for m in results.methods), ""]


def _plots(out: Path, results: Results) -> None:
    name = SETS[0]
    places = [omega[0] for omega in LINE]
    shown = [method for method in results.methods if not method.startswith("plain")]
    means = {
        column: {m: (places, [fmean(results.at(column, m, name, omega)) for omega in LINE]) for m in shown}
        for column in ("psnr", "psnr_eta")
    }
    panels = [(f"PSNR on {name}, dB", means["psnr"], None), (f"PSNR_η on {name}, dB", means["psnr_eta"], None)]
    if BLENDS[0] in shown:
        gaps = {m: (places, [results.gap(m, BLENDS[0], "psnr_eta", name, omega) for omega in LINE]) for m in shown}
        panels[0] = ("PSNR_η above that of the blend, dB", gaps, (LOWEST, 2))
    plots.curves(out / "plot.png", panels, "ω₁ = 1 - ω₂")
    values = {method: results.hypervolumes(method) for method in shown}
    plots.bars(out / "bars.png", values, f"hypervolume, {FRONT[0]}, σ {FRONT[1]:g}")
