"""Every way of running a framework gives the same numbers: torch's compiler, memory formats, function transforms and
autocast; MindSpore's graph mode, float16 input and mixed precision.

Graph mode against PyNative: here the kinds of layers that test_layers leaves out. MindSpore's mixed precision: O1
looks only for the framework's own layers and leaves tunable ones as they are; O2 and O3 cast the input, omega and phi
and leave kernels float32, which are summed so, then cast. They run in graph mode only: in PyNative MindSpore 2.10
dies of them on a CPU ("pointer is null"). `auto` casts matrix products and convolutions by the operator in both modes;
neither phi nor the sum of kernels is one then.
"""

import os
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from parity_tests.cases import build, factor, inputs, omegas
from tunable import oracle
from tunable.benchmark import layer_timing, layers
from tunable.benchmark.layers import Layer
from tunable.forms import FORMS
from tunable.specs.networks import ResNetSpec
from tunable.tolerances import TOLERANCES, joint_error, relative_error

LAYER = TOLERANCES["layer"].limit
KINDS = ("uneven", "1x1 strided", "1-d uneven", "3-d depth-wise", "transposed uneven", "linear on rows", "table")
OMEGA = np.array([0.3, 0.9], np.float32)
PHI = ("affine", "base")
AS_GRAPHS = [*zip(PHI, ("grouped", "loop"), strict=True)]  # each phi and form once: neither knows of the other


def call(twin, name, omega, phi="affine"):
    """A layer and the framework's tensors that it is called with."""
    layer, x = build(twin, name, phi, 2), inputs(name)
    return layer, twin.tensors([omega] if x is None else [x, omega])


def cancelling(twin, phi, form):
    """A layer whose kernels nearly cancel at OMEGA: what each is rounded by is 16 times as much of their sum."""
    layer = twin.impl.TunableConv2d(4, 5, 3, num_objectives=2, padding=1, phi=phi, form=form, seed=0)
    tensors = twin.backend.parameters(layer)
    alpha, weight = oracle.phi(phi, OMEGA, tensors), tensors["weight"]
    weight[-1] = (weight[-1] / 16 - oracle.aggregate(alpha[:-1], weight[:-1])) / alpha[-1]
    tensors["bias"][:] = 0
    twin.backend.assign(layer, tensors)
    x = np.random.default_rng(1).standard_normal((3, 4, 7, 6)).astype(np.float32)
    return layer, x, oracle.layer("conv2d", phi, tensors, layer.options(), x, OMEGA)


@pytest.mark.parametrize("folder", [None, "mine"])
def test_what_was_compiled_for_another_processor_is_not_taken(torch, folder):
    """In a fresh process, which is told of another: its own folder, unless the user has named one."""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"} | (
        {"TORCHINDUCTOR_CACHE_DIR": folder} if folder else {}
    )
    if not folder:
        environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    program = "import os, torch_impl; print(os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == folder if folder else done.stdout.strip().endswith("_DEFAULT")


@pytest.mark.parametrize(("name", "backend"), [("grouped", "inductor"), ("linear on rows", "aot_eager")])
def test_torch_compile(torch, name, backend):
    """One omega, then one per sample, compiled anew for its rank, without gradients as networks restore; and gradients
    through the compiler's own backward. The second's graphs are run as they are: kernels cost seconds.
    """
    weight = factor(name, "affine", 2, "per sample")
    for label in ("inside", "per sample"):
        layer = build(torch, name, "affine", 2)
        compiled = torch.torch.compile(layer, backend=backend)
        x, omega = torch.tensors([inputs(name), omegas(2)[label]])
        with torch.torch.no_grad():
            assert relative_error(torch.array(compiled(x, omega)), torch.array(layer(x, omega))) <= LAYER
    eager = torch.gradients(layer, inputs(name), omegas(2)["per sample"], weight)
    loss = (compiled(x, omega) * torch.tensors([weight])[0]).mean()
    gradients = torch.torch.autograd.grad(loss, list(layer.parameters()))
    for place, gradient in zip(torch.backend.parameters(layer), gradients, strict=True):
        assert relative_error(torch.array(gradient), eager[place]) <= TOLERANCES["layer gradient"].limit


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["padded", "1x1", "depth-wise", "transposed x2", "1-d", "3-d"])
def test_channels_last(torch, name, form):
    """Inputs and whole modules; kernels, which have an axis more, keep their order."""
    layer = build(torch, name, "affine", 2, form=form)
    x = inputs(name)
    formats = {4: torch.torch.channels_last, 5: torch.torch.channels_last_3d}
    chosen = formats.get(x.ndim, torch.torch.channels_last)
    expected = [torch.run(layer, x, omegas(2)[label]) for label in ("inside", "per sample")]
    layer = layer.to(memory_format=chosen)
    for label, plain in zip(("inside", "per sample"), expected, strict=True):
        there, omega = torch.tensors([x, omegas(2)[label]])
        there = there.to(memory_format=chosen) if x.ndim in formats else there
        assert relative_error(torch.array(layer(there, omega)), plain) <= LAYER
    assert all(value.is_contiguous() for value in layer.parameters())
    assert all(value.dtype == torch.torch.float64 for value in layer.double().parameters())


