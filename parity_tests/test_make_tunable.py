"""Knobs for networks that the package has never seen: the start, what is learnt, folding, files, gradients, modes.

The networks stand in `strangers`. Truth is their own ordinary form with the kernels' sums of one omega, which numpy
makes from the tensors of the weights file: in the same framework, and across frameworks by torch in float64.
"""

import copy
import pickle
from contextlib import nullcontext

import numpy as np
import pytest

from parity_tests import strangers
from parity_tests.tuned import NAMES, NETWORK, OMEGAS, adapted, call, made, omega_of, ordinary, rows
from tunable.errors import CheckpointError, OmegaError
from tunable.specs.networks import NAFNetSpec, ResNetSpec, SwinIRSpec
from tunable.tolerances import TOLERANCES, relative_error


@pytest.mark.parametrize("phi", ["base", "affine", "se"])
@pytest.mark.parametrize("name", NAMES)
def test_every_omega_starts_as_the_given_network(twin, arrays, name, phi):
    given, x = strangers.build(name, twin.name), arrays(name)
    expected = call(twin, given, x)
    network = twin.impl.make_tunable(given, 2, where="*", phi=phi)
    for label in OMEGAS:
        result = call(twin, network, x, omega_of(label))
        for place, value in result.items():
            if phi == "base" and label != "per sample":  # the very same operations on the very same numbers
                assert np.array_equal(value, expected[place]), (label, place)
            assert relative_error(value, expected[place]) <= 1e-6, (label, place)


