"""Table 4 and Fig. 6: super-resolution from fidelity to perception, by every control strategy.

All methods go on from one plain network that knows fidelity alone, and have the same further steps for perception. At
(1, 0) they are that network, all of them. None of them moves the layers that enlarge: what perception trains there
draws the grid of the pixel shuffle (configs/super_resolution/mini.yaml).
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import enlarging
import numpy as np
import runs

from reproduction.enlargement_page import SET, costs, write_page
from reproduction.measuring import kept_rows, restorer
from reproduction.pages import GLOSSARY, RESULTS
from reproduction.printed import LINE
from reproduction.registry import Experiment, Request, register
from reproduction.steps import Step, Steps, convert, keep_trainings, train
from tunable import load
from tunable.data.degradations import protocol_shrunk
from tunable.data.patches import find_pictures
from tunable.evaluation.measuring import evaluate
from tunable.evaluation.perceptual import chosen
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_network, write
from tunable.omega import format_omega
from tunable.reports import tables

TASK = "super_resolution"
METHODS = ("tunable", "DNI", "DNI doubled rate", "DyNet", "CFSNet", "output blend")
# Training -> recipe and settings. At (0, 1) both differences of a tunable kernel move, and with them the kernel twice
# as far in a step as one that is finetuned; a doubled learning rate makes up for that.
TRAININGS = {
    "tunable": ("mini",),
    "perception": ("dni",),
    "perception doubled rate": ("dni", "optimizer.learning_rate=6.0e-4"),
    "DyNet": ("dynet",),
    "CFSNet": ("cfsnet",),
}
MADE = {  # what is made of the start and another training -> that training, and how
    "DNI": ("perception", "endpoints"),
    "DNI doubled rate": ("perception doubled rate", "endpoints"),
    "output blend": ("perception", "outputs"),
}
PICTURES = 5  # of the set, the first so many
PARROT = (22, 60, 420)  # of Kodak24: place, top and left of what is shown
SIDE = 240  # pixels of it
SHOWN = LINE[::2]  # settings of the strip


def named(name: str, seed: int) -> str:
    """The name of a step of a seed: tools/enlarging.py knows those of the first one as well."""
    return name if seed == 0 else f"{name} {seed}"


def steps(request: Request) -> Steps:
    """Every training and conversion of the seeds, which share the first two trainings."""
    table: dict[str, Step] = {
        "start": train(f"{TASK}/start"),
        "squares": train(f"{TASK}/squares", "initial.weights=<start>"),
    }
    for seed in request.seeds:
        for name, (recipe, *settings) in TRAININGS.items():
            given = ("initial.weights=<squares>", f"seed={seed}", *settings)
            table[named(name, seed)] = train(f"{TASK}/{recipe}", *given)
        for name, (end, source) in MADE.items():
            table[named(name, seed)] = convert(source, "squares", named(end, seed), objectives="fidelity,perception")
    return Steps(request.work / TASK, table, "cpu")


def wanted(request: Request) -> list[tuple[str, int]]:
    """Methods and seeds that were asked for."""
    return [(method, seed) for seed in request.seeds for method in request.chosen(METHODS)]


def commands(request: Request) -> Iterator[str]:
    """The command lines behind the rows; at the paper's size there is the tunable network alone."""
    if request.scale == "paper":
        yield f"tunable train {TASK}/paper --out {request.work / TASK / 'tunable'} --resume"
    else:
        yield from steps(request).commands(*(named(*one) for one in wanted(request)))


def measure(request: Request, method: str, seed: int) -> Iterator[dict]:
    """One row for every picture and setting; of the tunable network's first seed what tools/enlarging.py keeps."""
    path, count = steps(request).make(named(method, seed)), request.pictures or PICTURES
    if (method, seed) == ("tunable", 0):
        enlarging.measured(TASK, request.work / TASK, RESULTS / TASK, SET, count)
        rows = kept_rows(RESULTS / TASK / SET / "table.csv", list)
    else:
        pictures, extra = enlarging.pictures(SET, count), chosen(("lpips", "niqe"))
        measurements = evaluate(load(path, "torch", "cpu"), pictures, np.float32(LINE), extra=extra)
        rows = [asdict(row) | dict(zip(("omega_1", "omega_2"), row.omega, strict=True)) for row in measurements]
    for row in rows:
        values = {name: row[name] for name in ("picture", "omega_1", "omega_2", *enlarging.COLUMNS)}
        yield {"method": method, "seed": seed, "set": SET, **values}