@pytest.mark.parametrize("name", KINDS)
def test_vmap_over_omega(torch, name):
    """A function of one sample mapped over samples and omegas is the layer with omega per sample."""
    layer, arguments = call(torch, name, omegas(2)["per sample"])

    def one(*sample):
        return layer(*sample) if len(sample) == 1 else layer(sample[0][None], sample[1])[0]

    mapped = torch.array(torch.torch.func.vmap(one)(*arguments))
    assert relative_error(mapped, torch.array(layer(*arguments))) <= LAYER


@pytest.mark.parametrize("label", ["inside", "per sample"])
@pytest.mark.parametrize("name", KINDS)
def test_functional_gradient_in_omega(torch, name, label):
    layer, (*x, omega) = call(torch, name, omegas(2)[label])
    (weight,) = torch.tensors([factor(name, "affine", 2, label)])
    result = torch.torch.func.grad(lambda point: (layer(*x, point) * weight).mean())(omega)
    expected = torch.gradients(layer, inputs(name), omegas(2)[label], factor(name, "affine", 2, label))["omega"]
    assert relative_error(torch.array(result), expected) <= TOLERANCES["layer gradient"].limit


@pytest.mark.parametrize(
    "name", [name for name in KINDS if name not in ("linear on rows", "table")] + ["layer norm 2d"]
)
def test_mindspore_graph_equals_pynative(mindspore, name):
    """To the bit, both ways of giving omega."""
    layer, outputs = build(mindspore, name, "affine", 2), {}
    for mode in ("pynative", "graph"):
        with mindspore.module("ops").running(mode):
            outputs[mode] = [mindspore.run(layer, inputs(name), omegas(2)[label]) for label in ("inside", "per sample")]
    for eager, compiled in zip(outputs["pynative"], outputs["graph"], strict=True):
        np.testing.assert_array_equal(eager, compiled)


def autocast_errors(torch, phi, form):
    """Of one omega and of omega per sample, in bfloat16 autocast, against the float64 oracle."""
    layer, x, expected = cancelling(torch, phi, form)
    errors = []
    for omega in (OMEGA, np.tile(OMEGA, (len(x), 1))):
        with torch.torch.autocast(torch.device, torch.torch.bfloat16):
            output = layer(*torch.tensors([x, omega]))
        errors.append(relative_error(torch.array(output.float()), expected))
    return errors


@pytest.mark.parametrize("phi", PHI)
@pytest.mark.parametrize("form", ["grouped", "loop"])
def test_autocast(torch, monkeypatch, phi, form):
    """Kernels are summed in float32 and cast once; negative control: cast first, they miss the limit by far.

    The form basis casts each kernel by its nature; no other way to run it is in half the bits.
    """
    limit = TOLERANCES["autocast"].limit
    assert max(autocast_errors(torch, phi, form)) <= limit
    monkeypatch.setattr(torch.module("ops.kernels"), "no_autocast", lambda tensor: nullcontext())
    assert min(autocast_errors(torch, phi, form)) > 3 * limit


@pytest.mark.parametrize("name", KINDS)
def test_autocast_sums_kernels_exactly(torch, name):
    """alpha and the kernel have the same bits with and without; the product does not."""
    layer, arguments = call(torch, name, omegas(2)["per sample"])
    aggregate, kernels = torch.module("ops").aggregate, []
    for enabled in (False, True):
        with torch.torch.autocast(torch.device, torch.torch.bfloat16, enabled=enabled):
            alpha = layer.alpha(arguments[-1])
            kernels.append((alpha, aggregate(alpha, layer.weight), layer(*arguments)))
    for plain, cast in zip(*(part[:2] for part in kernels), strict=True):
        np.testing.assert_array_equal(torch.array(plain), torch.array(cast))
    if name != "table":  # which is the kernel itself
        assert kernels[1][2].dtype == torch.torch.bfloat16


