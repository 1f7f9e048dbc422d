"""Training: ten steps twin to twin, mode to mode, resuming, moving state between twins."""

import signal
from functools import partial

import numpy as np
import pytest

from parity_tests.recipes import make_recipe
from tunable.data.patches import Batches
from tunable.parameters.starts import starting_weights
from tunable.tolerances import TOLERANCES, joint_error, relative_error
from tunable.training.loop import train
from tunable.weights import storage

RATE = 1e-4
STEPS = 10
LOSS, WEIGHTS = 5e-6, 2e-6  # of ten Adam steps at 1e-4
COMPILED = {"torch": "compile", "mindspore": "graph"}
RECIPES = {
    "base": {},
    "affine, normalised": {
        "network": {"name": "resnet", "channels": 6, "blocks": 1, "phi": "affine"},
        "loss": {"normalise": "sum"},
        "omega": {"per": "batch"},
    },
    "se, three objectives": {
        "network": {"name": "resnet", "channels": 6, "blocks": 1, "phi": "se"},
        "objectives": [
            {"name": "a", "kind": "rec", "weight": 0.3, "distance": "charbonnier"},
            {"name": "b", "kind": "noise"},
            {"name": "c", "kind": "noise", "residual": "remove", "nu": 0.5, "distance": "l2"},
        ],
    },
    "mean of targets": {
        "objectives": [
            {"name": "a", "kind": "rec", "weight": 0.7, "distance": "fft"},
            {"name": "b", "kind": "noise", "residual": "full", "distance": "fft"},
        ],
        "loss": {"normalise": "sum", "combine": "targets"},
    },
    "compact": {"network": {"name": "compact", "channels": 6, "blocks": 1, "tunable_slopes": True}},
    "plain": {
        "network": {"name": "resnet", "channels": 6, "blocks": 1, "tunable": False},
        "omega": {"sampler": {"kind": "fixed", "value": [0.7, 0.4]}},
    },
}


def start(backend, recipe):
    """A network at the recipe's start, and its trainer."""
    network = backend.build(recipe.network, recipe.network_objectives)
    backend.assign(network, starting_weights(backend.specs(network), recipe.seed, recipe.initial))
    return network, backend.trainer(network, recipe)


def take(backend, recipe, network, trainer):
    """Losses, terms and final weights of ten steps."""
    taken = [trainer.step(Batches(recipe)[index], RATE) for index in range(STEPS)]
    losses, terms, *_ = zip(*taken, strict=True)
    return np.array(losses), np.array(terms), backend.parameters(network)


def run(backend, recipe):
    """The same from the recipe's start."""
    return take(backend, recipe, *start(backend, recipe))


class Compiled:
    """A trainer in a twin's compiled mode, which takes seconds to compile and is therefore one for several tests.

    recipe   what it trains by
    first    what `take` returned before anything else
    """

    def __init__(self, twin):
        self.recipe, self.backend = make_recipe(**RECIPES["mean of targets"]), twin.in_mode(COMPILED[twin.name])
        self.network, self.trainer = start(self.backend, self.recipe)
        self._state = self.trainer.state()
        self.first = self.take()

    def take(self):
        return take(self.backend, self.recipe, self.network, self.trainer)

    def begin_again(self):
        """Give it the weights and the state that it began with."""
        specs = self.backend.specs(self.network)
        self.backend.assign(self.network, starting_weights(specs, self.recipe.seed, self.recipe.initial))
        self.trainer.load_state(self._state)


@pytest.fixture(scope="module")
def compiled(twin):
    return Compiled(twin)


def distance(a, b):
    """Largest relative difference of the losses, joint one of the weights."""
    return float(np.max(np.abs(a[0] - b[0]) / np.abs(b[0]))), joint_error(a[2], b[2])


@pytest.mark.parametrize("name", RECIPES)
def test_ten_steps(twins, make_recipe, name):
    """From the same start on the same batches: losses, terms, weights."""
    recipe = make_recipe(**RECIPES[name])
    first, second = (run(twin.backend, recipe) for twin in twins)
    loss, weights = distance(second, first)
    assert loss <= LOSS and weights <= WEIGHTS, f"loss {loss:.2e}, weights {weights:.2e}"
    assert relative_error(second[1], first[1]) <= LOSS


