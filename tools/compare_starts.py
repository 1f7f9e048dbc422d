"""Compare starts of phi, samplings of omega and learning rates at the mini budget (docs/results/starts).

    python tools/compare_starts.py --out docs/results/starts/starts.csv [NAME ...]

Trains one network per named variant of configs/denoise/mini.yaml in torch and measures PSNR (to y) and
PSNR_eta (to y_eta) on central 128x128 crops of CBSD68 at sigma 5, 15 and 30, at five omegas between (0, 1) and
(1, 0). One CSV row per variant, seed, sigma and omega, appended as it is measured; at the end the whole file
as a table, mean of sigma 15 and 30 and sigma 5 alone. Needs TUNABLE_DATA.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import runs
import torch

from tunable import oracle
from tunable.backends.registry import get_framework
from tunable.data.degradations import protocol_degraded
from tunable.data.patches import Batches
from tunable.evaluation import metrics
from tunable.images.folders import list_pictures
from tunable.images.pictures import read
from tunable.omega import line
from tunable.parameters.starts import starting_weights
from tunable.specs.reading import expand, load_recipe

MINI = Path(__file__).parent.parent / "configs" / "denoise" / "mini.yaml"
UNIFORM = ["omega.sampler=uniform"]
NO_SUM = ["loss.normalise=none"]
PATCH48 = ["data.patch=48", "data.batch=8"]  # as many pixels per step as 18 patches of 32
SIGMAS = (5, 15, 30)


def sampler(corners, line, anywhere, clean=0.0):
    """A mixture by shares; `clean` is what (1, 0) gets beyond its half of the corners."""
    first = [f"{clean}, ", "{kind: fixed, value: [1, 0]}, "] if clean else ["", ""]
    weights, kinds = f"[{first[0]}{corners}, {line}, {anywhere}]", f"[{first[1]}corners, simplex, uniform]"
    return [f"omega.sampler={{kind: mixture, weights: {weights}, of: {kinds}}}"]


PLAIN = ["network.tunable=false"]
REC, NOISE = ["omega.sampler={kind: fixed, value: [1, 0]}"], ["omega.sampler={kind: fixed, value: [0, 1]}"]
THIRD, HALF = sampler(0.3, 0.3, 0.4), sampler(0.5, 0.25, 0.25)
VARIANTS = {  # "base": phi base, four of five omegas at the corners, more than half at (1, 0), divided by their sum
    "plain rec": [*PLAIN, *REC],
    "plain noise": [*PLAIN, *NOISE],
    "base": [],
    "base, all corners": ["omega.sampler=corners"],
    "base, half corners": HALF,
    "base, third corners": THIRD,
    "base, (1, 0) 40 %": sampler(0.8, 0.1, 0.1),
    "base, (1, 0) 65 %": sampler(0.5, 0.05, 0.05, clean=0.4),
    "base, (1, 0) 75 %": sampler(0.3, 0.05, 0.05, clean=0.6),
    "base, warm-up": ["schedule.warmup=100"],
    "base, 2e-3": ["optimizer.learning_rate=2.0e-3"],
    "base, 5e-4": ["optimizer.learning_rate=5.0e-4"],
    "plain rec, 2e-3": [*PLAIN, *REC, "optimizer.learning_rate=2.0e-3"],
    "base, half corners, 5e-4": [*HALF, "optimizer.learning_rate=5.0e-4"],
    "plain rec, patch 48": [*PLAIN, *REC, *PATCH48],
    "plain noise, patch 48": [*PLAIN, *NOISE, *PATCH48],
    "base, patch 48": PATCH48,
    "base, third corners, patch 48": [*THIRD, *PATCH48],
    "base, third corners, 2e-3, patch 48": [*THIRD, *PATCH48, "optimizer.learning_rate=2.0e-3"],
    "base, uniform, not divided": UNIFORM + NO_SUM,
    "base, beta 0.5": ["omega.sampler={kind: beta, a: 0.5, b: 0.5}"],
    "base, not divided": NO_SUM,
    "base, per batch": ["omega.per=batch"],
    "base, differences 0": ["initial.difference=0"],
    "base, differences 0.3": ["initial.difference=0.3"],
    "affine, constant": ["network.phi=affine"],
    "affine, identity": ["network.phi=affine", "initial.start=identity"],
    "affine, equal": ["network.phi=affine", "initial.start=equal"],
    "affine, constant, uniform, not divided": ["network.phi=affine", *UNIFORM, *NO_SUM],
    "affine, identity, uniform, not divided": ["network.phi=affine", "initial.start=identity", *UNIFORM, *NO_SUM],
    "identity": ["network.phi=identity"],
    "se": ["network.phi=se"],
}


def train(recipe):
    """The trained network of a recipe, in torch on one thread."""
    backend = get_framework("torch", "cpu")
    network = backend.build(recipe.network, recipe.network_objectives)
    backend.assign(network, starting_weights(backend.specs(network), recipe.seed, recipe.initial))
    trainer = backend.trainer(network, recipe)
    for batch in Batches(recipe).stream(0, recipe.steps):
        rate = recipe.optimizer.learning_rate * recipe.schedule.factor(batch.index, recipe.steps)
        trainer.step(batch, rate)
    return backend, network


def measure(recipe, backend, network):
    """Rows (sigma, omega_1, psnr, psnr_eta), means over crops."""
    rows = []
    for omega in line(5):
        values = []
        for index, path in enumerate(list_pictures(expand("${TUNABLE_DATA}/CBSD68"))):
            picture = read(path)
            top, left = (picture.shape[0] - 128) // 2, (picture.shape[1] - 128) // 2
            clean = picture[top : top + 128, left : left + 128]
            degraded = np.stack([protocol_degraded(clean, sigma, index) for sigma in SIGMAS])
            images = degraded.transpose(0, 3, 1, 2)
            restored = backend.run(network, images, omega if recipe.network.tunable else None)
            sample = {"clean": np.broadcast_to(clean.transpose(2, 0, 1), images.shape), "degraded": images}
            target = oracle.target(recipe, 1, sample, omega)
            pairs = zip(restored, sample["clean"], target, strict=True)
            values.append([(metrics.psnr(a, b), metrics.psnr(a, c)) for a, b, c in pairs])
        means = np.mean(values, axis=0)
        rows += [(sigma, float(omega[0]), *pair) for sigma, pair in zip(SIGMAS, means, strict=True)]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="variants, default all: " + "; ".join(VARIANTS).replace("%", "%%"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override for all variants")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        for name in args.names or VARIANTS:
            recipe = load_recipe(MINI, [*runs.FOLDERS, *args.set, *VARIANTS[name], f"seed={seed}"])
            rows = measure(recipe, *train(recipe))
            new = not args.out.exists()
            with open(args.out, "a", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if new:
                    writer.writerow(["variant", "seed", "sigma", "omega_1", "psnr", "psnr_eta"])
                writer.writerows([name, seed, sigma, at, f"{a:.4f}", f"{b:.4f}"] for sigma, at, a, b in rows)
            print(name, seed, [f"{a:.2f}/{b:.2f}" for *_, a, b in rows], flush=True)
    print(table(args.out))


def table(path):
    """The CSV as Markdown, one row per variant and seed: the mean of sigma 15 and 30, and sigma 5 at (1, 0)."""
    results = {}
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            results.setdefault((row["variant"], row["seed"]), {})[int(row["sigma"]), float(row["omega_1"])] = row
    columns = ["PSNR (1, 0)", "PSNR_η (0, 1)", "(.25, .75)", "(.5, .5)", "(.75, .25)", "PSNR (1, 0), σ 5"]
    lines = ["| variant | seed | " + " | ".join(columns) + " |", "|---" * 8 + "|"]
    for (name, seed), rows in results.items():

        def mean(at, column, rows=rows):
            return np.mean([float(rows[sigma, at][column]) for sigma in (15, 30)])

        between = [mean(at, "psnr_eta") for at in (0.0, 0.25, 0.5, 0.75)]
        values = [mean(1.0, "psnr"), *between, float(rows[5, 1.0]["psnr"])]
        lines.append(f"| {name} | {seed} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
