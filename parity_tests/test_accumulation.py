"""A batch in parts (`optimizer.accumulate`) is the whole batch: loss, gradients, and what steps do."""

import numpy as np
import pytest

from parity_tests.recipes import make_recipe
from parity_tests.test_training import start
from tunable.data.patches import Batches
from tunable.specs.recipe import Recipe
from tunable.tolerances import joint_error, relative_error

STEPS, EQUAL = 3, 1e-6
DATA = {"train": "bundled", "patch": 12, "batch": 6, "degradation": [{"kind": "gaussian_noise", "sigma": 25}]}
SMOOTH = [{"name": "a", "kind": "rec", "distance": "l2"}, {"name": "b", "kind": "noise", "distance": "l2"}]


def recipe_in(parts: int, **sections) -> Recipe:
    optimizer = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "clip_norm": 0.3, "average": 0.9}
    return make_recipe(data=DATA, objectives=SMOOTH, optimizer={**optimizer, "accumulate": parts}, **sections)


def run(backend, recipe):
    """The first batch's loss and gradients, what was reported of each step, weights and state after them."""
    network, trainer = start(backend, recipe)
    batches = Batches(recipe)
    first = trainer.gradients(batches[0])
    reports = [trainer.launch(batches[step], 0.1 / (step + 1))() for step in range(STEPS)]
    return first, reports, backend.parameters(network), trainer.state()


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_parts_are_the_whole(twin, per):
    """With clipping, momentum and averages, at a rate that changes; each batch is one step."""
    whole, parts = (run(twin.backend, recipe_in(count, omega={"per": per})) for count in (1, 3))
    check(parts, whole)
    assert parts[3]["step"] == [STEPS]


def test_parts_as_a_graph(mindspore):
    check(run(mindspore.in_mode("graph"), recipe_in(2)), run(mindspore.backend, recipe_in(1)))


def check(parts, whole):
    (first, reports, weights, state), (expected, others, *rest) = parts, whole
    assert joint_error(first.gradients, expected.gradients) <= EQUAL
    for one, other in zip([first, *reports], [expected, *others], strict=True):
        assert relative_error(one.loss, other.loss) <= EQUAL and relative_error(one.terms, other.terms) <= EQUAL
    assert joint_error(weights, rest[0]) <= EQUAL and joint_error(state, rest[1]) <= EQUAL


def test_each_part_counts(twin):
    """Negative control: the gradient of one part is another."""
    recipe = recipe_in(1)
    _, trainer = start(twin.backend, recipe)
    batch = Batches(recipe)[0]
    whole = trainer.gradients(batch).gradients
    assert all(joint_error(trainer.gradients(part).gradients, whole) > 0.1 for part in batch.parts(3))


def test_parts_of_a_scaled_loss(twin):
    """In float16 the sum over the parts is divided by the scale once."""
    gradients = []
    for count in (3, 1):
        recipe = recipe_in(count, precision={"kind": "float16", "loss_scale": {"kind": "static", "scale": 1024}})
        network, trainer = start(twin.backend, recipe)
        before, batch = twin.backend.parameters(network), Batches(recipe)[0]
        gradients.append(trainer.gradients(batch).gradients)
        assert trainer.step(batch, 0.1).taken
        moves = {name: before[name] - value for name, value in twin.backend.parameters(network).items()}
        norm = np.sqrt(sum((value.astype(np.float64) ** 2).sum() for value in moves.values()))
        assert norm == pytest.approx(0.1 * 0.3, rel=1e-3), "clipped to 0.3 whatever the scale"
    assert 0 < joint_error(*gradients) <= 2e-3
