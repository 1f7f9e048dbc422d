"""The page of tools/studies.py: its tables and plot, and what p objectives cost."""

from pathlib import Path
from statistics import fmean

import knobs_report
import runs
from matplotlib.figure import Figure
from reproduction.measuring import kept_rows
from reproduction.pages import training_rows
from reproduction.printed import LINE
from reproduction.steps import Step
from reproduction.strength import CROP, PICTURES
from reproduction.strength_page import SETS

from tunable.evaluation.sentences import NOISE_PROTOCOL
from tunable.files import atomic, write_text
from tunable.omega import format_omega
from tunable.reports import tables
from tunable.specs.reading import load_recipe

TABLE1 = Path(__file__).parent.parent / "docs" / "results" / "reproduce" / "table1" / "raw"
REFERENCE = "low rank 4"
LAWS = {"corners and line": REFERENCE} | {
    name: name for name in ("corners", "line", "uniform", "beta 0.5", "log-uniform", "annealed")
}
BATCHES = {"ω per sample": REFERENCE, "one ω per batch": "one ω per batch"}
OBJECTIVES = (2, 3, 4, 8)
BUDGETS = (250, 500, 1000, 1500, 3000)
PLAIN = {"plain, restoring": LINE[-1], "plain, keeping": LINE[0]}  # and the setting that each is trained for
LEARNERS = (REFERENCE, "base", "paper")
SHORT = 500  # steps of most variations


def at_budget(name: str, budget: int) -> str:
    """The row of what learns in so many steps."""
    return f"{name}, {budget} steps"


COSTS = {  # what is timed, a plain network first -> the row whose network it is
    "plain": at_budget("plain, restoring", BUDGETS[0]),
    "p = 2, one ω per batch": at_budget("one ω per batch", SHORT),
    "p = 2": at_budget(REFERENCE, SHORT),
    **{f"p = {p}": at_budget(f"p = {p}", SHORT) for p in OBJECTIVES[1:]},
}
REUSED = {  # rows that Table 1 has
    at_budget("plain, restoring", 1500): "plain",
    at_budget("plain, keeping", 1500): "DNI scratch",  # at (0, 1) it is that plain network
    **{at_budget(name, 1500): f"tunable {name}" for name in LEARNERS},
}


class Results:
    """What was measured: PSNR_eta by row, seed, set and setting, means over levels."""

    def __init__(self, folder: Path) -> None:
        self._values: dict[tuple, dict[int, list[float]]] = {}
        self._read(folder, {})
        for name, method in REUSED.items():
            self._read(TABLE1, {method: name})

    def _read(self, folder: Path, names: dict[str, str]) -> None:
        for path in sorted(folder.glob(f"{next(iter(names), '*')}, seed *.csv")):
            for row in kept_rows(path, list):
                omega = (row["omega_1"], row["omega_2"])
                seeds = self._values.setdefault((names.get(row["method"], row["method"]), row["set"], omega), {})
                seeds.setdefault(int(row["seed"]), []).append(row["psnr_eta"])

    def at(self, row: str, name: str, omega: tuple) -> dict[int, float]:
        """PSNR_eta in dB by seed; {} where that was not measured."""
        return {seed: fmean(values) for seed, values in self._values.get((row, name, omega), {}).items()}

    def mean(self, row: str, name: str) -> list[float]:
        """The mean over the settings, of every seed."""
        seeds = self.at(row, name, LINE[0])
        return [fmean(self.at(row, name, omega)[seed] for omega in LINE) for seed in seeds]

    def gaps(self, row: str, other: str, name: str, omega: tuple) -> list[float]:
        """dB of a row above another, of every seed that both have."""
        mine, others = self.at(row, name, omega), self.at(other, name, omega)
        return [value - others[seed] for seed, value in mine.items() if seed in others]


def report(out: Path, steps: dict[str, Step]) -> None:
    """Write README.md, the plot and the costs beside the raw rows; `steps`: the trainings of a seed."""
    results, notes = Results(out / "raw"), out / "notes.md"
    _plot(out / "plot.png", results)
    numbers = {f"p = {p}": f"p = {p}" if p > 2 else REFERENCE for p in OBJECTIVES}
    lines = [
        "# What training needs: laws of ω, batches, objectives, steps\n",
        runs.GLOSSARY,
        notes.read_text(encoding="utf-8") if notes.is_file() else "",
        "![What each variation gains or loses](plot.png)\n",
        "## One ω for each sample or one for the batch\n",
        *_settings(results, BATCHES),
        "## Laws of ω\n",
        *_settings(results, LAWS),
        "## The number of objectives\n",
        "The p targets keep 0, 1 / (p - 1), ..., 1 of nine tenths of the noise, so that all networks are asked for the "
        "same pictures: between two targets the nearest two are mixed.\n",
        *_settings(results, numbers),
        *_costs(out / "costs.csv", steps),
        "## The number of steps\n",
        *_budgets(results),
        "## How this was made\n",
        "Each variation changes one thing in the row *tunable low rank 4* of [Table 1]"
        "(../reproduce/table1/README.md), which is *corners and line*, *ω per sample* and *p = 2* here. With its "
        "1,500 steps it was measured there, as were the other learners. Each budget is a training of its own, whose "
        "learning rate falls to zero. Numbers are PSNR_η in dB, means over σ 5, 15 and 30 and over "
        f"central crops of {CROP}x{CROP} pixels of the first {PICTURES} pictures of each set. Several seeds give their "
        "mean ± half their distance. Raw rows are in [raw](raw). Made by `python tools/studies.py`; "
        "[trainings.csv](trainings.csv) holds the steps and seconds of one core.\n",
        *training_rows(out),
        "",
        f"Protocol: {NOISE_PROTOCOL} PSNR_η is PSNR to y + 0.9 ω₂ (z - y), data range 1, on RGB, mean over pictures "
        "of the per-picture value.\n",
    ]
    write_text(out / "README.md", "\n".join(lines))


