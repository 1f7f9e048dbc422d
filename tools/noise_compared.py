"""The noise of real pairs of pictures beside the noise that a recipe makes.

    python tools/noise_compared.py --recipe photo/wide --out docs/results/photo/noise.csv

Needs TUNABLE_DATA. A network learns the noise that it is shown. For each training pair of PolyU, or of the folders
--clean and --noisy, and for as many patches of the recipe, the table holds of the difference to the clean picture: the
standard deviation of luma, blue and red chroma (1/255), and how much of luma and of blue chroma pixels share that are
one, two and four apart (correlations along rows). Chroma is a colour less luma. Printed are the median and the middle
half of both, and how many lie within the range of nine tenths of the pairs in every column.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import runs

from tunable.data.patches import Batches, find_pictures
from tunable.files import write_text
from tunable.images.pictures import read
from tunable.objectives.restoration import PARTS
from tunable.reports import tables
from tunable.specs.reading import load_recipe

LUMA = np.array(PARTS["luma"][0])
APART = (1, 2, 4)  # pixels
INNER = 0.9  # of the pairs are within their range, in each column


def described(noise: np.ndarray) -> dict[str, float]:
    """Standard deviations (1/255) and correlations of the noise (H, W, 3) of one picture."""
    luma = noise @ LUMA
    blue, red = noise[..., 2] - luma, noise[..., 0] - luma
    row = {name: 255 * float(part.std()) for name, part in (("luma", luma), ("blue", blue), ("red", red))}
    for name, part in (("luma", luma), ("blue", blue)):
        centred = part - part.mean()
        for apart in APART:
            shared = np.mean(centred[:, apart:] * centred[:, :-apart]) / np.mean(centred**2)
            row[f"{name}_{apart}"] = float(shared)
    return row


def of_pairs(clean: list[Path], noisy: list[Path]) -> Iterator[dict]:
    """A row for each pair."""
    for truth, other in zip(clean, noisy, strict=True):
        yield {"of": "pairs", "picture": truth.stem, **described(read(other).astype(np.float64) - read(truth))}


def of_recipe(name: str, count: int) -> Iterator[dict]:
    """A row for each of a recipe's first patches that have noise."""
    batches = Batches(load_recipe(name))
    index = 0
    while count > 0:
        sample = batches[index].sample
        for place, (clean, degraded) in enumerate(zip(sample["clean"], sample["degraded"], strict=True)):
            noise = np.clip(degraded, 0, 1).astype(np.float64) - clean
            if count > 0 and noise.std() > 0:
                count -= 1
                yield {
                    "of": "recipe",
                    "picture": f"patch {place} of batch {index}",
                    **described(noise.transpose(1, 2, 0)),
                }
        index += 1


def report(recipes: dict[str, list[dict]]) -> str:
    """Medians and middle halves of the pairs and of each recipe's patches, and how many are within the pairs' range.

    recipes    the rows by the name of the recipe; all have the same pairs
    """
    rows = next(iter(recipes.values()))
    columns = [name for name in rows[0] if name not in ("of", "picture")]

    def values(of: str, rows: list[dict]) -> np.ndarray:
        return np.array([[float(row[column]) for column in columns] for row in rows if row["of"] == of])

    pairs = values("pairs", rows)
    every = {"pairs": pairs} | {name: values("recipe", rows) for name, rows in recipes.items()}
    low, high = np.quantile(pairs, ((1 - INNER) / 2, (1 + INNER) / 2), axis=0)
    lines = ["| | " + " | ".join(every) + " |", "|---" * (1 + len(every)) + "|"]
    for place, column in enumerate(columns):
        middles = [np.percentile(table[:, place], (25, 50, 75)) for table in every.values()]
        told = [f"{middle:.2f} ({least:.2f} to {most:.2f})" for least, middle, most in middles]
        lines.append(f"| {column} | " + " | ".join(told) + " |")
    inside = [np.mean(np.all((table >= low) & (table <= high), axis=1)) for table in every.values()]
    lines.append("| within the pairs' range | " + " | ".join(f"{share:.0%}" for share in inside) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True, help="whose patches are looked at")
    parser.add_argument("--clean", default="${TUNABLE_DATA}/PolyU/train/clean", help="folder of clean pictures")
    parser.add_argument("--noisy", default="${TUNABLE_DATA}/PolyU/train/noisy", help="folder of the same with noise")
    parser.add_argument("--patches", type=int, default=480)
    parser.add_argument("--out", type=Path, required=True, help="the CSV of all rows")
    args = parser.parse_args()
    rows = [*of_pairs(*(find_pictures([folder]) for folder in (args.clean, args.noisy)))]
    rows += of_recipe(args.recipe, args.patches)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(args.out, tables.to_csv(rows))
    print(report({args.recipe: rows}))


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