def make_table4(request: Request) -> None:
    """Train and measure what is missing, and write the page from all rows that there are."""
    out, table = request.out / "table4", steps(request)
    pictures = {path.name for path in enlarging.pictures(SET, request.pictures or PICTURES)}
    for method, seed in wanted(request):
        path = out / "raw" / f"{method}, seed {seed}.csv"
        if {row["picture"] for row in runs.rows_of(path)} != pictures:
            path.unlink(missing_ok=True)
        rows = kept_rows(path, partial(measure, request, method, seed))
        print(f"table4: {method}, seed {seed}, {len(rows)} rows", flush=True)
    keep_trainings(out / "trainings.csv", table.trainings(*(named(*one) for one in wanted(request))))
    first, known = request.seeds[0], {row["method"]: row for row in runs.rows_of(out / "costs.csv")}
    for method in request.chosen(METHODS):
        if method not in known:
            known[method] = costs(method, table.make(named(method, first)))
    write_text(out / "costs.csv", tables.to_csv([known[method] for method in METHODS if method in known]))
    if not (out / "strip.png").is_file():
        write(out / "strip.png", strip(table, request.chosen(METHODS), first))
    write_page(out, METHODS, enlarging.bicubic(RESULTS / TASK, request.pictures or PICTURES)[SET])


def shown() -> tuple[np.ndarray, np.ndarray]:
    """The photograph of the strips, and the small picture of it."""
    place, top, left = PARROT
    picture = read(find_pictures(["${TUNABLE_DATA}/Kodak24"])[place])[top : top + SIDE, left : left + SIDE]
    return protocol_shrunk(picture, enlarging.SCALE)


def strip(table: Steps, methods: list[str], seed: int) -> np.ndarray:
    """A sheet of one photograph: bicubic and the truth, then a row for each method."""
    clean, shrunk = shown()
    rows = {"bicubic interpolation, and the truth": [enlarging.enlarged(shrunk), clean]}
    for method in methods:
        restore = restorer(table.make(named(method, seed)))
        rows[method] = [from_network(restore(to_network(shrunk), omega)) for omega in SHOWN]
    return contact_sheet(list(rows.values()), [format_omega(omega) for omega in SHOWN], list(rows))


def make_fig6(request: Request) -> None:
    """Write the page and the strip of Fig. 6."""
    out = request.out / "fig6"
    out.mkdir(parents=True, exist_ok=True)
    clean, shrunk = shown()
    restore = restorer(enlarging.train(TASK, request.work / TASK))
    row = [from_network(restore(to_network(shrunk), omega)) for omega in LINE]
    labels = ["bicubic", *map(format_omega, LINE), "truth"]
    write(out / "strip.png", contact_sheet([[enlarging.enlarged(shrunk), *row, clean]], labels))
    text = [
        "# Fig. 6: from perception to fidelity\n",
        GLOSSARY,
        "![One photograph enlarged four times, at every setting](strip.png)\n",
        "The network is that of [table4](../table4/README.md). The paper shows Kodak's image 04; this is a part of "
        f"image {PARROT[0] + 1}, {SIDE}x{SIDE} pixels. Made by `python tools/reproduce.py fig6`.\n",
    ]
    write_text(out / "README.md", "\n".join(text))


def fig6_commands(request: Request) -> Iterator[str]:
    """The command lines behind the strip."""
    if request.scale == "paper":
        yield from commands(request)
    else:
        yield from steps(request).commands("tunable")


_TITLES = {
    "table4": "Table 4: super-resolution from fidelity to perception",
    "fig6": "Fig. 6: from perception to fidelity",
}
register(Experiment("table4", _TITLES["table4"], commands, make_table4, METHODS))
register(Experiment("fig6", _TITLES["fig6"], fig6_commands, make_fig6))
