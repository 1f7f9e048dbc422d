"""Flipped bits in weights files and checkpoints, each of which must be noticed (docs/results/survival).

    python tools/flipped_bits.py --bits 1000 --out docs/results/survival/flipped-bits.csv

A run of three steps leaves model.safetensors, model_last.safetensors, checkpoints and best.safetensors. One bit of one
of them is flipped, half of the time in its header, and the file is read: CheckpointError is wanted. With --header
every bit of the header of model.safetensors is tried, too. The raw output has a line for each drawn bit, and the last
lines count; the exit status is 1 where a bit went unnoticed.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kills
import numpy as np

from tunable.backends.registry import default_backend, get_framework
from tunable.errors import CheckpointError
from tunable.training.loop import train
from tunable.weights import storage


def noticed(path: Path, content: bytes, bit: int) -> str:
    """The message for a file one bit of whose content is flipped; "" where it is read as if it were sound."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    try:
        storage.load(path)
    except CheckpointError as error:
        return str(error).replace(str(path.parent), "")[:120]
    return ""


def drawn(contents: dict[str, bytes], count: int, seed: int) -> Iterator[tuple[str, int]]:
    """So many bits: a file's name and the number of the bit."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        name = list(contents)[rng.integers(len(contents))]
        size = header_size(contents[name]) if rng.random() < 0.5 else len(contents[name])
        yield name, int(rng.integers(8 * size))


def header_size(content: bytes) -> int:
    """Bytes before the first tensor."""
    return 8 + int.from_bytes(content[:8], "little")


def main() -> int:
    """Flip and read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, default=1000)
    parser.add_argument("--header", action="store_true", help="try every bit of a header, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a CSV, raw")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, open(args.out, "w", encoding="utf-8", newline="") as file:
        folder, table = Path(place), csv.writer(file, lineterminator="\n")
        recipe = kills.recipe_of(folder).model_copy(update={"steps": 3})
        train(recipe, get_framework(default_backend(), "cpu"), folder / "run")
        contents = {path.name: path.read_bytes() for path in (folder / "run").rglob("*.safetensors")}
        table.writerow(["file", "byte", "bit", "noticed"])
        missed = 0
        for name, bit in drawn(contents, args.bits, args.seed):
            message = noticed(folder / name, contents[name], bit)
            missed += not message
            table.writerow([name, bit // 8, bit % 8, message or "NO"])
        table.writerow([f"{args.bits} bits drawn, {args.bits - missed} noticed"])
        print(f"{args.bits} bits drawn, {args.bits - missed} noticed")
        passed = []
        if args.header:
            content = contents["model.safetensors"]
            header = range(8 * header_size(content))
            passed = [bit for bit in header if not noticed(folder / "model.safetensors", content, bit)]
            line = f"{len(header)} bits of the header of model.safetensors, {len(header) - len(passed)} noticed"
            table.writerow([line])
            print(line, "; not noticed, as byte.bit:", ", ".join(f"{bit // 8}.{bit % 8}" for bit in passed) or "none")
    return 1 if missed or passed else 0


if __name__ == "__main__":
    sys.exit(main())
