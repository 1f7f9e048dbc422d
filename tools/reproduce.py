"""Make the paper's tables and figures again, in small or at full size.

    python tools/reproduce.py table1 fig4 --work runs/reproduce --out docs/results/reproduce

Needs TUNABLE_DATA and torch. Trains what is missing, measures it by the protocol of docs/method.md, and writes CSV, a
page and plots into a folder for each table or figure, with the paper's own numbers beside ours. What --work and --out
hold already is not made again, so an interrupted program goes on where it was. `--scale paper` takes the paper's
networks, data and steps, which want a cluster; `--commands` prints the trainings of a scale instead of running them.
"""

import argparse
import sys
from pathlib import Path

import runs
from reproduction.registry import Experiment, Request, experiments
from reproduction.scales import SCALES


def reproduce(chosen: list[Experiment], request: Request, commands: bool) -> None:
    """Make experiments, or print the commands that they need."""
    for experiment in chosen:
        if commands:
            print(f"# {experiment.title}, scale {request.scale}", *experiment.commands(request), sep="\n")
        else:
            experiment.make(request)


def main() -> int:
    known = experiments()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", metavar="NAME", nargs="+", choices=known, help=", ".join(known))
    parser.add_argument("--scale", choices=SCALES, default="mini", help="mini (default) fits a CPU, paper is full size")
    parser.add_argument("--work", type=Path, default=Path("runs/reproduce"), help="folder of the trainings")
    parser.add_argument("--out", type=Path, default=Path("docs/results/reproduce"), help="folder of the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings, 0 and 1 by default")
    parser.add_argument("--methods", nargs="+", default=[], metavar="METHOD", help="rows of the table, all by default")
    parser.add_argument("--pictures", type=int, help="of every set, the first so many")
    parser.add_argument("--commands", action="store_true", help="print the trainings instead of running them")
    args = parser.parse_args()
    chosen = [known[name] for name in args.names]
    methods = dict.fromkeys(method for experiment in chosen for method in experiment.methods)
    if unknown := [method for method in args.methods if method not in methods]:
        parser.error(f"there is no method {unknown[0]!r} here; methods are: {'; '.join(methods) or 'none'}")
    request = Request(
        args.scale, args.work / args.scale, args.out, tuple(args.seeds), tuple(args.methods), args.pictures
    )
    return runs.guarded(reproduce, chosen, request, args.commands)


if __name__ == "__main__":
    sys.exit(main())
