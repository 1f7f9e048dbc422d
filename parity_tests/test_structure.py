"""What a float64 run of the same code cannot see, in each twin alone: how a network joins its layers, what parts pass
on to their layers, from what a layer starts, what a trace and a training step report."""

import numpy as np
import pytest

from parity_tests.cases import build as build_layer
from parity_tests.test_networks import build, picture, settings
from parity_tests.test_training import RATE, RECIPES, start
from tunable import oracle
from tunable.data.patches import Batches
from tunable.errors import TunableError
from tunable.parameters.starts import starting_weights
from tunable.specs.formulations import PHI_FORMS, Formulation
from tunable.specs.networks import CompactSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error

LAYER, LIMIT, LOSS = (TOLERANCES[stage].limit for stage in ("layer", "network", "loss"))


@pytest.mark.parametrize("phi", PHI_FORMS)
def test_resnet_in_numpy(twin, phi, rng):
    """Two blocks, layer after layer by the oracle."""
    network, x = build(twin, phi, 2), picture(rng, "odd")
    parameters = twin.backend.parameters(network)

    def conv(name, x, omega):
        tensors = {local.removeprefix(name + "."): v for local, v in parameters.items() if local.startswith(name + ".")}
        return oracle.layer("conv2d", phi, tensors, {"padding": 1}, x, omega)

    for omega in settings(2, len(x), rng)[-2:]:
        y = first = conv("head", x, omega)
        for block in ("body.0", "body.1"):
            y = y + conv(f"{block}.conv2", np.maximum(conv(f"{block}.conv1", y, omega), 0), omega)
        expected = conv("tail", y + first, omega)
        assert relative_error(twin.backend.run(network, x, omega), expected) <= LIMIT


@pytest.mark.parametrize(
    ("depth", "change"),
    [
        *((depth, {"phi": phi}) for depth in (1, 3) for phi in PHI_FORMS),
        (1, {"differences": "low_rank", "rank": 3, "anchor": [1, 0]}),
        (1, {"differences": "scale", "bump": True}),
    ],
)
def test_unet_in_numpy(twin, depth, change, rng):
    """As the oracle has it, at a size that is no multiple of the strides."""
    spec, x = UNetSpec(width=4, depth=depth, **change), picture(rng, "odd")
    network = twin.backend.build(spec, 2)
    tensors = starting_weights(twin.backend.specs(network), 3)
    tensors = {name: (value + 0.1 * rng.normal(size=value.shape)).astype("f") for name, value in tensors.items()}
    twin.backend.assign(network, tensors)
    for omega in settings(2, len(x), rng)[-2:]:
        assert relative_error(twin.backend.run(network, x, omega), oracle.unet(x, omega, spec, tensors)) <= LIMIT


@pytest.mark.parametrize("phi", PHI_FORMS)
@pytest.mark.parametrize(("upscale", "slopes"), [(1, False), (3, True)])
def test_compact_in_numpy(twin, phi, upscale, slopes, rng):
    """As the oracle has it, with slopes that omega sets and with ordinary ones."""
    spec, x = CompactSpec(channels=4, blocks=2, upscale=upscale, tunable_slopes=slopes, phi=phi), picture(rng, "odd")
    network = twin.backend.build(spec, 2)
    tensors = starting_weights(twin.backend.specs(network), 3)
    tensors = {name: (value + 0.1 * rng.normal(size=value.shape)).astype("f") for name, value in tensors.items()}
    twin.backend.assign(network, tensors)
    for omega in settings(2, len(x), rng)[-2:]:
        assert relative_error(twin.backend.run(network, x, omega), oracle.compact(x, omega, spec, tensors)) <= LIMIT


def test_trace(twin, rng):
    """In calling order; what the oracle makes of the recorded input is the recorded output."""
    network, x = build(twin, "affine", 2), picture(rng, "odd")
    omega = settings(2, len(x), rng)[-1]
    calls = twin.backend.trace(network, x, omega)
    blocks = [f"body.{block}.{conv}" for block in (0, 1) for conv in ("conv1", "conv2")]
    assert list(calls) == ["head", *blocks, "tail"]
    for name, call in calls.items():
        expected = oracle.layer(call.kind, call.formulation, call.tensors, call.options, call.input, omega)
        assert relative_error(call.output, expected) <= LAYER, name
    np.testing.assert_array_equal(calls["head"].input, x)
    np.testing.assert_array_equal(calls["tail"].output, twin.backend.run(network, x, omega))


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_reports_the_loss(twin, make_recipe, name):
    """Loss and terms are the oracle's, of what the network made of the degraded pictures before the step."""
    recipe = make_recipe(**RECIPES[name])
    network, trainer = start(twin.backend, recipe)
    batch = Batches(recipe)[0]
    omega = batch.omega if recipe.network.tunable else None
    restored = twin.backend.run(network, batch.sample["degraded"], omega)
    loss, terms = oracle.multi_loss(recipe, restored, batch.sample, batch.omega)
    report = trainer.gradients(batch)
    for value, its in ((report.loss, report.terms), trainer.step(batch, RATE)[:2]):
        assert relative_error(value, loss) <= LOSS and relative_error(its, terms) <= LOSS


