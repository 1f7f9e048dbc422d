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
    """Train the network of a recipe and write its certificate to `out`; the seconds that the certificate took."""
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
    found = {name: json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in seconds}
    lines = ["| network | recipe | comparisons | passed | minutes |", "|---|---|---|---|---|"]
    for name, held in found.items():
        recipe, rows = NETWORKS[name], held["rows"]
        passed = sum(row["passed"] for row in rows)
        took = f"{seconds[name] / 60:.1f}"
        lines.append(f"| [{name}]({name}.json) | [{recipe}](../../../{recipe}) | {len(rows)} | {passed} | {took} |")
    stages = []
    for name, held in found.items():
        stages += [f"\n## {name}\n", "| stage | compared | at ω | where | error | limit |", "|---|---|---|---|---|---|"]
        for row in held["stages"]:
            limit = f"{'at least ' if row['at_least'] else ''}{row['limit']:.1e}"
            error = "not finite" if row["error"] is None else f"{row['error']:.1e}"
            cells = (row["stage"], row["compared"], row["omega"], row["worst"], error, limit)
            stages.append("| " + " | ".join(cells) + " |")
    return f"""# Certificates

Made by `python tools/certificates.py --out docs/results/certificates`: networks of the recipes trained for {STEPS}
steps in torch on batches of 4, then `tunable verify model.safetensors --grid 5 --json`, 25 ω, with the exports to ONNX
from both frameworks and to MINDIR, on {os.cpu_count()} CPU cores. Its whole time, imports included, is in
[seconds.csv](seconds.csv); at most 3 minutes are wanted of the ResNet of 16 blocks and 64 channels (resnet).

{chr(10).join(lines)}

Below, of every stage and pair, the comparison that comes nearest to its limit.
{chr(10).join(stages)}
"""


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
