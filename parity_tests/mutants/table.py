"""All mutants."""

from parity_tests.mutants.harness import Mutant
from parity_tests.mutants.layers import LAYERS

MUTANTS = [Mutant(f"{kind}: {name}", kind, fault) for kind, faults in LAYERS.items() for name, fault in faults.items()]
