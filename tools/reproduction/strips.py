"""Figs. 4 and 5: one photograph at every setting of Tables 1 and 3, a row for each method."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from reproduction import joint, strength
from reproduction.measuring import restorer
from reproduction.pages import GLOSSARY
from reproduction.printed import CORNERS, LINE
from reproduction.registry import Experiment, Request, register
from tunable.data.patches import find_pictures
from tunable.evaluation.samples import Sample, samples
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, to_network, write
from tunable.omega import format_omega

SIDE = 112  # pixels of what is shown, cut out of a picture of CBSD68
PICTURE = 13  # its place
NOISY, BLURRED = (30.0, 0.0), (15.0, 2.0)  # sigma in 1/255, rho in pixels
SHOWN4 = ("DNI scratch", "CFSNet split", "tunable paper", "tunable low rank 4", "strength split", "blend")
SHOWN5 = joint.METHODS


def sample_at(level: tuple[float, float]) -> Sample:
    """The picture at a level."""
    paths = find_pictures(["${TUNABLE_DATA}/CBSD68"])
    return next(samples(paths, [level], 1, crop=SIDE, chosen=[PICTURE]))


def strips(sample: Sample, rows: dict[str, list[np.ndarray]], omegas: tuple, title: str) -> np.ndarray:
    """A sheet whose first row is the input and whose others are methods, a column for each omega."""
    shown = [[sample.degraded], *([from_network(each) for each in row] for row in rows.values())]
    return contact_sheet(shown, [format_omega(omega) for omega in omegas], [title, *rows])


def _rows(request: Request, family: ModuleType, shown: tuple[str, ...], sample: Sample, given: dict) -> dict:
    """What every method that is asked for makes of the sample, of the first seed; given: its omegas by method."""
    table, degraded = family.steps(request, request.seeds[0]), to_network(sample.degraded)
    rows = {}
    for method in request.chosen(shown):
        restore = restorer(table.make(method))
        rows[method] = [restore(degraded, omega) for omega in given[method]]
    return rows


def fig4_commands(request: Request) -> Iterator[str]:
    """The command lines behind the rows, of the first seed."""
    yield from strength.steps(request, request.seeds[0]).commands(*request.chosen(SHOWN4))


def make_fig4(request: Request) -> None:
    """Write the page and the strip of Fig. 4."""
    sample = sample_at(NOISY)
    rows = _rows(request, strength, SHOWN4, sample, dict.fromkeys(SHOWN4, LINE))
    _write(request, "fig4", strips(sample, rows, LINE, f"input, noise of {NOISY[0]:g}/255"), "table1")


def fig5_commands(request: Request) -> Iterator[str]:
    """The command lines behind the rows, of the first seed."""
    yield from joint.steps(request, request.seeds[0]).commands(*request.chosen(SHOWN5))


def make_fig5(request: Request) -> None:
    """Write the page and the strip of Fig. 5."""
    sample = sample_at(BLURRED)
    given = {method: [joint.given(method, omega) for omega in CORNERS] for method in SHOWN5}
    rows = _rows(request, joint, SHOWN5, sample, given)
    title = f"input, noise of {BLURRED[0]:g}/255, blur of {BLURRED[1]:g} pixels"
    _write(request, "fig5", strips(sample, rows, CORNERS, title), "table3")


TITLES = {"fig4": "Fig. 4: from keeping the noise to removing it", "fig5": "Fig. 5: noise and blur with a knob each"}
ABOUT = {
    "fig4": "ω is (fidelity, noise preservation): at (0, 1) nine tenths of the noise shall stay, at (1, 0) none.",
    "fig5": "ω is (noise, blur): how much of both the tunable network shall remove, and how much of both CResMD is "
    "told to expect. At ω₂ = 1 the tunable network's target is sharpened far beyond the truth.",
}


def _write(request: Request, name: str, sheet: np.ndarray, table: str) -> None:
    out = request.out / name
    out.mkdir(parents=True, exist_ok=True)
    write(out / "strip.png", sheet)
    notes = out / "notes.md"
    text = [
        f"# {TITLES[name]}\n",
        GLOSSARY,
        notes.read_text(encoding="utf-8") if notes.is_file() else "",
        "![One photograph at every setting, a row for each method](strip.png)\n",
        f"{ABOUT[name]}\n",
        f"The networks are those of [{table}](../{table}/README.md), seed {request.seeds[0]}. The paper shows Kodak's "
        f"image 04; this is the middle of picture {PICTURE + 1} of CBSD68, {SIDE}x{SIDE} pixels. Made by `python "
        f"tools/reproduce.py {name}`.\n",
    ]
    write_text(out / "README.md", "\n".join(text))


register(Experiment("fig4", TITLES["fig4"], fig4_commands, make_fig4, SHOWN4))
register(Experiment("fig5", TITLES["fig5"], fig5_commands, make_fig5, SHOWN5))
