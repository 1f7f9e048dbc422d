"""Table 1's task at the mini size: train in both frameworks, measure, compare (docs/results/denoise_mini).

    python tools/denoise_mini.py --work runs/denoise_mini --out docs/results/denoise_mini

Needs TUNABLE_DATA and both frameworks. Trains configs/denoise/mini.yaml in torch and MindSpore from the same weights;
twice more in torch from weights that differ by 1e-7, whose spread says how far equally correct runs drift; and the
plain network for each of the two objectives alone. Measures them with `tunable evaluate`, then writes raw CSV and
README.md. What --work holds already is not made again, so an interrupted run goes on where it was.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import runs

from tunable.evaluation.sentences import PROTOCOL
from tunable.files import write_text
from tunable.specs.reading import expand, load_recipe
from tunable.tolerances import relative_error
from tunable.weights import storage

RECIPE = "configs/denoise/mini.yaml"
PLAIN = ["network.tunable=false"]
RUNS = {  # name -> (framework, overrides)
    "torch": ("torch", []),
    "mindspore": ("mindspore", []),
    "perturbed-1": ("torch", []),
    "perturbed-2": ("torch", []),
    "plain-rec": ("torch", [*PLAIN, "omega.sampler={kind: fixed, value: [1, 0]}"]),
    "plain-noise": ("torch", [*PLAIN, "omega.sampler={kind: fixed, value: [0, 1]}"]),
}
TWINS, PERTURBED = ("torch", "mindspore"), ("perturbed-1", "perturbed-2")
SETS = ("CBSD68", "Kodak24")
SIGMA = "15"  # of the eleven points
WITHIN = 0.15  # dB; and twice the spread of perturbed runs, where that is more


def tunable(*arguments: str) -> None:
    print("tunable", *arguments, flush=True)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # another number of threads rounds, and so drifts, otherwise
    subprocess.run([sys.executable, "-m", "tunable", *arguments], check=True, env=one_thread)


def train(work: Path, name: str) -> None:
    framework, overrides = RUNS[name]
    out = work / name
    if (out / "model.safetensors").is_file():
        return
    if name in PERTURBED:
        path = work / f"{name}.safetensors"
        runs.perturb(path, load_recipe(RECIPE, list(runs.FOLDERS)), PERTURBED.index(name))
        overrides = [*overrides, f"initial.weights={path}"]
    settings = [part for override in (*runs.FOLDERS, *overrides) for part in ("--set", override)]
    tunable("train", RECIPE, "--backend", framework, "--out", str(out), "--resume", *settings)


def evaluate(work: Path, out: Path, name: str, pictures: str, *options: str, label: str = "") -> list[dict]:
    """The summary of `tunable evaluate`, from `out` if it was measured before."""
    folder = out / f"{name}-{pictures}{label}"
    if not (folder / "summary.csv").is_file():
        model, data = work / name / "model.safetensors", expand("${TUNABLE_DATA}/" + pictures)
        backend = RUNS[name][0]
        tunable("evaluate", str(model), "--backend", backend, "--data", data, "--out", str(folder), *options)
    with open(folder / "summary.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def means(summary: list[dict], column: str, *sigmas: str) -> np.ndarray:
    """A metric's mean over some sigmas (none named: over all), at every omega from (0, 1) to (1, 0)."""
    chosen = [[float(row[column]) for row in summary if row["sigma"] == sigma] for sigma in sigmas or ["mean"]]
    return np.mean(chosen, axis=0)


