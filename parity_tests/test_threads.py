"""Threads share a network, each with its own omega: every answer is as from a single thread, and no weight moves."""

import copy
import pickle
import threading

import numpy as np
import pytest

from parity_tests import strangers
from parity_tests.test_training import start
from parity_tests.tuned import call, made
from parity_tests.twins import get_twin
from tunable.backends.model import WeightsModel, load
from tunable.backends.registry import requested
from tunable.data.patches import Batches
from tunable.errors import TunableError
from tunable.tolerances import relative_error
from tunable.weights import storage

THREADS, CALLS = 4, 60
ROUNDING = 1e-5  # a thousandth of what another omega changes, which check_threads makes sure of
OMEGAS = [np.array([i / THREADS, 1 - i / THREADS], np.float32) for i in range(THREADS)]
MODES = {"torch": ("eager", "compile"), "mindspore": ("graph", "pynative")}


def same(a, b) -> bool:
    """Equal by the norm: a thread may be given fewer cores, and sums of other lengths round otherwise."""
    return relative_error(a, b) <= ROUNDING


def in_threads(tasks, calls: int = CALLS) -> list:
    """What every task returned, `calls` times each, all at once; the first error of a thread is raised."""
    outcomes, errors = [[] for _ in tasks], []
    start = threading.Barrier(len(tasks))

    def work(task, results):
        start.wait()
        try:
            for _ in range(calls):
                results.append(task())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(tasks, outcomes, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return outcomes


def check_threads(run, calls: int = CALLS) -> None:
    """run(omega), an array, gives in four threads at once what it gives in one."""
    expected = [run(omega) for omega in OMEGAS]
    assert all(relative_error(expected[0], other) > 1e3 * ROUNDING for other in expected[1:]), "omega changes nothing"
    for results, one in zip(
        in_threads([lambda omega=omega: run(omega) for omega in OMEGAS], calls), expected, strict=True
    ):
        assert len(results) == calls
        assert sum(not same(result, one) for result in results) == 0


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name in requested() for mode in MODES[name]])
def test_a_model(name, mode, make_recipe, rng):
    """`Model.run` of both twins in every mode, first used in the threads."""
    backend = get_twin(name).in_mode(mode)
    recipe = make_recipe(network={"name": "resnet", "channels": 4, "blocks": 1})
    network = backend.build(recipe.network, 2)
    model = WeightsModel(backend, network, storage.Header.of(recipe))
    x = rng.uniform(size=(1, 3, 12, 16)).astype(np.float32)
    before = backend.parameters(network)
    first = in_threads([lambda omega=omega: model.run(x, omega) for omega in OMEGAS], 1)
    for results, omega in zip(first, OMEGAS, strict=True):
        assert same(results[0], model.run(x, omega))
    check_threads(lambda omega: model.run(x, omega))
    after = backend.parameters(network)
    assert all(np.array_equal(after[local], value) for local, value in before.items())


@pytest.mark.parametrize("mode", ["session", "blocked"])
def test_an_exported_model(mode, tmp_path, make_recipe, rng):
    """onnxruntime lays out kernels once, however many threads are the first to ask for it."""
    backend = get_twin(requested()[0]).backend
    recipe = make_recipe(network={"name": "resnet", "channels": 4, "blocks": 1})
    header = storage.Header.of(recipe)
    network = backend.build(recipe.network, 2)
    path = tmp_path / "net.onnx"
    backend.export(network, path, "onnx", "shared", header.to_metadata())
    model = load(path, "onnx", mode=mode)
    x = rng.uniform(size=(1, 3, 12, 16)).astype(np.float32)
    first = in_threads([lambda omega=omega: (model.run(x, omega), model.network.blocked) for omega in OMEGAS], 1)
    assert len({id(results[0][1]) for results in first}) == 1, "kernels were laid out again"
    check_threads(lambda omega: model.run(x, omega))


def weights_of(twin, network) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in network.weights().items()}


@pytest.mark.parametrize("label", ["one", "per sample"])
def test_a_network_made_tunable(twin, rng, label):
    network, _ = made(twin, "unet", "*")
    x, before = strangers.inputs("unet", rng), weights_of(twin, network)

    def run(omega):
        return call(twin, network, x, omega if label == "one" else np.stack([omega, 1 - omega / 2]))[""]

    check_threads(run, CALLS if label == "one" else 10)
    assert all(np.array_equal(network.weights()[name], value) for name, value in before.items())


