"""make_tunable of networks as people have them: wrapped, half frozen, of other dtypes, with kernels kept elsewhere."""

import copy
import functools
from types import SimpleNamespace

import numpy as np
import pytest

from parity_tests import strangers
from parity_tests.tuned import GRADIENT, NETWORK, Trained, call, gradients, made, omega_of
from tunable import retrofit
from tunable.errors import TunableError
from tunable.tolerances import relative_error
from tunable.weights import retrofitted, storage


def moved(twin, network, far=0.1):
    """The network with all that it learns moved away from its start."""
    rng = np.random.default_rng(3)
    network.assign({n: v + (far * rng.standard_normal(v.shape)).astype(v.dtype) for n, v in network.weights().items()})
    return network


def values_of(twin, network) -> dict:
    return {name: each.value for name, each in twin.module("parameters").entries(network).items()}


# how a network keeps a kernel beside its layer -> function(network, kernel) that puts it there, and how it is found
KEPT = {
    "list": lambda network, kernel: setattr(network, "own", [kernel]),
    "dictionary": lambda network, kernel: setattr(network, "own", {"a": kernel}),
    "tuple in a list": lambda network, kernel: setattr(network, "own", [(1, (kernel,))]),
    "object": lambda network, kernel: setattr(network, "own", SimpleNamespace(kernel=kernel)),
    "closure": lambda network, kernel: setattr(network, "own", lambda: kernel),
    "default": lambda network, kernel: setattr(network, "own", [functools.partial(print, kernel)]),
}


@pytest.mark.parametrize("how", KEPT)
def test_a_kernel_that_is_kept_elsewhere(twin, rng, how):
    """Its layer stays ordinary, and says why; asked for by name it is refused. All others are as ever."""
    given = strangers.build("unet", twin.name)
    KEPT[how](given, given.down.weight)
    network = moved(twin, twin.impl.make_tunable(given, 2))
    reason = "the network keeps it in own.* too, which would not follow omega"
    others = ("first", "up", "last")
    assert set(network.plan.tensors.values()) == {f"{name}.{local}" for name in others for local in ("weight", "bias")}
    with pytest.raises(TunableError, match=rf"down \(Conv2d\) cannot become tunable: {reason}"):
        twin.impl.make_tunable(given, 2, where="down")
    assert network.left["down"].startswith("Conv2d: the network keeps it in own")
    x, omega = strangers.inputs("unet", rng), omega_of("inside")
    (at,) = twin.tensors([omega])
    assert relative_error(call(twin, network.fold(at), x)[""], call(twin, network, x, omega)[""]) <= NETWORK


def test_nothing_else_is_held_to_be_kept_elsewhere(twin):
    kept = twin.module("parameters").kept
    assert all(kept(strangers.build(name, twin.name)) == {} for name in strangers.INPUTS)


def test_a_view_of_a_kernel_is_seen(torch):
    """As an attribute, as a buffer, as an array; and a layer that is not registered but holds the kernel."""
    nn = torch.torch.nn

    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d, self.free = (nn.Linear(4, 4) for _ in range(5))
            self.row = self.a.weight.detach()[1]
            self.register_buffer("other", self.b.weight.detach().t())
            self.array = {"c": self.c.bias.detach().cpu().numpy()}
            hidden = nn.Linear(4, 4)
            hidden.weight = self.d.weight
            self.hidden = [hidden]

    network = torch.impl.make_tunable(Views(), 2)
    assert set(network.plan.tensors) == {"free.weight", "free.bias"}
    places = {"a": "row", "b": "other", "c": "array", "d": "hidden"}
    assert all(f"keeps it in {place}" in network.left[name] for name, place in places.items())