def test_autocast_network(torch, rng):
    """And every parameter gets a float32 gradient."""
    network = torch.backend.build(ResNetSpec(channels=8, blocks=2), 2)
    x, omega = torch.tensors([rng.uniform(size=(3, 3, 9, 8)), omegas(2)["per sample"]])
    plain = torch.array(network(x, omega))
    with torch.torch.autocast(torch.device, torch.torch.bfloat16):
        output = network(x, omega)
    assert 1e-4 < relative_error(torch.array(output.float()), plain) <= TOLERANCES["autocast network"].limit
    output.float().square().mean().backward()
    assert all(value.grad.dtype == torch.torch.float32 and value.grad.any() for value in network.parameters())


FAULTS = """
import resource
import torch
from torch_impl import make_tunable

network = make_tunable(torch.nn.Sequential(*[torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(4)]), 2)
x = torch.rand(1, 64, 64, 64)
counts = []
with torch.no_grad():
    for _ in range(8):
        network(x, torch.rand(2))
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(counts[-1] - counts[3])
"""


def test_torch_keeps_its_memory():
    """With glibc, another omega faults no page in. Negative control: a user's own setting stays, and does."""

    def faults(**environment):
        command, variables = [sys.executable, "-c", FAULTS], {k: v for k, v in os.environ.items() if "MALLOC" not in k}
        done = subprocess.run(command, env={**variables, **environment}, check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert faults() < 100
    assert faults(MALLOC_TRIM_THRESHOLD_="131072") > 4000


def half_errors(mindspore, phi, form):
    """Of one omega and of omega per sample, on float16 input, against the float64 oracle."""
    layer, x, expected = cancelling(mindspore, phi, form)
    half, errors = mindspore.ms.Tensor(x.astype(np.float16)), []
    for omega in (OMEGA, np.tile(OMEGA, (len(x), 1))):
        output = layer(half, *mindspore.tensors([omega]))
        assert output.dtype == mindspore.ms.float16
        errors.append(relative_error(mindspore.array(output), expected))
    return errors


@pytest.mark.parametrize("phi", PHI)
@pytest.mark.parametrize("form", ["grouped", "loop"])
def test_float16_input(mindspore, monkeypatch, phi, form):
    """Kernels are summed in float32 and cast once; negative control: cast first, they miss the limit by far."""
    ops, limit = mindspore.module("ops"), TOLERANCES["float16"].limit
    for mode in ("pynative", "graph") if (phi, form) in AS_GRAPHS else ("pynative",):
        with ops.running(mode):
            assert max(half_errors(mindspore, phi, form)) <= limit
    real, half = ops.aggregate, mindspore.ms.float16
    convolution = mindspore.module("ops.convolution")
    monkeypatch.setattr(convolution, "aggregate", lambda alpha, tensor: real(alpha.astype(half), tensor.astype(half)))
    assert min(half_errors(mindspore, phi, form)) > 2 * limit


@pytest.mark.parametrize("name", KINDS[:-1])
def test_float16_input_of_every_kind(mindspore, name):
    """The output is float16, within its rounding."""
    layer = build(mindspore, name, "affine", 2)
    half = mindspore.ms.Tensor(inputs(name).astype(np.float16))
    for label in ("inside", "per sample"):
        output = layer(half, *mindspore.tensors([omegas(2)[label]]))
        assert output.dtype == mindspore.ms.float16
        plain = mindspore.run(layer, half.asnumpy(), omegas(2)[label])
        assert 1e-5 < relative_error(mindspore.array(output), plain) <= TOLERANCES["float16"].limit


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mindspore_mixed_precision(mindspore, rng, tmp_path, monkeypatch, level):
    monkeypatch.chdir(tmp_path)  # O1 writes the program that it makes
    network = mindspore.backend.build(ResNetSpec(channels=8, blocks=1), 2)
    x, omega = rng.uniform(size=(3, 3, 9, 8)), omegas(2)["per sample"]
    with mindspore.module("ops").running("graph"):
        plain = mindspore.run(network, x, omega)
        mixed = mindspore.ms.amp.auto_mixed_precision(network, level, mindspore.ms.float16)
        error = relative_error(mindspore.run(mixed, x, omega), plain)
    if level == "O1":
        assert error == 0
    else:
        assert 1e-5 < error <= TOLERANCES["float16 network"].limit


def auto_errors(mindspore, phi, form, mode):
    """Of one omega and of omega per sample, in mixed precision `auto`, against the float64 oracle."""
    layer, x, expected = cancelling(mindspore, phi, form)
    mixed = mindspore.ms.amp.auto_mixed_precision(layer, "auto", mindspore.ms.float16)
    errors = []
    with mindspore.module("ops").running(mode):
        for omega in (OMEGA, np.tile(OMEGA, (len(x), 1))):
            output = mixed(*mindspore.tensors([x, omega]))
            assert output.dtype == mindspore.ms.float16
            errors.append(relative_error(mindspore.array(output), expected))
    return errors


@pytest.mark.parametrize("phi", PHI)
@pytest.mark.parametrize("form", ["grouped", "loop"])
def test_mindspore_auto(mindspore, monkeypatch, phi, form):
    """As test_autocast; the control is a sum of kernels that is a matrix product."""
    kernels, limit = mindspore.module("ops.kernels"), TOLERANCES["float16"].limit
    for mode in ("pynative", "graph") if (phi, form) in AS_GRAPHS else ("pynative",):
        assert max(auto_errors(mindspore, phi, form, mode)) <= limit
    monkeypatch.setattr(kernels, "_product", kernels._ops.matmul)
    assert min(auto_errors(mindspore, phi, form, "pynative")) > 3 * limit


@pytest.mark.parametrize("mode", ["pynative", "graph"])
@pytest.mark.parametrize("phi", [*PHI, "se"])
def test_mindspore_auto_sums_kernels_exactly(mindspore, phi, mode):
    """alpha and the kernel, one omega and one per sample, are float32 and as near to the oracle as without."""
    layer, ops = build(mindspore, "uneven", phi, 2), mindspore.module("ops")
    tensors = mindspore.backend.parameters(layer)

    def kernel(omega):
        alpha = layer.alpha(omega)
        return alpha, ops.aggregate(alpha, layer.weight)

    mixed = mindspore.ms.amp.auto_mixed_precision(kernel, "auto", mindspore.ms.float16)
    mixed = mindspore.ms.jit(mixed) if mode == "graph" else mixed
    for label in ("inside", "per sample"):
        omega = omegas(2)[label]
        alpha = oracle.phi(phi, omega, tensors)
        for result, expected in zip(
            mixed(*mindspore.tensors([omega])), (alpha, oracle.aggregate(alpha, tensors["weight"])), strict=True
        ):
            assert result.dtype == mindspore.ms.float32
            assert relative_error(mindspore.array(result), expected) <= LAYER


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_mindspore_auto_network(mindspore, rng, mode):
    """And every parameter gets a float32 gradient, near that without: one ReLU that rounding flips is worth 4e-3."""
    x, omega = rng.uniform(size=(3, 3, 9, 8)), omegas(2)["per sample"]
    plain = mindspore.backend.build(ResNetSpec(channels=8, blocks=1), 2)
    network = mindspore.ms.amp.auto_mixed_precision(
        mindspore.backend.build(ResNetSpec(channels=8, blocks=1), 2), "auto", mindspore.ms.float16
    )
    factor = rng.standard_normal(size=x.shape)
    with mindspore.module("ops").running(mode):
        error = relative_error(mindspore.run(network, x, omega), mindspore.run(plain, x, omega))
        assert 1e-5 < error <= TOLERANCES["float16 network"].limit
        expected = mindspore.gradients(plain, x, omega, factor)
        result = mindspore.gradients(network, x, omega, factor)
    assert all(gradient.dtype == np.float32 and gradient.any() for gradient in result.values())
    assert joint_error(result, expected) <= 1e-2


@pytest.mark.parametrize(
    "layer",
    [Layer("dense", 3, 3, 2), Layer("depthwise", 3, 3), Layer("linear", 1, 4, 2), Layer("dense", 3, 3, 2, True)],
)
def test_timed_layers_run(twin, layer, monkeypatch):
    """Every case that `tunable bench layers` times."""
    monkeypatch.setattr(layers, "SIZE", 6)
    for case in layer_timing.cases(layer, "cpu"):
        twin.backend.layer_call(layer, *case)()
