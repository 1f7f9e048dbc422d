"""Limit cases (docs/method.md, "Layers"): where a tunable layer or network must be a simpler known thing; controls."""

import numpy as np
import pytest

from parity_tests.cases import (
    BATCH,
    CASES,
    CONVOLUTIONS,
    FORMULATED,
    IN_TURN,
    KINDS,
    build,
    factor,
    inputs,
    omegas,
    weights,
)
from parity_tests.twins import differ
from tunable.forms import FORMS
from tunable.specs.formulations import PHI_FORMS
from tunable.specs.networks import ResNetSpec, StyleUNetSpec
from tunable.tolerances import TOLERANCES, relative_error

LAYER, FOLDED = TOLERANCES["layer"].limit, TOLERANCES["folded"].limit
OMEGA = np.array([0.3, 0.9], np.float32)


def close(a, b, limit=LAYER):
    error = relative_error(a, b)
    assert error <= limit, f"{error:.2e} > {limit:.0e}"


def ordinary(twin, name, p, i):
    """The framework's own convolution with kernel i of the case, identity phi, other borders padded here."""
    tensors, layer, x = weights(name, "identity", p), build(twin, name, "identity", p), inputs(name)
    bias = tensors["bias"][i] if CASES[name].bias else np.zeros(layer.out_channels)
    options = layer.options()
    mode = options.pop("padding_mode", "zeros")
    if mode != "zeros":
        sides = [(0, 0), (0, 0), *((size, size) for size in layer.padding)]
        x, options["padding"] = np.pad(x, sides, {"reflect": "reflect", "replicate": "edge"}[mode]), (0,) * layer.dims
    return twin.convolution(layer.kind, x, tensors["weight"][i], bias, **options)


def network(twin, phi, p=2):
    """A small tunable ResNet, its weights framework-neutral."""
    return twin.backend.build(ResNetSpec(channels=6, blocks=1, phi=phi), p)


def picture(rng, n=BATCH):
    return rng.uniform(size=(n, 3, 9, 8)).astype(np.float32)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_one_kernel_at_one_is_the_ordinary_convolution(twin, name):
    """identity phi, p = 1, omega = 1."""
    layer, expected = build(twin, name, "identity", 1), ordinary(twin, name, 1, 0)
    close(twin.run(layer, inputs(name), [1]), expected)
    close(twin.run(layer, inputs(name), np.ones((BATCH, 1))), expected)


@pytest.mark.parametrize(("name", "i"), [(name, place % 3) for place, name in enumerate(CONVOLUTIONS)])
def test_unit_vector_selects_its_kernel(twin, name, i):
    close(twin.run(build(twin, name, "identity", 3), inputs(name), np.eye(3)[i]), ordinary(twin, name, 3, i))


@pytest.mark.parametrize("phi", PHI_FORMS)
@pytest.mark.parametrize("name", KINDS)
def test_equal_rows_equal_one_omega(twin, name, phi):
    """In every form."""
    layer, rows = build(twin, name, phi, 2), np.tile(OMEGA, (BATCH, 1))
    one = twin.run(layer, inputs(name), OMEGA)
    for form in FORMS if name in CONVOLUTIONS else ("auto",):
        layer.form = form
        many = twin.run(layer, inputs(name), rows)
        close(many, np.broadcast_to(one, many.shape))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_forms_are_equal(twin, name):
    layer, omega = build(twin, name, "affine", 3), omegas(3)["per sample"]
    first, *others = (setattr(layer, "form", form) or twin.run(layer, inputs(name), omega) for form in FORMS)
    for other in others:
        close(other, first)