@pytest.mark.parametrize("phi", ["affine", "se"])
def test_phi_learns(twin, rng, phi):
    """Its gradient is the slope of float64 outputs along a direction, and all of it is among what is trained."""
    network, tensors = made(twin, "tied", "*", phi)
    x, omega = strangers.inputs("tied", rng), omega_of("inside")
    weights = {p: np.random.default_rng(8).standard_normal(v.shape) for p, v in call(twin, network, x, omega).items()}
    _, _, slopes = gradients(twin, network, x, omega, weights)
    names = [name for name in tensors if ".phi." in name]
    assert {each.shape for each in (slopes[name] for name in names)} and len(names) == 2 * (2 if phi == "affine" else 4)
    direction = {name: rng.standard_normal(tensors[name].shape) for name in names}

    def exact(step):
        there = {name: value + step * direction.get(name, 0) for name, value in tensors.items()}
        outputs = strangers.exact("tied", strangers.mixed(there, network.plan, omega), x)
        return sum(np.mean(outputs[place] * weight.astype(np.float32)) for place, weight in weights.items())

    expected = (exact(1e-5) - exact(-1e-5)) / 2e-5
    slope = sum(np.sum(slopes[name] * direction[name]) for name in names)
    assert abs(expected) > 1e-4 and abs(slope - expected) <= 10 * GRADIENT * abs(expected)
    trained = {id(value) for value in Trained(twin, network).values}
    each = [part.value for name in names for part in network._stored()[name]]
    assert len(each) == len(names) and all(id(value) in trained for value in each)


@pytest.mark.parametrize("rank", [0, 2])
def test_differences_start_at_nothing_and_learn(twin, rng, rank):
    """Every omega gives the given network, to the bit; the slope of every difference, or of one factor, is there."""
    given = strangers.build("tied", twin.name)
    network = twin.impl.make_tunable(given, 2, train="differences", rank=rank, seed=3)
    x, omega = strangers.inputs("tied", rng), omega_of("inside")
    expected = call(twin, given, x)
    for label in ("corner", "inside", "outside"):
        result = call(twin, network, x, omega_of(label))
        assert all(np.array_equal(value, expected[place]) for place, value in result.items()), label
    weights = {place: rng.standard_normal(value.shape) for place, value in expected.items()}
    slopes = gradients(twin, network, x, omega, weights)[2]
    assert {name for name, slope in slopes.items() if not np.any(slope)} == {n for n in slopes if n.endswith(".down")}
    assert len(slopes) == (4 if rank else 3)  # a weight of two factors, two biases


def freeze(twin, network, names):
    for name, value in values_of(twin, network).items():
        if name in names:
            value.requires_grad = False


@pytest.mark.parametrize("options", [{}, {"phi": "affine"}, {"train": "differences"}, {"where": "last"}])
def test_a_fold_is_as_the_given_network_was(twin, rng, options):
    """Frozen what was frozen, in training what was; hooks, and whether it is a copy."""
    given, calls = strangers.build("unet", twin.name), []
    frozen = {"first.weight", "last.weight", "last.bias"}
    freeze(twin, given, frozen)
    given.down.train(True) if twin.name == "torch" else given.down.set_train(True)
    given.up.register_forward_hook(lambda *_: calls.append(1))
    network = moved(twin, twin.impl.make_tunable(given, 2, **options))
    x, omega = strangers.inputs("unet", rng), omega_of("inside")
    for each in (network, copy.deepcopy(network)) if twin.name == "torch" else (network,):
        folded = each.fold(*twin.tensors([omega]))
        values = values_of(twin, folded)
        assert {name for name, value in values.items() if not value.requires_grad} == frozen
        assert folded.down.training and not folded.first.training and not folded.training
        calls.clear()
        assert relative_error(call(twin, folded, x)[""], call(twin, each, x, omega)[""]) <= NETWORK
        assert len(calls) == 2
        assert not {id(value) for value in values.values()} & {id(v) for v in values_of(twin, each.network).values()}


def test_a_fold_takes_the_running_statistics(twin):
    network, _ = made(twin, "depthwise", "*")
    parameters = twin.module("parameters")
    for each in parameters.statistics(network.network).values():
        parameters.set_value(each, np.full(each.shape, 0.7, np.float32))
    folded = network.fold(*twin.tensors([omega_of("inside")]))
    statistics = {name: parameters.array(each) for name, each in parameters.statistics(folded).items()}
    assert len(statistics) == 4 and all(np.all(value == np.float32(0.7)) for value in statistics.values())


def in_dtype(twin, network, kind: str):
    """The network's parameters in another type."""
    if twin.name == "torch":
        return network.to(getattr(twin.torch, kind))
    for each in network.get_parameters():
        each.set_dtype(getattr(twin.ms, kind))
    return network


