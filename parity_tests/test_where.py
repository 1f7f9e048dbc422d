"""`where`: networks of which only some layers are tunable, twin to twin and folded."""

import numpy as np
import pytest

from parity_tests.twins import differ
from tunable.data.patches import Batches
from tunable.errors import CheckpointError, RecipeError, TunableError
from tunable.parameters.layouts import layout, tunable_layers
from tunable.specs.formulations import Last
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, StyleUNetSpec, SwinIRSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights import storage
from tunable.weights.storage import Header

LIMIT = TOLERANCES["network"].limit
OMEGA = np.array([0.2, 0.7], np.float32)
# Specification -> the layers that are then tunable.
NETWORKS = {
    "resnet": (ResNetSpec(channels=4, blocks=1, where={"last": 2}), {"body.0.conv2", "tail"}),
    "unet": (
        UNetSpec(width=4, depth=1, where=["tail", "decoders.*"], differences="low_rank", rank=2),
        {"decoders.0.conv1", "decoders.0.conv2", "tail"},
    ),
    "compact": (
        CompactSpec(channels=4, blocks=1, tunable_slopes=True, where={"last": 2}),
        {"body.3.weight", "body.4"},
    ),
    "nafnet": (
        NAFNetSpec(width=4, middle=1, encoder=[1], decoder=[0], where=["*.beta", "ending"]),
        {"encoders.0.0.beta", "middle_blks.0.beta", "ending"},
    ),
    "swinir": (
        SwinIRSpec(channels=6, depths=[1], heads=[2], window=4, tunable_norms=True, where=["*.norm2", "*.qkv"]),
        {f"layers.0.residual_group.blocks.0.{name}" for name in ("norm2", "attn.qkv")},
    ),
    "style_unet": (
        StyleUNetSpec(channels=4, scales=1, blocks=(1, 0, 1), tunable_norms=True, where={"last": 1}),
        {"conv_out"},
    ),
}


def made(twin, spec):
    """A network of a specification, every number of it drawn."""
    network, rng = twin.backend.build(spec, 2), np.random.default_rng(0)
    shapes = {name: value.shape for name, value in twin.backend.parameters(network).items()}
    twin.backend.assign(network, {name: (0.3 * rng.normal(size=shapes[name])).astype("f") for name in sorted(shapes)})
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_only_the_chosen_layers_are_tunable(twins, name, rng):
    """The file's layout says the same; twins agree at one omega, and with one for each sample; folding is exact."""
    spec, chosen = NETWORKS[name]
    assert tunable_layers(spec, 2) == chosen and tunable_layers(spec, 0) is None
    x, each = rng.uniform(size=(2, 3, 9, 8)).astype("f"), rng.uniform(size=(2, 2)).astype("f")
    outputs = []
    for twin in twins:
        network = made(twin, spec)
        assert {one.name: one.shape for one in twin.backend.specs(network)} == dict(layout(spec, 2))
        kinds = twin.module("layers").Tunable
        assert sum(isinstance(module, kinds) for module in twin.modules(network)) == len(chosen)
        outputs.append([twin.backend.run(network, x, omega) for omega in (OMEGA, each)])
        folded = twin.backend.fold(network, OMEGA)
        assert relative_error(twin.backend.run(folded, x, None), outputs[-1][0]) <= TOLERANCES["folded"].limit
        assert differ(twin.backend.run(network, x, OMEGA[::-1].copy()), outputs[-1][0])
    assert all(relative_error(second, first) <= LIMIT for first, second in zip(*outputs, strict=True))


def test_a_tunable_end_is_affine_in_omega(twin, rng):
    """With the last convolution alone, y(omega) = y(0) + sum_j omega_j (y(e_j) - y(0)), and not with the last two."""
    x = rng.uniform(size=(1, 3, 9, 8)).astype("f")
    for last, affine in ((1, True), (2, False)):
        network = made(twin, UNetSpec(width=4, depth=1, where={"last": last}))
        zero, first, second, at = (
            twin.backend.run(network, x, np.array(omega, "f")) for omega in ((0, 0), (1, 0), (0, 1), OMEGA)
        )
        error = relative_error(zero + OMEGA[0] * (first - zero) + OMEGA[1] * (second - zero), at)
        assert error <= 1e-6 if affine else error > 1e-3, f"{error:.1e}"


@pytest.mark.parametrize("which", [0, 1])
def test_it_is_trained(twin, make_recipe, without_kernels, which):
    """In each mode: two steps move every parameter, the second also what stands before the zeros of a low rank."""
    network = {"name": "compact", "channels": 4, "blocks": 1, "where": ["body.2", "body.4"]}
    network |= {"differences": "low_rank", "rank": 2}
    recipe, backend = make_recipe(network=network), twin.in_mode(twin.backend.modes[which])
    network = backend.build(recipe.network, 2)
    before, trainer = backend.parameters(network), backend.trainer(network, recipe)
    for index in range(2):
        trainer.step(Batches(recipe)[index], 0.01)
    for name, value in backend.parameters(network).items():
        assert (value != before[name]).any(), name


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"last": 9}, r"where: last 9 of the 4 layers that this resnet has$"),
        (["tial"], r"where: no layer of this resnet is called 'tial' \(did you mean 'tail'\?\)$"),
        (["*", "body.7.*"], r"where: no layer of this resnet is called 'body.7.\*'"),
        ({"last": 0}, r"ResNet: where: .*wants all, \{last: N\} .* or 1 to 100 patterns of names, not \{'last': 0\}"),
        ([], r"ResNet: where: .*wants all, .*, not \[\]"),
        ("last 2", r"ResNet: where: .*wants all, .*, not 'last 2'"),
    ],
)
def test_what_cannot_be_chosen_is_refused(twin, where, message):
    with pytest.raises(TunableError, match=f"^{message}"):
        twin.impl.ResNet(num_objectives=2, channels=4, blocks=1, where=where)


def test_a_recipe_that_chooses_nothing_is_refused(make_recipe):
    with pytest.raises(RecipeError, match=r"network.where: no layer of this resnet is called 'nothing'$"):
        make_recipe(network={"name": "resnet", "channels": 4, "blocks": 1, "where": ["nothing"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"where": Last(last=9)}, "network.where: last 9 of the 4 layers"),
        ({"anchor": [1.0]}, "network.anchor has 1 values for 2 objectives"),
    ],
)
def test_a_file_whose_header_does_not_fit_is_named(change, message):
    spec = ResNetSpec(channels=4, blocks=1)
    tensors = {name: np.zeros(shape, np.float32) for name, shape in layout(spec, 2)}
    header = Header(spec.model_copy(update=change), ("a", "b"), ((0.0, 1.0),) * 2)
    with pytest.raises(CheckpointError, match=f"^odd.safetensors has a damaged header: {message}"):
        storage.check_network(tensors, header, "odd.safetensors")
