"""The page of Table 4: what its rows say, the curves, tables beside the paper's numbers, trainings and costs."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import enlarging
import numpy as np
import runs

from reproduction import plots
from reproduction.measuring import kept_rows
from reproduction.pages import GLOSSARY, training_rows
from reproduction.printed import LINE, TABLE4
from tunable.evaluation.sentences import PERCEPTUAL_PROTOCOL, SHRUNK_PROTOCOL
from tunable.files import write_text
from tunable.omega import format_omega
from tunable.reports import tables
from tunable.weights import storage

SET = "CBSD68"
SHOWN = ("lpips", "psnr", "psnr_y", "niqe", "sharpness")  # a table each
COLUMNS = {metric: enlarging.COLUMNS[metric] for metric in SHOWN} | {"lpips": ("LPIPS", 4)}  # they are close
PRINTED = {"psnr": 0, "lpips": 1}  # which of the paper's rows a table shows
MARGIN = 1.0  # dB that a setting may be below bicubic interpolation

Lines = dict[str, dict[str, list[list[float]]]]  # metric -> method -> for every seed the means at LINE


def costs(method: str, path: Path) -> dict[str, str | int]:
    """What a weights file stores, and what it computes for every pixel of the input."""
    weights, header = storage.load(path)
    parameters = sum(value.size for value in weights.values())
    return {"method": method, "parameters": parameters, "multiply_adds": header.network.multiply_adds}


def means(folder: Path, methods: Iterable[str]) -> tuple[Lines, list[dict]]:
    """The means over pictures of all methods and seeds that were measured, and the same as rows of a CSV."""
    lines: Lines = {metric: {} for metric in COLUMNS}
    rows = []
    for method in methods:
        for path in sorted(folder.glob(f"{method}, seed *.csv")):
            found = kept_rows(path, list)
            for omega in LINE:
                here = [row for row in found if (row["omega_1"], row["omega_2"]) == omega]
                values = {metric: fmean(row[metric] for row in here) for metric in COLUMNS}
                told = {"method": method, "seed": int(found[0]["seed"]), "omega": omega, "pictures": len(here)}
                rows.append(told | values)
            for metric in COLUMNS:
                lines[metric].setdefault(method, []).append([row[metric] for row in rows[-len(LINE) :]])
    return lines, rows


def write_page(out: Path, methods: Iterable[str], bicubic: dict[str, float]) -> None:
    """Write README.md, rows.csv and the curves beside the raw rows; `bicubic` are the means of that interpolation."""
    lines, rows = means(out / "raw", methods)
    write_text(out / "rows.csv", tables.to_csv(rows))
    curves = {
        method: tuple([fmean(place) for place in zip(*lines[metric][method], strict=True)] for metric in PRINTED)
        for method in lines["psnr"]
    }
    beside = {**curves, "bicubic interpolation": ([bicubic["psnr"]], [bicubic["lpips"]])}
    panels = [(f"LPIPS on {SET}, less is better", shown, None) for shown in (curves, beside)]
    plots.curves(out / "plot.png", panels, f"PSNR on {SET}, dB")
    notes = out / "notes.md"
    counts = sorted({row["pictures"] for row in rows})
    text = [
        "# Table 4: super-resolution from fidelity to perception\n",
        GLOSSARY,
        notes.read_text(encoding="utf-8") if notes.is_file() else "",
        "![LPIPS over PSNR, a line for each method](plot.png)\n",
        "A line leads from (1, 0), fidelity, on the right to (0, 1), perception, on the left. Less LPIPS at the same "
        "PSNR is better.\n",
        *verdict(lines, bicubic),
        "![One photograph by every method at three settings](strip.png)\n",
        *_tables(lines, bicubic),
        *_made(out, lines, sorted({row["seed"] for row in rows})),
        f"Numbers are means over the first {' or '.join(map(str, counts))} pictures of {SET}; the paper measures all, "
        "and Kodak24 too. Several seeds give their mean ± half their distance. Means are in [rows.csv](rows.csv), raw "
        "rows, one for each picture, in [raw](raw).\n",
        f"Protocol: {SHRUNK_PROTOCOL} {PERCEPTUAL_PROTOCOL}\n",
    ]
    write_text(out / "README.md", "\n".join(text))


def verdict(lines: Lines, bicubic: dict[str, float]) -> list[str]:
    """A table: the way of every method from (1, 0) to (0, 1), and its LPIPS where all have the same PSNR."""
    level = max(min(line) for seeds in lines["psnr"].values() for line in seeds)
    text = [
        f"| method | PSNR falls | LPIPS improves | least PSNR above bicubic, dB | LPIPS at {level:.2f} dB |",
        "|---" * 5 + "|",
    ]
    for method, seeds in lines["psnr"].items():
        pairs = list(zip(seeds, lines["lpips"][method], strict=True))
        least = [min(psnr) - bicubic["psnr"] for psnr, _ in pairs]
        cells = [
            _steps([psnr for psnr, _ in pairs]),
            _steps([lpips for _, lpips in pairs]),
            runs.spread(least) if min(least) > -MARGIN else f"**{runs.spread(least)}**",
            runs.spread((_at(level, *pair) for pair in pairs), COLUMNS["lpips"][1]),
        ]
        text.append(f"| {method} | {' | '.join(cells)} |")
    return [*text, "", f"Steps are counted from (1, 0) to (0, 1), {len(LINE) - 1} for each seed. The last column is "
            "read off the curves between two settings; it is the lowest PSNR that all of them reach.\n"]  # fmt: skip


def _steps(seeds: list[list[float]]) -> str:
    """At how many steps from (1, 0) to (0, 1) values fall, of how many."""
    falls = [below < above for line in seeds for below, above in pairwise(line)]
    return "at every step" if all(falls) else f"at {sum(falls)} of {len(falls)} steps"


def _at(level: float, psnr: list[float], lpips: list[float]) -> float:
    """LPIPS where a curve last has a PSNR, on its way from (1, 0) to (0, 1)."""
    for place in range(1, len(psnr)):
        low, high = psnr[place - 1 : place + 1]
        if low <= level <= high:
            return float(np.interp(level, [low, high], lpips[place - 1 : place + 1]))
    return lpips[0]


def _tables(lines: Lines, bicubic: dict[str, float]) -> list[str]:
    text = []
    for metric, (title, digits) in COLUMNS.items():
        text += [f"## {title} on {SET}\n", "| method | " + " | ".join(map(format_omega, LINE)) + " |"]
        text.append("|---" * (len(LINE) + 1) + "|")
        for method, seeds in lines[metric].items():
            cells = (runs.spread(values, digits) for values in zip(*seeds, strict=True))
            text.append(f"| {method} | {' | '.join(cells)} |")
        text.append(f"| bicubic | {' | '.join([f'{bicubic[metric]:.{digits}f}'] * len(LINE))} |")
        if metric in PRINTED:
            for method, sets in TABLE4.items():
                cells = (f"{value:.{3 if metric == 'lpips' else 2}f}" for value in sets[SET][PRINTED[metric]])
                text.append(f"| *{method}, as the paper prints it* | {' | '.join(cells)} |")
        text.append("")
    return text


def _made(out: Path, lines: Lines, seeds: list[int]) -> list[str]:
    """How the rows were made: what is shared, what differs, trainings and sizes."""
    text = [
        "## How this was made\n",
        "All methods go on from one plain network, which [start.yaml](../../../../configs/super_resolution/start.yaml) "
        "trains for fidelity alone, and [squares.yaml](../../../../configs/super_resolution/squares.yaml) for its "
        "squared errors, which PSNR counts; at (1, 0) they all are that network. Then each has the same steps, "
        "batches and learning rate for the same objective, whose weights were chosen for the tunable network, in "
        "trials on crops of Kodak24 ([trials](../../super_resolution/trials/README.md)). They have one thing more in "
        "common: **the layers that enlarge do not move**, for what perception trains there draws the grid of the pixel "
        "shuffle. [mini.yaml](../../../../configs/super_resolution/mini.yaml) trains the tunable network, whose base "
        "kernels stay as they are, at (0, 1) and between the ends. "
        "[dni.yaml](../../../../configs/super_resolution/dni.yaml) finetunes head and body of the plain network at "
        "(0, 1); DNI interpolates the weights of both, the output blend their pictures. At (0, 1) both differences of "
        "a tunable kernel move, so a step moves the kernel up to twice as far as a finetuned one; *DNI doubled rate* "
        "has twice the learning rate. "
        "[dynet.yaml](../../../../configs/super_resolution/dynet.yaml) and "
        "[cfsnet.yaml](../../../../configs/super_resolution/cfsnet.yaml) train what tunes the frozen network at "
        "(0, 1). That comes on top of it, so both have more parameters and more multiply-adds than the network; in "
        "the paper's comparison they have as many, and a main branch of half the blocks. CFSNet's branch beside the "
        "layers that enlarge is left untrained.\n",
        "| method | parameters in the file | multiply-adds for each input pixel |",
        "|---|---|---|",
    ]
    for row in runs.rows_of(out / "costs.csv"):
        if row["method"] in lines["psnr"]:
            text.append(f"| {row['method']} | {int(row['parameters']):,} | {int(row['multiply_adds']):,} |")
    return [
        *text,
        "",
        f"Made by `python tools/reproduce.py table4 --seeds {' '.join(map(str, seeds))}`, which needs VGG16 as `python "
        "tools/vgg16.py` makes it; `--commands` prints every training. [trainings.csv](trainings.csv) holds their "
        "steps and seconds of one core, [costs.csv](costs.csv) the sizes.\n",
        *training_rows(out),
    ]
