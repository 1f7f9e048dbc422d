"""Certificates of networks with all exports, and how long they take: docs/results/certificates.

    python tools/certificates.py --out docs/results/certificates

Trains each network for a few steps in torch, then runs `tunable verify` over 25 omega in a process of its own. Keeps
what it printed as JSON, the seconds in seconds.csv, and writes README.md from these. What stands in seconds.csv is not
run again. Needs both frameworks, onnxruntime and TUNABLE_DATA. The machine should do nothing else meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import runs

from tunable.files import write_text
from tunable.reports import tables

STEPS = 20
SETTINGS = (f"steps={STEPS}", "data.batch=4", "data.train=${TUNABLE_DATA}/BSD432")
NETWORKS = {  # name -> the recipe
    "resnet": "configs/denoise/paper.yaml",
    "swinir": "configs/denoise_swinir/mini.yaml",
    "nafnet": "configs/denoise_real_nafnet/mini.yaml",
}


def judge(recipe: str, out: Path) -> float:
    """Train the network of a recipe and write its certificate to `out`; returns the seconds that verifying took."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        runs.train(recipe, run, "torch", *SETTINGS)
        command = [sys.executable, "-m", "tunable", "verify", "model.safetensors", "--grid", "5", "--json"]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=run, stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.perf_counter() - start
    if done.returncode and not done.stdout:  # else a comparison failed, which the certificate says
        raise subprocess.CalledProcessError(done.returncode, command)
    write_text(out, json.dumps(json.loads(done.stdout), separators=(",", ":"), ensure_ascii=False) + "\n")
    return seconds


def page(out: Path, seconds: dict[str, float]) -> str:
    certificates = {name: json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in seconds}
    lines = ["| network | recipe | comparisons | passed | minutes |", "|---|---|---|---|---|"]
    counts = {}
    for name, certificate in certificates.items():
        recipe, rows = NETWORKS[name], certificate["rows"]
        counts[name] = sum(row["passed"] for row in rows), len(rows)
        passed, total = counts[name]
        took = f"{seconds[name] / 60:.1f}"
        lines.append(f"| [{name}]({name}.json) | [{recipe}](../../../{recipe}) | {total} | {passed} | {took} |")
    stages = []
    for name, certificate in certificates.items():
        stages += [f"\n## {name}\n", "| stage | compared | at ω | where | error | limit | rmse |", "|---" * 7 + "|"]
        stages += ["| " + " | ".join(cells(row)) + " |" for row in certificate["stages"]]
    passed, total = map(sum, zip(*counts.values(), strict=True))
    return f"""# Certificates

{runs.GLOSSARY}
Of {total} comparisons of three trained networks {passed} passed.

This page was made by `python tools/certificates.py --out docs/results/certificates`. It trained the networks of the
recipes for {STEPS} steps in torch on batches of 4. Then it ran `tunable verify model.safetensors --grid 5 --json` over
25 ω, with the exports to ONNX from both frameworks and to MINDIR, on {os.cpu_count()} CPU cores. The whole time of
that command, imports included, is in [seconds.csv](seconds.csv). The ResNet of 16 blocks and 64 channels (resnet)
should take at most 3 minutes.

{chr(10).join(lines)}

The tables below hold, for every stage and pair, the comparison that comes nearest to its limit.
[How it works](../../how_it_works.md#the-certificate) explains the stages: `optimizer` judges five steps on drawn
gradients against numpy, and `training` judges ten steps that each framework makes by itself. The column rmse holds
rmse(float64, a) / rmse(float64, b) of a pair a : b. The tests of PyTorch's compiler accept 2; here it decides nothing.
{chr(10).join(stages)}
"""


def cells(row: dict) -> tuple[str, ...]:
    """The cells of a stage's row; without a ratio, as in a certificate made before there was one, rmse is empty."""
    limit = f"{'at least ' if row['at_least'] else ''}{row['limit']:.1e}"
    error = "not finite" if row["error"] is None else f"{row['error']:.1e}"
    ratio = row.get("rmse_ratio")
    rmse = "" if ratio is None else f"{ratio:.2f}" if ratio < 100 else f"{ratio:.1e}"
    return row["stage"], row["compared"], row["omega"], row["worst"], error, limit, rmse


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    args = parser.parse_args()
    path = args.out / "seconds.csv"
    seconds = {row["network"]: float(row["seconds"]) for row in runs.rows_of(path)}
    for name, recipe in NETWORKS.items():
        if name not in seconds:
            args.out.mkdir(parents=True, exist_ok=True)
            seconds[name] = judge(recipe, args.out / f"{name}.json")
            write_text(path, tables.to_csv([{"network": n, "seconds": f"{s:.1f}"} for n, s in seconds.items()]))
    write_text(args.out / "README.md", page(args.out, seconds))


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
