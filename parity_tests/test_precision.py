"""Training in bfloat16 and float16: what stays float32, the scale of the loss, and what a device cannot compute."""

import numpy as np
import pytest

from parity_tests.recipes import make_recipe
from parity_tests.test_training import interrupt_after, start
from tunable.data.patches import Batches
from tunable.errors import BackendError
from tunable.specs.precision import Dynamic
from tunable.tolerances import TOLERANCES, joint_error, relative_error
from tunable.training.loop import train
from tunable.weights import storage
from tunable.weights.run_state import RunState

RATE = 1e-3
LARGEST = 2.0**24  # a first scale at which float16 overflows
NORMED = {"name": "nafnet", "width": 4, "middle": 1, "encoder": [0], "decoder": [0], "tunable_norms": True}
# Kinds, levels, and how far gradients are from those in float32; rounding flips ReLUs, which is worth 4e-3 each.
LOWERED = {
    "torch": {"bfloat16": 1e-2, "float16": 4e-3},
    "mindspore": {"float16": 4e-3, "float16 O1": 4e-3, "float16 O2": 4e-3, "float16 O3": 1e-2},
}


def precision_of(words, **others):
    kind, _, level = words.partition(" ")
    return {"kind": kind, "level": level or "auto", **others}


def trained(backend, steps, **sections):
    """The reports of so many steps on the first batch, then network and trainer."""
    recipe = make_recipe(**sections)
    network, trainer = start(backend, recipe)
    batch = Batches(recipe)[0]
    return [trainer.step(batch, RATE) for _ in range(steps)], network, trainer


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


@pytest.mark.parametrize("network", [make_recipe().network.model_dump(), NORMED], ids=lambda one: one["name"])
def test_gradients(twin, network):
    """Near those in float32 and not equal to them, in float32; so is the loss."""
    plain = gradients_in("float32", twin.backend, network)
    for words, limit in LOWERED[twin.name].items():
        report = gradients_in(words, twin.backend, network)
        assert all(value.dtype == np.float32 for value in report.gradients.values())
        assert 1e-5 < joint_error(report.gradients, plain.gradients) <= limit, words
        assert 0 < relative_error(report.loss, plain.loss) <= 1e-2


def gradients_in(words, backend, network):
    recipe = make_recipe(network=network, precision=precision_of(words))
    _, trainer = start(backend, recipe)
    return trainer.gradients(Batches(recipe)[0])


def test_kernels_are_mixed_in_float32(twin, monkeypatch):
    """Every sum of kernels in a training step is that of float64 to float32's rounding, at omega itself."""
    convolution, mixed = twin.module("ops.convolution"), []
    real = convolution.aggregate

    def aggregate(alpha, tensor):
        result = real(alpha, tensor)
        a, t, r = (twin.array(one) for one in (alpha, tensor, result))
        exact = a.astype(np.float64) @ t.reshape(len(t), -1)
        mixed.append((r.dtype, relative_error(r.reshape(exact.shape), exact), a[..., 1:]))
        return result

    monkeypatch.setattr(convolution, "aggregate", aggregate)
    for words in LOWERED[twin.name]:
        recipe = make_recipe(precision=precision_of(words))
        _, trainer = start(twin.backend, recipe)
        batch = Batches(recipe)[0]
        trainer.gradients(batch)
        assert len(mixed) > 4, words
        for kind, error, omega in mixed:
            assert kind == np.float32 and error <= TOLERANCES["layer"].limit, words
            np.testing.assert_array_equal(omega, batch.omega)
        mixed.clear()


def test_weights_and_state_are_float32(twin):
    """Steps of 1e-6, which weights in half precision would not take."""
    recipe = make_recipe(precision="float16", optimizer={"average": 0.9})
    network, trainer = start(twin.backend, recipe)
    before = twin.backend.parameters(network)
    trainer.step(Batches(recipe)[0], 1e-6)
    for name, value in twin.backend.parameters(network).items():
        assert value.dtype == np.float32
        moves = np.abs(value.astype(np.float64) - before[name])
        assert np.median(moves[moves > 0]) == pytest.approx(1e-6, rel=0.1), name
    assert all(value.dtype == np.float32 for value in trainer.state().values())


def test_a_scale_changes_nothing(twin):
    """A power of two is exact: in float32 weights, moments and averages have the bits of a run without. It grows."""
    optimizer = {"kind": "adamw", "clip_norm": 0.05, "average": 0.9}
    scaled = {"kind": "float32", "loss_scale": {"kind": "dynamic", "window": 2}}
    runs = [trained(twin.backend, 3, precision=one, optimizer=optimizer) for one in ("float32", scaled)]
    (_, plain, first), (_, network, second) = runs
    assert_same(twin.backend.parameters(plain), twin.backend.parameters(network))
    state = second.state()
    assert (state.pop("loss_scale"), state.pop("loss_scale_steps")) == ([2.0**17], [1])
    assert_same(first.state(), state)
    batch = Batches(make_recipe())[0]
    assert_same(first.gradients(batch).gradients, second.gradients(batch).gradients)