def report(work: Path, out: Path) -> str:
    five = {(n, s): evaluate(work, out, n, s) for n in TWINS for s in SETS}
    spread = {n: evaluate(work, out, n, "CBSD68", "--no-ssim") for n in PERTURBED}
    plain = {(n, s): evaluate(work, out, n, s, "--no-ssim") for n in ("plain-rec", "plain-noise") for s in SETS}
    line = ("--sigma", SIGMA, "--line", "11", "--no-ssim")
    eleven = {n: evaluate(work, out, n, "CBSD68", *line, label="-line") for n in TWINS}
    return "\n".join(
        [
            "# Table 1's task at the mini size\n",
            runs.GLOSSARY,
            *conclusion(five, plain),
            *table(five),
            *against_plain(five, spread, plain),
            *twins(five, spread),
            *monotone(eleven),
            *weights(work),
            "Made by `python tools/denoise_mini.py --work runs/denoise_mini --out docs/results/denoise_mini` from "
            f"[{RECIPE}](../../../{RECIPE}), with BSD432 as training pictures. Both frameworks started from the same "
            "weights and saw the same batches, on a CPU with OMP_NUM_THREADS=1. The folders beside this page hold the "
            "raw CSV of every picture, and torch.safetensors and mindspore.safetensors are the two networks.\n",
            f"Protocol: {PROTOCOL}\n",
        ]
    )


def conclusion(five, plain) -> list[str]:
    """What a reader takes home, of CBSD68 and all levels, and the picture."""
    clean, noisy = (
        [means(five[twin, "CBSD68"], column)[place] - means(plain[name, "CBSD68"], column)[0] for twin in TWINS]
        for place, column, name in ((-1, "psnr", "plain-rec"), (0, "psnr_eta", "plain-noise"))
    )
    apart = np.abs(np.subtract(*(means(five[name, "CBSD68"], "psnr") for name in TWINS))).max()
    return [
        f"One tunable network is {clean[0]:+.2f} dB ({TWINS[0]}) and {clean[1]:+.2f} dB ({TWINS[1]}) from a plain "
        f"network of equal size and steps at (1, 0), and {noisy[0]:+.2f} and {noisy[1]:+.2f} dB from another at "
        f"(0, 1). The frameworks are at most {apart:.3f} dB apart at any of five ω. All are means over σ 5, 15 and 30 "
        "on CBSD68.\n",
        f"![PSNR and PSNR_η over ω, {TWINS[0]}]({TWINS[0]}-CBSD68/plot.png)\n",
    ]


def table(five) -> list[str]:
    lines = ["## Over omega\n", "Mean over σ 5, 15, 30. ω = (fidelity, noise preservation).\n"]
    for pictures in SETS:
        lines += [f"### {pictures}\n", "| metric | framework | (0, 1) | (.25, .75) | (.5, .5) | (.75, .25) | (1, 0) |"]
        lines.append("|---" * 7 + "|")
        for column, title in (("psnr", "PSNR"), ("psnr_eta", "PSNR_η"), ("ssim", "SSIM")):
            digits = 4 if column == "ssim" else 2
            for name in TWINS:
                values = " | ".join(f"{value:.{digits}f}" for value in means(five[name, pictures], column))
                lines.append(f"| {title} | {name} | {values} |")
        lines.append("")
    return lines


def against_plain(five, spread, plain) -> list[str]:
    lines = [
        "## Against plain networks of equal size and steps\n",
        "Each plain network (torch, one run) was trained for its one objective alone. Gap: tunable minus plain, in dB. "
        f"The perturbed runs (torch, starting weights {runs.PERTURBATION:g} away) tell how much of a gap is chance.\n",
        "| pictures | measured | mean over σ | wanted | plain | run | tunable | gap | |",
        "|---" * 9 + "|",
    ]
    for pictures in SETS:
        for place, column, name, at, limit, sigmas in (
            (-1, "psnr", "plain-rec", "PSNR at (1, 0)", 0.15, ("15", "30")),
            (-1, "psnr", "plain-rec", "PSNR at (1, 0)", 0.15, ("5", "15", "30")),
            (0, "psnr_eta", "plain-noise", "PSNR_η at (0, 1)", 0.5, ("15", "30")),
            (0, "psnr_eta", "plain-noise", "PSNR_η at (0, 1)", 0.5, ("5", "15", "30")),
        ):
            alone = means(plain[name, pictures], column, *sigmas)[0]
            summaries = {twin: five[twin, pictures] for twin in TWINS}
            if pictures == "CBSD68":
                summaries.update(spread)
            for run, summary in summaries.items():
                value = means(summary, column, *sigmas)[place]
                verdict = "reached" if value - alone >= -limit else "**not reached**"
                lines.append(
                    f"| {pictures} | {at} | {', '.join(sigmas)} | gap ≥ −{limit} | {alone:.2f} | {run} | {value:.2f} "
                    f"| {value - alone:+.2f} | {verdict} |"
                )
    return [*lines, ""]