def test_files_hold_every_bit(twin, tmp_path, rng):
    """Of float32 and float64; read again, and folded, they are the same to the bit."""
    for kind in ("float32", "float64"):
        given = strangers.build("tied", twin.name)
        given = given if kind == "float32" else in_dtype(twin, given, kind)
        network, parameters = twin.impl.make_tunable(given, 2, where="*"), twin.module("parameters")
        expected = {name: rng.standard_normal(v.shape).astype(kind) for name, v in network.weights().items()}
        network.assign(expected)
        network.save(tmp_path / "knobs.safetensors")
        tensors, _ = storage.load_tensors(tmp_path / "knobs.safetensors")
        again = twin.impl.load_tuned(tmp_path / "knobs.safetensors", base=given)
        for restored in (network.weights(), tensors, again.weights()):
            assert restored.keys() == expected.keys()
            for name, value in expected.items():
                assert restored[name].dtype == kind and np.array_equal(restored[name], value), (kind, name)
        folded = again.fold(*twin.tensors([omega_of("corner")]))  # K + D_1, one sum
        for name, file in network.plan.tensors.items():
            value = parameters.array(parameters.entries(folded)[name])
            assert np.array_equal(value, expected[file][0] + expected[file][1]), (kind, name)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_networks_in_half(twin, tmp_path, kind):
    """Kernels are summed and stored in their own type, and files hold them exactly."""
    if (twin.name, kind) == ("mindspore", "bfloat16"):
        kind = "float16"  # on a CPU MindSpore moves no bfloat16
    given = in_dtype(twin, strangers.build("tied", twin.name), kind)
    network = moved(twin, twin.impl.make_tunable(given, 2, where="*"))
    expected = next(iter(values_of(twin, given).values())).dtype
    assert {value.dtype for value in values_of(twin, network.network).values()} == {expected}
    network.save(tmp_path / "knobs.safetensors")
    again = twin.impl.load_tuned(tmp_path / "knobs.safetensors", base=given)
    assert all(np.array_equal(again.weights()[name], value) for name, value in network.weights().items())
    folded = values_of(twin, again.fold(*twin.tensors([omega_of("inside")])))
    assert {value.dtype for value in folded.values()} == {expected}
    files, weights = network.plan.tensors, network.weights()
    for name, value in folded.items():
        exact = np.tensordot([1, 0.3, 0.8], weights[files[name]].astype(float), 1)
        result = twin.module("parameters").array(retrofit.Entry(value, tuple(value.shape)))
        assert relative_error(result, exact) <= (2e-3 if kind == "float16" else 2e-2)