@pytest.mark.parametrize(("name", "phi", "p"), [(name, phi, 2) for name, phi in IN_TURN] + FORMULATED)
def test_folded_layer(twin, name, phi, p):
    """An ordinary layer of the framework equals the live one, which stays as it was."""
    layer, tensors = build(twin, name, phi, p), weights(name, phi, p)
    for omega in (np.resize(OMEGA, p), np.linspace(-1, 2, p, dtype=np.float32)):
        whole = CASES[name].parts  # built from several layers: folded as networks are
        folded = twin.backend.fold(layer, omega) if whole else layer.fold(*twin.tensors([omega]))
        assert not isinstance(folded, twin.module("layers").Tunable)
        ordinary = (
            twin.array(folded) if CASES[name].kind == "parameter" else twin.array(folded(*twin.tensors([inputs(name)])))
        )
        close(ordinary, twin.run(layer, inputs(name), omega), FOLDED)
    for local, value in twin.backend.parameters(layer).items():
        np.testing.assert_array_equal(value, tensors[local])


@pytest.mark.parametrize("phi", PHI_FORMS)
def test_folded_network(twin, phi, rng):
    tunable = network(twin, phi)
    before, x = twin.backend.parameters(tunable), picture(rng)
    live = twin.backend.run(tunable, x, OMEGA)
    folded = twin.backend.fold(tunable, OMEGA)
    close(twin.backend.run(folded, x, None), live, FOLDED)
    kinds = twin.module("layers").Tunable
    assert not any(isinstance(module, kinds) for module in twin.modules(folded))
    assert any(isinstance(module, kinds) for module in twin.modules(tunable))
    # the folded weights are its own: changing them leaves the tunable network as it was
    twin.backend.assign(folded, {name: 0 * value for name, value in twin.backend.parameters(folded).items()})
    for name, value in twin.backend.parameters(tunable).items():
        np.testing.assert_array_equal(value, before[name])
    np.testing.assert_array_equal(twin.backend.run(tunable, x, OMEGA), live)


def folded_tensors(twin, tunable, *omega):
    """The plain weights at an omega."""
    return twin.backend.parameters(twin.backend.fold(tunable, np.array(omega, np.float32)))


@pytest.mark.parametrize("phi", ["affine", "base"])
def test_line_is_the_interpolation_of_its_ends(twin, phi, rng):
    """On omega_1 + omega_2 = 1 a p = 2 network is the linear interpolation (DNI) of its two folded end points."""
    tunable, x = network(twin, phi), picture(rng)
    first, second = folded_tensors(twin, tunable, 1, 0), folded_tensors(twin, tunable, 0, 1)
    plain = twin.backend.fold(tunable, OMEGA)

    def interpolated(a, b):
        twin.backend.assign(plain, {name: np.float32(a) * first[name] + np.float32(b) * second[name] for name in first})
        return twin.backend.run(plain, x, None)

    close(interpolated(0.3, 0.7), twin.backend.run(tunable, x, np.array([0.3, 0.7], np.float32)), FOLDED)
    assert differ(interpolated(0.3, 0.9), twin.backend.run(tunable, x, OMEGA))  # off the line it is not


@pytest.mark.parametrize("phi", PHI_FORMS)
def test_p_plus_one_folded_networks_give_every_omega(twin, phi, rng):
    """K(omega) = K(0) + sum_j omega_j (K(e_j) - K(0)): for affine, identity and base, not for se."""
    tunable, x = network(twin, phi, p=3), picture(rng)
    omega = np.array([0.2, 0.9, 0.4], np.float32)
    zero, *corners = (folded_tensors(twin, tunable, *point) for point in (np.zeros(3), *np.eye(3)))
    plain = twin.backend.fold(tunable, omega)
    tensors = {}
    for name, start in zip(zero, zero.values(), strict=True):
        tensors[name] = start + sum(w * (corner[name] - start) for w, corner in zip(omega, corners, strict=True))
    twin.backend.assign(plain, tensors)
    error = relative_error(twin.backend.run(plain, x, None), twin.backend.run(tunable, x, omega))
    assert error > 10 * FOLDED if phi == "se" else error <= FOLDED, f"{error:.2e}"


