"""Compare starts of phi, samplings of omega and learning rates at the mini budget (docs/results/starts).

    python tools/compare_starts.py --out docs/results/starts/starts.csv [NAME ...]

Trains one network per named variant of configs/denoise/mini.yaml in torch and measures PSNR (to y) and
PSNR_eta (to y_eta) on central 128x128 crops of CBSD68, mean of sigma 15 and 30, at five omegas between
(0, 1) and (1, 0). One CSV row per variant, seed and omega, appended as it is measured; at the end the whole file
as a table. Needs TUNABLE_DATA.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch

from tunable_core import metrics, oracle
from tunable_core.backends import get_backend
from tunable_core.data import Batches
from tunable_core.degradations import protocol_degraded
from tunable_core.initial import starting_weights
from tunable_core.omega import line
from tunable_core.pictures import list_pictures, read
from tunable_core.recipe import expand, load_recipe

MINI = Path(__file__).parent.parent / "configs" / "denoise" / "mini.yaml"
UNIFORM = ["omega.sampler=uniform"]
NO_SUM = ["loss.normalise=none"]


def corners(share, others):
    """A mixture of corners, line and anywhere: the share of the first; those of the others, as text."""
    return [f"omega.sampler={{kind: mixture, weights: [{share}, {others}], of: [corners, simplex, uniform]}}"]


VARIANTS = {  # "base" is the default: phi base, four of five omegas at the corners, divided by their sum
    "plain rec": ["network.tunable=false", "omega.sampler={kind: fixed, value: [1, 0]}"],
    "plain noise": ["network.tunable=false", "omega.sampler={kind: fixed, value: [0, 1]}"],
    "base": [],
    "base, all corners": ["omega.sampler=corners"],
    "base, half corners": corners(0.5, "0.25, 0.25"),
    "base, third corners": corners(0.3, "0.3, 0.4"),
    "base, third corners, 2e-3": [*corners(0.3, "0.3, 0.4"), "optimizer.learning_rate=2.0e-3"],
    "base, half corners, 5e-4": [*corners(0.5, "0.25, 0.25"), "optimizer.learning_rate=5.0e-4"],
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
    backend = get_backend("torch", "cpu")
    network = backend.build(recipe.network, recipe.network_objectives)
    backend.assign(network, starting_weights(backend.specs(network), recipe.seed, recipe.initial))
    trainer = backend.trainer(network, recipe)
    for batch in Batches(recipe).stream(0, recipe.steps):
        rate = recipe.optimizer.learning_rate * recipe.schedule.factor(batch.index, recipe.steps)
        trainer.step(batch, rate)
    return backend, network


def measure(recipe, backend, network):
    """Rows (omega_1, psnr, psnr_eta), means over crops and sigmas."""
    noise = recipe.objectives[1]
    rows = []
    for omega in line(5):
        values = []
        for index, path in enumerate(list_pictures(expand("${TUNABLE_DATA}/CBSD68"))):
            picture = read(path)
            top, left = (picture.shape[0] - 128) // 2, (picture.shape[1] - 128) // 2
            clean = picture[top : top + 128, left : left + 128]
            degraded = np.stack([protocol_degraded(clean, sigma, index) for sigma in (15, 30)])
            images = degraded.transpose(0, 3, 1, 2)
            restored = backend.run(network, images, omega if recipe.network.tunable else None)
            sample = {"clean": np.broadcast_to(clean.transpose(2, 0, 1), images.shape), "degraded": images}
            target = oracle.target(noise, 1, sample, omega)
            pairs = zip(restored, sample["clean"], target, strict=True)
            values += [(metrics.psnr(a, b), metrics.psnr(a, c)) for a, b, c in pairs]
        rows.append((float(omega[0]), *np.mean(values, axis=0)))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="variants, default all: " + "; ".join(VARIANTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override for all variants")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        for name in args.names or VARIANTS:
            recipe = load_recipe(MINI, [*args.set, *VARIANTS[name], f"seed={seed}"])
            rows = measure(recipe, *train(recipe))
            new = not args.out.exists()
            with open(args.out, "a", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if new:
                    writer.writerow(["variant", "seed", "omega_1", "psnr", "psnr_eta"])
                writer.writerows([name, seed, first, f"{a:.4f}", f"{b:.4f}"] for first, a, b in rows)
            print(name, seed, [f"{a:.2f}/{b:.2f}" for _, a, b in rows], flush=True)
    print(table(args.out))


def table(path):
    """The CSV as Markdown: PSNR at (1, 0), PSNR_eta at (0, 1) and between, one row per variant and seed."""
    found = {}
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["variant"], row["seed"]), {})[float(row["omega_1"])] = row
    lines = ["| variant | seed | PSNR (1, 0) | PSNR_η (0, 1) | (.25, .75) | (.5, .5) | (.75, .25) |", "|---" * 7 + "|"]
    for (name, seed), rows in found.items():
        between = " | ".join(f"{float(rows[at]['psnr_eta']):.2f}" for at in (0.0, 0.25, 0.5, 0.75))
        lines.append(f"| {name} | {seed} | {float(rows[1.0]['psnr']):.2f} | {between} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
