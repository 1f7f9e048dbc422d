"""Networks: twin to twin, both to float64, mode to mode; names, shapes, counts, and one network by hand."""

import dataclasses

import numpy as np
import pytest

from parity_tests.twins import differ
from tunable.backends.model import WeightsModel
from tunable.errors import OmegaError
from tunable.omega import grid
from tunable.parameters.starts import starting_weights
from tunable.specs.formulations import PHI_FORMS
from tunable.specs.networks import NAFNetSpec, ResNetSpec, StyleUNetSpec, SwinIRSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights.storage import Header

LIMIT = TOLERANCES["network"].limit
SIZES = {"square": (3, 3, 12, 12), "odd": (2, 3, 7, 13), "a line": (1, 3, 1, 9), "a pixel": (2, 3, 1, 1)}


def spec_of(phi, p, blocks=2):
    """A small network; p = 0: plain."""
    return ResNetSpec(channels=8, blocks=blocks, phi=phi, tunable=p > 0)


def build(twin, phi, p, seed=3, blocks=2):
    network = twin.backend.build(spec_of(phi, p, blocks), p)
    twin.backend.assign(network, starting_weights(twin.backend.specs(network), seed))
    return network


def picture(rng, size):
    return rng.uniform(size=SIZES[size]).astype(np.float32)


def settings(p, n, rng):
    """The grid, a point outside it, and one omega per sample."""
    outside = np.linspace(-0.7, 1.6, p, dtype=np.float32)
    return [*grid(p, 3 if p < 3 else 2), outside, rng.uniform(size=(n, p)).astype(np.float32)]


def in_float64(torch, phi, p):
    """The torch network in float64 with the same float32 weights: (x, omega or None) -> array."""
    network = build(torch, phi, p).double()

    def run(x, omega):
        double = [torch.torch.from_numpy(value.astype(np.float64)) for value in (x, omega) if value is not None]
        return torch.array(network(*double))

    return run


@pytest.mark.parametrize(("phi", "p"), [*((phi, 2) for phi in PHI_FORMS), ("base", 1), ("affine", 3), ("base", 0)])
def test_parameters_are_the_same(twins, phi, p):
    """Names in order, shapes, roles, and starting values to the bit."""
    torch, mindspore = (twin.backend.specs(twin.backend.build(spec_of(phi, p), p)) for twin in twins)
    assert torch == mindspore
    first, second = (twin.backend.parameters(twin.backend.build(spec_of(phi, p), p)) for twin in twins)
    assert list(first) == list(second) == [spec.name for spec in torch]
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    assert any(np.abs(value).max() > 0.01 for value in first.values())


@pytest.mark.parametrize("p", [0, 2])
def test_parameter_count(twin, p):
    """The paper's network: 1,185,219 plain; p times that and 34 affine maps tunable."""
    network = twin.backend.build(ResNetSpec(phi="affine", tunable=p > 0), p)
    expected = p * 1_185_219 + 34 * (p * p + p) if p else 1_185_219
    assert sum(value.size for value in twin.backend.parameters(network).values()) == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("phi", "p"), [*((phi, 2) for phi in PHI_FORMS), ("base", 3)])
def test_tunable_outputs(twins, phi, p, size, rng):
    """Both against float64 and against each other; and different omega differ."""
    x, before = picture(rng, size), None
    networks, true = [build(twin, phi, p) for twin in twins], in_float64(twins[0], phi, p)
    for omega in settings(p, len(x), rng):
        first, second = (twin.backend.run(net, x, omega) for twin, net in zip(twins, networks, strict=True))
        truth = true(x, omega)
        assert first.shape == x.shape
        for a, b in ((first, truth), (second, truth), (second, first)):
            assert relative_error(a, b) <= LIMIT, f"omega {omega.tolist()}"
        assert before is None or differ(truth, before)
        before = truth


@pytest.mark.parametrize("size", SIZES)
def test_plain_outputs(twins, size, rng):
    x = picture(rng, size)
    first, second = (twin.backend.run(build(twin, "base", 0), x, None) for twin in twins)
    truth = in_float64(twins[0], "base", 0)(x, None)
    for a, b in ((first, truth), (second, truth), (second, first)):
        assert relative_error(a, b) <= LIMIT


@pytest.mark.parametrize("phi", PHI_FORMS)
def test_per_sample_equals_one_by_one(twin, phi, rng):
    network, x = build(twin, phi, 2), picture(rng, "square")
    omega = rng.uniform(size=(len(x), 2)).astype(np.float32)
    together = twin.backend.run(network, x, omega)
    for n in range(len(x)):
        assert relative_error(together[n], twin.backend.run(network, x[n : n + 1], omega[n])[0]) <= LIMIT
    assert differ(together, twin.backend.run(network, x, omega[::-1].copy()))


def test_written_numbers(twin):
    """A picture of one pixel, one channel, one block; identity phi at omega 2 doubles every weight and bias.

    x = (1, 2, 3): head 1 - 2 + 1.5 + 0.5 = 1; block 1 + (-0.5 relu(2 - 1) + 1) = 1.5; long skip 2.5.
    x = (0, 0, -2): head -1 + 0.5 = -0.5; block -0.5 + (-0.5 relu(-2) + 1) = 0.5; long skip 0.
    """
    network = twin.backend.build(ResNetSpec(channels=1, blocks=1, phi="identity"), 1)
    centres = {
        "head": ([[0.5, -0.5, 0.25]], [0.25]),
        "body.0.conv1": ([[1]], [-0.5]),
        "body.0.conv2": ([[-0.25]], [0.5]),
        "tail": ([[1], [0], [-1]], [0, 0.5, 0]),
    }
    tensors = {}
    for name, (centre, bias) in centres.items():
        weight = np.full((1, *np.shape(centre), 3, 3), 7, np.float32)  # around the pixel there are only zeros
        weight[0, :, :, 1, 1] = centre
        tensors |= {name + ".weight": weight, name + ".bias": np.array([bias], np.float32)}
    twin.backend.assign(network, tensors)
    x = np.array([[1, 2, 3], [0, 0, -2]], np.float32).reshape(2, 3, 1, 1)
    for omega in ([2], [[2], [2]]):
        y = twin.backend.run(network, x, np.array(omega, np.float32))
        np.testing.assert_array_equal(y.reshape(2, 3), [[5, 1, -5], [0, 1, 0]])