def test_compiled_steps(twin, compiled):
    """Within rounding: forward passes of MindSpore are equal to the bit, but gradients meet in another order."""
    loss, weights = distance(compiled.first, run(twin.backend, compiled.recipe))
    assert loss <= LOSS and weights <= WEIGHTS, f"loss {loss:.2e}, weights {weights:.2e}"


def test_channels_last_steps(torch, make_recipe):
    """Another layout in memory, within rounding; pictures do lie pixel by pixel where the network meets them."""
    recipe, backend = make_recipe(), torch.in_mode("channels_last")
    network, trainer = start(backend, recipe)
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].stride(1)))
    loss, weights = distance(take(backend, recipe, network, trainer), run(torch.backend, recipe))
    assert loss <= LOSS and weights <= WEIGHTS, f"loss {loss:.2e}, weights {weights:.2e}"
    picture = np.random.default_rng(0).uniform(size=(1, 3, 9, 8)).astype(np.float32)
    outputs = [one.run(network, picture, np.float32([0.3, 0.8])) for one in (backend, torch.backend)]
    assert relative_error(*outputs) <= TOLERANCES["network"].limit
    assert seen == [1] * (STEPS + 1) + [72]


def test_new_weights_reach_a_compiled_trainer(compiled):
    """After `assign` and `load_state` it steps as when it was fresh."""
    compiled.begin_again()
    (losses, _, weights), (expected, _, moved) = compiled.take(), compiled.first
    np.testing.assert_array_equal(losses, expected)
    for name, value in weights.items():
        np.testing.assert_array_equal(value, moved[name])


@pytest.mark.parametrize("twin", ["mindspore"], indirect=True)
def test_graph_is_compiled_once(mindspore, compiled):
    """New batches, rates and weights compile nothing; a batch of another size does, so the count works."""
    from mindspore.graph.api import ms_compile_cache

    recipe, trainer = compiled.recipe, compiled.trainer
    trainer.gradients(Batches(recipe)[0])
    graphs = len(ms_compile_cache)
    for index in range(1, 4):
        trainer.step(Batches(recipe)[index], RATE * index)
        trainer.gradients(Batches(recipe)[index])
    compiled.begin_again()
    trainer.step(Batches(recipe)[4], RATE)
    assert len(ms_compile_cache) == graphs
    other = make_recipe(**RECIPES["mean of targets"], data={**recipe.data.model_dump(by_alias=True), "batch": 2})
    trainer.gradients(Batches(other)[0])
    assert len(ms_compile_cache) > graphs


@pytest.mark.parametrize(
    "network",
    [
        {"name": "swinir", "channels": 4, "depths": [2], "heads": [2], "window": 4, "phi": "affine"},
        {"name": "nafnet", "width": 4, "middle": 1, "encoder": [0], "decoder": [0], "phi": "affine"},
    ],
    ids=lambda network: network["name"],
)
def test_compiled_gradients(mindspore, make_recipe, network):
    """Of the networks that no other test trains as a graph; both blocks of SwinIR, of which one is shifted."""
    recipe, reports = make_recipe(network=network), []
    for mode in ("pynative", "graph"):
        _, trainer = start(mindspore.in_mode(mode), recipe)
        reports.append(trainer.gradients(Batches(recipe)[0]))
    eager, compiled = reports
    assert relative_error(compiled.loss, eager.loss) <= LOSS
    assert joint_error(compiled.gradients, eager.gradients) <= TOLERANCES["gradients"].limit


@pytest.mark.parametrize("name", RECIPES)
def test_every_parameter_moves(twin, make_recipe, name):
    """Each kernel for itself, unless ReLU or softmax hide its gradient: then the tensor as a whole."""
    recipe = make_recipe(**RECIPES[name])
    network, trainer = start(twin.backend, recipe)
    before = twin.backend.parameters(network)
    for index in range(2):
        trainer.step(Batches(recipe)[index], RATE)
    for local, value in twin.backend.parameters(network).items():
        parts = zip(value, before[local], strict=True) if "phi" not in local else [(value, before[local])]
        if recipe.network.tunable:
            assert all((new != old).any() for new, old in parts), f"{local} did not move"
        else:
            assert (value != before[local]).any(), f"{local} did not move"


FROZEN = {
    "full": {"name": "resnet", "channels": 6, "blocks": 1, "anchor": [1, 0]},
    "low rank": {"name": "resnet", "channels": 6, "blocks": 1, "differences": "low_rank", "rank": 2, "bump": True},
    "norms": {"name": "style_unet", "channels": 4, "scales": 1, "blocks": [1, 0, 1], "tunable_norms": False},
}


