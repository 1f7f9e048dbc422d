"""Faulty optimizers fail by far: against numpy by a thousand times the limit, and in trajectories by ten times."""

import pytest

from parity_tests.mutants.harness import broken
from parity_tests.mutants.table import named
from parity_tests.test_optimizers import OPTIMIZER, SETTINGS, take_steps
from parity_tests.test_trajectories import ADAM, SECTIONS, Run, excess, gaps

# The mutants of the table that each of these settings can show.
_BOTH = ("clipping ignored", "no decay", "nothing moves")
MUTANTS = {
    "adam": ("beta1 wrong", "beta2 wrong", "no bias correction", "decay decoupled", *_BOTH),
    "sgd, momentum": ("momentum wrong", "momentum as an average", "Nesterov unasked", *_BOTH),
}


class Faulty(Run):
    """A run whose optimizer holds a mutant, while the others hold none."""

    def __init__(self, twin, recipe, mutant):
        self.twin, self.mutant = twin, mutant
        with broken(twin, mutant):
            super().__init__(twin.backend, recipe)

    def step(self, batch):
        with broken(self.twin, self.mutant):
            return super().step(batch)


@pytest.mark.parametrize(("settings", "mutant"), [(key, name) for key, names in MUTANTS.items() for name in names])
def test_a_fault_is_a_thousand_times_the_limit(twin, settings, mutant):
    with broken(twin, named(f"training: {mutant}")):
        error = take_steps(twin, SETTINGS[settings], steps=12)[0]
    print(f"{twin.name}, {mutant}: moves {error:.1e}")
    assert error > 1000 * OPTIMIZER


@pytest.mark.parametrize("mutant", MUTANTS["adam"])
def test_a_fault_makes_trajectories_part(torch, make_recipe, mutant):
    """Within ten steps a faulty optimizer goes beyond the limit of test_free_running."""
    recipe = make_recipe(**SECTIONS, optimizer=ADAM)
    faulty = Faulty(torch, recipe, named(f"training: {mutant}"))
    errors = gaps([Run(torch.backend, recipe), faulty, Run(torch.backend, recipe, 0)], recipe, 10)
    print(f"{mutant}: {excess(errors).max():.0f} times what is allowed")
    assert excess(errors).max() > 10
