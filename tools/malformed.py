"""Malformed files of every kind, none of which may end in a traceback, a hang or a flood of memory.

    python tools/malformed.py --files 20000 --out docs/results/survival/malformed.txt

Recipes, weights files, foreign weights, checkpoints, packs, pictures, ONNX files and command lines are generated and
mutated by the kinds of tests/fuzz.py and tests/fuzz_files.py, always the same for one seed. Each must work or end in
one of the project's own errors, in 5 seconds of the processor and with at most 1 GB more of memory. The raw output has
every fault and, for each kind, how many files were tried, and the slowest; the exit status is 1 where there is a fault.
"""

import argparse
import logging
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import fuzz
import fuzz_files

SECONDS, BYTES = 5.0, 10**9


def main() -> int:
    """Try them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=120, help="no file is tried later")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a text file, raw")
    args = parser.parse_args()
    logging.disable()  # of checkpoints that are damaged, which they are
    kinds, tried, slowest = [*fuzz.KINDS, *fuzz_files.KINDS], Counter(), Counter()
    begun, faults, number = time.monotonic(), 0, 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, open(args.out, "w", encoding="utf-8") as file:
        for kind in kinds:  # what a kind imports at its first file is neither its time nor its memory
            fuzz.attempt(kind, Path(place), args.seed)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
        while number < args.files and time.monotonic() - begun < 60 * args.minutes:
            kind, before = kinds[number % len(kinds)], time.process_time()
            fault = fuzz.attempt(kind, Path(place), args.seed + number, SECONDS)
            number, taken = number + 1, time.process_time() - before
            tried[kind.__name__] += 1
            slowest[kind.__name__] = max(slowest[kind.__name__], round(taken, 2))
            if fault:
                faults += 1
                print(fault, file=file, flush=True)
        for name, count in tried.items():
            print(f"{name}: {count} files, the slowest {slowest[name]:.2f} s", file=file)
        print(f"{number} files from seed {args.seed}: {faults} faults", file=file)
    print(f"{number} files from seed {args.seed}: {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
