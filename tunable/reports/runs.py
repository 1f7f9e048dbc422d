"""Runs side by side: the table as text and CSV, the plot, and a page with both."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunable.files import write_text
from tunable.reports import charts
from tunable.reports.page import embedded, render
from tunable.reports.tables import to_csv
from tunable.training.comparing import LAST, Run, table

ABOUT = (
    f"loss: the mean of the last {LAST} steps. score: the mean over the settings of the PSNR in dB to what is wanted "
    "there; the best, and its step. psnr_A_B and ssim_A_B: the last validation at ω = (A, B). recipe: the beginning of "
    "its digest; runs of equal recipes have equal ones. steps/s: with validations and checkpoints."
)
_HEADINGS = {"best_score": "score", "best_step": "at step", "steps_per_second": "steps/s"}


def text(runs: list[Run]) -> str:
    """Write the table as text: a line of headings, a line for each run, and what the numbers mean."""
    headings, *rows = _cells(runs)
    widths = [max(len(row[place]) for row in (headings, *rows)) for place in range(len(headings))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (headings, *rows)]
    return "\n".join(line.rstrip() for line in lines) + f"\n\n{ABOUT}\n"


def _cells(runs: list[Run]) -> list[list[str]]:
    """Headings and rows, without the columns of which nothing is known."""
    rows = table(runs)
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    headings = [_HEADINGS.get(name, name) for name in columns]
    return [headings, *([_cell(name, row[name]) for name in columns] for row in rows)]


def _cell(name: str, value: Any) -> str:
    if value is None or isinstance(value, float) and math.isnan(value):
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}" if name.startswith(("psnr", "best_score")) else f"{value:.4g}"


def _csv(path: str | Path, runs: list[Run]) -> None:
    rows = [{name: "" if value is None else value for name, value in row.items()} for row in table(runs)]
    write_text(path, to_csv(rows))


def _page(path: str | Path, runs: list[Run]) -> None:
    headings, *rows = _cells(runs)
    with tempfile.TemporaryDirectory() as folder:
        charts.training_curves(Path(folder) / "plot.png", runs)
        plot = embedded(Path(folder) / "plot.png")
    write_text(path, render("runs.html.j2", title="Runs", headings=headings, rows=rows, plot=plot, about=ABOUT))


WRITERS: dict[str, Callable[[str | Path, list[Run]], None]] = {
    ".csv": _csv,
    ".png": charts.training_curves,
    ".svg": charts.training_curves,
    ".html": _page,
}