@pytest.mark.parametrize("phi", PHI_FORMS)
@pytest.mark.parametrize("name", KINDS)
def test_every_kernel_and_phi_gets_a_gradient(twin, name, phi):
    """Each of the k kernels and biases for itself."""
    layer, p = build(twin, name, phi, 3), 3
    for label in ("inside", "per sample"):
        gradients = twin.gradients(layer, inputs(name), omegas(p)[label], factor(name, phi, p, label))
        assert {"omega", *weights(name, phi, p)} <= set(gradients)
        for place, gradient in gradients.items():
            parts = gradient if place.endswith(("weight", "bias")) and "phi." not in place else [gradient]
            for i, part in enumerate(parts):
                assert np.abs(part).max() > 1e-6, f"no gradient for {place}[{i}] at omega {label}"


@pytest.mark.parametrize("phi", PHI_FORMS)
def test_every_parameter_of_a_network_gets_a_gradient(twin, phi, rng):
    tunable = network(twin, phi)

    def loss(x, omega):
        return (tunable(x, omega) * tunable(x, omega)).mean()

    inputs = [picture(rng), rng.uniform(0.2, 1, (BATCH, 2))]
    gradients = twin.differentiate(loss, inputs, tunable)[1][2:]
    names = list(twin.backend.parameters(tunable))
    assert len(gradients) == len(names)
    for name, gradient in zip(names, gradients, strict=True):
        for i, part in enumerate(
            gradient if name.endswith((".weight", ".bias")) and ".phi." not in name else [gradient]
        ):
            assert np.abs(part).max() > 0, f"no gradient for {name}[{i}]"


@pytest.mark.parametrize(("name", "phi"), IN_TURN)
def test_different_omega_differ(twin, name, phi):
    """Negative control, for one omega and between the samples of a batch of equal inputs."""
    layer = build(twin, name, phi, 2)
    a, b = (twin.run(layer, inputs(name), omega) for omega in (OMEGA, OMEGA[::-1].copy()))
    assert differ(a, b)
    same = None if inputs(name) is None else np.repeat(inputs(name)[:1], 2, axis=0)
    for form in FORMS if name in CONVOLUTIONS else ("auto",):
        layer.form = form
        rows = twin.run(layer, same, np.stack([OMEGA, OMEGA[::-1]]))
        assert differ(rows[0], rows[1])


def test_written_differences(twin):
    """A point of 2: with A 3 and B 5 at omega_2 2 + 15 omega_2; with a gain of 0.5 at omega_1 2 (1 + omega_1 / 2)."""
    make, x = twin.impl.TunableConv2d, np.ones((2, 1, 1, 1))
    low_rank = make(1, 1, 1, num_objectives=2, differences="low_rank", rank=4, bias=False)
    tensors = {"weight": [2], "down": [0, 3], "up": [7, 5]}
    shapes = {name: value.shape for name, value in twin.backend.parameters(low_rank).items()}
    assert shapes == {"weight": (1, 1, 1, 1, 1), "down": (2, 1, 1, 1, 1), "up": (2, 1, 1)}  # a point has rank 1
    twin.backend.assign(low_rank, {name: np.float32(tensors[name]).reshape(shapes[name]) for name in shapes})
    scale = make(1, 1, 1, num_objectives=2, differences="scale", bias=False)
    twin.backend.assign(scale, {"weight": np.full((1, 1, 1, 1, 1), 2, "f"), "gain": np.array([[0.5], [0]], "f")})
    bump = make(1, 1, 1, num_objectives=2, bump=True, anchor=[1, 2], bias=False)
    twin.backend.assign(bump, {"weight": np.array([2, 10, 100, 1000], "f").reshape(4, 1, 1, 1, 1)})
    for layer, truth in (
        (low_rank, lambda first, second: 2 + 15 * second),
        (scale, lambda first, second: 2 + first),
        (bump, lambda a, b: 2 + 10 * (a - 1) + 100 * (b - 2) + 1000 * (a * b - 2)),
    ):
        for form in FORMS:
            layer.form = form
            rows = twin.run(layer, x, [[1, 2], [3, -1]])
            np.testing.assert_array_equal(rows.ravel(), [truth(1, 2), truth(3, -1)])
            assert twin.run(layer, x, [3, -1]).ravel().tolist() == [truth(3, -1)] * 2


