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
from tunable import retrofit
from tunable.errors import CheckpointError, OmegaError, TunableError
from tunable.specs.networks import NAFNetSpec, ResNetSpec, SwinIRSpec
from tunable.tolerances import TOLERANCES, joint_error, relative_error

NAMES = tuple(strangers.INPUTS)
SOME = ("unet", "attention", "tied", "heads")
OMEGAS = {
    "origin": (0, 0),
    "corner": (1, 0),
    "inside": (0.3, 0.8),
    "outside": (-0.5, 1.5),
    "per sample": ((0.3, 0.8), (1, 0.1)),
}
NETWORK, GRADIENT = TOLERANCES["network"].limit, TOLERANCES["layer gradient"].limit


def omega_of(label: str) -> np.ndarray:
    return np.array(OMEGAS[label], np.float32)


def call(twin, network, arrays, *omega) -> dict[str, np.ndarray]:
    """The outputs of a network, by place."""
    found = strangers.flat(network(*twin.tensors([*arrays, *omega])))
    return {place: twin.array(value) for place, value in found.items()}


def made(twin, name, where=None, phi="base", **options):
    """The network of this name with knobs, its weights moved away from the start; what its file holds."""
    network = twin.impl.make_tunable(strangers.build(name, twin.name), 2, where=where, phi=phi, **options)
    rng = np.random.default_rng(3)
    far = 0.3 if phi == "se" else 0.05  # a softmax keeps alphas, and so outputs, closer together
    tensors = {
        local: (value + (0 if "running" in local else far) * rng.standard_normal(value.shape)).astype(np.float32)
        for local, value in sorted(network.weights().items())
    }
    network.assign(tensors)
    return network, tensors


def ordinary(twin, name, weights: dict[str, np.ndarray]):
    """The ordinary network of this name with these weights."""
    network, parameters = strangers.build(name, twin.name), twin.module("parameters")
    for local, each in {**parameters.held(network), **parameters.statistics(network)}.items():
        parameters.set_value(each, weights[local].astype(np.float32))
    return network


def rows(arrays, n):
    return [array[n : n + 1] for array in arrays]


@pytest.fixture
def arrays(rng):
    return lambda name: strangers.inputs(name, rng)


@pytest.mark.parametrize("phi", ["base", "affine", "se"])
@pytest.mark.parametrize("name", NAMES)
def test_every_omega_starts_as_the_given_network(twin, arrays, name, phi):
    given, x = strangers.build(name, twin.name), arrays(name)
    wanted = call(twin, given, x)
    network = twin.impl.make_tunable(given, 2, where="*", phi=phi)
    for label in OMEGAS:
        found = call(twin, network, x, omega_of(label))
        for place, value in found.items():
            if phi == "base" and label != "per sample":  # the very same operations on the very same numbers
                assert np.array_equal(value, wanted[place]), (label, place)
            assert relative_error(value, wanted[place]) <= 1e-6, (label, place)