@pytest.mark.parametrize("name", FROZEN)
def test_what_a_plain_network_has_can_be_frozen(twin, make_recipe, name):
    """What it has stays to the bit; every difference moves, that of low rank with the second step."""
    recipe = make_recipe(network=FROZEN[name], initial={"weights": "plain.safetensors", "freeze": True})
    network, trainer = start(twin.backend, recipe)
    specs, before = twin.backend.specs(network), twin.backend.parameters(network)
    for index in range(2):
        trainer.step(Batches(recipe)[index], RATE)
    for spec in specs:
        value, old = twin.backend.parameters(network)[spec.name], before[spec.name]
        learns = spec.name.endswith((".up", ".down"))
        assert np.array_equal(value[:1] if spec.phi else value, old[:1] if spec.phi else old) != learns, spec.name
        if spec.phi:
            assert all((new != was).any() for new, was in zip(value[1:], old[1:], strict=True)), spec.name


def test_an_anchored_network_begins_with_a_plain_one(twin, make_recipe, tmp_path):
    """Trained from its weights, which are frozen, it is still the plain one at its anchor, and another elsewhere."""
    network = {"name": "compact", "channels": 6, "blocks": 1}
    fixed = {"sampler": {"kind": "fixed", "value": [1, 0]}}
    recipe = make_recipe(network={**network, "tunable": False}, omega=fixed, steps=1)
    plain = train(recipe, twin.backend, tmp_path / "plain")
    weights = tmp_path / "plain" / "model.safetensors"
    network |= {"anchor": [1, 0], "differences": "low_rank", "rank": 2, "tunable_slopes": True}
    recipe = make_recipe(network=network, initial={"weights": str(weights), "freeze": True}, steps=3)
    tunable = train(recipe, twin.backend, tmp_path / "tunable")
    picture = np.random.default_rng(0).uniform(size=(1, 3, 9, 8)).astype(np.float32)
    at_its_anchor = tunable.run(picture, [1, 0])
    np.testing.assert_array_equal(at_its_anchor, plain.run(picture))
    assert not np.array_equal(tunable.run(picture, [0, 1]), at_its_anchor)


def test_gradients_move_nothing(twin, make_recipe):
    """The next step has the same gradients: a second call gives the same bits."""
    recipe = make_recipe()
    check_gradients_move_nothing(twin.backend, *start(twin.backend, recipe), Batches(recipe)[0])


def test_compiled_gradients_move_nothing(compiled):
    check_gradients_move_nothing(compiled.backend, compiled.network, compiled.trainer, Batches(compiled.recipe)[0])


def check_gradients_move_nothing(backend, network, trainer, batch):
    before = backend.parameters(network)
    first, second = trainer.gradients(batch), trainer.gradients(batch)
    assert first.gradients.keys() == before.keys()
    for name, value in backend.parameters(network).items():
        np.testing.assert_array_equal(value, before[name])
        np.testing.assert_array_equal(first.gradients[name], second.gradients[name])
    assert trainer.step(batch, RATE)[0] == pytest.approx(first.loss, rel=1e-6)
    assert trainer.gradients(batch).loss != first.loss


def test_resumed_run_is_the_same_run(twin, make_recipe, tmp_path):
    """In MindSpore as a graph too, which three trainers compile: a plain network's takes half the time."""
    check_resumed_run(twin.backend, make_recipe, tmp_path / "lean")
    if twin.name == "mindspore":
        check_resumed_run(twin.in_mode("graph"), partial(make_recipe, **RECIPES["plain"]), tmp_path / "graph")


def check_resumed_run(backend, make_recipe, folder):
    """Six steps; and three, a Ctrl-C, and three more from the checkpoint: every byte of weights and log."""
    recipe = make_recipe(
        steps=6, schedule={"kind": "cosine", "warmup": 2}, checkpoint={"every": 4}, optimizer={"learning_rate": 1e-3}
    )
    whole, parts = folder / "whole", folder / "parts"
    train(recipe, backend, whole)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, backend, parts, progress=interrupt_after(3))
    assert len((parts / "metrics.csv").read_text().splitlines()) == 1 + 3
    taken = []
    train(recipe, backend, parts, resume=True, progress=lambda step, *_: taken.append(step))
    assert taken == [4, 5, 6]
    assert (whole / "metrics.csv").read_bytes() == (parts / "metrics.csv").read_bytes()
    (first, header), (second, other) = (storage.load(run / "model.safetensors") for run in (whole, parts))
    assert header == other
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name


