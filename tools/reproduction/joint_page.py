"""The page of Table 3: the corners' PSNR, LPIPS and NIQE beside the paper's."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import runs

from reproduction.measuring import kept_rows
from reproduction.pages import GLOSSARY, trainings
from reproduction.printed import CORNERS, TABLE3
from reproduction.scales import Scale
from tunable.evaluation.sentences import BLUR_PROTOCOL, NOISE_PROTOCOL, PERCEPTUAL_PROTOCOL
from tunable.files import write_text
from tunable.omega import format_omega

SETS = ("CBSD68", "Kodak24")
COLUMNS = (("psnr", "PSNR", 2), ("lpips", "LPIPS", 3), ("niqe", "NIQE", 2))


def write_page(out: Path, methods: Iterable[str], size: Scale, levels: Iterable[tuple], crop: int) -> None:
    """Write README.md beside the raw rows."""
    rows = [row for path in sorted((out / "raw").glob("*.csv")) for row in kept_rows(path, list)]
    notes = out / "notes.md"
    lines = [
        "# Table 3: noise and blur with a knob each\n",
        GLOSSARY,
        notes.read_text(encoding="utf-8") if notes.is_file() else "",
        "![A photograph at every setting, a row for each method](../fig5/strip.png)\n",
    ]
    for name in SETS:
        here = [row for row in rows if row["set"] == name]
        for place, (column, title, digits) in enumerate(COLUMNS):
            lines += [f"## {title} on {name}\n", "| method | " + " | ".join(map(format_omega, CORNERS)) + " |"]
            lines.append("|---" * (len(CORNERS) + 1) + "|")
            for method in methods:
                cells = [_cell(here, method, omega, column, digits) for omega in CORNERS]
                lines += [f"| {method} | " + " | ".join(cells) + " |"] if any(cells) else []
            for method, printed in TABLE3.items():
                values = " | ".join(f"{value:.{digits}f}" for value in printed[name][place])
                lines.append(f"| *{method}, as the paper prints it* | {values} |")
            lines.append("")
    pictures = len({row["picture"] for row in rows if row["set"] == SETS[0]})
    shown = ", ".join(f"({sigma:g}, {rho:g})" for sigma, rho in levels)
    lines += [
        *trainings(out, size, "table3"),
        f"ω is (noise, blur). Numbers are means over the levels (σ, ρ) {shown} and over central crops of {crop}x{crop} "
        f"pixels of the first {pictures} pictures of a set; the paper measures whole pictures at ρ 0 to 4. Raw rows, "
        "one for each picture, are in [raw](raw).\n",
        f"Protocol: {NOISE_PROTOCOL} {BLUR_PROTOCOL.partition(' PSNR_gamma')[0]} PSNR in dB, data range 1, on RGB. "
        f"{PERCEPTUAL_PROTOCOL}\n",
    ]
    write_text(out / "README.md", "\n".join(lines))


def _cell(rows: list[dict], method: str, omega: tuple, column: str, digits: int) -> str:
    """The mean over pictures and levels, with half the distance of the seeds."""
    chosen = [row for row in rows if row["method"] == method and (row["omega_1"], row["omega_2"]) == omega]
    seeds = sorted({row["seed"] for row in chosen})
    means = [fmean(row[column] for row in chosen if row["seed"] == seed) for seed in seeds]
    return runs.spread(means, digits) if means else ""
