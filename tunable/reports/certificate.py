"""The certificate for people: a terminal table and a self-contained page."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunable.certificate import Certificate, Row
from tunable.certificate.sentences import summary
from tunable.errors import printable
from tunable.reports.page import render
from tunable.tolerances import FACTOR, PERTURBATION, TOLERANCES

MAPPED = ("layer", "layer output", "network")  # the stages of a heat map's columns
RMSE = (
    "the root mean square of a's distances from float64 over the same of b's distances, in a row a : b; tests of "
    "PyTorch's compiler accept 2. Beside float64 or a pack, b is PyTorch's own float32 on a CPU; beside the oracle, "
    "the first framework. It is printed for information."
)
# Of log10(error / limit): the lower bound of a colour, and its name; below the last of them is one more.
BINS = ((0.0, "above 0: fails"), (-0.5, "-0.5 to 0"), (-1.0, "-1 to -0.5"), (-2.0, "-2 to -1"), (-3.0, "-3 to -2"))


def bound(row: Row) -> str:
    """Return the limit as a page prints it: "<= 2.0e-06", and ">= 1.0e-03" of a negative control."""
    return f"{'>=' if row.at_least else '<='} {row.limit:.1e}"


def needed(row: Row) -> str:
    """Return the least limit, to two digits, with which the row passes (a control: the greatest)."""
    if not math.isfinite(row.error):
        return "none"
    if row.error == 0:
        return "0"
    printed = f"{row.error:.1e}"
    if float(printed) == row.error or (float(printed) < row.error) == row.at_least:
        return printed
    last = 10.0 ** (int(printed.partition("e")[2]) - 1)
    return f"{float(printed) + (-last if row.at_least else last):.1e}"


def compared_rmse(row: Row) -> str:
    """Return the ratio of `Row.rmse` to two digits, "" where there is none."""
    return "" if row.rmse is None else f"{row.rmse:.2f}" if row.rmse < 100 else f"{row.rmse:.1e}"


def print_table(certificate: Certificate) -> None:
    """Print a summary, the worst row of every stage and pair, what they mean and what ran, then the verdict."""
    console = Console(width=None if Console().is_terminal else 140, markup=False, emoji=False, highlight=False)
    table = Table(title=Text(printable(f"Parity of {certificate.source}")), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("stage", "compared", "worst at ω", "where"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "compared")
    for heading in ("error", "limit", "needs", "rmse", "passed"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = ""
    for row in certificate.summary():
        passed, total = certificate.counts(row)
        verdict = Text(f"{passed}/{total}", "green") if passed == total else Text(f"FAIL {passed}/{total}", "bold red")
        limit = f"{'>' if row.at_least else ''}{row.limit:.1e}"
        stage, before = "" if row.stage == before else row.stage, row.stage
        worst = printable(row.worst)
        numbers = f"{row.error:.1e}", limit, needed(row), compared_rmse(row)
        table.add_row(stage, row.compared, row.omega, worst, *numbers, verdict)
    for sentence in summary(certificate):
        console.print(printable(sentence))
    console.print(table)
    console.print("Each line: the worst of all ω. Needs: the least limit that would pass (controls, >: the most).")
    console.print(f"rmse: {RMSE}")
    for line in notes(certificate):
        console.print(printable(line))
    failed = sum(not row.passed for row in certificate.rows)
    console.print(
        Text.assemble(("PASSED", "green"), f": {len(certificate.rows)} comparisons")
        if certificate.passed
        else Text.assemble(("FAILED", "red"), f": {failed} of {len(certificate.rows)}")
    )


def notes(certificate: Certificate) -> list[str]:
    """Return the lines that stand below the table."""
    lines = [f"{name}: {value}" for name, value in certificate.subject.items()]
    lines += [f"first layer that differs, {pair}: {first}" for pair, first in first_differences(certificate).items()]
    lines += remarks(certificate)
    lines += [f"{name}: {_listed(facts)}" for name, facts in certificate.facts.items()]
    if certificate.machine:
        lines.append(f"machine: {_listed(certificate.machine)}")
    return lines + [f"recorded by {name}: {_listed(facts)}" for name, facts in certificate.recorded.items()]


def remarks(certificate: Certificate) -> list[str]:
    """Return what must be known beside the numbers, each reason once, with all that it holds for."""
    lines = []
    if "training" in certificate.gaps:
        lines.append(
            f"training: weights that differ by a relative {PERTURBATION:g} part these steps by "
            f"{certificate.gaps['training']:.1e} within one framework, PyTorch in float32"
        )
    lines += [f"not judged: {line}" for line in _merged(_parted(line) for line in certificate.not_judged)]
    lines += [f"true gradient is zero: {line}" for line in _merged(certificate.zeros.items())]
    return lines + [f"note: {line}" for line in dict.fromkeys(certificate.notes)]


def _parted(line: str) -> tuple[str, str]:
    subject, _, statement = line.partition(": ")
    return subject, statement


def _merged(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Pairs of a subject and what is said of it, those that say the same as one."""
    groups: dict[str, list[str]] = {}
    for subject, statement in lines:
        groups.setdefault(statement, []).append(subject)
    return [f"{', '.join(subjects)}: {statement}" for statement, subjects in groups.items()]


