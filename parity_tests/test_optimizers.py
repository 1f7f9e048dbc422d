"""Every optimizer against numpy in float64: 50 steps on given gradients, and as part of a training, in every mode."""

from functools import lru_cache

import numpy as np
import pytest

from parity_tests.test_training import start
from parity_tests.twins import get_twin
from tunable.data.patches import Batches
from tunable.oracle.optimizers import ExactOptimizer
from tunable.specs.optimizers import SGD, Adam, AdamW
from tunable.tolerances import TOLERANCES, joint_error

STEPS = 50
OPTIMIZER = TOLERANCES["optimizer"].limit
SETTINGS = {
    "adam": Adam(learning_rate=0.02, beta1=0.7, beta2=0.95, eps=1e-3, weight_decay=0.1, clip_norm=2.0),
    "adam, defaults": Adam(learning_rate=0.02),
    "adamw": AdamW(learning_rate=0.02, weight_decay=0.3, clip_norm=2.0, average=0.7),
    "sgd": SGD(learning_rate=0.5, average=0.95),
    "sgd, momentum": SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.1, clip_norm=2.0),
    "sgd, nesterov": SGD(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
}
# MindSpore's own optimizers would not decay the second and the third.
SHAPES = {"conv.weight": (3, 8, 8, 3, 3), "norm.gamma": (8,), "norm.beta": (8,), "scale": (1,)}


def factor(step, steps):
    """The factor of the learning rate warms up, then falls, to nothing at the last step."""
    return min((step + 1) / 5, (steps - 1 - step) / (steps - 6))


