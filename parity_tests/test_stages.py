"""Stages of a training in both twins: what is frozen stays, optimizers begin anew, and a run resumes bit for bit."""

import numpy as np
import pytest

from parity_tests.recipes import make_recipe
from tunable.data.patches import Batches
from tunable.errors import RecipeError
from tunable.parameters.starts import starting_weights
from tunable.tolerances import joint_error
from tunable.training.loop import train
from tunable.weights import storage

NETWORK = {"name": "dynet", "channels": 4, "blocks": 1}
STAGES = [
    {"steps": 3, "omega": [1, 0], "freeze": ["tuning.*"]},
    {"steps": 3, "omega": [0, 1], "train": ["tuning.*"], "learning_rate": 0.02},
]
OPTIMIZER = {"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}


def recipe_of(**sections):
    return make_recipe(
        **{
            "network": NETWORK,
            "stages": STAGES,
            "steps": 6,
            "optimizer": OPTIMIZER,
            "schedule": {"kind": "cosine"},
            "data": {
                "train": "bundled",
                "validate": "bundled",
                "patch": 12,
                "batch": 3,
                "degradation": [{"kind": "gaussian_noise", "sigma": 25}],
            },
            "validation": {"pictures": 1, "size": 16},
            **sections,
        }
    )


def by_hand(backend, recipe):
    """Both stages as two trainings: steps of a fresh trainer each, from the weights that the first one left."""
    network = backend.build(recipe.network, 2)
    backend.assign(network, starting_weights(backend.specs(network), recipe.seed, recipe.initial))
    weights, index = [backend.parameters(network)], 0
    for place, stage in enumerate(recipe.stages):
        trainer = backend.trainer(network, recipe, place)
        for _ in range(stage.steps):
            batch = Batches(recipe)[index]
            assert (batch.omega == np.array(stage.omega)).all()
            trainer.step(batch, recipe.learning_rate_at(index))
            index += 1
        weights.append(backend.parameters(network))
    return weights


def moved(before, after):
    return {name for name in before if (before[name] != after[name]).any()}


def test_frozen_parameters_stay(twin, tmp_path):
    """To the bit, under a weight decay too; everything else moves; and a run does as two trainings by hand."""
    recipe = recipe_of()
    start, first, second = by_hand(twin.backend, recipe)
    main = {name for name in start if not name.startswith("tuning.")}
    assert moved(start, first) == main
    assert moved(first, second) == start.keys() - main
    train(recipe, twin.backend, tmp_path / "run")
    trained, header = storage.load(tmp_path / "run" / "model.safetensors")
    assert joint_error(trained, second) == 0
    assert header.omega_range == ((0.0, 1.0), (0.0, 1.0))
    assert {(tuple(part.omega), part.share) for part in header.trained} == {((1.0, 0.0), 0.5), ((0.0, 1.0), 0.5)}


class Stopped(Exception):
    """What stands for a power cut."""


@pytest.mark.parametrize(("every", "stop"), [(3, 4), (2, 4), (2, 5)])
def test_resumes_across_a_stage(twin, every, stop, tmp_path):
    """From the checkpoint at the end of a stage, from one inside the first stage, and from one inside the second."""
    optimizer = {**OPTIMIZER, "average": 0.5}
    recipe = recipe_of(checkpoint={"every": every}, optimizer=optimizer)

    def cut(step, *_):
        if step == stop:
            raise Stopped

    train(recipe, twin.backend, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, twin.backend, tmp_path / "cut", progress=cut)
    train(recipe, twin.backend, tmp_path / "cut", resume=True)
    for name in ("model.safetensors", "model_last.safetensors"):
        whole, cut_short = (storage.load(tmp_path / run / name)[0] for run in ("whole", "cut"))
        assert all((whole[each] == cut_short[each]).all() for each in whole)
    for name in ("metrics.csv", "validation.csv"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "cut" / name).read_text()


def test_the_schedule_begins_anew():
    recipe = recipe_of()
    rates = [recipe.learning_rate_at(step) for step in range(6)]
    assert rates[0] == 0.01 and rates[3] == 0.02
    np.testing.assert_allclose(np.array(rates[3:]), 2 * np.array(rates[:3]))
    assert recipe.beginnings == (0, 3) and [recipe.stage_at(step) for step in (0, 2, 3, 6)] == [0, 0, 1, 1]


def test_a_stage_may_draw_omega():
    recipe = recipe_of(stages=[{"steps": 2}, {"steps": 4, "omega": [0, 1]}])
    batches = Batches(recipe)
    assert len(np.unique(batches[1].omega)) > 2 and np.unique(batches[2].omega).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"steps": 5}], "the stages have 5 steps in all, and steps is 6"),
        ([{"steps": 6, "omega": [1]}], "stages.0.omega has 1 values for 2 objectives"),
        ([{"steps": 6, "train": ["tuning.*"], "freeze": ["tail.*"]}], "stages.0: either train or freeze"),
        ([{"steps": 6, "freeze": ["tunning.*"]}], "stages.0: no parameter of the network is called 'tunning.*'"),
        ([{"steps": 6, "freeze": ["*"]}], "stages.0: freezes every parameter"),
    ],
)
def test_refused(stages, message):
    with pytest.raises(RecipeError, match=message.replace("*", r"\*")) as caught:
        recipe_of(stages=stages)
    assert "\n" not in str(caught.value)
