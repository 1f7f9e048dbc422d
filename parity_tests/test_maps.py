"""omega as a map (N, p, H, W), every pixel its own setting (docs/method.md, "omega as a map")."""

import numpy as np
import pytest

from parity_tests.cases import BATCH, CASES, FORMULATIONS, build, inputs, weights
from tunable import oracle
from tunable.errors import OmegaError
from tunable.tolerances import TOLERANCES, relative_error

LAYER = TOLERANCES["layer"].limit
GRADIENT = TOLERANCES["layer gradient"].limit
# Every kind of layer, phi and formulation.
LAYERS = [
    ("padded", "affine", 2),
    ("depth-wise", "se", 2),
    ("grouped strided", "low rank", 2),
    ("reflected uneven", "scale, anchored", 2),
    ("1x1 strided", "identity", 3),
    ("1-d uneven", "low rank", 2),
    ("3-d uneven", "bump", 3),
    ("transposed uneven", "low rank", 2),
    ("transposed x2", "scale, anchored", 2),
    ("grouped", "low rank, bump, anchored", 3),
    ("linear on rows", "low rank", 2),
    ("linear on maps", "se", 1),
    ("linear no bias", "scale, anchored", 2),
    ("vector", "affine", 2),
    ("layer norm", "bump", 3),
    ("layer norm 2d", "se", 2),
    ("instance norm", "base", 2),
]


def map_for(twin, layer, name, p, rng):
    """A random map of the layer's output; of a parameter, which has none, one of 4x5 pixels."""
    x = inputs(name)
    size = (4, 5) if x is None else layer.pixels(twin.tensors([x])[0])
    return rng.normal(size=(BATCH, p, *size)).astype(np.float32)


def true_output(name, phi, p, x, omega):
    case = CASES[name]
    return oracle.layer(case.kind, FORMULATIONS[phi], weights(name, phi, p), case.options, x, omega)


@pytest.mark.parametrize(("name", "phi", "p"), LAYERS)
def test_layers(twin, name, phi, p, rng):
    """Against the oracle, whatever form is asked for; the same map everywhere is the setting of the sample."""
    layer, x = build(twin, name, phi, p), inputs(name)
    omega = map_for(twin, layer, name, p, rng)
    layer.form = "grouped"  # which knows no maps
    output = twin.run(layer, x, omega)
    assert output.shape[2:] == omega.shape[2:] or output.shape[1:-1] == omega.shape[2:]
    assert relative_error(output, true_output(name, phi, p, x, omega)) <= LAYER
    rows = np.ascontiguousarray(omega.reshape(BATCH, p, -1)[..., 0])
    even = np.broadcast_to(rows.reshape(BATCH, p, *[1] * (omega.ndim - 2)), omega.shape)
    expected = twin.run(layer, x, rows)
    if x is None:
        expected = np.broadcast_to(expected[..., None, None], output.shape)
    assert relative_error(twin.run(layer, x, even), expected) <= LAYER


@pytest.mark.parametrize(("name", "phi", "p"), [("grouped strided", "low rank", 2), ("layer norm 2d", "se", 2)])
def test_gradients(twin, name, phi, p, rng):
    """In the input, the map and every parameter, along one random direction each: central differences of the oracle."""
    layer, case, x = build(twin, name, phi, p), CASES[name], inputs(name)
    omega = map_for(twin, layer, name, p, rng)
    factor = rng.normal(size=true_output(name, phi, p, x, omega).shape).astype(np.float32)
    places = {"x": x, "omega": omega, **weights(name, phi, p)}
    for place, gradient in twin.gradients(layer, x, omega, factor).items():
        step, sides = rng.normal(size=places[place].shape), []
        for length in (1e-5, -1e-5):
            moved = {**places, place: places[place] + length * step}
            tensors = {local: value for local, value in moved.items() if local not in ("x", "omega")}
            output = oracle.layer(case.kind, FORMULATIONS[phi], tensors, case.options, moved["x"], moved["omega"])
            sides.append(np.mean(output * factor))
        gap = np.sum(gradient * step) - (sides[0] - sides[1]) / 2e-5
        assert abs(gap) <= GRADIENT * np.linalg.norm(gradient) * np.linalg.norm(step), place


@pytest.mark.parametrize("name", ["channel attention", "simplified channel attention"])
def test_what_mixes_the_whole_picture_takes_the_mean(twin, name, rng):
    layer, x = build(twin, name, "affine", 2), inputs(name)
    omega = rng.normal(size=(BATCH, 2, *x.shape[2:])).astype(np.float32)
    output = twin.run(layer, x, omega)
    assert relative_error(output, true_output(name, "affine", 2, x, omega)) <= LAYER
    assert relative_error(output, twin.run(layer, x, omega.mean((2, 3)))) <= LAYER


def test_written_numbers(twin):
    """A point of 2, at omega_1 = 1, 2, 3, 4 and omega_2 = 0, 1, 0, 1: with A 3 and B 5 at omega_2, 2 + 15 omega_2."""
    make, x = twin.impl.TunableConv2d, np.ones((1, 1, 2, 2))
    omega = np.array([[[[1, 2], [3, 4]], [[0, 1], [0, 1]]]])
    low_rank = make(1, 1, 1, num_objectives=2, differences="low_rank", rank=1)
    tensors = {"weight": [2], "down": [0, 3], "up": [7, 5], "bias": [0, 100, 0]}
    shapes = {name: value.shape for name, value in twin.backend.parameters(low_rank).items()}
    twin.backend.assign(low_rank, {name: np.float32(tensors[name]).reshape(shapes[name]) for name in shapes})
    np.testing.assert_array_equal(twin.run(low_rank, x, omega)[0, 0], [[102, 217], [302, 417]])


def test_wrong_maps_are_refused(twin, rng):
    """One line each; never repeated to fit."""
    x = rng.uniform(size=(2, 3, 8, 9)).astype(np.float32)
    strided = twin.impl.TunableConv2d(3, 4, 3, num_objectives=2, stride=2)
    linear = twin.impl.TunableLinear(9, 4, num_objectives=2)
    table = twin.impl.TunableParameter((9, 2), num_objectives=2)
    no_map = r"^omega must be a tensor \(2,\) or \(N, 2\), not one of shape \(2, 2, 4, 4\)$"
    for layer, given, shape, message in (
        (strided, x, (2, 2, 8, 9), "^omega is a map of 8x9 pixels, height x width; 3x4 are wanted$"),
        (strided, x, (2, 2, 1, 1), "^omega is a map of 1x1 pixels"),
        (strided, x, (2, 3, 3, 4), r"^omega has 3 maps, of shape \(2, 3, 3, 4\); 2 are wanted, one for each"),
        (strided, x, (1, 2, 3, 4), "^omega has maps for 1 samples, but the input has 2$"),
        (linear, x, (2, 2, 3, 9), "^omega is a map of 3x9 pixels, height x width; 3x8 are wanted$"),
        (linear, x[:, 0, 0], (2, 2, 4, 4), no_map),
        (table, None, (2, 2, 4, 4), no_map),
    ):
        with pytest.raises(OmegaError, match=message):
            twin.run(layer, given, np.zeros(shape))
