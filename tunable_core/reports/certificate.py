"""The certificate for people: a terminal table and a self-contained page."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunable_core.certificate import Certificate, Row
from tunable_core.reports.page import render
from tunable_core.tolerances import TOLERANCES


def bound(row: Row) -> str:
    return f"{'>=' if row.at_least else '<='} {row.limit:.1e}"


def print_table(certificate: Certificate) -> None:
    """The worst row of every stage and pair, then the verdict."""
    console = Console(width=None if Console().is_terminal else 140, markup=False, emoji=False, highlight=False)
    table = Table(title=Text(f"Parity of {certificate.source}"))
    for heading in ("stage", "compared", "worst at ω", "where", "error", "limit", "rows", ""):
        table.add_column(heading, justify="right" if heading in ("error", "limit", "rows") else "left")
    for row in certificate.summary():
        passed, total = certificate.counts(row)
        verdict = Text("pass", "green") if passed == total else Text("FAIL", "red")
        table.add_row(
            row.stage, row.compared, row.omega, row.worst, f"{row.error:.1e}", bound(row), f"{passed}/{total}", verdict
        )
    console.print(table)
    for backend, facts in certificate.facts.items():
        console.print(f"{backend}: " + ", ".join(f"{key} {value}" for key, value in facts.items()))
    for line in certificate.not_judged:
        console.print(f"not judged: {line}")
    failed = sum(not row.passed for row in certificate.rows)
    console.print(
        Text.assemble(("PASSED", "green"), f": {len(certificate.rows)} comparisons")
        if certificate.passed
        else Text.assemble(("FAILED", "red"), f": {failed} of {len(certificate.rows)}")
    )


def page(certificate: Certificate) -> str:
    """The certificate as one HTML page."""
    return render("certificate.html.j2", title="Parity certificate", **context(certificate))


def context(certificate: Certificate) -> dict:
    """What the certificate's part of a page needs."""
    rows = [(row, *certificate.counts(row), bound(row)) for row in certificate.summary()]
    reasons = {
        stage: TOLERANCES[stage].reason
        for stage in dict.fromkeys(row.stage for row in certificate.rows)
        if stage in TOLERANCES
    }
    return {"certificate": certificate, "summary": rows, "reasons": reasons}
