"""Figures 8 and 9: how the kernels of a network move with omega, by `tunable analyze`.

The paper shows the network of Table 1, whose phi is affine; beside it stand the networks of this repository, and the
models that ship.
"""

from pathlib import Path

from reproduction import strength
from reproduction.pages import GLOSSARY
from reproduction.registry import Experiment, Request, register
from tunable.analysis import Analysis, analyze
from tunable.analysis.movement import POINTS, SETTINGS
from tunable.files import write_text
from tunable.reports import analysis as report
from tunable.reports import charts, tables

TRAINED = "tunable paper"  # of Table 1
THERE = {"denoise/mini": "docs/results/denoise_mini/torch.safetensors", "denoise": "denoise", "photo": "photo"}
METHODS = (TRAINED, *THERE)
WORDS = {
    TRAINED: "the network of Table 1, in small: φ affine, ω drawn uniformly",
    "denoise/mini": "the network of docs/results/denoise_mini: φ base",
    "denoise": "the model that ships: of its last layer alone, scales follow ω",
    "photo": "the model that ships: its last layer alone follows ω, three knobs",
}
FIG8 = (
    "**Kernels move on straight lines because φ is affine.** With φ affine, identity or base and without a bump, every "
    "tuned kernel is K_0 + Σ_j ω_j K_j ([method](../../../method.md)). On a line of ω it therefore moves evenly on a "
    "straight line, whatever was learnt, and the first component holds all of the variance, to rounding. The curves "
    "that t-SNE may draw are its own. What training decides is how far each block moves, and how much it turns. Where "
    "it does not turn, as in the model `denoise`, the kernel is scaled and nothing else: that is the blend with the "
    "input."
)
FIG9 = (
    "**The kernels of the first and the last layer move evenly on straight lines**, as those of every block do; "
    "[Fig. 8](../fig8/README.md) says why, and how far they move."
)


def commands(request: Request):
    if TRAINED in request.chosen(METHODS):
        yield from strength.steps(request, request.seeds[0]).commands(TRAINED)


def analyses(request: Request) -> dict[str, Analysis]:
    """Every network that was asked for, trained where it is not there."""
    files = {name: THERE[name] for name in request.chosen(THERE)}
    if TRAINED in request.chosen(METHODS):
        files = {TRAINED: strength.steps(request, request.seeds[0]).make(TRAINED), **files}
    return {name: analyze(path) for name, path in files.items()}


def page(out: Path, title: str, lines: list[str], names: list[str]) -> None:
    """Write the page of a figure."""
    words = [f"* **{name}**: {WORDS[name]}." for name in names]
    protocol = (
        "Every number is computed in float64 from the weights; [docs/kernels.md](../../../kernels.md) explains it."
    )
    made = f"Made by `python tools/reproduce.py {out.name}`; the CSV files beside this page hold every number."
    write_text(out / "README.md", "\n".join([f"# {title}", "", GLOSSARY, *lines, *words, "", f"{protocol} {made}", ""]))


def fig8(request: Request) -> None:
    """Where the kernels of each block lie, at five settings of a line."""
    out, rows, lines = request.out / "fig8", [], [FIG8, ""]
    found = analyses(request)
    for name, analysis in found.items():
        stem = name.replace("/", "-").replace(" ", "-")
        write_text(out / f"{stem}-blocks.csv", tables.to_csv(list(map(vars, analysis.movements))))
        write_text(out / f"{stem}-points.csv", tables.to_csv(list(map(vars, analysis.points))))
        if len({point.block for point in analysis.points}) > 1:
            charts.blocks_in_the_plane(out / f"{stem}.png", analysis)
            lines += [f"![Kernels of every block of {name}]({stem}.png)", "", f"*{name}, {POINTS} settings.*", ""]
        rows += [[name, *report.cells(each)] for each in analysis.movements]
    table = (["network", *report.HEADINGS], ["---"] * (1 + len(report.HEADINGS)), *rows)
    lines += [*("| " + " | ".join(row) + " |" for row in table), ""]
    page(out, "Fig. 8: the kernels of every block", lines, list(found))


def fig9(request: Request) -> None:
    """The kernels of the first and the last layer at eleven settings of a line."""
    out, lines, found = request.out / "fig9", [FIG9, ""], analyses(request)
    for name, analysis in found.items():
        stem = name.replace("/", "-").replace(" ", "-")
        write_text(out / f"{stem}.csv", tables.to_csv(report.scores(analysis)))
        charts.kernels_along_lines(out / f"{stem}.png", analysis.profiles)
        caption = f"*{name}, {SETTINGS} settings: each line is a kernel; below, their first component as a picture.*"
        lines += [f"![First component of the kernels of {name}]({stem}.png)", "", caption, ""]
    page(out, "Fig. 9: the kernels of the first and the last layer", lines, list(found))


register(Experiment("fig8", "Fig. 8: the kernels of every block", commands, fig8, METHODS))
register(Experiment("fig9", "Fig. 9: the kernels of the first and the last layer", commands, fig9, METHODS))