@pytest.mark.parametrize("change", [{}, {"differences": "low_rank", "rank": 2}, {"differences": "scale"}])
def test_at_its_anchor_a_network_is_the_plain_one_to_the_bit(twin, change, rng):
    """Whatever its differences are; for every sample too."""
    spec = ResNetSpec(channels=6, blocks=1, anchor=[0.3, 0.7], bump=True, **change)
    tunable, x = twin.backend.build(spec, 2), picture(rng)
    drawn = {name: rng.normal(size=v.shape).astype("f") for name, v in twin.backend.parameters(tunable).items()}
    twin.backend.assign(tunable, drawn)
    plain = twin.backend.build(spec.model_copy(update={"tunable": False}), 0)
    twin.backend.assign(plain, {name: drawn[name][0] for name in twin.backend.parameters(plain)})
    expected = twin.backend.run(plain, x, None)
    at = np.array([0.3, 0.7], np.float32)
    np.testing.assert_array_equal(twin.backend.run(tunable, x, at), expected)
    close(twin.backend.run(tunable, x, np.tile(at, (BATCH, 1))), expected)
    assert differ(twin.backend.run(tunable, x, at[::-1].copy()), expected)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bump", [False, True])
def test_at_its_anchor_nothing_is_left_in_any_precision(twin, bump, kind):
    """Of 0.05 and 0.1, whose product is another in each; neither after a layer has been in half precision."""
    layer = twin.impl.TunableConv2d(1, 1, 1, num_objectives=2, anchor=(0.05, 0.1), bump=bump)
    if twin.name == "torch":
        layer = layer.half().to(getattr(twin.torch, kind))
    make = twin.torch.tensor if twin.name == "torch" else twin.ms.Tensor
    omega = make(np.array([[0.05, 0.1], [1, 0.1]], kind))
    first, other = twin.array(layer.alpha(omega))
    assert first.tolist() == [1, 0, 0, *[0] * bump]
    assert other[1] == np.ones(1, kind) - np.array(0.05, kind) and other[2] == 0


@pytest.mark.parametrize("change", [{}, {"upscale": 3, "mean": True}])
def test_a_residual_of_nothing_is_the_picture(twin, change, rng):
    """A ResNet whose last convolution is zero returns its input, enlarged to its nearest neighbours."""
    x = picture(rng)
    network = twin.backend.build(ResNetSpec(channels=4, blocks=1, global_residual=True, **change), 2)
    _silence(twin, network, "tail")
    factor = change.get("upscale", 1)
    close(twin.backend.run(network, x, OMEGA), x.repeat(factor, axis=2).repeat(factor, axis=3))


@pytest.mark.parametrize("normalise", [False, True])
def test_a_style_of_nothing_is_the_picture(twin, normalise, rng):
    """A style U-Net that adds its input returns it where its last convolution is zero."""
    x = picture(rng)
    spec = StyleUNetSpec(channels=2, scales=1, blocks=(1, 0, 1), global_residual=True, normalise=normalise)
    network = twin.backend.build(spec, 2)
    _silence(twin, network, "conv_out")
    close(twin.backend.run(network, x, OMEGA), x)


@pytest.mark.parametrize("p", [0, 2])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_every_convolution_pads_alike(twin, p, padding):
    """All of a style U-Net, tunable or ordinary; MindSpore's own ordinary one knows zeros alone."""
    spec = StyleUNetSpec(channels=2, scales=1, blocks=(2, 1, 2), padding=padding, tunable=bool(p))
    parts = twin.modules(twin.backend.build(spec, p))
    convolutions = [part for part in parts if "Conv" in type(part).__name__ and hasattr(part, "weight")]
    assert len(convolutions) == 8 and {getattr(part, "padding_mode", "zeros") for part in convolutions} == {padding}


def _silence(twin, network, layer):
    tensors = twin.backend.parameters(network)
    silent = {name: 0 * tensors[name] for name in (f"{layer}.weight", f"{layer}.bias")}
    twin.backend.assign(network, tensors | silent)