def test_a_step_that_overflows_is_skipped(twin):
    """As a graph too where that holds the whole step."""
    optimizer = {"kind": "adam", "clip_norm": 0.05, "average": 0.9}
    check_skipped(twin.backend, optimizer)
    if twin.name == "mindspore":
        check_skipped(twin.in_mode("graph"), {"kind": "sgd", "learning_rate": RATE, "momentum": 0.9})


def check_skipped(backend, optimizer):
    """It moves nothing and halves the scale; the first that moves is the first step of a run that began there."""
    scale, precision = LARGEST, precision_of("float16", loss_scale={"kind": "dynamic", "scale": LARGEST})
    recipe = make_recipe(precision=precision, optimizer=optimizer)
    network, trainer = start(backend, recipe)
    batch, before, state = Batches(recipe)[0], backend.parameters(network), trainer.state()
    while not trainer.step(batch, RATE).taken:
        scale /= 2
        state["loss_scale"] = np.array([scale], np.float32)
        assert_same(backend.parameters(network), before)
        assert_same(trainer.state(), state)
    assert scale < LARGEST
    weights, moved = backend.parameters(network), trainer.state()
    assert moved["step"] == [1] and all((weights[name] != before[name]).any() for name in weights)
    backend.assign(network, before)
    trainer.load_state(state)
    assert trainer.step(batch, RATE).taken
    assert_same(backend.parameters(network), weights)
    assert_same(trainer.state(), moved)


def test_a_scale_stays_above_one_and_grows_by_steps_taken(twin):
    """By hand: halved to 1 and not below, then doubled after two steps taken in a row."""
    (like,) = twin.tensors([np.zeros(1, np.float32)])
    scale = twin.module("ops").LossScale(Dynamic(scale=3, window=2), like)
    seen = []
    for taken in (False, False, True, False, True, True, True):
        scale.adjust(twin.tensors([np.float32(taken)])[0] > 0)
        seen.append(float(scale.state()["loss_scale"][0]))
    assert seen == [1.5, 1, 1, 1, 1, 2, 2] and scale.state()["loss_scale_steps"] == [1]


def test_a_fixed_scale(twin):
    """It has no state, and skips what overflows."""
    for scale, taken in ((512.0, True), (LARGEST, False)):
        fixed = precision_of("float16", loss_scale={"kind": "static", "scale": scale})
        reports, _, trainer = trained(twin.backend, 2, precision=fixed)
        assert [report.taken for report in reports] == [taken] * 2
        assert trainer.state()["step"] == [2 * taken] and "loss_scale" not in trainer.state()


def test_a_resumed_run_is_the_same(twin, tmp_path):
    """Four steps, of which the first are skipped, and the same with a Ctrl-C among them; the header says how it was."""
    scale = {"kind": "dynamic", "scale": LARGEST, "window": 1}
    precision, whole, parts = precision_of("float16", loss_scale=scale), tmp_path / "whole", tmp_path / "parts"
    recipe = make_recipe(steps=4, precision=precision, optimizer={"learning_rate": RATE, "average": 0.9})
    train(recipe, twin.backend, whole)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, twin.backend, parts, progress=interrupt_after(2))
    train(recipe, twin.backend, parts, resume=True)
    (first, header), (second, other) = (storage.load(run / "model.safetensors") for run in (whole, parts))
    assert header == other and header.recipe is not None and header.recipe.precision == recipe.precision
    assert_same(first, second)
    assert all(value.dtype == np.float32 for value in first.values())
    _, metadata = storage.load_tensors(whole / "checkpoints" / "step-00000004.safetensors")
    (leg,) = RunState.of(metadata, whole).history
    assert leg["amp"] == f"float16 auto, loss scale dynamic {LARGEST:g}"


def test_what_a_device_lacks(twin, monkeypatch):
    """One line that says which device has it, before the first step."""
    if twin.name == "torch":  # whose processors have kernels for both types

        def conv2d(*_):
            raise RuntimeError("\"slow_conv2d_cpu\" not implemented for\n 'Half'")

        monkeypatch.setattr(twin.module("ops.precision").functional, "conv2d", conv2d)
    kind, fragment = {"torch": ("float16", "--device cuda"), "mindspore": ("bfloat16", "--device ascend")}[twin.name]
    with pytest.raises(BackendError) as caught:
        start(twin.backend, make_recipe(precision=kind))
    message = str(caught.value)
    assert message.startswith(f"{twin.name} on cpu has no convolution in {kind}")
    assert fragment in message and "\n" not in message


def test_levels_that_torch_lacks(torch):
    with pytest.raises(BackendError, match="precision.level O2 is MindSpore's; torch has auto .* and O0"):
        start(torch.backend, make_recipe(precision=precision_of("float16 O2")))
    _, trainer = start(torch.backend, make_recipe(precision=precision_of("float16 O0", loss_scale=None)))
    _, plain = start(torch.backend, make_recipe())
    batch = Batches(make_recipe())[0]
    assert_same(trainer.gradients(batch).gradients, plain.gradients(batch).gradients)