WITH_NORMS = {
    "swinir": SwinIRSpec(channels=6, depths=[2], heads=[2], window=4, tunable_norms=True),
    "nafnet": NAFNetSpec(width=4, middle=1, encoder=[1], decoder=[1], tunable_norms=True),
    "style": StyleUNetSpec(channels=4, scales=1, blocks=(1, 1, 1), tunable_norms=True, padding="reflect", outer=5),
}


@pytest.mark.parametrize("name", WITH_NORMS)
def test_tunable_norms(twins, name, rng):
    """Every norm's scale and shift are stacked, nothing else is new; omega moves the picture by them alone; both twins
    against float64, folded too."""
    spec, x = WITH_NORMS[name], picture(rng, "odd")
    ordinary = spec.model_copy(update={"tunable_norms": False})
    networks = [twin.backend.build(spec, 2) for twin in twins]
    shapes, usual = (
        {one.name: one.shape for one in twins[0].backend.specs(twins[0].backend.build(s, 2))} for s in (spec, ordinary)
    )
    # What a network with ordinary norms does not stack: scales and shifts, and nothing else.
    stacked = [local for local, shape in usual.items() if shapes[local] == (3, *shape)]
    assert stacked and all("norm" in local for local in stacked)
    assert all("norm" not in local or local in stacked or ".phi." in local for local in shapes)
    tensors = {local: rng.normal(size=shape, scale=0.3).astype(np.float32) for local, shape in shapes.items()}
    for local in shapes.keys() - set(stacked):  # the same kernels at every omega
        if shapes[local][0] == 3 and ".phi." not in local:
            tensors[local][1:] = 0
    exact = twins[0].backend.in_float64()
    networks.append(exact.build(spec, 2))
    for backend, network in zip([twin.backend for twin in twins] + [exact], networks, strict=True):
        backend.assign(network, tensors)
    before = None
    for omega in settings(2, len(x), rng)[-3:]:
        truth = exact.run(networks[-1], x, omega)
        for twin, network in zip(twins, networks[:-1], strict=True):
            assert relative_error(twin.backend.run(network, x, omega), truth) <= LIMIT
            if omega.ndim == 1:
                folded = twin.backend.fold(network, omega)
                assert relative_error(twin.backend.run(folded, x, None), truth) <= LIMIT
        assert before is None or differ(truth, before)
        before = truth


def refuses_wrong_calls(backend, network, x):
    """A tunable network wants omega, a plain one takes none."""
    if network.num_objectives:
        with pytest.raises(OmegaError, match=r"a tunable network wants omega \(2,\)"):
            backend.run(network, x, None)
    else:
        with pytest.raises(OmegaError, match="a plain network takes no omega"):
            backend.run(network, x, np.array([0.3, 0.6], np.float32))


def test_wrong_calls_are_refused(twin, rng):
    x = picture(rng, "a pixel")
    for p in (0, 2):
        refuses_wrong_calls(twin.backend, build(twin, "base", p), x)


@pytest.mark.parametrize(("phi", "p"), [("affine", 2), ("base", 0)])
def test_modes_are_equal(twin, phi, p, rng):
    """graph = pynative to the bit, compile = eager within rounding; new weights reach a compiled network.

    Wrong calls are refused before and after a right one, which a compiled network remembers.
    """
    network = build(twin, phi, p, blocks=1)
    eager, compiled = twin.backend, twin.in_mode({"torch": "compile", "mindspore": "graph"}[twin.name])
    assert eager.mode != compiled.mode
    limit = LIMIT if twin.name == "torch" else 0
    omegas = [settings(p, 3, rng)[-1], np.array([0.3, 0.8], np.float32)] if p else [None]
    for seed in (3, 4):
        refuses_wrong_calls(compiled, network, picture(rng, "square"))
        twin.backend.assign(network, starting_weights(twin.backend.specs(network), seed))
        for omega in omegas:
            x = picture(rng, "square")
            assert relative_error(compiled.run(network, x, omega), eager.run(network, x, omega)) <= limit


@pytest.mark.parametrize("rows", [(2,), (0, 2)])
def test_no_picture_at_all(twin, make_recipe, rows):
    """Gives none, of the size that they would have; with a wrong omega an error as ever."""
    spec = ResNetSpec(channels=4, blocks=1, upscale=2)
    header = dataclasses.replace(Header.of(make_recipe()), network=spec)
    model = WeightsModel(twin.backend, twin.backend.build(spec, 2), header)
    restored = model.run(np.zeros((0, 3, 8, 12), np.float32), np.zeros(rows, np.float32))
    assert restored.shape == (0, 3, 16, 24) and restored.dtype == np.float32
    with pytest.raises(OmegaError, match="3"):
        model.run(np.zeros((0, 3, 8, 12), np.float32), np.zeros((0, 3), np.float32))