WRAPPED = {
    "compiled": lambda torch, network, whole: torch.compile(network),
    "DataParallel": lambda torch, network, whole: torch.nn.DataParallel(network),
    "compiled DataParallel": lambda torch, network, whole: torch.compile(torch.nn.DataParallel(network)),
    "average": lambda torch, network, whole: torch.optim.swa_utils.AveragedModel(network),
    "inside": lambda torch, network, whole: whole(torch, network),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_network_has_the_names_of_the_plain_one(torch, tmp_path, rng, name):
    """Its file is read with the plain one, and its fold is that."""
    framework, plain = torch.torch, strangers.build("unet", "torch")

    def inside(framework, network):
        network = copy.deepcopy(network)
        network.down = framework.nn.DataParallel(network.down)
        network.up = framework.compile(network.up)
        return network

    given = WRAPPED[name](framework, plain, inside)
    network = moved(torch, torch.impl.make_tunable(given, 2))
    assert list(network.plan.tensors) == list(values_of(torch, plain))
    network.save(tmp_path / "knobs.safetensors")
    again = torch.impl.load_tuned(tmp_path / "knobs.safetensors", base=plain)
    x, omega = strangers.inputs("unet", rng), omega_of("inside")
    expected = call(torch, again, x, omega)[""]
    assert np.array_equal(call(torch, network, x, omega)[""], expected)
    folded = network.fold(*torch.tensors([omega]))
    assert type(folded) is type(plain) and list(values_of(torch, folded)) == list(values_of(torch, plain))
    assert relative_error(call(torch, folded, x)[""], expected) <= NETWORK


@pytest.mark.parametrize("train", retrofit.TRAIN)
def test_files_with_a_wrappers_names_are_read(twin, tmp_path, rng, train):
    """As they were once written, of all weights and of differences, for the plain network."""
    given, parameters = strangers.build("unet", twin.name), twin.module("parameters")
    network = moved(twin, twin.impl.make_tunable(given, 2, train=train))
    prefix, path = "module._orig_mod.", tmp_path / "old.safetensors"
    plan = network.plan.model_copy(
        update={"tensors": {prefix + a: prefix + b for a, b in network.plan.tensors.items()}}
    )
    weights = {prefix + name: parameters.array(each) for name, each in parameters.entries(given).items()}
    tensors = {prefix + name: value for name, value in network.weights().items()}
    retrofitted.save(path, tensors, plan, retrofitted.digest(weights))
    again, x = twin.impl.load_tuned(path, base=given), strangers.inputs("unet", rng)
    expected = call(twin, network, x, omega_of("inside"))[""]
    assert again.plan == network.plan and np.array_equal(call(twin, again, x, omega_of("inside"))[""], expected)


def test_mindspores_wrappers(mindspore, rng):
    """Mixed precision `O2` keeps its outputs' type, without a name; what spreads a network over devices goes."""
    from mindspore.parallel.auto_parallel import AutoParallel

    plain = strangers.build("unet", "mindspore")
    for given in (AutoParallel(strangers.build("unet", "mindspore")), mindspore.ms.amp.auto_mixed_precision(
        strangers.build("unet", "mindspore"), "O2"
    )):  # fmt: skip
        network = moved(mindspore, mindspore.impl.make_tunable(given, 2))
        assert list(network.plan.tensors) == list(values_of(mindspore, plain))
        x, omega = strangers.inputs("unet", rng), omega_of("inside")
        result = network.fold(*mindspore.tensors([omega]))
        assert relative_error(call(mindspore, result, x)[""], call(mindspore, network, x, omega)[""]) <= 1e-3


def test_data_parallel_copies_are_refused(torch, rng):
    """What DataParallel calls on several devices is a replica, made so."""
    network, _ = made(torch, "unet")
    x = torch.tensors(strangers.inputs("unet", rng))
    replica = network._replicate_for_data_parallel()
    with pytest.raises(TunableError, match="DataParallel runs copies, which would not follow omega"):
        replica(*x, *torch.tensors([omega_of("inside")]))


def test_distributed_data_parallel(torch, tmp_path, rng):
    """One process: outputs, and gradients of all that is trained, are the network's own."""
    distributed = torch.torch.distributed
    network, _ = made(torch, "unet")
    inputs = torch.tensors([*strangers.inputs("unet", rng), omega_of("inside")])
    network(*inputs).square().sum().backward()
    expected = {name: torch.array(value.grad) for name, value in network.named_parameters()}
    network.zero_grad()
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        parallel = torch.torch.nn.parallel.DistributedDataParallel(network)
        parallel(*inputs).square().sum().backward()
        given = torch.torch.nn.parallel.DistributedDataParallel(strangers.build("unet", "torch"))
        again = torch.impl.make_tunable(given, 2)
    finally:
        distributed.destroy_process_group()
    assert list(again.plan.tensors) == list(network.plan.tensors)
    for name, value in network.named_parameters():
        assert relative_error(torch.array(value.grad), expected[name]) <= GRADIENT and np.any(expected[name]), name


def test_running_statistics_move(twin, rng):
    """Statistics that move in a call stay moved, whatever omega: they are the network's own."""
    network, _ = made(twin, "depthwise")
    network = network.train() if twin.name == "torch" else network.set_train()
    parameters = twin.module("parameters")
    before = {n: parameters.array(each) for n, each in parameters.statistics(network.network).items()}
    call(twin, network, strangers.inputs("depthwise", rng), omega_of("inside"))
    after = {n: parameters.array(each) for n, each in parameters.statistics(network.network).items()}
    assert all(not np.array_equal(after[name], value) for name, value in before.items())
    weights = network.weights()
    assert all(np.array_equal(weights[name], value) for name, value in after.items())
