"""Tables 4 and 5 and Figs. 6 and 7: from fidelity to perception, and three styles in one network.

tools/enlarging.py and tools/styles.py train and measure the small networks and keep what they found in docs/results;
this module puts the paper's numbers beside theirs, and shows the pictures of the paper's figures.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import enlarging
import numpy as np
import styles

from reproduction.pages import GLOSSARY
from reproduction.printed import LINE, TABLE4, TABLE5
from reproduction.registry import Experiment, Request, register
from tunable import load
from tunable.data.degradations import protocol_shrunk
from tunable.data.patches import find_pictures
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_network, write
from tunable.omega import format_omega
from tunable.reports import tables

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results"
PICTURES = 14  # of every set, the first so many
PARROT = (22, 60, 420)  # of Kodak24: place, top and left of what Fig. 6 shows
SIDE = 240  # pixels of it


def commands(task: str, request: Request) -> Iterator[str]:
    """The trainings of a task at a scale."""
    if request.scale == "paper" or task == "style_transfer":
        yield f"tunable train {task}/{request.scale} --out {request.work / task / 'torch'} --resume"
    else:
        yield from enlarging.commands(task, request.work / task)


def measured(task: str, request: Request, name: str) -> dict[tuple, dict]:
    """The means of a set by omega."""
    rows = enlarging.measured(task, request.work / task, RESULTS / task, name, request.pictures or PICTURES)
    return {(float(row["omega_1"]), float(row["omega_2"])): row for row in rows}


def make_table4(request: Request) -> None:
    """Write the page of Table 4."""
    out, name = request.out / "table4", "CBSD68"
    out.mkdir(parents=True, exist_ok=True)
    ours = measured("super_resolution", request, name)
    beside = enlarging.bicubic(RESULTS / "super_resolution", request.pictures or PICTURES)[name]
    found = {metric: [float(ours[omega][metric]) for omega in LINE] for metric in ("psnr", "lpips")}
    rows = [{"omega": omega, "psnr": p, "lpips": q} for omega, p, q in zip(LINE, *found.values(), strict=True)]
    write_text(out / "rows.csv", tables.to_csv(rows))
    lines = []
    for place, (metric, digits) in enumerate((("psnr", 2), ("lpips", 3))):
        lines += [f"## {metric.upper()} on {name}\n", "| | " + " | ".join(map(format_omega, LINE)) + " |"]
        lines += ["|---" * (len(LINE) + 1) + "|"]
        given = {"ours": found[metric], "bicubic": [beside[metric]] * len(LINE)}
        given |= {f"*{method}, as the paper prints it*": sets[name][place] for method, sets in TABLE4.items()}
        lines += [f"| {row} | {' | '.join(f'{v:.{digits}f}' for v in values)} |" for row, values in given.items()]
        lines.append("")
    falls = np.all(np.diff(found["psnr"]) > 0) and np.all(np.diff(found["lpips"]) > 0)
    least = min(found["psnr"]) - beside["psnr"]
    text = [
        "# Table 4: super-resolution from fidelity to perception\n",
        GLOSSARY,
        f"Towards (0, 1) PSNR falls and LPIPS improves {'at every step' if falls else '**not at every step**'}. The "
        f"least PSNR is that of bicubic interpolation {least:+.2f} dB. The network is far smaller than the paper's and "
        "was trained for minutes. LPIPS is that of a VGG-16 tuned for edges, so its numbers are to be compared with "
        "their like alone. DNI, DyNet and CFSNet were not trained for this task here.\n",
        *lines,
        f"The first {request.pictures or PICTURES} pictures of CBSD68; the paper measures all, and Kodak24 too. "
        "Trained and measured by `python tools/enlarging.py super_resolution`, whose "
        "[page](../../super_resolution/README.md) has pictures, other sets and the protocol. This page: `python "
        "tools/reproduce.py table4`; means in [rows.csv](rows.csv).\n",
    ]
    write_text(out / "README.md", "\n".join(text))


def make_table5(request: Request) -> None:
    """Write the page of Table 5."""
    out = request.out / "table5"
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, printed in TABLE5.items():
        ours = measured("super_resolution_swinir", request, name)
        for omega in (LINE[-1], LINE[0]):
            here = ours[omega]
            psnr, ssim = printed[format_omega(omega)]
            rows.append(
                {"set": name, "omega": omega, "psnr_y": float(here["psnr_y"]), "ssim": float(here["ssim"])}
                | {"paper_psnr_y": psnr, "paper_ssim": ssim}
            )
    write_text(out / "rows.csv", tables.to_csv(rows))
    lines = ["| set | ω | ours, PSNR_Y | the paper's | ours, SSIM | the paper's |", "|---" * 6 + "|"]
    for row in rows:
        lines.append(
            f"| {row['set']} | {format_omega(row['omega'])} | {row['psnr_y']:.2f} | {row['paper_psnr_y']:.2f} "
            f"| {row['ssim']:.3f} | {row['paper_ssim']:.3f} |"
        )
    text = [
        "# Table 5: super-resolution with SwinIR\n",
        GLOSSARY,
        f"From (1, 0) to (0, 1) the small SwinIR loses {_lost(rows, 'psnr_y')} dB, and the paper's "
        f"{_lost(rows, 'paper_psnr_y')} dB. The small one starts lower, with a small part of the size and of the "
        "training, and the layers that enlarge are the same at every setting, for the grid that they draw otherwise.\n",
        "![Photographs enlarged four times, at every setting](../../super_resolution_swinir/sheet.png)\n",
        *lines,
        "",
        "The paper's fixed SwinIR reaches "
        + " and ".join(f"{sets['fixed'][0]:.2f} dB on {name}" for name, sets in TABLE5.items())
        + ". BSD100 and Urban100 are not at hand. Trained and measured by `python tools/enlarging.py "
        "super_resolution_swinir`, whose [page](../../super_resolution_swinir/README.md) has pictures and the "
        "protocol. This page: `python tools/reproduce.py table5`; numbers in [rows.csv](rows.csv).\n",
    ]
    write_text(out / "README.md", "\n".join(text))


def _lost(rows: list[dict], column: str) -> str:
    """What each set loses between its two rows."""
    return " and ".join(f"{a[column] - b[column]:.1f} ({a['set']})" for a, b in zip(rows[::2], rows[1::2], strict=True))


def make_fig6(request: Request) -> None:
    """Write the page and the strip of Fig. 6."""
    out = request.out / "fig6"
    out.mkdir(parents=True, exist_ok=True)
    place, top, left = PARROT
    picture = read(find_pictures(["${TUNABLE_DATA}/Kodak24"])[place])[top : top + SIDE, left : left + SIDE]
    clean, shrunk = protocol_shrunk(picture, enlarging.SCALE)
    model = load(enlarging.train("super_resolution", request.work / "super_resolution"), "torch", "cpu")
    row = [from_network(model.run(to_network(shrunk), np.float32(omega))) for omega in LINE]
    labels = ["bicubic", *map(format_omega, LINE), "truth"]
    write(out / "strip.png", contact_sheet([[enlarging.enlarged(shrunk), *row, clean]], labels))
    text = [
        "# Fig. 6: from perception to fidelity\n",
        GLOSSARY,
        "![One photograph enlarged four times, at every setting](strip.png)\n",
        "The network is that of [table4](../table4/README.md). The paper shows Kodak's image 04; this is a part of "
        f"image {place + 1}, {SIDE}x{SIDE} pixels. Made by `python tools/reproduce.py fig6`.\n",
    ]
    write_text(out / "README.md", "\n".join(text))


def make_fig7(request: Request) -> None:
    """Write the page and the sheet of Fig. 7."""
    out = request.out / "fig7"
    out.mkdir(parents=True, exist_ok=True)
    styles.sheet(request.work / "style_transfer", out)
    text = [
        "# Fig. 7: three styles and their pairs in one network\n",
        GLOSSARY,
        "**Each style can be told from the others at a glance**, and pairs lie between them. Many contours are white "
        "where the paintings have black ones: the network was trained for a twentieth of the paper's steps.\n",
        "![Three photographs in three styles and their pairs](sheet.png)\n",
        "Each photograph is restyled by one network; a pair has ω 0.5 of both styles. The paper shows images 15 and 32 "
        "of Kodak; these are pictures of CBSD68. Trained by `python tools/styles.py`, whose "
        "[page](../../style_transfer/README.md) says how close each setting comes to every style. Made by `python "
        "tools/reproduce.py fig7`.\n",
    ]
    write_text(out / "README.md", "\n".join(text))


for _name, _title, _task, _make in (
    ("table4", "Table 4: super-resolution from fidelity to perception", "super_resolution", make_table4),
    ("table5", "Table 5: super-resolution with SwinIR", "super_resolution_swinir", make_table5),
    ("fig6", "Fig. 6: from perception to fidelity", "super_resolution", make_fig6),
    ("fig7", "Fig. 7: three styles and their pairs", "style_transfer", make_fig7),
):
    register(Experiment(_name, _title, partial(commands, _task), _make))