@pytest.mark.parametrize("p", [0, 2])
def test_parts_pass_every_option_on(twin, p, rng):
    """A part's convolution, tunable and ordinary, with nothing at its default; a linear layer without bias; a value."""
    layers, omega = twin.module("layers"), np.array([0.4, -1.3])
    options = {"num_objectives": p, "formulation": Formulation("identity")}
    conv = layers.conv2d(4, 6, 3, stride=2, padding=2, groups=2, bias=False, **options)
    kernels = rng.standard_normal((2, 6, 2, 3, 3)).astype(np.float32)
    ordinary = np.tensordot(omega, kernels, 1).astype(np.float32)
    twin.backend.assign(conv, {"weight": kernels if p else ordinary})
    x = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    result = conv(*twin.tensors([x, omega] if p else [x]))
    tensors, changes = {"weight": kernels}, {"stride": 2, "padding": 2, "groups": 2}
    assert relative_error(twin.array(result), oracle.layer("conv2d", "identity", tensors, changes, x, omega)) <= LAYER
    linear = layers.linear(3, 2, bias=False, **options)
    assert list(twin.backend.parameters(linear)) == ["weight"]
    free = layers.parameter((2,), value=1, num_objectives=p)
    value = twin.array(free(*twin.tensors([omega])) if p else free)
    np.testing.assert_array_equal(value, [1, 1])


STARTS = {  # case -> (role, fan-in) of its own parameters: fan-in is what one output sums over
    "grouped": ("kernel", 2 * 9, "bias", 2 * 9),
    "1-d": ("kernel", 3 * 5, "bias", 3 * 5),
    "3-d replicated": ("kernel", 2 * 27, "bias", 2 * 27),
    "transposed uneven": ("kernel", 3 * 6, "bias", 3 * 6),  # PyTorch's: output channels of a group times taps
    "linear": ("kernel", 5, "bias", 5),
    "layer norm": ("one", 0, "zero", 0),
}


@pytest.mark.parametrize("name", STARTS)
def test_start(twin, name):
    """Roles and fan-ins by hand, phi's too; a layer built with a seed holds the neutral weights of that seed."""
    layer = build_layer(twin, name, "se", 3)
    roles = {spec.name: (spec.role, spec.fan_in) for spec in twin.backend.specs(layer)}
    role, fan_in, other, its = STARTS[name]
    assert roles == {
        "weight": (role, fan_in), "bias": (other, its),
        "phi.0.weight": ("phi", 3), "phi.0.bias": ("phi", 3), "phi.2.weight": ("phi", 12), "phi.2.bias": ("phi", 3),
    }  # fmt: skip
    layer.start(7)
    drawn = starting_weights(twin.backend.specs(layer), 7)
    for local, value in twin.backend.parameters(layer).items():
        np.testing.assert_array_equal(value, drawn[local])


@pytest.mark.parametrize("slope", [np.float32([0.25]), np.float32([[0.25]])], ids=["shared", "per sample"])
def test_a_prelu_at_its_kink(twin, slope):
    """At 0 its gradient is the slope, as in PyTorch, and NaN stays NaN."""
    prelu, x = twin.module("ops").prelu, np.float32([[[[-2, -0.0, 0, 3]]]])

    def total(x, slope):
        return prelu(x, slope).sum()

    value, (in_x, in_slope) = twin.differentiate(total, [x, slope])
    assert value == 2.5
    np.testing.assert_array_equal(in_x.ravel(), [0.25, 0.25, 0.25, 1])
    np.testing.assert_array_equal(in_slope.ravel(), [-2])
    assert np.isnan(twin.array(prelu(*twin.tensors([x * np.nan, slope])))).all()


def test_a_leaky_relu_at_its_kink(twin):
    """At 0 its gradient is the slope, as in PyTorch, and NaN stays NaN."""
    leaky_relu, x = twin.module("ops").leaky_relu, np.float32([-2, -0.0, 0, 3])

    def total(x):
        return leaky_relu(x, 0.25).sum()

    value, (in_x,) = twin.differentiate(total, [x])
    assert value == 2.5
    np.testing.assert_array_equal(in_x, [0.25, 0.25, 0.25, 1])
    assert np.isnan(twin.array(leaky_relu(*twin.tensors([x * np.nan]), 0.25))).all()


def test_a_base_says_what_its_subclass_lacks(twin):
    """One line of this project's own errors, from every base that a user may derive from."""
    networks, objectives = twin.module("networks.network"), twin.module("objectives.restoration")

    class Bare(networks.Network, spec=CompactSpec):
        pass

    class Layered(networks.Network, spec=CompactSpec):
        def build(self, spec):
            self.upscale = spec.upscale

    class Staged(Layered, spec=CompactSpec):
        def build(self, spec):
            self.stages = [[]]

    (x,) = twin.tensors([np.zeros((1, 3, 4, 4))])
    for call, lacking in {
        lambda: Bare(num_objectives=0): "Bare does not say what its layers are",
        lambda: Layered(num_objectives=0): "Layered does not say what its stages are",
        lambda: Staged(num_objectives=0)(x): "Staged does not say what it computes",
        lambda: objectives.Objective().target({}, x): "Objective does not say what its target is",
        lambda: twin.module("layers").Tunable(1, Formulation()).fold(x): "Tunable has no ordinary form",
    }.items():
        with pytest.raises(TunableError, match=f"^{lacking}$"):
            call()