def take_steps(twin, settings, compiled=False, steps=STEPS):
    """Steps on drawn gradients: errors of the moves and of the buffers, then these, and how many were counted."""
    rng = np.random.default_rng(3)
    first = {name: rng.normal(scale=0.3, size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    parameters = twin.parameters(first)
    optimizer = twin.module("optimizers").Optimizer(settings, parameters)
    truth, weights = ExactOptimizer(settings), first

    def update(*gradients):
        return optimizer.update(gradients)

    update = twin.compiled(update) if compiled else update
    for step in range(steps):
        rate = settings.learning_rate * factor(step, steps)
        size = 0.2 * rng.uniform() ** 2  # norms from 0 to 5: some clipped
        gradients = {name: (size * rng.normal(size=shape)).astype(np.float32) for name, shape in SHAPES.items()}
        optimizer.prepare(rate)
        update(*twin.tensors(gradients.values()))
        weights = truth.step(weights, gradients, rate)
    moves = {name: twin.array(value).astype(np.float64) - first[name] for name, value in parameters.items()}
    buffers = optimizer.state()
    (counted,) = buffers.pop("step")
    true = {name: weights[name] - first[name] for name in first}
    errors = joint_error(moves, true), (joint_error(buffers, truth.state) if truth.state else 0.0)
    return *errors, moves, buffers, counted


@lru_cache
def after_fifty_steps(twin, name, compiled=False):
    return take_steps(get_twin(twin), SETTINGS[name], compiled)


@pytest.mark.parametrize("name", SETTINGS)
def test_fifty_steps(twin, name):
    """Operator by operator and, where that is done, as a compiled graph."""
    for compiled in (False, True) if twin.name == "mindspore" else (False,):
        moves, buffers, moved, state, counted = after_fifty_steps(twin.name, name, compiled)
        assert counted == STEPS
        print(f"{twin.name}, {name}{', compiled' * compiled}: moves {moves:.1e}, buffers {buffers:.1e}")
        assert moves <= OPTIMIZER and buffers <= OPTIMIZER
        assert {kind.partition(".")[0] for kind in state} == set(SETTINGS[name].buffers)
        assert all(np.all(value) for value in moved.values()), "a weight stood still"


@pytest.mark.parametrize("name", SETTINGS)
def test_twin_to_twin(twins, name):
    first, second = (after_fifty_steps(twin.name, name) for twin in twins)
    assert joint_error(second[2], first[2]) <= OPTIMIZER
    assert not first[3] and not second[3] or joint_error(second[3], first[3]) <= OPTIMIZER


IN_TRAINING = {
    "adam": {"beta1": 0.7, "beta2": 0.95, "eps": 1e-5, "weight_decay": 0.1, "clip_norm": 0.05},
    "adam, large eps": {"eps": 1e-3},
    "adamw": {"kind": "adamw", "weight_decay": 1.0, "clip_norm": 0.05},
    "sgd": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1, "clip_norm": 0.05},
}


@pytest.mark.parametrize("name", IN_TRAINING)
def test_in_training(twin, make_recipe, name):
    """Operator by operator, each step is right from the twin's gradients; the rate changes, to nothing once."""
    check_in_training(twin.backend, make_recipe(optimizer=IN_TRAINING[name]))


def test_in_training_as_a_graph(mindspore, make_recipe):
    """MindSpore alone: a mode of torch compiles the loss and its gradients, and never the optimizer.

    One kind, with decay and clipping: test_fifty_steps compiles the update of every kind.
    """
    check_in_training(mindspore.in_mode("graph"), make_recipe(optimizer=IN_TRAINING["adamw"]))


def check_in_training(backend, recipe):
    """Weights and buffers after each of five steps; some gradients are as small as eps."""
    network, trainer = start(backend, recipe)
    truth, batches = ExactOptimizer(recipe.optimizer), Batches(recipe)
    for index, rate in enumerate((1e-2, 1e-2, 3e-2, 0.0, 1e-3)):
        gradients = trainer.gradients(batches[index]).gradients
        before = backend.parameters(network)
        trainer.step(batches[index], rate)
        after, expected = backend.parameters(network), truth.step(before, gradients, rate)
        moves, expected = ({name: w[name].astype(np.float64) - before[name] for name in w} for w in (after, expected))
        # weights of about 0.2 are exact to 1e-8, so that the smallest moves, of 1e-4, are seen to 1e-4
        error = joint_error(moves, expected)
        assert error <= 1e-4, f"step {index + 1}: {error:.2e}"
    state = trainer.state()
    assert state.pop("step") == [5]
    assert joint_error(state, truth.state) <= OPTIMIZER


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_resumed(twin, make_recipe, name):
    """Four steps give the same bits as two, then two of another trainer from the weights and the state."""
    recipe = make_recipe(optimizer=IN_TRAINING[name])
    batches = Batches(recipe)
    (network, trainer), (other, resumed) = (start(twin.backend, recipe) for _ in range(2))
    for index in range(2):
        trainer.step(batches[index], 1e-2)
    twin.backend.assign(other, twin.backend.parameters(network))
    resumed.load_state(trainer.state())
    for index in range(2, 4):
        for each in (trainer, resumed):
            each.step(batches[index], 1e-2)
    for result, expected in ((resumed.state(), trainer.state()), map(twin.backend.parameters, (other, network))):
        assert result.keys() == expected.keys()
        assert all(result[name].tobytes() == expected[name].tobytes() for name in expected)


GUARDED = {
    "adamw": AdamW(learning_rate=0.02, weight_decay=0.3, clip_norm=2.0, average=0.7),
    "sgd": SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.1, average=0.9),
}


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("lag", [1, 16], ids=["asked", "on the device"])
def test_a_step_that_is_not_finite_moves_nothing(twin, name, lag, monkeypatch):
    """Two steps with a NaN or a loss of infinity before the first and two after it: as if there were none of them.

    Nobody asks meanwhile whether a step was taken; the averages and Adam's corrections count those that were.
    """
    module = twin.module("optimizers")
    rng = np.random.default_rng(4)
    weights, *good = [{n: rng.normal(size=shape).astype(np.float32) for n, shape in SHAPES.items()} for _ in range(3)]
    bad = ({**good[1], "norm.beta": np.full(8, [*[1] * 7, np.nan], np.float32)}, 1), (good[1], np.inf)
    first, second = (good[0], 1), (good[1], 2)

    def after(steps, lag):
        monkeypatch.setattr(module, *on_the_device(twin, lag))
        parameters = twin.parameters(weights)
        optimizer = module.Optimizer(GUARDED[name], parameters)

        def update(loss, *gradients):
            return optimizer.update(gradients, loss)

        update, seen = twin.compiled(update) if twin.name == "mindspore" else update, []
        for gradients, loss in steps:
            optimizer.prepare(0.02)
            (loss,) = twin.tensors([np.float32(loss)])
            seen.append(update(loss, *twin.tensors(gradients.values())))
        assert [bool(twin.array(one)) for one in seen] == [not any(one is other for other in bad) for one in steps]
        return {name: twin.array(value).copy() for name, value in parameters.items()} | optimizer.state()

    result = after([*bad, first, *bad, second], lag)
    for key, value in after([first, second], lag).items():
        np.testing.assert_array_equal(result[key], value, err_msg=key)
    assert joint_error(result, after([first, second], 1)) <= OPTIMIZER


def on_the_device(twin, lag) -> tuple[str, object]:
    """What to set in a twin's module, so that it selects on the device what moves as an accelerator does."""
    if twin.name == "torch":
        return "_FUSED", ("cpu",) if lag > 1 else ()
    return "lag_on", lambda device: lag