@pytest.mark.parametrize("phi", ["base", "affine", "se"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_learnt_is_the_sum_of_the_files_kernels(twin, arrays, name, phi):
    network, tensors = made(twin, name, "*", phi)
    assert network.left == {} and set(network.plan.tensors) == set(twin.module("parameters").held(network.network))
    x, seen = arrays(name), []
    for label in OMEGAS:
        omega = omega_of(label)
        found = call(twin, network, x, omega)
        if omega.ndim == 2:
            parts = [
                call(twin, ordinary(twin, name, strangers.mixed(tensors, network.plan, row)), rows(x, n))
                for n, row in enumerate(omega)
            ]
            wanted = {place: np.concatenate([part[place] for part in parts]) for place in found}
        else:
            wanted = call(twin, ordinary(twin, name, strangers.mixed(tensors, network.plan, omega)), x)
        for place, value in found.items():
            assert relative_error(value, wanted[place]) <= NETWORK, (label, place)
        seen.append(np.concatenate([np.ravel(value) for value in found.values()]))
    assert min(relative_error(a, b) for i, a in enumerate(seen) for b in seen[:i]) > 1e-3, "omega changes nothing"


@pytest.mark.parametrize("name", NAMES)
def test_folding_gives_the_given_class_back(twin, arrays, name):
    given = strangers.build(name, twin.name)
    names = list(twin.module("parameters").held(given))
    network, _ = made(twin, name, "*")
    x, omega = arrays(name), omega_of("inside")
    wanted = call(twin, network, x, omega)
    folded = twin.impl.fold(network, *twin.tensors([omega]))
    assert type(folded) is type(given) and list(twin.module("parameters").held(folded)) == names
    assert {type(part) for part in twin.modules(folded)} == {type(part) for part in twin.modules(given)}
    for place, value in call(twin, folded, x).items():
        assert relative_error(value, wanted[place]) <= NETWORK, place
    assert all(
        np.array_equal(a, b) for a, b in zip(call(twin, network, x, omega).values(), wanted.values(), strict=True)
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
                wanted = strangers.exact(name, strangers.mixed(tensors, network.plan, omega_of(label)), x)
                for place, value in call(reader, again, x, omega_of(label)).items():
                    assert relative_error(value, wanted[place]) <= NETWORK, (reader.name, label, place)


def gradients(twin, network, x, omega, weights):
    """Of a smooth loss: in x and omega, and in every tensor of the file."""
    factors = dict(zip(weights, twin.tensors(weights.values()), strict=True))

    def loss(*tensors):
        found = strangers.flat(network(*tensors))
        return sum((found[place] * factor).mean() for place, factor in factors.items())

    held = [each for parts in network._stored().values() for each in parts]
    owned = Trained(twin, network)
    _, found = twin.differentiate(loss, [*x, omega], owned)
    by_value = dict(zip(map(id, owned.found), found[len(x) + 1 :], strict=True))
    trained = {
        id(each.value): by_value[id(each.value)].reshape(each.shape) for each in held if id(each.value) in by_value
    }
    names = {
        local: retrofit.stacked([trained[id(each.value)] for each in parts])
        for local, parts in network._stored().items()
        if all(id(each.value) in trained for each in parts) and "running" not in local
    }
    return found[: len(x)], found[len(x)], names


@pytest.mark.parametrize("label", ["inside", "per sample"])
@pytest.mark.parametrize("name", SOME)
def test_gradients_are_the_same_in_both(twins, arrays, name, label, rng):
    x, omega, found = arrays(name), omega_of(label), {}
    for twin in twins:
        network, _ = made(twin, name, "*")
        outputs = call(twin, network, x, omega)
        weights = {place: np.random.default_rng(8).standard_normal(value.shape) for place, value in outputs.items()}
        found[twin.name] = gradients(twin, network, x, omega, weights)
    (x1, omega1, names1), (x2, omega2, names2) = found["torch"], found["mindspore"]
    assert names1.keys() == names2.keys() and joint_error(names2, names1) <= GRADIENT
    assert max(relative_error(b, a) for a, b in zip(x1, x2, strict=True)) <= GRADIENT
    assert np.abs(omega1).min() > 0
    assert np.isnan(omega2).all(), "MindSpore cannot tell it, and must not say zero"


@pytest.mark.parametrize("name", SOME)
def test_the_gradient_of_omega(twins, arrays, name):
    """torch's against differences of float64 outputs; MindSpore's is that of its parameter `omega`."""
    torch, mindspore = twins
    x, omega = arrays(name), omega_of("inside")
    network, tensors = made(torch, name, "*")
    weights = {p: np.random.default_rng(8).standard_normal(v.shape) for p, v in call(torch, network, x, omega).items()}

    def exact(point):
        found = strangers.exact(name, strangers.mixed(tensors, network.plan, point), x)
        return sum(np.mean(found[place] * weight.astype(np.float32)) for place, weight in weights.items())

    step = 1e-5
    wanted = [(exact(omega + e * step) - exact(omega - e * step)) / (2 * step) for e in np.eye(2)]
    assert relative_error(gradients(torch, network, x, omega, weights)[1], wanted) <= GRADIENT
    network, _ = made(mindspore, name, "*")
    network.omega.requires_grad = True
    factors = dict(zip(weights, mindspore.tensors(weights.values()), strict=True))

    def loss(*inputs):
        found = strangers.flat(network(*inputs))
        return sum((found[place] * factor).mean() for place, factor in factors.items())

    found = mindspore.ms.grad(loss, None, network.omega)(*mindspore.tensors([*x, omega]))
    assert relative_error(mindspore.array(found), wanted) <= GRADIENT


def test_torch_puts_the_given_weights_back(torch, arrays):
    """The very same parameters, after a call and after one that fails; copies have their own."""
    network, _ = made(torch, "tied", "*")
    x, omega, before = arrays("tied"), omega_of("inside"), dict(network.named_parameters())
    wanted = call(torch, network, x, omega)
    for wrong in (False, True):
        with pytest.raises(RuntimeError) if wrong else nullcontext():
            call(torch, network, [array[..., :-1] for array in x] if wrong else x, omega)
        assert all(value is before[name] for name, value in network.named_parameters())
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    network.assign({name: value * 2 for name, value in network.weights().items()})
    for each in copies:
        assert all(np.array_equal(value, wanted[place]) for place, value in call(torch, each, x, omega).items())


def test_torch_compiles_it_once(torch, arrays):
    """omega changes between calls without a compilation; gradients through the compiler's own backward."""
    torch.torch._dynamo.reset()
    for name in ("unet", "attention"):
        network, _ = made(torch, name)
        compiled, count = torch.torch.compile(network, dynamic=False), []
        x = arrays(name)
        for label in ("corner", "inside", "origin"):
            for place, value in call(torch, compiled, x, omega_of(label)).items():
                wanted = call(torch, network, x, omega_of(label))[place]
                assert relative_error(value, wanted) <= NETWORK, (name, label)
            count.append(torch.torch._dynamo.utils.counters["stats"]["unique_graphs"])
        assert count[0] == count[-1], "omega changed, and it was compiled again"


@pytest.mark.parametrize("name", ["unet", "attention", "reused"])
def test_torch_exports_it_with_omega_as_an_input(torch, arrays, tmp_path, name):
    """By torch's own exporter; another omega than the one it was exported with."""
    import onnxruntime

    network, _ = made(torch, name)
    x, path = arrays(name), tmp_path / "net.onnx"
    with torch.module("exports")._quiet():
        example = tuple(torch.tensors([*x, omega_of("inside")]))
        torch.torch.onnx.export(network, example, path, input_names=["image", "omega"], dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": x[0], "omega": omega_of("corner")})
    assert relative_error(found, call(torch, network, x, omega_of("corner"))[""]) <= TOLERANCES["export"].limit


@pytest.mark.parametrize("name", ["unet", "attention", "reused"])
def test_mindspore_exports_it_with_omega_as_an_input(mindspore, arrays, tmp_path, name):
    """As MINDIR, by MindSpore's own call; other omega than the one it was exported with."""
    ms, path = mindspore.ms, tmp_path / "net.mindir"
    network, _ = made(mindspore, name)
    x = arrays(name)
    with mindspore.module("ops").running("graph"):
        example = mindspore.tensors([*x, omega_of("inside")])
        ms.export(network, *example, file_name=str(path), file_format="MINDIR")
        graph = ms.nn.GraphCell(ms.load(str(path)))
        for label in ("corner", "inside", "origin"):
            found = mindspore.array(graph(*mindspore.tensors([*x, omega_of(label)])))
            wanted = call(mindspore, network, x, omega_of(label))[""]
            assert relative_error(found, wanted) <= TOLERANCES["export"].limit, label


def test_graph_mode_compiles_it_once(mindspore, arrays):
    """All networks in graph mode: equal to PyNative, and omega changes without a compilation."""
    for name in NAMES:
        network, _ = made(mindspore, name, "*")
        x = arrays(name)
        wanted = {label: call(mindspore, network, x, omega_of(label)) for label in OMEGAS}
        with mindspore.module("ops").running("graph"):
            for label in ("corner", "inside", "origin", "outside"):
                for place, value in call(mindspore, network, x, omega_of(label)).items():
                    assert relative_error(value, wanted[label][place]) <= NETWORK, (name, label, place)
                assert len(network.compile_cache) == 1, "omega changed, and it was compiled again"
            if name not in SOME:  # a graph of its own
                continue
            for place, value in call(mindspore, network, x, omega_of("per sample")).items():
                assert relative_error(value, wanted["per sample"][place]) <= NETWORK, (name, place)


@pytest.mark.parametrize("options", [{"phi": "affine"}, {"phi": "se"}, {"train": "differences", "rank": 1}])
def test_every_kind_of_kernels_in_graph_mode(mindspore, arrays, options):
    """Outputs, and gradients in all that is trained, as in PyNative."""
    network, _ = made(mindspore, "unet", **options)
    x, trained = arrays("unet"), Trained(mindspore, network)
    (weight,) = mindspore.tensors([np.random.default_rng(8).standard_normal((2, 3, 8, 12))])

    def loss(image, omega):
        return (network(image, omega) * weight).mean()

    gradient = mindspore.ms.value_and_grad(loss, None, trained.found)
    for label in ("inside", "per sample"):
        inputs = mindspore.tensors([*x, omega_of(label)])
        value, wanted = gradient(*inputs)
        found_value, found = mindspore.ms.jit(gradient)(*inputs)
        assert relative_error(mindspore.array(found_value), mindspore.array(value)) <= NETWORK
        for one, other in zip(found, wanted, strict=True):
            assert relative_error(mindspore.array(one), mindspore.array(other)) <= GRADIENT
        assert any(np.abs(mindspore.array(one)).max() > 0 for one in found)


def test_graph_mode_sees_weights_that_change(mindspore, arrays):
    """A parser that takes a property for a constant would not."""
    network, tensors = made(mindspore, "unet", "*")
    x, omega = arrays("unet"), omega_of("inside")
    with mindspore.module("ops").running("graph"):
        call(mindspore, network, x, omega)
        moved = {local: (value * 1.5).astype(np.float32) for local, value in tensors.items()}
        network.assign(moved)
        found = call(mindspore, network, x, omega)
    wanted = call(mindspore, ordinary(mindspore, "unet", strangers.mixed(moved, network.plan, omega)), x)
    assert relative_error(found[""], wanted[""]) <= NETWORK


@pytest.mark.parametrize("options", [{}, {"phi": "affine"}, {"phi": "se"}, {"train": "differences", "rank": 1}])
def test_mixed_precision_sums_kernels_exactly(twins, options, rng):
    """A network that tells its matrix: float32, and as near as without, though the product with it is in half."""
    torch, mindspore = twins
    x, omega = rng.standard_normal((2, 5)).astype(np.float32), omega_of("inside")

    class OfTorch(torch.torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = torch.torch.nn.Linear(5, 4, bias=False)

        def forward(self, x):
            return self.dense(x), self.dense.weight * 1

    class OfMindSpore(mindspore.ms.nn.Cell):
        def __init__(self):
            super().__init__()
            self.dense = mindspore.ms.nn.Dense(5, 4, has_bias=False)

        def construct(self, x):
            return self.dense(x), self.dense.weight * 1

    def moved(twin, given):
        network, far = twin.impl.make_tunable(given, 2, **options), np.random.default_rng(3)
        tensors = sorted(network.weights().items())
        network.assign({name: (v + far.standard_normal(v.shape)).astype(np.float32) for name, v in tensors})
        return network

    def check(twin, mixed, plain, half):
        (product, kernel), (_, wanted) = (found(*twin.tensors([x, omega])) for found in (mixed, plain))
        assert product.dtype == half and kernel.dtype == wanted.dtype != half
        assert relative_error(twin.array(kernel), twin.array(wanted)) <= TOLERANCES["layer"].limit

    network, half = moved(torch, OfTorch()), torch.torch.bfloat16
    check(torch, torch.torch.autocast(torch.device, half)(network), network, half)
    given, half = OfMindSpore(), mindspore.ms.float16
    for mode in ("pynative", "graph"):
        mixed = mindspore.ms.amp.auto_mixed_precision(moved(mindspore, given), "auto", half)
        with mindspore.module("ops").running(mode):
            check(mindspore, mixed, moved(mindspore, given), half)


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
    wanted = call(twin, plain, [x])[""]
    free = {"resnet": [], "swinir": ["*table"], "nafnet": ["*.beta", "*.gamma"]}[name]
    network = twin.impl.make_tunable(plain, 2, where=[usual(twin), *free])
    for label in OMEGAS:
        assert relative_error(call(twin, network, [x], omega_of(label))[""], wanted) <= 1e-6
    tensors = {
        local: (value + 0.02 * rng.standard_normal(value.shape)).astype(np.float32)
        for local, value in network.weights().items()
    }
    network.assign(tensors)
    tunable = twin.backend.build(SPECS[name].model_copy(update={"tunable": True, "phi": "base"}), 2)
    assert {s.name: tuple(s.shape) for s in twin.backend.specs(tunable)} == {n: v.shape for n, v in tensors.items()}
    twin.backend.assign(tunable, tensors)
    for label in OMEGAS:
        found = call(twin, network, [x], omega_of(label))[""]
        assert relative_error(found, call(twin, tunable, [x], omega_of(label))[""]) <= TOLERANCES["folded"].limit


def usual(twin):
    """What becomes tunable unasked, as a predicate."""
    places = twin.module("parameters").places
    return lambda name, layer: any(place.usual and place.name == "" for place in places(layer))


@pytest.mark.parametrize("rank", [0, 1])
def test_differences_alone(twin, tmp_path, arrays, rank):
    """A frozen base, and a small file that belongs to it."""
    given = strangers.build("unet", twin.name)
    parameters = twin.module("parameters")
    before = {name: parameters.array(each) for name, each in parameters.held(given).items()}
    network, tensors = adapted(twin, given, rank)
    assert all(parameters.held(network.network)[name].value.requires_grad is False for name in before)
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
    wanted = call(twin, ordinary(twin, "unet", mixed), x)[""]
    again = twin.impl.load_tuned(path, base=given)
    assert relative_error(call(twin, again, x, omega)[""], wanted) <= NETWORK
    folded = twin.impl.fold(again, *twin.tensors([omega]))
    assert relative_error(call(twin, folded, x)[""], wanted) <= NETWORK
    assert all(each.value.requires_grad for each in parameters.held(folded).values())
    with pytest.raises(CheckpointError, match="differences from other weights"):
        twin.impl.load_tuned(path, base=strangers.build("unet", twin.name, seed=1))


def adapted(twin, given, rank):
    network = twin.impl.make_tunable(given, 2, train="differences", rank=rank)
    rng = np.random.default_rng(3)
    tensors = {
        local: (value + 0.05 * rng.standard_normal(value.shape)).astype(np.float32)
        for local, value in sorted(network.weights().items())
    }
    network.assign(tensors)
    return network, tensors


class Trained:
    """The parameters of a network that are trained, as the twins list them."""

    def __init__(self, twin, network):
        listed = network.parameters() if twin.name == "torch" else network.get_parameters()
        self.found = [value for value in listed if value.requires_grad]

    def parameters(self):
        return self.found

    get_parameters = parameters


def test_it_learns(twin, rng):
    """Two targets, one for each corner: the differences grow, and the corners part. The base, frozen, stays."""
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    network = twin.impl.make_tunable(strangers.build("reused", twin.name), 2, train="differences")
    parameters = twin.module("parameters")
    base = {name: parameters.array(each) for name, each in parameters.held(network.network).items()}
    targets = {"corner": 0.5 * x, "other": -0.5 * x}
    omegas = {"corner": omega_of("corner"), "other": np.array([0, 1], np.float32)}

    def distance(label):
        return float(np.mean((call(twin, network, [x], omegas[label])[""] - targets[label]) ** 2))

    started = {label: distance(label) for label in targets}
    trained = Trained(twin, network)
    for _ in range(60):
        for label, target in targets.items():
            (goal,) = twin.tensors([target])

            def loss(inputs, omega, goal=goal):
                return ((network(inputs, omega) - goal) ** 2).mean()

            _, found = twin.differentiate(loss, [x, omegas[label]], trained)
            for value, gradient in zip(trained.get_parameters(), found[2:], strict=True):
                each = retrofit.Held(value, gradient.shape)
                parameters.set_value(each, parameters.array(each) - 0.1 * gradient)
    assert all(distance(label) < 0.5 * started[label] for label in targets), "the knobs learnt nothing"
    after = {name: parameters.array(each) for name, each in parameters.held(network.network).items()}
    assert all(np.array_equal(after[name], value) for name, value in base.items())


def test_end_points_become_a_network_that_interpolates_them(twin, arrays):
    """At the unit vectors each of them, between them their weights' interpolation, norms and all."""
    rng, ends, parameters = np.random.default_rng(4), [], twin.module("parameters")
    for _ in range(3):
        network = strangers.build("attention", twin.name)
        for each in parameters.held(network).values():
            parameters.set_value(
                each, parameters.array(each) + 0.1 * rng.standard_normal(each.shape).astype(np.float32)
            )
        ends.append(network)
    network, x = twin.impl.from_endpoints(*ends), arrays("attention")
    assert network.num_objectives == 3 and network.plan.phi == "identity"
    for corner, end in zip(np.eye(3, dtype=np.float32), ends, strict=True):
        assert relative_error(call(twin, network, x, corner)[""], call(twin, end, x)[""]) <= 1e-6
    omega = np.array([0.2, 0.5, 0.3], np.float32)
    held = [{name: parameters.array(each) for name, each in parameters.held(end).items()} for end in ends]
    mean = {name: sum(w * found[name] for w, found in zip(omega, held, strict=True)) for name in held[0]}
    wanted = call(twin, ordinary(twin, "attention", mean), x)[""]
    assert relative_error(call(twin, network, x, omega)[""], wanted) <= NETWORK


def test_end_points_that_cannot_be_interpolated(twin):
    parameters = twin.module("parameters")
    with pytest.raises(TunableError, match="two or more networks can be interpolated, not 1"):
        twin.impl.from_endpoints(strangers.build("unet", twin.name))
    with pytest.raises(TunableError, match="networks 1 and 2 differ in"):
        twin.impl.from_endpoints(strangers.build("unet", twin.name), strangers.build("reused", twin.name))
    first, other = (strangers.build("depthwise", twin.name) for _ in range(2))
    each = parameters.statistics(other)["norm1.running_mean"]
    parameters.set_value(each, np.ones(each.shape, np.float32))
    with pytest.raises(TunableError, match=r"differ in 'norm1.running_mean': running statistics do not follow omega"):
        twin.impl.from_endpoints(first, other)


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


def test_recomputation_inside_is_refused(torch):
    """torch.utils.checkpoint would see the given weights in the backward pass; of the whole network it is right."""
    checkpoint, nn = torch.torch.utils.checkpoint.checkpoint, torch.torch.nn

    class Recomputed(nn.Module):
        def __init__(self, within):
            super().__init__()
            self.conv, self.within = nn.Conv2d(3, 3, 3), within

        def forward(self, x):
            return checkpoint(self.conv, x, use_reentrant=False) if self.within else self.conv(x)

    x, omega = torch.tensors([np.ones((2, 3, 5, 6), np.float32), np.float32([0.3, 0.8])])
    inside, plain = (torch.impl.make_tunable(Recomputed(within), 2) for within in (True, False))
    with pytest.raises(TunableError, match="Conv2d is run again in the backward pass"):
        inside(x, omega).square().sum().backward()
    gradients = []
    for run in (plain, lambda x, omega: checkpoint(plain, x, omega, use_reentrant=False)):
        plain.zero_grad()
        run(x, omega).square().sum().backward()
        gradients.append([torch.array(value.grad) for value in plain.parameters()])
    assert all(np.array_equal(a, b) for a, b in zip(*gradients, strict=True)) and np.any(gradients[0][-1])
    folded = inside.fold(omega)
    folded(x).square().sum().backward()  # is an ordinary network again


def test_recomputation_inside_in_mindspore(mindspore):
    """Refused in PyNative mode, where kernels would get no gradient; right in graphs, and of the whole network."""
    ms, nn = mindspore.ms, mindspore.ms.nn

    class Whole(nn.Cell):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def construct(self, x):
            return self.conv(x)

    class ByFunction(Whole):  # which graphs do not know
        def construct(self, x):
            return ms.recompute(self.conv, x)

    inputs = mindspore.tensors([np.ones((2, 3, 5, 6), np.float32), np.float32([0.3, 0.8])])

    def gradient(tuned, whole=False):
        def loss(x, omega):
            return ((ms.recompute(tuned, x, omega) if whole else tuned(x, omega)) ** 2).sum()

        return [mindspore.array(v) for v in ms.value_and_grad(loss, None, list(tuned.trainable_params()))(*inputs)[1]]

    plain, inside = (mindspore.impl.make_tunable(network, 2) for network in (Whole(), ByFunction()))
    wanted = gradient(plain)
    assert all(np.array_equal(a, b) for a, b in zip(gradient(plain, whole=True), wanted, strict=True))
    plain.network.conv.recompute()
    for network in (plain, inside):
        with pytest.raises(TunableError, match="Conv2d recomputes, or is run without its tuned network"):
            gradient(network)
    with mindspore.module("ops").running("graph"):
        found = gradient(plain)
    assert all(relative_error(a, b) <= GRADIENT and np.any(b) for a, b in zip(found, wanted, strict=True))


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
    held = twin.module("parameters").held(twin.impl.fold(network, *twin.tensors([omega_of("inside")])))
    assert list(held) == ["there.weight", "there.bias", "back.bias"]


WRONG = {
    "a misspelt name": ({"where": "qvk"}, "no layer or parameter is called 'qvk' .did you mean 'qkv'"),
    "a class it lacks": ({"where": dict}, "no layer of class dict"),
    "no where at all": ({"where": 5}, "a pattern of names, a class, a predicate or a list of these, not 5"),
    "nothing left": ({"where": lambda name, layer: False}, "nothing of this network becomes tunable: it holds"),
    "identity": ({"phi": "identity"}, "only where omega sums to one: take base, affine or se"),
    "unknown phi": ({"phi": "afine"}, "unknown phi 'afine' .did you mean 'affine'"),
    "unknown training": ({"train": "diferences"}, "unknown train 'diferences' .did you mean 'differences'"),
    "affine differences": ({"phi": "affine", "train": "differences"}, "only phi base has differences"),
    "a rank for all": ({"rank": 2}, "a rank is for train='differences'"),
    "a negative rank": ({"train": "differences", "rank": -1}, "rank must be 0 .any. or more, not -1"),
    "no objectives": ({"num_objectives": 0}, "num_objectives must be 1 or more, not 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_line_for_what_cannot_be(twin, name):
    options, message = WRONG[name]
    with pytest.raises(TunableError, match=message):
        twin.impl.make_tunable(strangers.build("attention", twin.name), **{"num_objectives": 2, **options})


def test_networks_that_cannot_be_given(twin):
    with pytest.raises(TunableError, match="must be a .*, not int"):
        twin.impl.make_tunable(3, 2)
    network, _ = made(twin, "unet")
    with pytest.raises(TunableError, match="TunedNetwork is tunable already"):
        twin.impl.make_tunable(network, 2)
    with pytest.raises(TunableError, match="ResNet is tunable already: it holds a TunableConv2d"):
        twin.impl.make_tunable(twin.backend.build(ResNetSpec(channels=4, blocks=1), 2), 2)


def test_omegas_that_cannot_be(twin, arrays):
    network, _ = made(twin, "guided")
    x = arrays("guided")
    with pytest.raises(OmegaError, match=r"omega, the last input, must be a tensor \(2,\) or \(N, 2\), not list"):
        network(*twin.tensors(x), [0.3, 0.8])
    with pytest.raises(OmegaError, match=r"must be .* \(2,\) or \(N, 2\), not .* of shape \(3,\)"):
        call(twin, network, x, np.zeros(3))
    with pytest.raises(OmegaError, match=r"omega has 3 rows, one per sample, but an input has shape \(2, 3, 8, 7\)"):
        call(twin, network, x, np.zeros((3, 2)))


@pytest.mark.parametrize("label", ["inside", "per sample"])
def test_inputs_by_name(twin, arrays, label):
    """In MindSpore's graph mode too."""
    network, _ = made(twin, "guided")
    x, omega = arrays("guided"), omega_of(label)
    wanted = call(twin, network, x, omega)
    first, guide, at = twin.tensors([*x, omega])
    for mode in ("pynative", "graph") if twin.name == "mindspore" else ("eager",):
        with twin.module("ops").running(mode) if twin.name == "mindspore" else nullcontext():
            found = strangers.flat(network(first, guide=guide, omega=at))
        assert all(relative_error(twin.array(value), wanted[place]) <= NETWORK for place, value in found.items())


@pytest.mark.parametrize("rows", [None, 2])
def test_outputs_without_a_row_per_sample_are_refused(twins, rows):
    """A number for the whole batch, or two rows for a sample, cannot be put together; in a graph neither."""
    torch, mindspore = twins
    x = np.ones((2, 5), np.float32)

    class OfTorch(torch.torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = torch.torch.nn.Linear(5, 4)

        def forward(self, x):
            y = self.dense(x)
            return y.sum() if rows is None else y.reshape(-1, 2)

    class OfMindSpore(mindspore.ms.nn.Cell):
        def __init__(self):
            super().__init__()
            self.dense = mindspore.ms.nn.Dense(5, 4)

        def construct(self, x):
            y = self.dense(x)
            return y.sum() if rows is None else y.reshape(-1, 2)

    with pytest.raises(OmegaError, match="outputs must have one row per sample"):
        call(torch, torch.impl.make_tunable(OfTorch(), 2), [x], omega_of("per sample"))
    network = mindspore.impl.make_tunable(OfMindSpore(), 2)
    for mode in ("pynative", "graph"):
        with mindspore.module("ops").running(mode), pytest.raises(ValueError, match="outputs must have one row per"):
            call(mindspore, network, [x], omega_of("per sample"))


def test_batch_norms_in_training_take_one_omega(twin, arrays):
    network, _ = made(twin, "depthwise")
    network = network.train() if twin.name == "torch" else network.set_train()
    x = arrays("depthwise")
    call(twin, network, x, omega_of("inside"))
    with pytest.raises(OmegaError, match="a batch norm in training mixes the samples"):
        call(twin, network, x, omega_of("per sample"))


def test_files_that_do_not_fit(twin, tmp_path):
    network, _ = made(twin, "unet")
    path = tmp_path / "unet.safetensors"
    network.save(path)
    with pytest.raises(CheckpointError, match="makes '.*' tunable, which the network does not hold"):
        twin.impl.load_tuned(path, base=strangers.build("reused", twin.name))
    with pytest.raises(CheckpointError, match="no such weights file"):
        twin.impl.load_tuned(tmp_path / "none.safetensors", base=strangers.build("unet", twin.name))


def test_what_torch_cannot_make_tunable(torch):
    """Listed when it stands beside others, refused when it is asked for."""
    nn = torch.torch.nn

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.lstm = nn.LSTM(3, 3)
            self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
            self.lazy = nn.LazyLinear(3)
            self.count = nn.Parameter(torch.torch.zeros(2, dtype=torch.torch.int64), requires_grad=False)

    left = torch.impl.make_tunable(Odd(), 2).left
    reasons = {
        "lstm": "LSTM: its computation holds its weights by other ways than their names",
        "lazy": "LazyLinear: it has no shape yet: run the network once first",
        "count": "parameter: its values are torch.int64",
    }
    assert {name: left[name] for name in reasons} == reasons
    assert "its weight is computed from other parameters" in left["normed"]
    for name in (*reasons, "normed"):
        with pytest.raises(TunableError, match=f"{name} .* cannot become tunable"):
            torch.impl.make_tunable(Odd(), 2, where=name)


def test_a_kernel_that_was_taken_away_afterwards(torch):
    """Pruning and parametrizations put something computed in its place, in which no omega would be."""
    from torch.nn.utils import prune

    nn = torch.torch.nn
    x, omega = torch.tensors([np.ones((1, 3, 4, 4)), np.array([0.5, 0.5])])
    for take in (
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        nn.utils.parametrizations.weight_norm,
    ):
        network = torch.impl.make_tunable(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)), 2)
        take(network.network[2])
        with pytest.raises(TunableError, match="2.weight is no longer a parameter.*fold"):
            network(x, omega)
        with pytest.raises(TunableError, match="2.weight is no longer a parameter.*fold"):
            network.fold(omega)


def test_a_layer_that_was_exchanged_afterwards(twin, rng):
    """What is in its place follows no omega: refused when called and when folded, in copies too."""
    tuned = twin.impl.make_tunable(strangers.build("unet", twin.name), 2)
    x, omega = twin.tensors([strangers.inputs("unet", rng)[0], np.float32([0.5, 0.5])])
    other = copy.deepcopy(tuned)
    tuned(x, omega)
    for network in (tuned, other):
        network.network.last = strangers.build("unet", twin.name, seed=1).last
        with pytest.raises(TunableError, match="last .Conv2d. was exchanged after make_tunable"):
            network(x, omega)
        with pytest.raises(TunableError, match="last .Conv2d. was exchanged after make_tunable"):
            network.fold(omega)


def test_what_mindspore_cannot_make_tunable(mindspore):
    nn = mindspore.ms.nn

    class Odd(nn.Cell):
        def __init__(self):
            super().__init__()
            self.dense = nn.Dense(3, 3)
            self.lstm = nn.LSTM(3, 3)

    assert "it holds parameters in a tuple" in mindspore.impl.make_tunable(Odd(), 2).left["lstm"]
    with pytest.raises(TunableError, match="lstm .LSTM. cannot become tunable"):
        mindspore.impl.make_tunable(Odd(), 2, where="lstm")
