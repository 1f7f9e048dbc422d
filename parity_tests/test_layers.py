"""Every layer of each twin against the float64 oracle: outputs, gradients, written numbers."""

import numpy as np
import pytest

from parity_tests.cases import (
    BATCH,
    CASES,
    CONVOLUTIONS,
    FORMULATED,
    GRID,
    IN_TURN,
    KINDS,
    OBJECTIVES,
    build,
    factor,
    inputs,
    omegas,
    shapes,
    true_gradients,
)
from parity_tests.cases import truth as true_output
from tunable.forms import FORMS
from tunable.specs.formulations import PHI_FORMS
from tunable.tolerances import TOLERANCES, relative_error

LIMIT = TOLERANCES["layer"].limit
GRADIENT_LIMIT = TOLERANCES["layer gradient"].limit
# Every case with the paper's phi, and one of each kind with every phi.
GRADIENT_CASES = [(name, "affine") for name in CASES]
GRADIENT_CASES += [
    (name, phi)
    for name in ("grouped", "linear on rows", "table", "attention shifted")
    for phi in PHI_FORMS
    if phi != "affine"
]


def quick(grid):
    """The grid, in which all but the first of each geometry are left out of `make quick`."""
    names = [name for name, *_ in grid]
    marks = [[pytest.mark.thorough] if name in names[:i] else [] for i, name in enumerate(names)]
    return [pytest.param(*values, marks=mark) for values, mark in zip(grid, marks, strict=True)]


@pytest.mark.parametrize(("name", "phi", "p"), quick(GRID + FORMULATED))
def test_output(twin, name, phi, p):
    """At every omega, and in every form where each sample has its own."""
    layer = build(twin, name, phi, p)
    for label, omega in omegas(p).items():
        forms = FORMS if name in CONVOLUTIONS and label in ("inside", "per sample") else ("auto",)
        for form in forms:
            layer.form = form
            output = twin.run(layer, inputs(name), omega)
            error = relative_error(output, true_output(name, phi, p, label))
            assert error <= LIMIT, f"omega {label}, form {form}: {error:.2e}"


@pytest.mark.parametrize(("name", "phi", "p"), quick([(name, phi, 3) for name, phi in IN_TURN] + FORMULATED))
def test_parameters(twin, name, phi, p):
    """Names and shapes are as in the weights file, and the declared specs say the same."""
    layer, expected = build(twin, name, phi, p), shapes(name, phi, p)
    assert {local: value.shape for local, value in twin.backend.parameters(layer).items()} == expected
    assert {spec.name: spec.shape for spec in twin.backend.specs(layer)} == expected


@pytest.mark.parametrize(
    ("name", "phi", "label"),
    [
        *((name, "affine", "inside") for name in KINDS),
        *(
            pytest.param(name, phi, label, marks=pytest.mark.thorough)
            for name, phi in GRADIENT_CASES
            for label in ("inside", "per sample")
            if (phi, label) != ("affine", "inside") or name not in KINDS
        ),
    ],
)
def test_gradients(twin, name, phi, label):
    check_gradients(twin, name, phi, 2, label)


@pytest.mark.thorough
@pytest.mark.parametrize("label", ["inside", "per sample"])
@pytest.mark.parametrize(
    ("name", "phi", "p"),
    [
        ("grouped strided", "low rank", 2),
        ("transposed uneven", "low rank", 2),
        ("transposed uneven", "scale, anchored", 2),
        ("linear on rows", "scale, anchored", 2),
        ("linear on rows", "low rank, bump, anchored", 3),
    ],
)
def test_gradients_of_differences(twin, name, phi, p, label):
    check_gradients(twin, name, phi, p, label)


@pytest.mark.thorough
@pytest.mark.parametrize("phi", PHI_FORMS)
@pytest.mark.parametrize("p", [1, 3])
def test_gradients_of_more_objectives(twin, phi, p):
    check_gradients(twin, "1x1", phi, p, "per sample")


