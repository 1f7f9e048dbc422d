"""The recipe for a strength knob, denoise/strength, beside the blend of the plain network that it starts from.

    python tools/strength_compared.py --work runs/strength --out docs/results/denoise/strength

Needs TUNABLE_DATA and torch. Takes the plain network out of the model `denoise`, trains the knob on it, and measures
both on CBSD68 and Kodak24. What --work and --out hold already is not made again.
"""

import argparse
import sys
from pathlib import Path
from statistics import fmean

import numpy as np
import runs

from tunable import api
from tunable.files import write_text
from tunable.omega import format_omega, line
from tunable.reports import tables
from tunable.specs.reading import expand, load_recipe

RECIPE = "denoise/strength"
SETS, SIGMAS = ("CBSD68", "Kodak24"), (5.0, 15.0, 30.0)
ALLOWED = 0.05  # dB below the blend


def measured(work: Path) -> list[dict]:
    """One row for each set, level and setting, means over pictures in dB."""
    plain, knob = work / "plain.safetensors", work / "knob"
    if not plain.is_file():
        work.mkdir(parents=True, exist_ok=True)
        api.load("denoise").fold([1, 0]).save(plain)
    runs.train(RECIPE, knob, "torch", f"initial.weights={plain}")
    nu = next(each.nu for each in load_recipe(RECIPE).objectives if each.kind == "noise")
    networks = {"plain": api.load(plain), "knob": api.load(knob / "model.safetensors")}
    rows = []
    for name in SETS:
        folder = expand(f"${{TUNABLE_DATA}}/{name}")
        found = {
            key: api.evaluate(model, folder, line(5) if key == "knob" else None, sigmas=SIGMAS, ssim=False)
            for key, model in networks.items()
        }
        for sigma in SIGMAS:
            clean = [each.psnr for each in found["plain"] if each.sigma == sigma]
            for omega in line(5):
                at = [each for each in found["knob"] if each.sigma == sigma and np.allclose(each.omega, omega)]
                rows.append(
                    {
                        "set": name,
                        "sigma": sigma,
                        "noise": omega[1],
                        "blend": fmean(clean) - 20 * np.log10(1 - nu * omega[1]),
                        "knob": fmean(each.psnr_eta for each in at),
                    }
                )
    return rows


def report(rows: list[dict]) -> str:
    """The page."""
    least = min(row["knob"] - row["blend"] for row in rows)
    told = "ties it" if least >= -ALLOWED else "does NOT tie it"
    return "\n".join(
        [
            "# A strength knob beside the blend\n",
            runs.GLOSSARY.replace("../../", "../../../"),
            f"The knob that the recipe `{RECIPE}` trains {told}: nowhere in the table is it more than "
            f"{max(0, -least):.2f} dB below the blend of the plain network's output with its input, where {ALLOWED} dB "
            "are allowed. At (1, 0) it is the plain network itself. [Why no training can do better]"
            "(../../../models.md#the-knob-of-denoise) is a short computation.\n",
            "PSNR_η in dB: to the target y + 0.9 ω₂ (z - y) that ω = (fidelity, noise) asks for, mean over all "
            "pictures of the set. That of the blend is computed: the plain output's PSNR and -20 log10(1 - 0.9 ω₂).\n",
            "| set | σ | ω | blend | knob |",
            "|---|---|---|---|---|",
            *(
                f"| {row['set']} | {row['sigma']:.0f} | {format_omega((1 - row['noise'], row['noise']))} "
                f"| {row['blend']:.2f} | {row['knob']:.2f} |"
                for row in rows
            ),
            "",
            "Made by `python tools/strength_compared.py --work runs/strength --out docs/results/denoise/strength` with "
            "PyTorch on a CPU. [table.csv](table.csv) has more digits.\n",
        ]
    )


def compare(args: argparse.Namespace) -> None:
    """Measure unless that is done, and write the page."""
    table = args.out / "table.csv"
    if not table.is_file():
        write_text(table, tables.to_csv(measured(args.work)))
    rows = [{**row, **{key: float(row[key]) for key in list(row)[1:]}} for row in runs.rows_of(table)]
    write_text(args.out / "README.md", report(rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    return runs.guarded(compare, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