def test_a_network_made_tunable_in_graph_mode(mindspore, rng):
    network, _ = made(mindspore, "unet", "*")
    x = strangers.inputs("unet", rng)
    with mindspore.module("ops").running("graph"):
        call(mindspore, network, x, OMEGAS[0])
    ms = mindspore.ms
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        check_threads(lambda omega: call(mindspore, network, x, omega)[""])
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)


def test_two_networks_at_once(twin, rng):
    """Neither waits for the other's omega, nor sees it."""
    networks = [made(twin, name, "*")[0] for name in ("unet", "reused")]
    x = [strangers.inputs(name, rng) for name in ("unet", "reused")]

    def run(omega):
        which = int(omega[0] * THREADS) % 2
        return call(twin, networks[which], x[which], omega)[""]

    check_threads(run, 20)


def test_a_fold_and_a_file_beside_a_call(twin, rng, tmp_path):
    """What one thread folds, saves and copies while another runs the network is what it is without."""
    network, _ = made(twin, "unet", "*")
    x, parameters = strangers.inputs("unet", rng), twin.module("parameters")
    (omega,) = twin.tensors([OMEGAS[1]])

    def fold():
        return {name: parameters.array(each) for name, each in parameters.entries(network.fold(omega)).items()}

    def save():
        network.save(tmp_path / "knobs.safetensors")
        return storage.load_tensors(tmp_path / "knobs.safetensors")[0]

    expected = [fold(), save()]
    *_, folded, saved = in_threads([lambda: call(twin, network, x, OMEGAS[2]), fold, save], 8)
    for results, one in zip((folded, saved), expected, strict=True):
        for result in results:
            assert all(same(result[name], value) for name, value in one.items())


def test_torch_gradients_and_copies(torch, rng):
    """In x and in omega; meanwhile other threads see, copy and pickle the given weights."""
    network, _ = made(torch, "unet", "*")
    x, before = strangers.inputs("unet", rng), {k: v.clone() for k, v in network.state_dict().items()}

    def gradients(omega):
        places = [tensor.requires_grad_() for tensor in torch.tensors([*x, omega])]
        result = torch.torch.autograd.grad(network(*places).square().mean(), places)
        return np.concatenate([torch.array(value).ravel() for value in result])

    def same(state):
        return all(torch.torch.equal(value, before[name]) for name, value in state.items())

    def look():
        copies = copy.deepcopy(network), pickle.loads(pickle.dumps(network))
        given = {f"network.{name}": value for name, value in network.network.named_parameters()}
        return all(same(each.state_dict()) for each in (network, *copies)) and same(given)

    check_threads(gradients, 15)
    stop, seen = threading.Event(), []

    def watch():
        while not stop.is_set():
            seen.append(look())

    watcher = threading.Thread(target=watch)
    watcher.start()
    check_threads(gradients, 15)
    stop.set()
    watcher.join()
    assert seen and all(seen)


def test_torch_compiled(torch, rng):
    """One graph, a graph that is given up in the middle, and a part that is compiled by itself."""
    nn, framework = torch.torch.nn, torch.torch

    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.scale = nn.Conv2d(4, 4, 3), nn.Parameter(framework.ones(4, 1, 1))

        def forward(self, x):
            return self.conv(x) * self.scale

    class Whole(nn.Module):
        def __init__(self, cut):
            super().__init__()
            self.first, self.part, self.cut = nn.Conv2d(3, 4, 3), Part(), cut

        def forward(self, x):
            y = framework.relu(self.first(x))
            if self.cut:
                framework._dynamo.graph_break()
            return self.part(y)

    (x,) = torch.tensors([rng.standard_normal((1, 3, 8, 8))])

    def moved(cut):
        network = torch.impl.make_tunable(Whole(cut), 2, where="*")
        far = np.random.default_rng(3)
        network.assign({n: v + 0.1 * far.standard_normal(v.shape).astype("f") for n, v in network.weights().items()})
        return network

    @framework.no_grad()
    def run(network, omega):
        return torch.array(network(x, *torch.tensors([omega])))

    def check(network, expected):
        for results, one in zip(in_threads([lambda o=o: run(network, o) for o in OMEGAS], 5), expected, strict=True):
            assert all(same(result, one) for result in results)

    for cut in (False, True):
        framework._dynamo.reset()
        network = moved(cut)
        compiled = framework.compile(network, backend="eager", fullgraph=not cut)
        expected = [run(network, omega) for omega in OMEGAS]
        check(compiled, expected)
    framework._dynamo.reset()
    network = moved(False)
    expected = [run(network, omega) for omega in OMEGAS]
    network.network.part.compile(backend="eager")
    check(network, expected)