def test_a_run_goes_on_in_the_other_framework(twins, make_recipe, tmp_path, caplog):
    """Three steps of six each: the weights of one framework, to rounding, and a header that says who took them."""
    first, second = (twin.backend for twin in twins)
    recipe = make_recipe(steps=6, checkpoint={"every": 3}, optimizer={"learning_rate": RATE, "average": 0.9})
    train(recipe, first, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, first, tmp_path / "parts", progress=interrupt_after(3))
    train(recipe, second, tmp_path / "parts", resume=True)
    assert f"from step 4 on, {second.name} continues what {first.name} has trained" in caplog.text
    (last, _), (other, _) = (storage.load(tmp_path / run / "model_last.safetensors") for run in ("whole", "parts"))
    assert joint_error(other, last) <= WEIGHTS
    (expected, plain), (result, header) = (
        storage.load(tmp_path / run / "model.safetensors") for run in ("whole", "parts")
    )
    assert joint_error(result, expected) <= WEIGHTS
    assert [leg["from"] for leg in header.history] == ["1", "4"] and plain.history == ()
    assert all(backend.name in leg for backend, leg in zip((first, second), header.history, strict=True))


def interrupt_after(last):
    """A progress callback that presses Ctrl-C once."""

    def progress(step, steps, loss):
        if step == last:
            signal.raise_signal(signal.SIGINT)

    return progress


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["to mindspore", "to torch"])
def test_state_moves_between_twins(twins, make_recipe, order):
    """Weights and optimizer state of one loaded into the other: the next step is the same, and not a first step's."""
    recipe = make_recipe()
    batches, (source, goal) = Batches(recipe), (twins[index].backend for index in order)
    network, trainer = start(source, recipe)
    for index in range(4):
        trainer.step(batches[index], 1e-3)
    weights, state = source.parameters(network), trainer.state()
    moved, results = {}, {}
    for label, backend, saved in (("source", source, state), ("goal", goal, state), ("forgotten", goal, None)):
        other, again = start(backend, recipe)
        backend.assign(other, weights)
        if saved:
            again.load_state(saved)
        again.step(batches[4], 1e-3)
        results[label] = backend.parameters(other)
        moved[label] = {name: results[label][name].astype(np.float64) - weights[name] for name in weights}
    trainer.step(batches[4], 1e-3)
    assert joint_error(results["source"], source.parameters(network)) == 0
    assert joint_error(moved["goal"], moved["source"]) <= 1e-4  # a move of 1e-3 in weights held to 1e-8
    assert joint_error(moved["forgotten"], moved["source"]) > 0.1


def test_a_picture_that_is_not_finite_moves_nothing(twin, make_recipe):
    recipe = make_recipe()
    check_nothing_moves(twin.backend, *start(twin.backend, recipe), Batches(recipe)[0])


def test_a_picture_that_is_not_finite_moves_nothing_compiled(compiled):
    check_nothing_moves(compiled.backend, compiled.network, compiled.trainer, Batches(compiled.recipe)[0])


def check_nothing_moves(backend, network, trainer, batch):
    """One value of infinity in a picture: the report says that the step was not taken, and all is as it was."""
    trainer.step(batch, RATE)
    before = backend.parameters(network) | trainer.state()
    sample = {name: value.copy() for name, value in batch.sample.items()}
    sample["degraded"][-1, 0, 1, 1] = np.inf
    report = trainer.step(batch._replace(sample=sample), RATE)
    assert not report.taken and not np.isfinite(report.loss)
    after = backend.parameters(network) | trainer.state()
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    assert trainer.step(batch, RATE).taken
    assert any((value != before[name]).any() for name, value in backend.parameters(network).items())


def test_an_unused_parameter_has_no_gradient(twin, make_recipe):
    """Zero, in both: it neither fails nor is left out."""
    recipe = make_recipe()
    network = twin.backend.build(recipe.network, recipe.network_objectives)
    network.unused = twin.impl.layers.TunableParameter((2,), num_objectives=2)
    gradients = twin.backend.trainer(network, recipe).gradients(Batches(recipe)[0]).gradients
    assert gradients.keys() == twin.backend.parameters(network).keys()
    assert not np.any(gradients["unused.weight"]) and np.any(gradients["head.weight"])