def twins(five, spread) -> list[str]:
    lines = [
        "## The two frameworks after a whole training\n",
        "PSNR in dB on CBSD68. Spread: largest minus smallest of three torch runs whose starting weights differ by a "
        f"relative {runs.PERTURBATION:g}. The twins may differ by {WITHIN} dB, or by twice the spread where that is "
        "more.\n",
        "| σ | ω | torch | mindspore | difference | spread of three | allowed | |",
        "|---" * 8 + "|",
    ]
    for sigma in ("5", "15", "30", "mean"):
        torch_, mindspore_ = (means(five[name, "CBSD68"], "psnr", sigma) for name in TWINS)
        three = np.stack([torch_, *(means(spread[name], "psnr", sigma) for name in PERTURBED)])
        widths = three.max(axis=0) - three.min(axis=0)
        for omega, a, b, width in zip(np.linspace(0, 1, 5), torch_, mindspore_, widths, strict=True):
            allowed = max(WITHIN, 2 * width)
            verdict = "within" if abs(b - a) <= allowed else "**beyond**"
            lines.append(
                f"| {sigma} | ({omega:g}, {1 - omega:g}) | {a:.3f} | {b:.3f} | {b - a:+.3f} | {width:.3f} "
                f"| {allowed:.2f} | {verdict} |"
            )
    return [*lines, ""]


def monotone(eleven) -> list[str]:
    lines = [
        "## From cleaning to keeping the noise\n",
        f"Eleven points from ω = (1, 0) to (0, 1), CBSD68, σ {SIGMA}. PSNR should not rise and r*, the fraction "
        "of the largest kept noise that best explains the restored picture, should not fall.\n",
        "| ω₁ | | " + " | ".join(f"{value:.1f}" for value in np.linspace(1, 0, 11)) + " | |",
        "|---" * 14 + "|",
    ]
    for name, summary in eleven.items():
        psnr, residual = (means(summary, column)[::-1] for column in ("psnr", "residual"))
        falls, rises = np.all(np.diff(psnr) <= 0), np.all(np.diff(residual) >= 0)
        values = " | ".join(f"{v:.2f}" for v in psnr)
        lines.append(f"| PSNR | {name} | {values} | {'never rises' if falls else '**rises**'} |")
        values = " | ".join(f"{v:.3f}" for v in residual)
        lines.append(f"| r* | {name} | {values} | {'never falls' if rises else '**falls**'} |")
    return [*lines, ""]


def weights(work: Path) -> list[str]:
    networks = {name: storage.load(work / name / "model.safetensors")[0] for name in (*TWINS, *PERTURBED)}
    joined = {name: np.concatenate([tensors[k].ravel() for k in sorted(tensors)]) for name, tensors in networks.items()}
    gaps = [f"{name} {relative_error(joined[name], joined['torch']):.2f}" for name in ("mindspore", *PERTURBED)]
    return [f"Relative distance of the final weights from torch's: {', '.join(gaps)}.\n"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the training runs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--only", nargs="+", choices=RUNS, help="train only these runs, and measure nothing")
    args = parser.parse_args()
    for name in args.only or RUNS:
        train(args.work, name)
    if not args.only:
        write_text(args.out / "README.md", report(args.work, args.out))
        for name in TWINS:
            shutil.copyfile(args.work / name / "model.safetensors", args.out / f"{name}.safetensors")


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