def check_gradients(twin, name, phi, p, label):
    layer, truth = build(twin, name, phi, p), true_gradients(name, phi, p, label)
    for form in FORMS if name in CONVOLUTIONS and label == "per sample" else ("auto",):
        layer.form = form
        gradients = twin.gradients(layer, inputs(name), omegas(p)[label], factor(name, phi, p, label))
        assert gradients.keys() == truth.keys()
        errors = {place: relative_error(gradients[place], truth[place]) for place in truth}
        worst = max(errors, key=errors.get)
        assert errors[worst] <= GRADIENT_LIMIT, f"form {form}, {worst}: {errors[worst]:.2e}"


def test_the_grid_holds_every_pair():
    """Of geometry and phi, geometry and p, phi and p; the shorter list every geometry, and every phi with each kind."""
    assert {(name, phi) for name, phi, _ in GRID} == {(name, phi) for name in CASES for phi in PHI_FORMS}
    assert {(name, p) for name, _, p in GRID} == {(name, p) for name in CASES for p in OBJECTIVES}
    assert {(phi, p) for _, phi, p in GRID} == {(phi, p) for phi in PHI_FORMS for p in OBJECTIVES}
    assert {name for name, _ in IN_TURN} == set(CASES) and len(IN_TURN) == len(CASES) + 3 * len(KINDS)
    assert {CASES[name].kind.rstrip("123d") for name in KINDS} >= {"conv", "conv_transpose", "linear", "parameter"}


def test_written_convolution(twin):
    """k = 2 k_1 + 3 k_2, k_1 the pixel, k_2 its left neighbour; b = 2 - 3; and per sample k = k_1 + 0 k_2, b = 1."""
    layer = twin.impl.TunableConv2d(1, 1, 3, num_objectives=2, padding=1, phi="identity")
    pick = np.zeros((2, 1, 1, 3, 3), np.float32)
    pick[0, 0, 0, 1, 1] = pick[1, 0, 0, 1, 0] = 1
    twin.backend.assign(layer, {"weight": pick, "bias": np.array([[1], [-1]], np.float32)})
    x = np.arange(9).reshape(1, 1, 3, 3)
    expected = [[-1, 1, 6], [5, 16, 21], [11, 31, 36]]
    np.testing.assert_array_equal(twin.run(layer, x, [2, 3])[0, 0], expected)
    for form in FORMS:
        layer.form = form
        both = twin.run(layer, np.concatenate([x, x]), [[2, 3], [1, 0]])
        np.testing.assert_array_equal(both[0, 0], expected)
        np.testing.assert_array_equal(both[1, 0], x[0, 0] + 1)


def test_written_stride_and_dilation(twin):
    """A kernel of ones on 0 .. 24: every second pixel, or pixels two apart; zeros around."""
    x = np.arange(25).reshape(1, 1, 5, 5)
    for options, expected in (
        ({"stride": 2, "padding": 1}, [[12, 27, 24], [63, 108, 81], [72, 117, 84]]),
        ({"dilation": 2}, [[108]]),
        ({"stride": (1, 2), "padding": (1, 0)}, [[21, 33], [54, 72], [99, 117], [144, 162], [111, 123]]),
    ):
        layer = twin.impl.TunableConv2d(1, 1, 3, num_objectives=1, bias=False, phi="identity", **options)
        twin.backend.assign(layer, {"weight": np.ones((1, 1, 1, 3, 3), np.float32)})
        np.testing.assert_array_equal(twin.run(layer, x, [1])[0, 0], expected)