@pytest.mark.parametrize("phi", ["base", "affine", "se"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_learnt_is_the_sum_of_the_files_kernels(twin, arrays, name, phi):
    network, tensors = made(twin, name, "*", phi)
    assert network.left == {} and set(network.plan.tensors) == set(twin.module("parameters").entries(network.network))
    x, seen = arrays(name), []
    for label in OMEGAS:
        omega = omega_of(label)
        result = call(twin, network, x, omega)
        if omega.ndim == 2:
            parts = [
                call(twin, ordinary(twin, name, strangers.mixed(tensors, network.plan, row)), rows(x, n))
                for n, row in enumerate(omega)
            ]
            expected = {place: np.concatenate([part[place] for part in parts]) for place in result}
        else:
            expected = call(twin, ordinary(twin, name, strangers.mixed(tensors, network.plan, omega)), x)
        for place, value in result.items():
            assert relative_error(value, expected[place]) <= NETWORK, (label, place)
        seen.append(np.concatenate([np.ravel(value) for value in result.values()]))
    assert min(relative_error(a, b) for i, a in enumerate(seen) for b in seen[:i]) > 1e-3, "omega changes nothing"


@pytest.mark.parametrize("name", NAMES)
def test_folding_gives_the_given_class_back(twin, arrays, name):
    given = strangers.build(name, twin.name)
    names = list(twin.module("parameters").entries(given))
    network, _ = made(twin, name, "*")
    x, omega = arrays(name), omega_of("inside")
    expected = call(twin, network, x, omega)
    folded = twin.impl.fold(network, *twin.tensors([omega]))
    assert type(folded) is type(given) and list(twin.module("parameters").entries(folded)) == names
    assert {type(part) for part in twin.modules(folded)} == {type(part) for part in twin.modules(given)}
    for place, value in call(twin, folded, x).items():
        assert relative_error(value, expected[place]) <= NETWORK, place
    assert all(
        np.array_equal(a, b) for a, b in zip(call(twin, network, x, omega).values(), expected.values(), strict=True)
    )
    with pytest.raises(OmegaError, match=r"must be .* \(2,\), not .* of shape \(2, 2\)"):
        network.fold(*twin.tensors([omega_of("per sample")]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("phi", ["base", "affine"])
def test_the_twins_read_each_others_files(twins, tmp_path, arrays, name, phi):
    """Written by either, restored by both, judged by float64."""
    x = arrays(name)
    for writer in twins:
        network, tensors = made(writer, name, "*", phi)
        path = tmp_path / f"{writer.name}.safetensors"
        network.save(path)
        for reader in twins:
            again = reader.impl.load_tuned(path, base=strangers.build(name, reader.name))
            assert again.plan == network.plan
            for label in ("corner", "inside"):
                expected = strangers.exact(name, strangers.mixed(tensors, network.plan, omega_of(label)), x)
                for place, value in call(reader, again, x, omega_of(label)).items():
                    assert relative_error(value, expected[place]) <= NETWORK, (reader.name, label, place)


def test_torch_puts_the_given_weights_back(torch, arrays):
    """The very same parameters, after a call and after one that fails; copies have their own."""
    network, _ = made(torch, "tied", "*")
    x, omega, before = arrays("tied"), omega_of("inside"), dict(network.named_parameters())
    expected = call(torch, network, x, omega)
    for wrong in (False, True):
        with pytest.raises(RuntimeError) if wrong else nullcontext():
            call(torch, network, [array[..., :-1] for array in x] if wrong else x, omega)
        assert all(value is before[name] for name, value in network.named_parameters())
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    network.assign({name: value * 2 for name, value in network.weights().items()})
    for each in copies:
        assert all(np.array_equal(value, expected[place]) for place, value in call(torch, each, x, omega).items())


SPECS = {
    "resnet": ResNetSpec(channels=8, blocks=2, tunable=False),
    "swinir": SwinIRSpec(channels=8, depths=[2], heads=[2], window=4, tunable=False),
    "nafnet": NAFNetSpec(width=4, middle=1, encoder=[1], decoder=[1], tunable=False),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_plain_network_of_the_project_becomes_its_own_tunable_form(twin, rng, name):
    """Equal at the start; once trained, what it holds is what the tunable network of that name holds."""
    plain = twin.backend.build(SPECS[name], 0)
    x = rng.uniform(size=(2, 3, 12, 16)).astype(np.float32)
    expected = call(twin, plain, [x])[""]
    free = {"resnet": [], "swinir": ["*table"], "nafnet": ["*.beta", "*.gamma"]}[name]
    network = twin.impl.make_tunable(plain, 2, where=[usual(twin), *free])
    for label in OMEGAS:
        assert relative_error(call(twin, network, [x], omega_of(label))[""], expected) <= 1e-6
    tensors = {
        local: (value + 0.02 * rng.standard_normal(value.shape)).astype(np.float32)
        for local, value in network.weights().items()
    }
    network.assign(tensors)
    tunable = twin.backend.build(SPECS[name].model_copy(update={"tunable": True, "phi": "base"}), 2)
    assert {s.name: tuple(s.shape) for s in twin.backend.specs(tunable)} == {n: v.shape for n, v in tensors.items()}
    twin.backend.assign(tunable, tensors)
    for label in OMEGAS:
        result = call(twin, network, [x], omega_of(label))[""]
        assert relative_error(result, call(twin, tunable, [x], omega_of(label))[""]) <= TOLERANCES["folded"].limit


def usual(twin):
    """What becomes tunable unasked, as a predicate."""
    places = twin.module("parameters").places
    return lambda name, layer: any(place.usual and place.name == "" for place in places(layer))


@pytest.mark.parametrize("rank", [0, 1])
def test_differences_alone(twin, tmp_path, arrays, rank):
    """A frozen base, and a small file that belongs to it."""
    given = strangers.build("unet", twin.name)
    parameters = twin.module("parameters")
    before = {name: parameters.array(each) for name, each in parameters.entries(given).items()}
    network, tensors = adapted(twin, given, rank)
    assert all(parameters.entries(network.network)[name].value.requires_grad is False for name in before)
    assert set(tensors) == {
        f"{name}.{part}"
        for name in before
        for part in (("up", "down") if rank and before[name].ndim > 1 else ("differences",))
    }
    path = tmp_path / "adapter.safetensors"
    network.save(path)
    if rank:
        assert sum(value.size for value in tensors.values()) < 0.75 * sum(value.size for value in before.values())
    x, omega = arrays("unet"), omega_of("inside")
    mixed = {}
    for name, value in before.items():
        if f"{name}.up" in tensors:
            products = np.matmul(tensors[f"{name}.up"].astype(np.float64), tensors[f"{name}.down"].astype(np.float64))
        else:
            products = tensors[f"{name}.differences"].astype(np.float64)
        mixed[name] = value + np.einsum("k,k...->...", omega, products).reshape(value.shape)
    expected = call(twin, ordinary(twin, "unet", mixed), x)[""]
    again = twin.impl.load_tuned(path, base=given)
    assert relative_error(call(twin, again, x, omega)[""], expected) <= NETWORK
    folded = twin.impl.fold(again, *twin.tensors([omega]))
    assert relative_error(call(twin, folded, x)[""], expected) <= NETWORK
    assert all(each.value.requires_grad for each in parameters.entries(folded).values())
    with pytest.raises(CheckpointError, match="differences from other weights"):
        twin.impl.load_tuned(path, base=strangers.build("unet", twin.name, seed=1))


def test_end_points_become_a_network_that_interpolates_them(twin, arrays):
    """At the unit vectors each of them, between them their weights' interpolation, norms and all."""
    rng, ends, parameters = np.random.default_rng(4), [], twin.module("parameters")
    for _ in range(3):
        network = strangers.build("attention", twin.name)
        for each in parameters.entries(network).values():
            parameters.set_value(
                each, parameters.array(each) + 0.1 * rng.standard_normal(each.shape).astype(np.float32)
            )
        ends.append(network)
    network, x = twin.impl.from_endpoints(*ends), arrays("attention")
    assert network.num_objectives == 3 and network.plan.phi == "identity"
    for corner, end in zip(np.eye(3, dtype=np.float32), ends, strict=True):
        assert relative_error(call(twin, network, x, corner)[""], call(twin, end, x)[""]) <= 1e-6
    omega = np.array([0.2, 0.5, 0.3], np.float32)
    tensors = [{name: parameters.array(each) for name, each in parameters.entries(end).items()} for end in ends]
    mean = {name: sum(w * part[name] for w, part in zip(omega, tensors, strict=True)) for name in tensors[0]}
    expected = call(twin, ordinary(twin, "attention", mean), x)[""]
    assert relative_error(call(twin, network, x, omega)[""], expected) <= NETWORK


def test_what_becomes_tunable_can_be_said_by_name_class_and_predicate(twin):
    given = strangers.build("attention", twin.name)
    linear = type(given.qkv)

    def tunable(where):
        return set(twin.impl.make_tunable(given, 2, where=where).plan.tensors.values())

    layers = {f"{name}.{local}" for name in ("qkv", "proj", "mlp.0", "mlp.2") for local in ("weight", "bias")}
    assert tunable(None) == tunable(linear) == layers
    assert tunable("mlp.*") == {name for name in layers if name.startswith("mlp")}
    assert tunable(["positions", "norm?"]) == {
        "positions.weight", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"
    }  # fmt: skip
    assert tunable(lambda name, layer: name == "proj" and isinstance(layer, linear)) == {"proj.weight", "proj.bias"}
    left = twin.impl.make_tunable(given, 2).left
    assert set(left) == {"positions", "norm1", "norm2"} and left["positions"] == "parameter: not asked for"


def test_one_parameter_under_two_attributes(torch):
    """Both are the kernels' sum."""
    nn = torch.torch.nn

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.there = nn.Parameter(torch.torch.ones(4, 4))
            self.back = self.there

        def forward(self, x):
            return (x @ self.there) @ self.back

    network = torch.impl.make_tunable(Twice(), 2, where="*")
    network.assign(
        {
            name: value + np.arange(value.size).reshape(value.shape).astype("f")
            for name, value in network.weights().items()
        }
    )
    x, omega = torch.tensors([np.eye(4, dtype=np.float32), np.float32([0.3, 0.8])])
    kernel = np.tensordot([1, 0.3, 0.8], network.weights()["there.weight"].astype(float), 1)
    assert relative_error(torch.array(network(x, omega)), kernel @ kernel) <= NETWORK


def test_shared_layers_stay_shared(twin):
    network, tensors = made(twin, "tied", "back")
    assert set(tensors) == {"back.weight", "back.bias", "there.bias"}
    assert network.left["there"].endswith("shares there.weight with back, and is tunable in that")
    parameters = twin.module("parameters").entries(twin.impl.fold(network, *twin.tensors([omega_of("inside")])))
    assert list(parameters) == ["there.weight", "there.bias", "back.bias"]


@pytest.mark.parametrize("label", ["inside", "per sample"])
def test_inputs_by_name(twin, arrays, label):
    """In MindSpore's graph mode too."""
    network, _ = made(twin, "guided")
    x, omega = arrays("guided"), omega_of(label)
    expected = call(twin, network, x, omega)
    first, guide, at = twin.tensors([*x, omega])
    for mode in ("pynative", "graph") if twin.name == "mindspore" else ("eager",):
        with twin.module("ops").running(mode) if twin.name == "mindspore" else nullcontext():
            result = strangers.flat(network(first, guide=guide, omega=at))
        assert all(relative_error(twin.array(value), expected[place]) <= NETWORK for place, value in result.items())


def test_batch_norms_in_training_take_one_omega(twin, arrays):
    network, _ = made(twin, "depthwise")
    network = network.train() if twin.name == "torch" else network.set_train()
    x = arrays("depthwise")
    call(twin, network, x, omega_of("inside"))
    with pytest.raises(OmegaError, match="a batch norm in training mixes the samples"):
        call(twin, network, x, omega_of("per sample"))
