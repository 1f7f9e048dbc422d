"""`python -m parity_tests.mutants`: every mutant in every twin, and which check killed it. Exit status 1 unless all."""

import argparse
import signal
import sys
import time

from parity_tests.mutants.harness import judge
from parity_tests.mutants.table import MUTANTS
from parity_tests.twins import get_twin
from tunable.backends.registry import BACKENDS, requested


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity_tests.mutants", description=__doc__)
    parser.add_argument("--backend", choices=BACKENDS, help="one twin only; default: all that TUNABLE_BACKENDS names")
    parser.add_argument("--only", metavar="NAME", help="mutants whose name contains this")
    parser.add_argument("--list", action="store_true", help="their names, without running them")
    args = parser.parse_args(words)
    mutants = [mutant for mutant in MUTANTS if (args.only or "") in mutant.name]
    if args.list:
        print("\n".join(mutant.name for mutant in mutants))
        return 0
    # Where a shell runs this in the background Ctrl-C is ignored, and a check sends one to itself.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    complete = bool(mutants)
    for backend in [args.backend] if args.backend else requested():
        complete &= _run(backend, [mutant for mutant in mutants if mutant.concerns(backend)])
    return 0 if complete else 1


def _run(backend: str, mutants: list) -> bool:
    twin, started = get_twin(backend), time.monotonic()
    print(f"{'mutant of ' + backend:52} killed by", flush=True)
    killed = 0
    for mutant in mutants:
        verdict = judge(twin, mutant)
        killed += verdict.killed
        print(f"{mutant.name:52} {verdict}", flush=True)
    print(f"{backend}: killed {killed} / {len(mutants)} in {time.monotonic() - started:.0f} s\n", flush=True)
    return killed == len(mutants)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
