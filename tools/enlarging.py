"""The mini recipes of Tables 4 and 5: super-resolution, from faithful to sharp (docs/results/super_resolution and
docs/results/super_resolution_swinir).

    python tools/enlarging.py super_resolution --work runs/super_resolution --out docs/results/super_resolution

Needs TUNABLE_DATA, torch, and VGG16, which names the file that tools/vgg16.py makes; MindSpore for fifty steps beside
torch's. Trains configs/TASK/start.yaml, then what stands between, then configs/TASK/mini.yaml; measures five points
from fidelity to perception on Set5, Set14 and the first pictures of CBSD68, bicubic interpolation beside them; writes
README.md, raw CSV and a contact sheet. What --work and --out hold already is not made again.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import runs

from tunable import load
from tunable.data.degradations import protocol_shrunk
from tunable.data.patches import find_pictures
from tunable.errors import TunableError
from tunable.evaluation.measuring import compare_enlarged, evaluate, summarise
from tunable.evaluation.perceptual import chosen
from tunable.evaluation.sentences import PERCEPTUAL_PROTOCOL, SHRUNK_PROTOCOL
from tunable.files import write_text
from tunable.images import contact_sheets
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_levels, to_network, write
from tunable.omega import line
from tunable.reports import tables

TASKS = {"super_resolution": "Table 4", "super_resolution_swinir": "Table 5"}
ABOUT = (  # what perception means in the recipes
    "Perception is the features of VGG-16 (not the paper's VGG-19; `tools/vgg16.py` says what was done to it) and a "
    "small discriminator."
)
CHOSEN = {  # how a recipe's perception was chosen
    "super_resolution": " It compares features of length one in three layers; one term holds the grid of the pixel "
    "shuffle down, and another what every second pixel of the small picture would draw. The weights were chosen on "
    "crops of Kodak24, which no table here holds ([trials](trials/README.md)).",
    "super_resolution_swinir": "",
}
SQUARES = {
    "super_resolution": ", by absolute and last by squared errors "
    "([squares.yaml](../../../configs/super_resolution/squares.yaml))",
    "super_resolution_swinir": "",
}
SETS = {"Set5": "Set5/HR", "Set14": "Set14/HR", "CBSD68": "CBSD68"}
COLUMNS = {  # of the tables: metric -> its title and its digits
    "psnr": ("PSNR", 2),
    "psnr_y": ("PSNR_Y", 2),
    "ssim": ("SSIM", 4),
    "lpips": ("LPIPS", 3),
    "niqe": ("NIQE", 2),
    "sharpness": ("sharpness", 3),
}
POINTS = line(5)[::-1]  # from (1, 0), fidelity, to (0, 1), perception
SCALE = 4
BETWEEN = {  # the plain network from which the mini recipe goes on: the start finetuned, or folded at (1, 0)
    "super_resolution": "squares/model.safetensors",
    "super_resolution_swinir": "plain.safetensors",
}
FIFTY = ("initial.weights=null", "initial.freeze=false", "data.batch=2")  # of the fifty steps


def pictures(name: str, count: int | None = None) -> list[Path]:
    """The first pictures of a set, None: all."""
    return find_pictures([f"${{TUNABLE_DATA}}/{SETS[name]}"])[:count]


def files(work: Path, task: str) -> tuple[Path, Path, Path]:
    """The weights of start.yaml, those from which mini.yaml goes on, and those of mini.yaml."""
    start, trained = (work / name / "model.safetensors" for name in ("start", "tunable"))
    return start, work / BETWEEN[task], trained


def commands(task: str, work: Path) -> Iterator[str]:
    """The command lines that train a task."""
    start, plain, trained = files(work, task)
    yield f"tunable train {task}/start --out {start.parent} --resume"
    if plain.parent == work:
        yield f"tunable fold {start} --omega 1,0 -o {plain}"
    else:
        yield f"tunable train {task}/squares --out {plain.parent} --set initial.weights={start} --resume"
    yield f"tunable train {task}/mini --out {trained.parent} --set initial.weights={plain} --resume"


def train(task: str, work: Path) -> Path:
    start, plain, trained = files(work, task)
    if not trained.is_file():
        runs.train(f"configs/{task}/start.yaml", start.parent, "torch")
        if plain.parent != work:
            runs.train(f"configs/{task}/squares.yaml", plain.parent, "torch", f"initial.weights={start}")
        elif not plain.is_file():
            runs.tunable("fold", str(start), "--omega", "1,0", "-o", str(plain))
        runs.train(f"configs/{task}/mini.yaml", trained.parent, "torch", f"initial.weights={plain}")
    return trained


def measured(task: str, work: Path, out: Path, name: str, count: int) -> list[dict]:
    """The means of a set, rows of the five omega; from `out` if as many pictures were measured before."""
    path, chosen_ones = out / name / "summary.csv", pictures(name, count)
    if {int(row["pictures"]) for row in runs.rows_of(path)} != {len(chosen_ones)}:
        model = load(train(task, work), "torch", "cpu")
        rows = evaluate(model, chosen_ones, POINTS, extra=chosen(("lpips", "niqe")))
        tables.write(path.parent, rows, summarise(rows), model)
    rows = [row for row in whole_rows(path) if row["sigma"] == "mean"]
    return sorted(rows, key=lambda row: -float(row["omega_1"]))


def whole_rows(path: Path) -> list[dict]:
    """The rows of a CSV; TunableError where an earlier version of this program measured less."""
    rows = runs.rows_of(path)
    if missing := [metric for metric in COLUMNS if metric not in rows[0]]:
        raise TunableError(f"{path} holds no {missing[0]}, which this page shows: remove it, and it is measured again")
    return rows


def bicubic(out: Path, count: int) -> dict[str, dict]:
    """The means of Pillow's bicubic interpolation, by set; from `out` if as many pictures were measured before."""
    path, every = out / "bicubic.csv", {name: pictures(name, count) for name in SETS}
    if len(runs.rows_of(path)) != sum(map(len, every.values())):
        rows, extra = [], chosen(("lpips", "niqe"))
        for name, places in every.items():
            for picture in places:
                clean, shrunk = protocol_shrunk(read(picture), SCALE)
                found = compare_enlarged(enlarged(shrunk), clean, SCALE, extra=extra)
                rows.append({"set": name, "picture": picture.name, **found})
        write_text(path, tables.to_csv(rows))
    known = whole_rows(path)
    return {
        name: {metric: np.mean([float(row[metric]) for row in known if row["set"] == name]) for metric in COLUMNS}
        for name in SETS
    }


