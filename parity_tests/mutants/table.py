"""All mutants."""

from parity_tests.mutants.attention import ATTENTION
from parity_tests.mutants.harness import Mutant
from parity_tests.mutants.layers import LAYERS
from parity_tests.mutants.learning import LEARNING
from parity_tests.mutants.networks import NETWORKS
from parity_tests.mutants.neutral import NEUTRAL
from parity_tests.mutants.retrofit import RETROFIT
from parity_tests.mutants.strategies import STRATEGIES

MUTANTS = [
    Mutant(f"{kind}: {name}", kind, fault)
    for kinds in (LAYERS, ATTENTION, NETWORKS, STRATEGIES, LEARNING, RETROFIT, NEUTRAL)
    for kind, faults in kinds.items()
    for name, fault in faults.items()
]


def named(name: str) -> Mutant:
    """The mutant of a name, `kind: fault`."""
    return next(mutant for mutant in MUTANTS if mutant.name == name)
