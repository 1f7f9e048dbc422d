"""How networks made tunable are called and exported by those who know nothing of them: sizes, layouts, bits."""

import copy
import pickle

import numpy as np
import pytest

from parity_tests import strangers
from parity_tests.tuned import NETWORK, call, made, omega_of
from tunable import retrofit
from tunable.errors import OmegaError, TunableError
from tunable.tolerances import relative_error


def test_an_empty_batch(twin, rng):
    network, _ = made(twin, "unet")
    (image,) = strangers.inputs("unet", rng)
    empty = np.zeros((0, 2), np.float32)
    if twin.name == "torch":
        assert call(twin, network, [image[:0]], empty)[""].shape == (0, 3, 8, 12)
    else:
        with pytest.raises(OmegaError, match="omega has no rows"):
            call(twin, network, [image[:0]], empty)
    with pytest.raises(OmegaError, match="omega has 0 rows, one per sample, but an input has shape"):
        call(twin, network, [image], empty)


def test_a_forgotten_omega(twin, rng):
    network, _ = made(twin, "unet")
    with pytest.raises(OmegaError, match=r"must be .* \(2,\) or \(N, 2\), not .* of shape \(2, 3, 8, 12\)"):
        call(twin, network, strangers.inputs("unet", rng))
    with pytest.raises(OmegaError, match="omega, the last input, is missing"):
        network()


def test_channels_last(torch, rng):
    """Of the network, and as a part of a larger one; forward, and as before in the usual order."""
    framework = torch.torch
    for whole in (False, True):
        network, _ = made(torch, "unet", "*")
        x, omega = torch.tensors([*strangers.inputs("unet", rng), omega_of("inside")])
        expected = torch.array(network(x, omega))
        outer = framework.nn.ModuleList([network]) if whole else network
        outer.to(memory_format=framework.channels_last)
        assert network.network.first.weight.is_contiguous(memory_format=framework.channels_last)
        result = network(x.to(memory_format=framework.channels_last), omega)
        assert relative_error(torch.array(result), expected) <= NETWORK
        network.to(framework.float64)
        assert {value.dtype for value in network.parameters()} == {framework.float64}


SHAPES = {
    "by place": lambda dim: ({0: dim("n"), 2: dim("h"), 3: dim("w")}, {}),
    "by name": lambda dim: {"x": {0: dim("n"), 2: dim("h"), 3: dim("w")}, "omega": {}},
    "found out": lambda dim: {"x": {0: dim.AUTO, 2: dim.AUTO, 3: dim.AUTO}, "omega": None},
}


@pytest.mark.parametrize("how", SHAPES)
def test_torch_exports_it_with_names_and_sizes_that_vary(torch, tmp_path, rng, how):
    """The inputs are called as the network calls them, then omega."""
    framework = torch.torch
    network, _ = made(torch, "chain", "*")
    (image,) = strangers.inputs("chain", rng)
    example = tuple(torch.tensors([image, omega_of("inside")]))
    shapes = SHAPES[how](framework.export.Dim)
    if how != "by place":
        shapes = {"input" if name == "x" else name: value for name, value in shapes.items()}  # of nn.Sequential
    wide = rng.standard_normal((3, 4, 11, 16)).astype(np.float32)
    expected = call(torch, network, [wide], omega_of("corner"))[""]
    exported = framework.export.export(network, example, dynamic_shapes=shapes)
    assert list(exported.graph_signature.user_inputs) == ["input", "omega"]
    result = exported.module()(*torch.tensors([wide, omega_of("corner")]))
    assert relative_error(torch.array(result), expected) <= NETWORK
    if how == "by place":
        import onnxruntime

        path = tmp_path / "net.onnx"
        with torch.module("exports")._quiet():
            framework.onnx.export(network, example, path, dynamic_shapes=shapes, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert [each.name for each in session.get_inputs()] == ["input", "omega"]
        (result,) = session.run(None, {"input": wide, "omega": omega_of("corner")})
        assert relative_error(result, expected) <= NETWORK


def test_what_forward_says_of_its_inputs(torch):
    """Those with a default are named; copies say the same; where they cannot be told, none are."""
    import inspect

    nn = torch.torch.nn

    def of(function):
        network = nn.Linear(3, 3)
        kind = type("Given", (nn.Linear,), {"forward": function})
        network.__class__ = kind
        made = torch.impl.make_tunable(network, 2)
        return {str(inspect.signature(each.forward)) for each in (made, copy.deepcopy(made))}

    assert of(lambda self, image, mask=None: image) == {"(image, omega, *, mask=None)"}
    assert of(lambda self, a, b, *, c, **d: a) == {"(a, b, omega, *, c, **d)"}
    generic = {"(*inputs: Any, omega: torch.Tensor | None = None, **options: Any) -> Any"}
    assert of(lambda self, *images: images) == of(lambda self, x, omega: x) == generic
    network, _ = made(torch, "unet")
    again = pickle.loads(pickle.dumps(network))
    assert str(inspect.signature(again.forward)) == "(x, omega)" and isinstance(again, torch.impl.TunedNetwork)


@pytest.mark.parametrize("train", retrofit.TRAIN)
def test_torch_gives_the_networks_bits(torch, rng, train):
    """At the start, with gradients and without, of products of matrices on inputs in any order too."""
    framework = torch.torch
    linear = framework.nn.Linear(16, 12)
    network = torch.impl.make_tunable(linear, 2, train=train)
    (omega,) = torch.tensors([omega_of("inside")])
    (x,) = torch.tensors([rng.standard_normal((3, 16, 7, 5))])
    for mode in (framework.no_grad, framework.inference_mode, *([framework.enable_grad] if train == "all" else [])):
        for given in (x.permute(0, 2, 3, 1), x[:, :, 0].transpose(1, 2), x[0, :, 0].T, x[0].permute(2, 1, 0)[:, ::2]):
            with mode():
                assert framework.equal(network(given, omega), linear(given)), (mode.__name__, given.stride())


def test_a_network_without_values(torch):
    with pytest.raises(TunableError, match="it has no values yet, being on the device meta"):
        torch.impl.make_tunable(torch.torch.nn.Linear(3, 3, device="meta"), 2)