def enlarged(shrunk: np.ndarray) -> np.ndarray:
    return contact_sheets.enlarged(to_levels(shrunk), SCALE) / 255


def sheet(task: str, work: Path, out: Path) -> None:
    """Crops of three photographs of Kodak24: bicubic, every omega, truth; unless `out` holds the sheet."""
    if (out / "sheet.png").is_file():
        return
    model, rows = load(train(task, work), "torch", "cpu"), []
    kodak = find_pictures(["${TUNABLE_DATA}/Kodak24"])
    for index, top, left in ((18, 300, 40), (7, 60, 200), (22, 60, 480)):
        clean, shrunk = protocol_shrunk(read(kodak[index])[top : top + 224, left : left + 224], SCALE)
        row = [from_network(model.run(to_network(shrunk), omega)) for omega in POINTS]
        rows.append([enlarged(shrunk), *row, clean])
    labels = [f"({omega[0]:g}, {omega[1]:g})" for omega in POINTS]
    write(out / "sheet.png", contact_sheet(rows, ["bicubic", *labels, "truth"]))


def verdict(measurements: dict[str, list[dict]], beside: dict[str, dict]) -> str:
    lines = []
    for name, rows in measurements.items():
        psnr, lpips = ([float(row[metric]) for row in rows] for metric in ("psnr", "lpips"))
        falls, better, least = all(np.diff(psnr) < 0), all(np.diff(lpips) < 0), min(psnr) - beside[name]["psnr"]
        lines.append(f"On {name}, PSNR {'falls' if falls else '**does not fall**'} and LPIPS "
                     f"{'improves' if better else '**does not improve**'} at every step from (1, 0) to (0, 1), from "
                     f"{lpips[0]:.3f} to {lpips[-1]:.3f}; the least PSNR is bicubic's {least:+.2f} dB.")  # fmt: skip
    return " ".join(lines) + " The network was trained once.\n"


def report(args) -> None:
    task, out = args.task, args.out
    out.mkdir(parents=True, exist_ok=True)
    measurements = {name: measured(task, args.work, out, name, args.pictures) for name in SETS}
    beside = bicubic(out, args.pictures)
    sheet(task, args.work, out)
    lines = [
        f"# {TASKS[task]}'s task at the mini size\n",
        runs.GLOSSARY,
        verdict(measurements, beside),
        "![Crops of three photographs of Kodak24 at every omega](sheet.png)\n",
    ]
    made = (
        f"Made by `python tools/enlarging.py {task} --work runs/{task} --out docs/results/{task} "
        f"--pictures {args.pictures}` on a CPU with OMP_NUM_THREADS=1. First "
        f"[start.yaml](../../../configs/{task}/start.yaml) was trained for fidelity alone{SQUARES[task]}, and then, "
        "from its weights, "
        f"[mini.yaml](../../../configs/{task}/mini.yaml). {ABOUT}{CHOSEN[task]}\n"
    )
    for name, rows in measurements.items():
        count = int(rows[0]["pictures"])
        lines += [f"## {name}, {'all' if count == len(pictures(name)) else 'the first'} {count} pictures\n"]
        lines += [
            "| ω | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
            "|---" * (1 + len(COLUMNS)) + "|",
        ]
        for label, row in [("bicubic", beside[name]), *((f"({r['omega_1']}, {r['omega_2']})", r) for r in rows)]:
            values = (f"{float(row[metric]):.{digits}f}" for metric, (_, digits) in COLUMNS.items())
            lines.append(f"| {label} | {' | '.join(values)} |")
        lines.append("")
    lines += [
        made,
        *runs.beside(f"configs/{task}/mini.yaml", args.work, out, *FIFTY),
        f"Protocol: {SHRUNK_PROTOCOL} {PERCEPTUAL_PROTOCOL}\n",
    ]
    write_text(out / "README.md", "\n".join(lines))


if __name__ == "__main__":
    sys.exit(runs.main(report, __doc__, 14, "of every set, the first so many", tasks=TASKS))
