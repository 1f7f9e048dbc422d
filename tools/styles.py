"""The mini recipe of Fig. 7: three styles and their pairs in one network (docs/results/style_transfer).

    python tools/styles.py --work runs/style_transfer --out docs/results/style_transfer

Needs TUNABLE_DATA, torch, and VGG16, which names the file that tools/vgg16.py makes; MindSpore for fifty steps beside
torch's. Trains configs/style_transfer/mini.yaml; measures every style's objective on photographs of CBSD68 at every
omega; writes README.md, raw CSV and a contact sheet. What --work and --out hold already is not made again.
"""

import sys
from pathlib import Path

import numpy as np
import runs
import torch

from torch_impl.objectives import make_loss
from tunable import load
from tunable.data.patches import find_pictures
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_network, write
from tunable.reports import tables
from tunable.specs.reading import load_recipe

RECIPE = "configs/style_transfer/mini.yaml"
ALONE = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
PAIRS = [(0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
SHOWN, SIZE = (4, 10, 38), 288  # of CBSD68, for the sheet
FIFTY = ("data.batch=1",)  # of the fifty steps
MEASURED = 256  # pixels a side of the central crops that are measured


def train(work: Path) -> Path:
    runs.train(RECIPE, work / "torch", "torch")
    return work / "torch" / "model.safetensors"


def photographs() -> list[Path]:
    return find_pictures(["${TUNABLE_DATA}/CBSD68"])


def crop(path: Path, size: int) -> np.ndarray:
    """The central square, (1, 3, size, size)."""
    picture = read(path)
    top, left = ((side - size) // 2 for side in picture.shape[:2])
    return to_network(picture[top : top + size, left : left + size])


def measured(work: Path, out: Path, count: int) -> list[dict]:
    """One row per photograph and omega: every style's objective, as training computes it."""
    path = out / "objectives.csv"
    if not path.is_file():
        model, rows = load(train(work), "torch", "cpu"), []
        loss = make_loss(load_recipe(RECIPE), torch.zeros(1))
        for name in photographs()[:count]:
            clean = crop(name, MEASURED)
            for omega in ALONE + PAIRS:
                restored = torch.from_numpy(model.run(clean, np.float32(omega)))
                with torch.no_grad():
                    _, terms = loss(restored, {"clean": torch.from_numpy(clean)}, torch.ones(len(model.objectives)))
                values = dict(zip(model.objectives, terms.tolist(), strict=True))
                rows.append({"picture": name.name, "omega": omega, **values})
        write_text(path, tables.to_csv(rows))
    return runs.rows_of(path)


def sheet(work: Path, out: Path) -> None:
    """Three photographs in every style and every pair, unless `out` holds the sheet."""
    if (out / "sheet.png").is_file():
        return
    model, names = load(train(work), "torch", "cpu"), photographs()
    rows = []
    for index in SHOWN:
        clean = crop(names[index], SIZE)
        rows.append([from_network(x) for x in (clean, *(model.run(clean, np.float32(o)) for o in ALONE + PAIRS))])
    labels = ["+".join(model.objectives[i] for i, value in enumerate(omega) if value) for omega in ALONE + PAIRS]
    write(out / "sheet.png", contact_sheet(rows, ["photograph", *labels]))


def report(args) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    rows = measured(args.work, args.out, args.pictures)
    sheet(args.work, args.out)
    recipe = load_recipe(RECIPE)
    names = [spec.name for spec in recipe.objectives]
    means = {
        omega: [float(np.mean([float(row[name]) for row in rows if _at(row) == omega])) for name in names]
        for omega in ALONE + PAIRS
    }
    best = [min(ALONE, key=lambda omega, i=i: means[omega][i]) == ALONE[i] for i in range(len(names))]
    verdicts = ", ".join(f"{name}: {'yes' if right else '**no**'}" for name, right in zip(names, best, strict=True))
    lines = [
        "# Fig. 7's task at the mini size\n",
        runs.GLOSSARY,
        f"Is each style best in its own objective at its own corner of ω? {verdicts}. The network was trained once.\n",
        "Made by `python tools/styles.py --work runs/style_transfer --out docs/results/style_transfer "
        f"--pictures {args.pictures}` from [mini.yaml](../../../{RECIPE}), on a CPU with OMP_NUM_THREADS=1. The "
        "features are those of VGG-16, not of the paper's VGG-19; `tools/vgg16.py` says what was done to it.\n",
        "![Three photographs in three styles and their pairs](sheet.png)\n",
        f"The table holds the objective of every style, a mean over {MEASURED}x{MEASURED} crops of {args.pictures} "
        "photographs of CBSD68. Less is closer to the style.\n",
        "| ω | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    lines += [f"| {omega} | " + " | ".join(f"{v:.3f}" for v in values) + " |" for omega, values in means.items()]
    lines += ["", *runs.beside(RECIPE, args.work, args.out, *FIFTY)]
    write_text(args.out / "README.md", "\n".join(lines))


def _at(row: dict) -> tuple[float, ...]:
    return tuple(float(row[f"omega_{i}"]) for i in (1, 2, 3))


if __name__ == "__main__":
    sys.exit(runs.main(report, __doc__, 6, "of CBSD68, the first so many are measured"))
