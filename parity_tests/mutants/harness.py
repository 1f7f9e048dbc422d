"""Break a twin, run checks until one fails, mend it."""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from parity_tests.mutants.checks import CHECKS, Check
from parity_tests.mutants.ways import MutantError

_passed = set()  # checks that `judge` has seen to pass without a mutant
# A name or an attribute that does not exist is no verdict on the twin: the mutant's own text is wrong.
_OWN_FAULTS = (MutantError, NameError, AttributeError, SyntaxError, ImportError)


class Mutant(NamedTuple):
    """A deliberate fault.

    kind   what it breaks, a key of CHECKS: those checks are tried first
    fault  fault(twin, monkeypatch) puts it in
    """

    name: str
    kind: str
    fault: Callable

    def concerns(self, backend: str) -> bool:
        """Whether it means something in that twin."""
        return backend in getattr(self.fault, "backends", (backend,))


class Verdict(NamedTuple):
    """What became of a mutant: the check that killed it (None: it survived), why, and whether it was none at all."""

    killer: Check | None
    reason: str = ""
    error: bool = False

    @property
    def killed(self) -> bool:
        return self.killer is not None and not self.error

    def __str__(self) -> str:
        if self.error:
            return f"ERROR: {self.reason}"
        return f"{self.killer}: {self.reason}" if self.killer else "SURVIVED"


@contextmanager
def broken(twin, mutant: Mutant):
    """The twin with the mutant in it; MutantError where it cannot be put in."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        try:
            mutant.fault(twin, monkeypatch)
        except _OWN_FAULTS as error:
            raise MutantError(_first_line(error)) from None
        yield


def judge(twin, mutant: Mutant) -> Verdict:
    """Put the mutant into the twin and run every check, beginning with its own kind's, until a check fails.

    What both twins share has checks of its own, which are for its mutants. A check that also fails once the twin is
    mended has killed nothing.
    """
    try:
        with broken(twin, mutant):
            others = [check for kind, checks in CHECKS.items() if kind != mutant.kind for check in checks]
            verdict = run(twin, [*CHECKS[mutant.kind], *(check for check in others if not check.alone)])
    except MutantError as error:
        return Verdict(None, str(error), error=True)
    if verdict.killed and (failure := _without_mutant(twin, verdict.killer)):
        return Verdict(verdict.killer, f"fails without a mutant too: {failure}", error=True)
    return verdict


def _without_mutant(twin, check: Check) -> str:
    """Why a check fails on the twin as it is; empty where it passes, which is asked once."""
    place = twin.name, check.function, str(check)
    if place not in _passed:
        verdict = run(twin, [check])
        if verdict.killer:
            return verdict.reason
        _passed.add(place)
    return ""


def run(twin, checks: Iterable[Check]) -> Verdict:
    """The first check that fails."""
    for check in checks:
        if not check.concerns(twin.name):
            continue
        try:
            check.run(twin)
        except _OWN_FAULTS as error:
            return Verdict(check, f"{type(error).__name__}: {_first_line(error)}", error=True)
        except (Exception, pytest.fail.Exception) as error:
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            return Verdict(check, kind + _first_line(error))
    return Verdict(None)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
