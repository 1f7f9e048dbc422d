"""The mini recipes of Tables 2a, 2b and 3: train, measure, show (docs/results/denoise_swinir and its neighbours).

    python tools/minis.py denoise_swinir --work runs/denoise_swinir --out docs/results/denoise_swinir

Needs TUNABLE_DATA and torch. Trains configs/TASK/mini.yaml, and for the denoising tasks the plain network of equal size
and steps for reconstruction alone; measures both on the first pictures of CBSD68 and writes README.md, raw CSV and a
contact sheet. The joint task is trained in MindSpore too, the others for fifty steps beside torch's. What --work holds
and --out hold already is not made again.
"""

import csv
import io
import itertools
import sys
from pathlib import Path

import numpy as np
import runs

from tunable import load
from tunable.data.degradations import PoissonGaussian, protocol_degraded
from tunable.data.patches import find_pictures
from tunable.evaluation.measuring import measure
from tunable.evaluation.sentences import BLUR_PROTOCOL, PROTOCOL
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_network, write
from tunable.omega import format_omega

PLAIN = ["network.tunable=false", "omega.sampler={kind: fixed, value: [1, 0]}"]
SENSOR = {"low": (1.0, 2.0), "middle": (2.5, 5.0), "high": (5.0, 10.0)}  # gain and sigma, 1/255
ENDS, CORNERS = [(0, 1), (1, 0)], [(0, 0), (0, 1), (1, 0), (1, 1)]
TASKS = {  # -> table, levels, omega, runs
    "denoise_swinir": ("Table 2a", [(15,), (25,), (50,)], ENDS, ("torch", "plain-rec")),
    "denoise_real_nafnet": ("Table 2b", [(name,) for name in SENSOR], ENDS, ("torch", "plain-rec")),
    "denoise_deblur": (
        "Table 3",
        list(itertools.product((5, 15, 30), (0, 1, 2, 3, 4))),
        CORNERS,
        ("torch", "mindspore"),
    ),
}
WITHIN = 0.3  # dB: tunable at (1, 0) under its plain self at most


def train(task: str, work: Path, run: str) -> None:
    backend = "mindspore" if run == "mindspore" else "torch"
    runs.train(f"configs/{task}/mini.yaml", work / run, backend, *(PLAIN if run == "plain-rec" else ()))


def degraded(clean: np.ndarray, level: tuple, index: int) -> np.ndarray:
    """A picture (H, W, 3) at a level: (sigma,), (sigma, rho), or the name of a sensor's; `index` seeds the noise."""
    if level[0] in SENSOR:
        gain, sigma = SENSOR[level[0]]
        noise = PoissonGaussian(kind="poisson_gaussian", gain=gain, sigma=sigma)
        return from_network(noise.apply(to_network(clean), np.random.default_rng(index)))
    return protocol_degraded(clean, level[0], index, *level[1:])


def measured(work: Path, out: Path, task: str, run: str, count: int) -> list[dict]:
    """One row per picture, level and omega, from `out` if as many pictures were measured before."""
    path = out / f"{run}.csv"
    known = runs.rows_of(path)
    if len({row["picture"] for row in known}) != count:
        _, levels, omegas, _ = TASKS[task]
        train(task, work, run)
        model = load(work / run / "model.safetensors", "mindspore" if run == "mindspore" else "torch")
        rows = []
        for index, name in enumerate(find_pictures(["${TUNABLE_DATA}/CBSD68"])[:count]):
            clean = read(name)
            for level, omega in itertools.product(levels, omegas if model.objectives else [None]):
                values = measure(model, clean, degraded(clean, level, index), omega)
                at = "" if omega is None else format_omega(omega)
                rows.append({"picture": name.name, "level": " ".join(map(str, level)), "omega": at, **values})
            print(task, run, index + 1, "of", count, flush=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())
        known = runs.rows_of(path)
    return known


def mean(rows: list[dict], column: str, omega, level: str | None = None) -> float:
    at = "" if omega is None else format_omega(omega)
    return float(np.mean([float(r[column]) for r in rows if r["omega"] == at and level in (None, r["level"])]))


def table(task: str, results: dict[str, list[dict]]) -> list[str]:
    _, levels, omegas, trained = TASKS[task]
    names = [" ".join(map(str, level)) for level in levels] if task != "denoise_deblur" else []
    lines = ["| run | ω | metric | " + " | ".join([*names, "mean"]) + " |", "|---" * (len(names) + 4) + "|"]
    for run in trained:
        for omega in [None] if run == "plain-rec" else omegas:
            for column, title in (("psnr", "PSNR"), ("psnr_eta", "PSNR_η"), ("ssim", "SSIM")):
                means = [mean(results[run], column, omega, level) for level in [*names, None]]
                digits = 4 if column == "ssim" else 2
                values = " | ".join(f"{value:.{digits}f}" for value in means)
                lines.append(f"| {run} | {'plain' if omega is None else format_omega(omega)} | {title} | {values} |")
    return [*lines, ""]