def test_written_linear_and_parameter(twin):
    """omega (1, 0.5): weight (1, 2.5), bias 2; omega (0, 2): weight (0, 2), bias 4."""
    linear = twin.impl.TunableLinear(2, 1, num_objectives=2, phi="identity")
    weight = np.array([[[1, 2]], [[0, 1]]], np.float32)
    twin.backend.assign(linear, {"weight": weight, "bias": np.array([[1], [2]], np.float32)})
    x = [[[1, 1], [3, -1]], [[0, 2], [1, 0]]]
    np.testing.assert_array_equal(twin.run(linear, x, [[1, 0.5], [0, 2]])[..., 0], [[5.5, 2.5], [8, 4]])
    np.testing.assert_array_equal(twin.run(linear, [[1, 1], [0, 2]], [1, 0.5]), [[5.5], [7]])
    free = twin.impl.TunableParameter((2,), num_objectives=1, phi="base")
    twin.backend.assign(free, {"weight": np.array([[1, 1], [0.5, -1]], np.float32)})
    np.testing.assert_array_equal(twin.run(free, None, [2]), [2, -1])
    np.testing.assert_array_equal(twin.run(free, None, [[2], [0]]), [[2, -1], [1, 1]])


def test_written_phi(twin):
    """alpha read off a parameter whose kernels are the unit vectors; rows and columns of W tell each other apart."""
    omega = np.array([0.5, 1])
    for form, tensors, expected in (
        ("affine", {"phi.weight": [[1, 2], [3, 4]], "phi.bias": [0.25, -1]}, [2.75, 4.5]),
        ("identity", {}, [0.5, 1]),
        ("base", {}, [1, 0.5, 1]),
    ):
        layer = twin.impl.TunableParameter((len(expected),), num_objectives=2, phi=form)
        tensors = {"weight": np.eye(len(expected)), **tensors}
        twin.backend.assign(layer, {name: np.array(value, np.float32) for name, value in tensors.items()})
        np.testing.assert_array_equal(twin.run(layer, None, omega), expected)
        np.testing.assert_array_equal(twin.run(layer, None, [omega, omega]), [expected, expected])


def test_written_squeeze_and_excitation(twin):
    """Hidden relu(0.5 - 1, 1, 0, ...) = (0, 1, 0, ...), logits (0, log 3): softmax (1/4, 3/4)."""
    layer = twin.impl.TunableParameter((2,), num_objectives=2, phi="se")
    first, second = np.zeros((8, 2)), np.zeros((2, 8))
    first[:2], second[0, 0], second[1, 1] = np.eye(2), 5, np.log(3)
    tensors = {"weight": np.eye(2), "phi.0.weight": first, "phi.0.bias": [-1] + [0] * 7}
    tensors |= {"phi.2.weight": second, "phi.2.bias": [0, 0]}
    twin.backend.assign(layer, {name: np.array(value, np.float32) for name, value in tensors.items()})
    np.testing.assert_allclose(twin.run(layer, None, [0.5, 1]), [0.25, 0.75], rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_free_parameter_starts_at_its_value(twin, value):
    """With phi `base`: at every omega exactly."""
    layer = twin.impl.TunableParameter((3,), num_objectives=2, value=value, phi="base", seed=0)
    np.testing.assert_array_equal(twin.run(layer, None, omegas(2)["per sample"]), np.full((BATCH, 3), value))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "phi"), [("grouped", "affine"), ("grouped", "se"), ("linear on rows", "affine"), ("table", "se")]
)
def test_mindspore_graph_equals_pynative(mindspore, name, phi):
    """Bit for bit, which is why the wide sweeps here need no compilation; both ways of giving omega, and gradients."""
    layer, outputs = build(mindspore, name, phi, 2), {}
    for mode in ("pynative", "graph"):
        with mindspore.module("ops").running(mode):
            outputs[mode] = [mindspore.run(layer, inputs(name), omegas(2)[label]) for label in ("inside", "per sample")]
            arguments = inputs(name), omegas(2)["per sample"], factor(name, phi, 2, "per sample")
            outputs[mode] += mindspore.gradients(layer, *arguments).values()
    for eager, compiled in zip(outputs["pynative"], outputs["graph"], strict=True):
        np.testing.assert_array_equal(eager, compiled)
