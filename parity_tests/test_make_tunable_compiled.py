"""Networks made tunable, compiled, exported and in mixed precision."""

import numpy as np
import pytest

from parity_tests import strangers
from parity_tests.tuned import GRADIENT, NAMES, NETWORK, OMEGAS, SOME, Trained, call, made, omega_of, ordinary
from tunable.tolerances import TOLERANCES, relative_error


def test_torch_compiles_it_once(torch, arrays):
    """omega changes between calls without a compilation. The second's graph is run as it is: kernels cost 10 s."""
    torch.torch._dynamo.reset()
    for name, backend in (("unet", "inductor"), ("attention", "aot_eager")):
        network, _ = made(torch, name)
        compiled, count = torch.torch.compile(network, dynamic=False, backend=backend), []
        x = arrays(name)
        for label in ("corner", "inside", "origin"):
            for place, value in call(torch, compiled, x, omega_of(label)).items():
                expected = call(torch, network, x, omega_of(label))[place]
                assert relative_error(value, expected) <= NETWORK, (name, label)
            count.append(torch.torch._dynamo.utils.counters["stats"]["unique_graphs"])
        assert count[0] == count[-1], "omega changed, and it was compiled again"


@pytest.mark.parametrize("name", ["unet", "attention", "reused"])
def test_torch_exports_it_with_omega_as_an_input(torch, arrays, tmp_path, name):
    """torch's own exporter writes it, and it runs at another omega than it was exported with."""
    import onnxruntime

    network, _ = made(torch, name)
    x, path = arrays(name), tmp_path / "net.onnx"
    with torch.module("exports")._quiet():
        example = tuple(torch.tensors([*x, omega_of("inside")]))
        torch.torch.onnx.export(network, example, path, input_names=["image", "omega"], dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"image": x[0], "omega": omega_of("corner")})
    assert relative_error(result, call(torch, network, x, omega_of("corner"))[""]) <= TOLERANCES["export"].limit


@pytest.mark.parametrize("name", ["unet", "attention", "reused"])
def test_mindspore_exports_it_with_omega_as_an_input(mindspore, arrays, tmp_path, name):
    """MindSpore's own call writes MINDIR, which runs at other omega than it was exported with."""
    ms, path = mindspore.ms, tmp_path / "net.mindir"
    network, _ = made(mindspore, name)
    x = arrays(name)
    with mindspore.module("ops").running("graph"):
        example = mindspore.tensors([*x, omega_of("inside")])
        ms.export(network, *example, file_name=str(path), file_format="MINDIR")
        graph = ms.nn.GraphCell(ms.load(str(path)))
        for label in ("corner", "inside", "origin"):
            result = mindspore.array(graph(*mindspore.tensors([*x, omega_of(label)])))
            expected = call(mindspore, network, x, omega_of(label))[""]
            assert relative_error(result, expected) <= TOLERANCES["export"].limit, label


def test_graph_mode_compiles_it_once(mindspore, arrays):
    """All networks in graph mode: equal to PyNative, and omega changes without a compilation."""
    for name in NAMES:
        network, _ = made(mindspore, name, "*")
        x = arrays(name)
        expected = {label: call(mindspore, network, x, omega_of(label)) for label in OMEGAS}
        with mindspore.module("ops").running("graph"):
            for label in ("corner", "inside", "origin", "outside"):
                for place, value in call(mindspore, network, x, omega_of(label)).items():
                    assert relative_error(value, expected[label][place]) <= NETWORK, (name, label, place)
                assert len(network.compile_cache) == 1, "omega changed, and it was compiled again"
            if name not in SOME:  # a graph of its own
                continue
            for place, value in call(mindspore, network, x, omega_of("per sample")).items():
                assert relative_error(value, expected["per sample"][place]) <= NETWORK, (name, place)


@pytest.mark.parametrize(
    ("options", "label"),
    [({"phi": "affine"}, "per sample"), ({"phi": "se"}, "inside"), ({"train": "differences", "rank": 1}, "per sample")],
)
def test_every_kind_of_kernels_in_graph_mode(mindspore, arrays, options, label):
    """Outputs, and gradients in all that is trained, as in PyNative."""
    network, _ = made(mindspore, "unet", **options)
    x, trained = arrays("unet"), Trained(mindspore, network)
    (weight,) = mindspore.tensors([np.random.default_rng(8).standard_normal((2, 3, 8, 12))])

    def loss(image, omega):
        return (network(image, omega) * weight).mean()

    gradient = mindspore.ms.value_and_grad(loss, None, trained.values)
    inputs = mindspore.tensors([*x, omega_of(label)])
    value, expected = gradient(*inputs)
    graph_value, gradients = mindspore.ms.jit(gradient)(*inputs)
    assert relative_error(mindspore.array(graph_value), mindspore.array(value)) <= NETWORK
    for one, other in zip(gradients, expected, strict=True):
        assert relative_error(mindspore.array(one), mindspore.array(other)) <= GRADIENT
    assert any(np.abs(mindspore.array(one)).max() > 0 for one in gradients)


def test_graph_mode_sees_weights_that_change(mindspore, arrays):
    """A parser that takes a property for a constant would not."""
    network, tensors = made(mindspore, "unet", "*")
    x, omega = arrays("unet"), omega_of("inside")
    with mindspore.module("ops").running("graph"):
        call(mindspore, network, x, omega)
        moved = {local: (value * 1.5).astype(np.float32) for local, value in tensors.items()}
        network.assign(moved)
        result = call(mindspore, network, x, omega)
    expected = call(mindspore, ordinary(mindspore, "unet", strangers.mixed(moved, network.plan, omega)), x)
    assert relative_error(result[""], expected[""]) <= NETWORK


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
        (product, kernel), (_, expected) = (result(*twin.tensors([x, omega])) for result in (mixed, plain))
        assert product.dtype == half and kernel.dtype == expected.dtype != half
        assert relative_error(twin.array(kernel), twin.array(expected)) <= TOLERANCES["layer"].limit

    network, half = moved(torch, OfTorch()), torch.torch.bfloat16
    check(torch, torch.torch.autocast(torch.device, half)(network), network, half)
    given, half = OfMindSpore(), mindspore.ms.float16
    for mode in ("pynative", "graph"):
        mixed = mindspore.ms.amp.auto_mixed_precision(moved(mindspore, given), "auto", half)
        with mindspore.module("ops").running(mode):
            check(mindspore, mixed, moved(mindspore, given), half)
