"""CResMD's conditions: omega is the true level of every degradation, and the loss does not depend on it."""

import numpy as np
import pytest

from tunable import oracle
from tunable.data.patches import Batches
from tunable.errors import RecipeError
from tunable.specs.samplers import Condition, Mixture, Uniform

NOISE = {"kind": "gaussian_noise", "sigma": [0, 50]}
BLUR = {"kind": "gaussian_blur", "sigma": [0, 4], "size": 21}
CONDITION = {"sampler": {"kind": "condition", "levels": [40, 50]}}
OBJECTIVES = [{"name": "blur", "kind": "rec"}, {"name": "noise", "kind": "rec"}]


def recipe_of(make_recipe, **data):
    values = {"train": "bundled", "patch": 64, "batch": 6, "degradation": [BLUR, NOISE], **data}
    return make_recipe(omega=CONDITION, objectives=OBJECTIVES, loss={"normalise": "sum"}, data=values)


def test_what_is_drawn():
    """Whole steps; half of the samples have one degradation; none has nothing; low levels are drawn more often."""
    drawn = Condition(levels=[40, 50]).draw(np.random.default_rng(0), 20_000, 2)
    steps = drawn * [40, 50]
    assert np.abs(steps - steps.round()).max() < 1e-4 and drawn.min() == 0 and drawn.max() <= 1
    some = drawn > 0
    assert some.any(axis=1).all()
    # Of those with both, one level in ten is zero: 0.5 (0.9)^2.
    assert some.all(axis=1).mean() == pytest.approx(0.5 * 0.89 * 0.9, abs=0.02)
    beta = drawn[some.all(axis=1)][:, 1]
    assert np.median(beta) == pytest.approx(0.31, abs=0.03)  # of Beta(0.5, 1), without what is below 0.01


def test_samples_are_degraded_by_their_condition(make_recipe):
    """Where there is noise alone its standard deviation is omega_2 50 / 255, and where there is blur alone there is no
    noise at all."""
    batches, seen = Batches(recipe_of(make_recipe)), set()
    for index in range(6):
        batch = batches[index]
        for clean, degraded, (blur, noise) in zip(
            batch.sample["clean"], batch.sample["degraded"], batch.omega, strict=True
        ):
            if blur == 0:
                assert (degraded - clean).std() == pytest.approx(noise * 50 / 255, rel=0.05)
                seen.add("noise")
            elif noise == 0:
                assert np.abs(degraded - clean).max() < 1 and degraded.min() >= clean.min() - 1e-5
                seen.add("blur")
    assert seen == {"noise", "blur"}


def test_the_loss_is_the_distance_to_the_clean_picture(make_recipe):
    recipe, rng = recipe_of(make_recipe), np.random.default_rng(1)
    batch = Batches(recipe)[0]
    restored = rng.uniform(size=batch.sample["clean"].shape)
    loss, _ = oracle.multi_loss(recipe, restored, batch.sample, batch.omega)
    assert loss == pytest.approx(np.abs(restored - batch.sample["clean"]).mean())


def test_refused(make_recipe):
    for degradation in ([NOISE], [{"kind": "jpeg", "quality": [10, 90]}, NOISE]):
        with pytest.raises(RecipeError, match="condition wants gaussian_blur and gaussian_noise"):
            recipe_of(make_recipe, degradation=degradation)
    with pytest.raises(ValueError, match="no part of a mixture"):
        Mixture(weights=[1, 1], of=[Uniform(), Condition(levels=[3, 3])]).check(2, 1)
    with pytest.raises(ValueError, match="condition has 1 levels for 2"):
        Condition(levels=[3]).check(2, 1)