def _settings(results: Results, rows: dict[str, str]) -> list[str]:
    """A table of rows, what they are called and what they are: settings of the first set, and the means of both."""
    heads = [*map(format_omega, LINE), *(f"mean, {name}" for name in SETS)]
    lines = ["| row | steps | seeds | " + " | ".join(heads) + " |", "|---" * (len(heads) + 3) + "|"]
    for budget in BUDGETS:
        found = {name: at_budget(row, budget) for name, row in rows.items()}
        found = {name: row for name, row in found.items() if results.at(row, SETS[0], LINE[0])}
        for name, row in found.items() if len(found) > 1 else ():
            values = [list(results.at(row, SETS[0], omega).values()) for omega in LINE]
            values += [results.mean(row, each) for each in SETS]
            cells = " | ".join(map(runs.spread, values))
            lines.append(f"| {name} | {budget:,} | {len(values[0])} | {cells} |")
    return [*lines, ""]


def _budgets(results: Results) -> list[str]:
    """Plain networks over their steps, and what tunable ones of equal steps are above them at both corners."""
    lines = []
    for plain, omega in PLAIN.items():
        budgets = [budget for budget in BUDGETS if results.at(at_budget(plain, budget), SETS[0], omega)]
        heads = " | ".join(f"{budget:,} steps" for budget in budgets)
        lines += [f"At {format_omega(omega)}:\n", f"| row | set | {heads} |", "|---" * (len(budgets) + 2) + "|"]
        for name in SETS:
            found = [list(results.at(at_budget(plain, budget), name, omega).values()) for budget in budgets]
            lines.append(f"| plain, dB | {name} | " + " | ".join(map(runs.spread, found)) + " |")
            for row in LEARNERS:
                gaps = [results.gaps(at_budget(row, b), at_budget(plain, b), name, omega) for b in budgets]
                cells = " | ".join(_signed(gap) for gap in gaps)
                lines.append(f"| {row}, above plain | {name} | {cells} |")
        lines.append("")
    return lines


def _signed(gaps: list[float]) -> str:
    if not gaps:
        return ""
    spread = runs.spread(gaps)
    return spread if spread.startswith("-") else f"+{spread}"


def _costs(path: Path, steps: dict[str, Step]) -> list[str]:
    if not path.is_file():
        words = {name: steps[row].words for name, row in COSTS.items()}
        full = {
            f"{name}, full differences": (*words[name], "", "network.differences=full", "", "network.rank=0")
            for name in list(COSTS)[2:]
        }
        recipes = {name: load_recipe(each[1], list(each[3::2])) for name, each in (words | full).items()}
        write_text(path, tables.to_csv(knobs_report.measured_costs(recipes)))
    lines = [
        "What networks cost beside the plain one, the first row: multiply-adds are per pixel at one setting, folded. "
        f"Times are ratios in turns, medians of {knobs_report.ROUNDS}: a training step on {knobs_report.SAMPLES} "
        f"patches of {knobs_report.SIDE}x{knobs_report.SIDE}, and a forward pass of as many pictures with one ω, not "
        "folded, and with one each.\n",
        *knobs_report.cost_table(path),
    ]
    return [*lines, ""]


def _plot(path: Path, results: Results) -> None:
    name, places = SETS[0], [omega[0] for omega in LINE]
    figure = Figure(figsize=(13, 9))
    (laws, others), (restoring, keeping) = figure.subplots(2, 2)
    for axes, rows in ((laws, list(LAWS)[1:]), (others, ["one ω per batch", *(f"p = {p}" for p in OBJECTIVES[1:])])):
        for row in rows:
            gaps = [results.gaps(at_budget(row, SHORT), at_budget(REFERENCE, SHORT), name, omega) for omega in LINE]
            if all(gaps):
                axes.plot(places, [fmean(gap) for gap in gaps], marker="o", markersize=3, label=row)
        axes.set_xlabel("ω₁ = 1 - ω₂")
        axes.set_ylabel("PSNR_η above the reference, dB")
        axes.set_title(f"{SHORT} steps; the reference is corners and line, ω per sample, p = 2", fontsize=9)
    for axes, (plain, omega) in zip((restoring, keeping), PLAIN.items(), strict=True):
        for row in LEARNERS:
            gaps = {b: results.gaps(at_budget(row, b), at_budget(plain, b), name, omega) for b in BUDGETS}
            found = {budget: fmean(gap) for budget, gap in gaps.items() if gap}
            axes.plot(list(found), list(found.values()), marker="o", markersize=3, label=row)
        axes.set_xscale("log")
        axes.set_xlim(0.8 * BUDGETS[0], 1.25 * BUDGETS[-1])
        axes.set_xticks(BUDGETS, [f"{budget:,}" for budget in BUDGETS])
        axes.minorticks_off()
        axes.set_xlabel("steps")
        axes.set_ylabel("PSNR_η above a plain network of equal steps, dB")
        axes.set_title(f"at {format_omega(omega)}", fontsize=9)
    for axes in (laws, others, restoring, keeping):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    figure.suptitle(f"{name}, means over σ 5, 15 and 30")
    figure.tight_layout()
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")
