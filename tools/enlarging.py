"""The mini recipes of Tables 4 and 5: super-resolution, from faithful to sharp (docs/results/super_resolution and
docs/results/super_resolution_swinir).

    python tools/enlarging.py super_resolution --work runs/super_resolution --out docs/results/super_resolution

Needs TUNABLE_DATA and torch; MindSpore for fifty steps beside torch's. Trains configs/TASK/start.yaml, then from its
weights configs/TASK/mini.yaml; measures five points from fidelity to perception on Set5, Set14 and the first pictures
of CBSD68, bicubic interpolation beside them; writes README.md, raw CSV and a contact sheet. What --work and --out hold
already is not made again.
"""

import sys
from pathlib import Path

import numpy as np
import runs
from PIL import Image

from tunable import load
from tunable.data.degradations import protocol_shrunk
from tunable.data.patches import find_pictures
from tunable.evaluation.measuring import compare_enlarged, evaluate, summarise
from tunable.evaluation.sentences import SHRUNK_PROTOCOL
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_network, write
from tunable.omega import line
from tunable.reports import tables

TASKS = {"super_resolution": "Table 4", "super_resolution_swinir": "Table 5"}
SEEN = {  # what the sheets show
    "super_resolution": "Towards (0, 1) edges sharpen; a part of that sharpness is jags and traces of the pixel "
    "shuffle.",
    "super_resolution_swinir": "Up to (0.5, 0.5) edges sharpen. From there on the sharpness is more and more made of "
    "jags and of the grid of the pixel shuffle, which this small discriminator rewards.",
}
SETS = {"Set5": "Set5/HR", "Set14": "Set14/HR", "CBSD68": "CBSD68"}
METRICS = ("psnr", "psnr_y", "ssim", "sharpness")
POINTS = line(5)[::-1]  # from (1, 0), fidelity, to (0, 1), perception
SCALE = 4


def pictures(name: str, count: int) -> list[Path]:
    return find_pictures([f"${{TUNABLE_DATA}}/{SETS[name]}"])[:count]


def train(task: str, work: Path) -> Path:
    start, trained = work / "start", work / "torch"
    if not (trained / "model.safetensors").is_file():
        runs.train(f"configs/{task}/start.yaml", start, "torch")
        runs.train(f"configs/{task}/mini.yaml", trained, "torch", f"initial.weights={start / 'model.safetensors'}")
    return trained / "model.safetensors"


def measured(task: str, work: Path, out: Path, name: str, count: int) -> list[dict]:
    """The means of a set, rows of the five omega; from `out` if it was measured before."""
    folder = out / name
    if not (folder / "summary.csv").is_file():
        model = load(train(task, work), "torch", "cpu")
        rows = evaluate(model, pictures(name, count), POINTS)
        tables.write(folder, rows, summarise(rows), model)
    rows = [row for row in runs.rows_of(folder / "summary.csv") if row["sigma"] == "mean"]
    return sorted(rows, key=lambda row: -float(row["omega_1"]))


def bicubic(out: Path, count: int) -> dict[str, dict]:
    """The means of Pillow's bicubic interpolation, by set."""
    path = out / "bicubic.csv"
    if not path.is_file():
        rows = []
        for name in SETS:
            for picture in pictures(name, count):
                clean, shrunk = protocol_shrunk(read(picture), SCALE)
                rows.append({"set": name, "picture": picture.name, **compare_enlarged(enlarged(shrunk), clean, SCALE)})
        write_text(path, tables.to_csv(rows))
    known = runs.rows_of(path)
    return {
        name: {metric: np.mean([float(row[metric]) for row in known if row["set"] == name]) for metric in METRICS}
        for name in SETS
    }


def enlarged(shrunk: np.ndarray) -> np.ndarray:
    height, width = shrunk.shape[:2]
    small = Image.fromarray(np.round(shrunk * 255).astype(np.uint8))
    return np.asarray(small.resize((SCALE * width, SCALE * height), Image.Resampling.BICUBIC)) / 255


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


def verdict(measurements: dict[str, list[dict]]) -> str:
    lines = []
    for name, rows in measurements.items():
        psnr, sharp = ([float(row[metric]) for row in rows] for metric in ("psnr", "sharpness"))
        falls, rises = all(np.diff(psnr) < 0), all(np.diff(sharp) > 0)
        lines.append(f"On {name}, PSNR {'falls' if falls else '**does not fall**'} and sharpness "
                     f"{'rises' if rises else '**does not rise**'} at every step from (1, 0) to (0, 1).")  # fmt: skip
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
        verdict(measurements),
        f"Made by `python tools/enlarging.py {task} --work runs/{task} --out docs/results/{task} "
        f"--pictures {args.pictures}` on a CPU with OMP_NUM_THREADS=1. First "
        f"[start.yaml](../../../configs/{task}/start.yaml) was trained for fidelity alone, and then, from its weights, "
        f"[mini.yaml](../../../configs/{task}/mini.yaml). Pretrained weights of VGG-19 were not at hand. With random "
        "weights its term drew a grid, so the term has no weight here and perception means the adversarial term alone. "
        f"{SEEN[task]}\n",
    ]
    for name, rows in measurements.items():
        count = int(rows[0]["pictures"])
        lines += [f"## {name}{', the first' if name == 'CBSD68' else ':'} {count} pictures\n"]
        lines += ["| ω | PSNR | PSNR_Y | SSIM | sharpness |", "|---|---|---|---|---|"]
        for label, row in [("bicubic", beside[name]), *((f"({r['omega_1']}, {r['omega_2']})", r) for r in rows)]:
            psnr, psnr_y, ssim, sharp = (float(row[metric]) for metric in METRICS)
            lines.append(f"| {label} | {psnr:.2f} | {psnr_y:.2f} | {ssim:.4f} | {sharp:.3f} |")
        lines.append("")
    lines += [
        "![Crops of three photographs of Kodak24 at every omega](sheet.png)\n",
        *runs.beside(f"configs/{task}/mini.yaml", args.work, out, "initial.weights=null"),
        f"Protocol: {SHRUNK_PROTOCOL}\n",
    ]
    write_text(out / "README.md", "\n".join(lines))


if __name__ == "__main__":
    sys.exit(runs.main(report, __doc__, 14, "of every set, the first so many", tasks=TASKS))
