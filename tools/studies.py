"""Studies of training: laws of omega, one omega per batch, the number of objectives, the number of steps.

    python tools/studies.py --work runs/studies --out docs/results/studies

Needs TUNABLE_DATA and torch. Trains variations of the row *tunable low rank 4* of Table 1, changes one thing at a time,
and measures them as that table does; rows that Table 1 has already are read from there. Writes CSV, a plot and a page.
What --work and --out hold already is not made again, so an interrupted program goes on where it was.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import runs
import studies_report
from reproduction.measuring import degraded_set, kept_rows, measured, restorer
from reproduction.printed import LINE
from reproduction.scales import SCALES
from reproduction.steps import Step, Steps, keep_trainings
from reproduction.strength import CROP, LOW_RANK, NU, PICTURES, TARGETS
from reproduction.strength_page import SETS, SIGMAS
from studies_report import BUDGETS, OBJECTIVES, REFERENCE, REUSED, SHORT, at_budget

SIZE = SCALES["mini"]
SAMPLERS = {  # laws of omega besides corners and line
    "uniform": "uniform",
    "line": "simplex",
    "corners": "corners",
    "annealed": "{{kind: annealed, divisions: 10, over: {half}}}",
    "log-uniform": "log_uniform",
    "beta 0.5": "{{kind: beta, a: 0.5, b: 0.5}}",
}
RECIPES = {  # what learns in several budgets -> recipe and settings as in Table 1, and what is added to the seed
    "plain, restoring": ("control/dni_first", (), 0),
    "plain, keeping": ("control/dni_scratch", (), 100),
    REFERENCE: ("denoise/targets", (*LOW_RANK, TARGETS), 0),
    "base": ("denoise/mini", (), 0),
    "paper": ("denoise/mini", ("network.phi=affine", "omega.sampler=uniform", "loss.normalise=none"), 0),
}


def objectives(p: int) -> str:
    """The setting of p objectives: their targets keep 0, 1 / (p - 1), ... 1 of nine tenths of the noise."""
    noisy = (f"{{name: keep_{i}, kind: noise, nu: {NU * i / (p - 1):g}, residual: full}}" for i in range(1, p))
    return f"objectives=[{{name: keep_0, kind: rec}}, {', '.join(noisy)}]"


def steps_of(seed: int) -> dict[str, Step]:
    """Every training of a seed by the name of its row."""
    table = {}
    for (name, (recipe, settings, more)), budget in product(RECIPES.items(), BUDGETS):
        table[at_budget(name, budget)] = SIZE.trained(recipe, seed + more, *settings, steps=budget / SIZE.steps)
    for budget in (SHORT, SIZE.steps):
        laws = {name: (f"omega.sampler={law.format(half=budget // 2)}",) for name, law in SAMPLERS.items()}
        numbers = {f"p = {p}": (TARGETS, objectives(p)) for p in OBJECTIVES if p > 2}
        for name, settings in {"one ω per batch": (TARGETS, "omega.per=batch"), **laws, **numbers}.items():
            step = SIZE.trained("denoise/targets", seed, *LOW_RANK, *settings, steps=budget / SIZE.steps)
            table[at_budget(name, budget)] = step
    return table


def rows(wanted: list[str]) -> list[str]:
    """The rows to train of those wanted, or [] for all; ones that Table 1 has are not trained again."""
    known = [name for name in steps_of(0) if name not in REUSED]
    if unknown := [name for name in wanted if name not in known and name not in REUSED]:
        raise SystemExit(f"error: there is no row {unknown[0]!r} here; there are: {'; '.join(known)}")
    return [name for name in wanted or known if name in known]


def given(row: str, omega: tuple[float, ...]) -> tuple[float, ...]:
    """What the network of a row is given for a setting of the line: with p > 2 the two nearest targets, mixed."""
    if not row.startswith("p = "):
        return omega
    last = int(row.removeprefix("p = ").partition(",")[0]) - 1
    return tuple(max(0.0, 1 - abs(omega[1] * last - i)) for i in range(last + 1))


def measure(steps: Steps, row: str, seed: int) -> Iterator[dict]:
    """One row for every set, level and setting: means over the pictures."""
    restore = restorer(steps.make(row))
    settings = {"plain, restoring": LINE[-1:], "plain, keeping": LINE[:1]}.get(row.rpartition(", ")[0], LINE)
    for name, sigma in product(SETS, SIGMAS):
        clean, degraded = degraded_set(name, sigma, CROP, PICTURES)
        for omega in settings:
            found = measured(restore(degraded, given(row, omega)), clean, degraded, omega, NU)
            yield {"method": row, "seed": seed, "set": name, "sigma": sigma, "omega": omega, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows, all by default")
    parser.add_argument("--work", type=Path, default=Path("runs/studies"), help="folder of the trainings")
    parser.add_argument("--out", type=Path, default=Path("docs/results/studies"), help="folder of the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings, 0 and 1 by default")
    args = parser.parse_args()
    wanted = rows(args.rows)
    for seed in args.seeds:
        steps = Steps(args.work / f"seed-{seed}", steps_of(seed), SIZE.device)
        for row in wanted:
            kept_rows(args.out / "raw" / f"{row}, seed {seed}.csv", partial(measure, steps, row, seed))
            print(f"studies: {row}, seed {seed}", flush=True)
            keep_trainings(args.out / "trainings.csv", steps.trainings(row))
    studies_report.report(args.out, steps_of(args.seeds[0]))


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
