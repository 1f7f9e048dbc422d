"""The table of an evaluation: CSV per picture, CSV and Markdown of the means, a plot."""

import csv
import io
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tunable.backends.model import Model
from tunable.evaluation.measuring import Measurement
from tunable.evaluation.sentences import is_enlarged, protocol
from tunable.files import write_text
from tunable.omega import format_omega
from tunable.reports import charts
from tunable.trained import describe, doubt

FILES = ("table.csv", "summary.csv", "summary.md", "plot.png")
HEADINGS = {
    "psnr": "PSNR",
    "psnr_y": "PSNR_Y",
    "psnr_eta": "PSNR_η",
    "psnr_gamma": "PSNR_γ",
    "ssim": "SSIM",
    "ssim_eta": "SSIM_η",
    "residual": "r*",
    "sharpness": "sharpness",
    "lpips": "LPIPS",
    "niqe": "NIQE",
}
_FORMATS = {
    "ssim": ".4f",
    "ssim_eta": ".4f",
    "residual": ".3f",
    "sharpness": ".3f",
    "lpips": ".4f",
}  # the others: decibels, and NIQE


def write(out: str | Path, rows: list[Measurement], summary: list[dict], model: Model) -> None:
    """Write `FILES` into folder `out`: the table per picture, the means as CSV and Markdown, their plot."""
    out = Path(out)
    table_csv, summary_csv, summary_md, plot_png = (out / name for name in FILES)
    write_text(table_csv, to_csv([asdict(row) for row in rows]))
    write_text(summary_csv, to_csv(summary))
    write_text(summary_md, document(summary, model))
    charts.metrics_over_omega(plot_png, summary)


def document(summary: list[dict], model: Model) -> str:
    """Write the Markdown table with what its numbers mean: omega's names and the measuring protocol."""
    objectives = ", ".join(model.objectives) or "none (plain network)"
    doubtful = {row["omega"] for row in summary if row["omega"] and doubt(row["omega"], model.header.trained)}
    note = f" *: hardly or never trained, which was {describe(model.header.trained or ())}." if doubtful else ""
    return f"{markdown(summary, doubtful)}\nomega: {objectives}.{note} Protocol: {protocol(summary)}\n"


def to_csv(rows: list[dict]) -> str:
    """Write rows as CSV text; omega becomes columns omega_1 .. omega_p, and floats keep six decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, row in enumerate(rows):
        columns = {}
        for key, value in row.items():
            if key == "omega":
                columns.update({f"omega_{i + 1}": f"{part:g}" for i, part in enumerate(value)})
            else:
                columns[key] = f"{value:.6g}" if isinstance(value, float) else value
        if number == 0:
            writer.writerow(columns)
        writer.writerow(columns.values())
    return text.getvalue()


def markdown(summary: list[dict], marked: Collection[tuple] = ()) -> str:
    """Write the means as a Markdown table, one row per omega, sigma and rho.

    Args:
        summary: the means, as tunable.evaluation.measuring.summarise returns them; what was not measured or varied is
            left out.
        marked: omega that get an asterisk.
    """
    levels = {"sigma": "σ", "rho": "ρ"} if any(row["rho"] for row in summary) else {"sigma": "σ"}
    if is_enlarged(summary):
        levels, summary = {}, [row for row in summary if row["sigma"] == "mean"]
    shown = [name for name in HEADINGS if not all(np.isnan(row[name]) for row in summary)]
    headings = ["ω", *levels.values(), "pictures", *(HEADINGS[name] for name in shown)]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for row in summary:
        cells = [format_omega(row["omega"]) + "*" * (row["omega"] in marked) if row["omega"] else "-"]
        cells += [row[level] if isinstance(row[level], str) else f"{row[level]:g}" for level in levels]
        cells += [str(row["pictures"]), *(format(row[name], _FORMATS.get(name, ".2f")) for name in shown)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
