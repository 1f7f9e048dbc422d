"""`tunable bench layers|networks|training|operators|strategies`: what being tunable costs, as ratios.

Each framework is timed in a process of its own (an environment switch of one would slow the other), the
frameworks taking turns, so that the ratio between them is measured side by side too.
"""

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunable.backends.registry import get_framework, needs_framework, requested
from tunable.benchmark import layer_timing, network_timing, operators
from tunable.commands.shared import add_json, at_least, print_json
from tunable.errors import BackendError, CheckFailed, TunableError
from tunable.files import write_text
from tunable.parameters import arithmetic
from tunable.reports import layers, tables
from tunable.specs.networks import ResNetSpec
from tunable.specs.reading import load_recipe
from tunable.training.interrupts import run_child

SIZE = (1, 3, 256, 256)


EXAMPLES = (
    "tunable bench networks",
    "tunable bench layers --quick --backends torch --out layers.csv",
    "tunable bench operators",
    "tunable bench strategies",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable bench`."""
    parser.add_argument(
        "what",
        choices=("layers", "networks", "training", "operators", "strategies"),
        help="What to time: single layers in every form, forward passes of a network, or training steps; operators "
        "counts what a forward pass starts instead, and strategies the parameters and multiply-adds of the tunable "
        "network and of the control strategies.",
    )
    parser.add_argument(
        "--backends",
        metavar="A,B",
        help="The frameworks to time, separated by commas. The default is all that are installed.",
    )
    parser.add_argument(
        "--device", help="The device: cpu, cuda, ascend, ... The default is an accelerator if there is one."
    )
    parser.add_argument("--mode", help="eager, compile or channels_last for torch; graph or pynative for mindspore.")
    parser.add_argument(
        "--recipe",
        metavar="FILE",
        help="The recipe whose training steps are timed, for `bench training`, or whose network is, for `bench "
        "networks`. The defaults are the demo's and the paper's network.",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Override a value of the recipe. May be given several times.",
    )
    parser.add_argument(
        "--rounds",
        type=at_least(3, 10_000),
        metavar="N",
        help="Measurements per turn, 3 to 10,000. The default is 9, and at least 5 for layers.",
    )
    parser.add_argument(
        "--turns",
        type=at_least(1, 1000),
        metavar="N",
        help="Turns of each framework, 1 to 1,000. The default is 2, and 1 for layers.",
    )
    parser.add_argument("--quick", action="store_true", help="Time four small layers only, in about a minute.")
    parser.add_argument("--out", metavar="FILE", help="Write the times into this CSV file.")
    parser.add_argument(
        "--here",
        metavar="BACKEND",
        help="Run one turn of one framework in this process and print JSON. The command itself uses this.",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run `tunable bench`, and return its exit status."""
    rounds, turns = (5, 1) if args.what == "layers" else (9, 2)
    args.rounds, args.turns = args.rounds or rounds, args.turns or turns
    if args.what == "strategies":
        return _report(args, arithmetic.table())
    if args.here:
        print_json(_measure(args))
        return 0
    names = [part.strip() for part in args.backends.split(",")] if args.backends else requested()
    if not names:
        raise BackendError(f"tunable bench {needs_framework()}")
    return {"layers": _layers, "operators": _operators}.get(args.what, _networks)(args, names)


def _networks(args: argparse.Namespace, names: Sequence[str]) -> int:
    times: dict[str, network_timing.Times] = {name: {} for name in names}
    for name, turn in _turns(args, names):
        for case, seconds in turn.items():
            times[name].setdefault(case, []).extend(seconds)
    if args.out:
        _write(args.out, times)
    rows = compare(times)
    if args.json:
        print_json(rows)
    else:
        _print(rows)
    return 0


def _operators(args: argparse.Namespace, names: Sequence[str]) -> int:
    args.turns = 1
    return _report(args, [{"backend": name, **row} for name, turn in _turns(args, names) for row in turn])


def _report(args: argparse.Namespace, rows: list[dict]) -> int:
    if args.out:
        write_text(args.out, tables.to_csv(rows))
    if args.json:
        print_json(rows)
    else:
        _print(rows)
    return 0


def _layers(args: argparse.Namespace, names: Sequence[str]) -> int:
    measured: dict[str, list[dict]] = {name: [] for name in names}
    for name, turn in _turns(args, names):
        measured[name] += turn
    rows = [row for name in names for row in layer_timing.summary(name, measured[name])]
    if args.out:
        write_text(args.out, tables.to_csv(rows))
    if args.json:
        fastest = {name: layer_timing.fastest([row for row in rows if row["backend"] == name]) for name in names}
        print_json({"layers": rows, "fastest": fastest})
    else:
        print(layers.document(rows))
    return 0


def _turns(args: argparse.Namespace, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for turn in range(args.turns):
        for name in names:
            logging.info("bench %s: %s, turn %d of %d", args.what, name, turn + 1, args.turns)
            yield name, _turn(args, name)


def _measure(args: argparse.Namespace) -> network_timing.Times | list[dict]:
    backend = get_framework(args.here, args.device, args.mode)
    if args.what == "layers":
        chosen = layer_timing.QUICK if args.quick else layer_timing.LAYERS
        return list(layer_timing.measure(backend, chosen, args.rounds))
    if args.what == "operators":
        return operators.count(backend, ResNetSpec())
    if args.what == "networks":
        spec = load_recipe(args.recipe, args.set).network if args.recipe else ResNetSpec()
        return network_timing.networks(backend, spec, SIZE, args.rounds)
    recipe = load_recipe(args.recipe or Path(__file__).parent.parent / "demo.yaml", args.set)
    return network_timing.training(backend, recipe, args.rounds)


def _turn(args: argparse.Namespace, name: str) -> network_timing.Times | list[dict]:
    command = [sys.executable, "-m", "tunable", "bench", args.what, "--here", name, "--rounds", str(args.rounds)]
    for option, value in (("--device", args.device), ("--mode", args.mode), ("--recipe", args.recipe)):
        command += [option, value] if value else []
    command += ["--quick"] if args.quick else []
    for override in args.set:
        command += ["--set", override]
    done = run_child(command, stdout=subprocess.PIPE, text=True)
    if done.returncode == 2:
        raise TunableError(f"{name} could not be timed")  # its own line has said why
    if done.returncode:
        raise CheckFailed(f"timing {name} failed with exit status {done.returncode}")
    return json.loads(done.stdout)


def compare(times: dict[str, network_timing.Times]) -> list[dict]:
    """Return one row per backend and case: its time over the plain one's, and over the first backend's."""
    rows, first = [], next(iter(times))
    for name, cases in times.items():
        compared = {case: cases[case] for case in cases if case not in (network_timing.STEP, network_timing.WAIT)}
        for case, ratio in network_timing.ratios(compared, network_timing.PLAIN).items():
            other = float(np.median(cases[case]) / np.median(times[first][case]))
            rows.append({"backend": name, "case": case, "over_plain": ratio, f"over_{first}": other})
        if network_timing.WAIT in cases:
            share = float(np.sum(cases[network_timing.WAIT]) / np.sum(cases[network_timing.STEP]))
            rows.append({"backend": name, "case": network_timing.WAIT, "share_of_step": share})
    return rows


def _print(rows: list[dict]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for row in rows:
        values = [row.get(key, "") for key in columns]
        print("| " + " | ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values) + " |")


def _write(path: str, times: dict[str, network_timing.Times]) -> None:
    rows = [
        {"backend": name, "case": case, "round": number, "seconds": value}
        for name, cases in times.items()
        for case, seconds in cases.items()
        for number, value in enumerate(seconds)
    ]
    write_text(path, tables.to_csv(rows))