def verdict(task: str, results: dict[str, list[dict]]) -> list[str]:
    if task != "denoise_deblur":
        gap = mean(results["torch"], "psnr", (1, 0)) - mean(results["plain-rec"], "psnr", None)
        word = "reached" if gap >= -WITHIN else "**not reached**"
        return [
            "How near does the tunable network come to a plain network of equal size and steps that was trained for "
            f"fidelity alone? At (1, 0) its PSNR differs by {gap:+.2f} dB. At least −{WITHIN} dB was wanted: {word}. "
            "Each network was trained once.\n"
        ]
    lines = []
    for run, rows in results.items():
        order = sorted(CORNERS, key=lambda omega: -mean(rows, "psnr", omega))
        right = order[0] == (1, 0) and order[-1] == (0, 1)
        lines.append(
            f"From the highest PSNR to the lowest, {run} has ω {', '.join(map(format_omega, order))}. (1, 0) was "
            f"wanted first and (0, 1) last: {'reached' if right else '**not reached**'}.\n"
        )
    lines.append(
        "At (0, 0) the network keeps 90 % of the noise and of what blur changed. At (1, 1) it removes both and "
        "sharpens beyond the truth. At (0, 1) it sharpens the noise that it keeps, so its target is far from the truth "
        "by construction.\n"
    )
    return lines


def sheet(task: str, work: Path, out: Path) -> None:
    """The input, one photograph at every omega, and the truth, unless `out` holds the sheet."""
    if (out / "sheet.png").is_file():
        return
    train(task, work, "torch")
    _, levels, omegas, _ = TASKS[task]
    model, level = load(work / "torch" / "model.safetensors", "torch"), levels[len(levels) // 2]
    clean = read(find_pictures(["${TUNABLE_DATA}/Kodak24"])[22])[:256, 200:520]
    noisy = degraded(clean, level, 0)
    line = [(1 - t, t) for t in np.linspace(0, 1, 5)] if omegas == ENDS else omegas
    shown = [("input " + " ".join(map(str, level)), noisy)]
    shown += [(format_omega(omega), from_network(model.run(to_network(noisy), omega))) for omega in line]
    labels, pictures = zip(*shown, ("truth", clean), strict=True)
    write(out / "sheet.png", contact_sheet([list(pictures)], list(labels)))


def report(args) -> None:
    title, _, _, names = TASKS[args.task]
    args.out.mkdir(parents=True, exist_ok=True)
    results = {name: measured(args.work, args.out, args.task, name, args.pictures) for name in names}
    sheet(args.task, args.work, args.out)
    recipe = f"configs/{args.task}/mini.yaml"
    over = " and over σ 5, 15, 30 and ρ 0 to 4" if args.task == "denoise_deblur" else ""
    lines = [
        f"# {title}'s task at the mini size\n",
        runs.GLOSSARY,
        *verdict(args.task, results),
        "![One photograph at every omega](sheet.png)\n",
        *table(args.task, results),
        *([] if "mindspore" in names else runs.beside(recipe, args.work, args.out)),
        f"Made by `python tools/minis.py {args.task} --work runs/{args.task} --out docs/results/{args.task} "
        f"--pictures {args.pictures}` from [{recipe}](../../../{recipe}), on a CPU with OMP_NUM_THREADS=1. The "
        f"numbers are means over the first {args.pictures} pictures of CBSD68{over}. The CSV files beside this page "
        "hold the numbers of every picture.\n",
        f"Protocol: {PROTOCOL} {BLUR_PROTOCOL if args.task == 'denoise_deblur' else ''}".rstrip() + "\n",
    ]
    if args.task == "denoise_real_nafnet":
        levels = ", ".join(f"{name} {gain:g} and {sigma:g}" for name, (gain, sigma) in SENSOR.items())
        lines.append(
            "SIDD is not available here. Instead of its photographs, and of white noise, this page has "
            "Poisson-Gaussian noise, seeded by the picture's place. The gain and the read noise, in 1/255, are: "
            f"{levels}.\n"
        )
    write_text(args.out / "README.md", "\n".join(lines))


if __name__ == "__main__":
    sys.exit(runs.main(report, __doc__, 12, "of CBSD68, the first so many", tasks=TASKS))