def hooked(twin, network, layer, hook):
    """Call hook() when a layer of a running network has run."""
    register = layer.register_forward_hook

    def then(*_):
        hook()

    return register(then)


def test_a_network_that_is_called_while_it_runs(twin, rng):
    """By a hook, at another omega: both answers are right; so are a fold and what a file would hold there."""
    network, _ = made(twin, "unet", "*")
    x, parameters = strangers.inputs("unet", rng), twin.module("parameters")
    outer, inner = (call(twin, network, x, omega)[""] for omega in OMEGAS[:2])
    (at,) = twin.tensors([OMEGAS[2]])
    folded = {name: parameters.array(each) for name, each in parameters.entries(network.fold(at)).items()}
    seen, inside, stored = [], [], []
    before = weights_of(twin, network)

    def hook():
        if not inside:
            inside.append(True)
            stored.append(weights_of(twin, network))
            seen.append(call(twin, network, x, OMEGAS[1])[""])
            seen.append({n: parameters.array(each) for n, each in parameters.entries(network.fold(at)).items()})

    handle = hooked(twin, network, network.network.first, hook)
    result = call(twin, network, x, OMEGAS[0])[""]
    handle.remove()
    assert np.array_equal(seen[0], inner) and np.array_equal(result, outer)
    assert all(np.array_equal(seen[1][name], value) for name, value in folded.items())
    assert all(np.array_equal(stored[0][name], value) for name, value in before.items())


def test_a_thread_that_the_network_starts_is_refused(torch):
    """It would run its layer at no omega at all."""
    nn = torch.torch.nn

    class Threaded(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            (result,) = in_threads([lambda: self.conv(x)], 1)
            return result[0]

    network = torch.impl.make_tunable(Threaded(), 2)
    x, omega = torch.tensors([np.ones((1, 3, 4, 4)), OMEGAS[1]])
    with pytest.raises(TunableError, match="Conv2d is run by itself while its tuned network runs in another thread"):
        network(x, omega)
    assert torch.torch.equal(network.network(x), network.fold(omega)(x)), "by itself it is the given network"


def test_a_call_that_fails_changes_nothing(twin, rng):
    """In a thread or not: weights to the bit, and the next call is right."""
    network, _ = made(twin, "tied", "*")
    x, before = strangers.inputs("tied", rng), weights_of(twin, network)
    expected = call(twin, network, x, OMEGAS[1])[""]

    def fail():
        with pytest.raises((RuntimeError, ValueError)):
            call(twin, network, [array[..., :-1] for array in x], OMEGAS[2])
        return True

    in_threads([fail, fail, lambda: call(twin, network, x, OMEGAS[0])], 5)
    assert all(np.array_equal(network.weights()[name], value) for name, value in before.items())
    assert np.array_equal(call(twin, network, x, OMEGAS[1])[""], expected)


def test_a_trainer_beside_a_model(twin, make_recipe, rng):
    """Steps, folds, traces and runs at once: each as alone."""
    recipe, backend = make_recipe(), twin.backend
    network, x = backend.build(recipe.network, 2), rng.uniform(size=(1, 3, 12, 12)).astype(np.float32)

    def steps():
        _, trainer = start(backend, recipe)
        return [trainer.step(Batches(recipe)[index], 1e-3).loss for index in range(2)]

    def fold():
        return list(backend.parameters(backend.fold(network, OMEGAS[1])).values())

    def trace():
        return [call.output for call in backend.trace(network, x, OMEGAS[1]).values()]

    tasks = [steps, fold, trace, lambda: [backend.run(network, x, OMEGAS[2])]]
    expected = [task() for task in tasks]
    for results, one in zip(in_threads(tasks, 3), expected, strict=True):
        worst = max(relative_error(a, b) for result in results for a, b in zip(result, one, strict=True))
        assert worst <= ROUNDING, f"{worst:.1e}"
