"""Table 5 and Fig. 7: from fidelity to perception with SwinIR, and three styles in one network.

tools/enlarging.py and tools/styles.py train and measure the small networks and keep what they found in docs/results;
this module puts the paper's numbers beside theirs, and shows the pictures of the paper's figures.
"""

from collections.abc import Iterator
from functools import partial

import enlarging
import styles

from reproduction.pages import GLOSSARY, RESULTS
from reproduction.printed import LINE, TABLE5
from reproduction.registry import Experiment, Request, register
from tunable.files import write_text
from tunable.omega import format_omega
from tunable.reports import tables

PICTURES = 14  # of every set, the first so many


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
                {"set": name, "omega": omega, "pictures": int(here["pictures"])}
                | {"psnr_y": float(here["psnr_y"]), "ssim": float(here["ssim"])}
                | {"paper_psnr_y": psnr, "paper_ssim": ssim}
            )
    write_text(out / "rows.csv", tables.to_csv(rows))
    lines = ["| set | ω | ours, PSNR_Y | the paper's | ours, SSIM | the paper's |", "|---" * 6 + "|"]
    for row in rows:
        lines.append(
            f"| {row['set']} | {format_omega(row['omega'])} | {row['psnr_y']:.2f} | {row['paper_psnr_y']:.2f} "
            f"| {row['ssim']:.3f} | {row['paper_ssim']:.3f} |"
        )
    counts = " and ".join(f"{row['pictures']} of {row['set']}" for row in rows[::2])
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
        + f". Ours are means over the first pictures of each set, {counts}. BSD100 and Urban100 are not at hand. "
        "Trained and measured by `python tools/enlarging.py super_resolution_swinir`, whose "
        "[page](../../super_resolution_swinir/README.md) has pictures and the protocol. This page: `python "
        "tools/reproduce.py table5`; numbers in [rows.csv](rows.csv).\n",
    ]
    write_text(out / "README.md", "\n".join(text))


def _lost(rows: list[dict], column: str) -> str:
    """What each set loses between its two rows."""
    return " and ".join(f"{a[column] - b[column]:.1f} ({a['set']})" for a, b in zip(rows[::2], rows[1::2], strict=True))


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
    ("table5", "Table 5: super-resolution with SwinIR", "super_resolution_swinir", make_table5),
    ("fig7", "Fig. 7: three styles and their pairs", "style_transfer", make_fig7),
):
    register(Experiment(_name, _title, partial(commands, _task), _make))