def first_differences(certificate: Certificate) -> dict[str, str]:
    """Return for two frameworks the first layer that differs at all; for a pair the first beyond its limit."""
    differences = {}
    for row in certificate.rows:
        if row.stage not in ("layer", "layer output"):
            continue
        if not row.passed:
            differences.setdefault(row.compared, f"{row.first}, beyond its limit, at ω {row.omega}")
        elif row.first and row.compared.endswith(tuple(f": {name}" for name in certificate.facts)):
            differences.setdefault(row.compared, f"{row.first}, by rounding, at ω {row.omega}")
    return differences


def page(certificate: Certificate) -> str:
    """Render the certificate as one HTML page."""
    return render("certificate.html.j2", title="Parity certificate", **context(certificate))


def context(certificate: Certificate) -> dict:
    """Return the values that the certificate's part of a page needs."""
    rows = [
        (row, *certificate.counts(row), bound(row), needed(row), compared_rmse(row)) for row in certificate.summary()
    ]
    stages = dict.fromkeys(row.stage for row in certificate.rows)
    reasons = {stage: TOLERANCES[stage].reason for stage in stages if stage in TOLERANCES}
    followed = {stage: gap for stage, gap in certificate.gaps.items() if FACTOR * gap > TOLERANCES[stage].limit}
    return {
        "certificate": certificate,
        "sentences": summary(certificate),
        "remarks": remarks(certificate),
        "rmse": RMSE,
        "summary": rows,
        "reasons": reasons,
        "factor": FACTOR,
        "followed": followed,
        "maps": heat_maps(certificate),
        "bins": [name for _, name in BINS] + ["below -3", "equal to the bit"],
    }


class HeatMap(NamedTuple):
    """Error over limit of one pair, omega by layer; a cell is (class of its colour, what it says)."""

    title: str
    columns: list[str]
    lines: list[tuple[str, list[tuple[int, str]]]]


def heat_maps(certificate: Certificate) -> list[HeatMap]:
    """Return one map for every pair whose layers were compared: layers in calling order, then the network's output."""
    pairs: dict[str, dict[str, dict[str, tuple[int, str]]]] = {}
    for row in certificate.rows:
        if row.stage in MAPPED and row.parts:
            line = pairs.setdefault(row.compared, {}).setdefault(row.omega, {})
            for name, error in row.parts.items():
                line[name] = (_bin(error, row.limit), f"{name} at {row.omega}: {error:.1e}, limit {row.limit:.1e}")
    maps = []
    for pair, lines in pairs.items():
        columns = list(dict.fromkeys(name for cells in lines.values() for name in cells))
        filled = [(omega, [cells.get(name, (len(BINS) + 1, "")) for name in columns]) for omega, cells in lines.items()]
        maps.append(HeatMap(pair, columns, filled))
    return maps


def _bin(error: float, limit: float) -> int:
    """0 above the limit, then one more for every bin below it; the last for an error of 0."""
    if not error <= limit:
        return 0
    if error == 0:
        return len(BINS) + 1
    depth = math.log10(error / limit)
    return next((index for index, (low, _) in enumerate(BINS) if index and depth > low), len(BINS))


def _listed(facts: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())
