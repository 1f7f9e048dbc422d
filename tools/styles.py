"""The mini recipe of Fig. 7: three styles and their pairs in one network (docs/results/style_transfer).

    python tools/styles.py --work runs/style_transfer --out docs/results/style_transfer

Needs TUNABLE_DATA and torch; MindSpore for fifty steps beside torch's. Trains configs/style_transfer/mini.yaml;
measures every style's objective on photographs of Kodak24 at every omega; writes README.md, raw CSV and a contact
sheet. What --work and --out hold already is not made again.
"""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import runs

from tunable import load, oracle
from tunable.data.patches import find_pictures
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_network, write
from tunable.reports import tables
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import Recipe

RECIPE = "configs/style_transfer/mini.yaml"
ALONE = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
PAIRS = [(0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
SHOWN, SIZE = (18, 7, 22), 288  # of Kodak24, for the sheet
MEASURED = 128  # pixels a side of the central crops that are measured: the oracle is slow


def train(work: Path) -> Path:
    runs.train(RECIPE, work / "torch", "torch")
    return work / "torch" / "model.safetensors"


def photographs() -> list[Path]:
    return find_pictures(["${TUNABLE_DATA}/Kodak24"])


def crop(path: Path, size: int) -> np.ndarray:
    """The central square, (1, 3, size, size)."""
    picture = read(path)
    top, left = ((side - size) // 2 for side in picture.shape[:2])
    return to_network(picture[top : top + size, left : left + size])


def measured(work: Path, out: Path, count: int) -> list[dict]:
    """One row per photograph and omega: every style's objective, by the oracle."""
    path, recipe = out / "objectives.csv", load_recipe(RECIPE)
    if not path.is_file():
        model, rows = load(train(work), "torch", "cpu"), []
        for name in photographs()[:count]:
            clean = crop(name, MEASURED)
            for omega in ALONE + PAIRS:
                restored = model.run(clean, np.float32(omega))
                values = {
                    s.name: float(oracle.style(recipe, s, restored, {"clean": clean})[0]) for s in recipe.objectives
                }
                rows.append({"picture": name.name, "omega": omega, **values})
        write_text(path, tables.to_csv(rows))
    return runs.rows_of(path)


def styles_apart(recipe: Recipe) -> str:
    """Squared distances of the style pictures' Gram matrices, by the oracle: what tells the styles apart."""
    names = [spec.name for spec in recipe.objectives]
    grams = [oracle.style_gram(recipe, spec) for spec in recipe.objectives]
    pairs = combinations(range(len(names)), 2)
    return ", ".join(f"{names[i]} and {names[j]} {np.square(grams[i] - grams[j]).sum():.2f}" for i, j in pairs)


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
    same = recipe.model_copy(update={"objectives": [s.model_copy(update={"size": 256}) for s in recipe.objectives]})
    best = [min(ALONE, key=lambda omega, i=i: means[omega][i]) == ALONE[i] for i in range(len(names))]
    verdicts = ", ".join(f"{name}: {'yes' if right else '**no**'}" for name, right in zip(names, best, strict=True))
    lines = [
        "# Fig. 7's task at the mini size\n",
        runs.GLOSSARY,
        f"Is each style best in its own objective at its own corner of ω? {verdicts}. The network was trained once.\n",
        "Made by `python tools/styles.py --work runs/style_transfer --out docs/results/style_transfer "
        f"--pictures {args.pictures}` from [mini.yaml](../../../{RECIPE}), on a CPU with OMP_NUM_THREADS=1. VGG-19 "
        f"has fixed random weights instead of pretrained ones, and {recipe.vgg.width} channels in its first stage "
        "instead of 64. Such features tell textures apart, but not what a picture shows. Strokes and their directions "
        "come through, and objects of the style picture do not. The chrominance term keeps the photograph's colours.\n",
        "![Three photographs in three styles and their pairs](sheet.png)\n",
        "The table holds the objective of every style, computed by the float64 oracle as a mean over "
        f"{MEASURED}x{MEASURED} crops of {args.pictures} photographs of Kodak24. Less is closer to the style.\n",
        "| ω | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    lines += [f"| {omega} | " + " | ".join(f"{v:.3f}" for v in values) + " |" for omega, values in means.items()]
    lines += [
        f"\nThe Gram matrices of the style pictures lie at these squared distances: {styles_apart(recipe)}. With all "
        f"three pictures at 256 pixels a side the distances would be {styles_apart(same)}.\n",
        *runs.beside(RECIPE, args.work, args.out),
    ]
    write_text(args.out / "README.md", "\n".join(lines))


def _at(row: dict) -> tuple[float, ...]:
    return tuple(float(row[f"omega_{i}"]) for i in (1, 2, 3))


if __name__ == "__main__":
    sys.exit(runs.main(report, __doc__, 6, "of Kodak24, the first so many are measured"))
