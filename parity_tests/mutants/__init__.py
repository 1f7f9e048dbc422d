"""Deliberate faults, each of which must turn the suite red: `python -m parity_tests.mutants`."""

from parity_tests.mutants.harness import Mutant, Verdict, judge
from parity_tests.mutants.table import MUTANTS

__all__ = ["MUTANTS", "Mutant", "Verdict", "judge"]
