"""The oracle against written numbers, brute-force loops, scipy, and the limit cases of the paper's equations."""

import itertools

import numpy as np
import pytest
from scipy.signal import correlate

from tunable import oracle
from tunable.errors import TunableError
from tunable.specs.recipe import parse
from tunable.tolerances import relative_error

ROUNDING = 1e-14  # of a tensor, by its norm: float64 sums of some dozen terms in whatever order a BLAS has
NINE = np.arange(9.0).reshape(3, 3)
OPTIONS = (
    {},
    {"padding": 1},
    {"stride": 2, "padding": (0, 1)},
    {"stride": (1, 3), "dilation": (2, 1), "padding": 2},
    {"groups": 2, "stride": (2, 1), "padding": 1, "dilation": (1, 2)},
    {"groups": 4, "padding": 1},
)


def brute_force(x, kernel, bias, stride=1, padding=0, dilation=1, groups=1):
    """An ordinary convolution, one multiplication at a time."""
    (sy, sx), (py, px), (dy, dx) = (v if isinstance(v, tuple) else (v, v) for v in (stride, padding, dilation))
    (n, _, h, w), (out, within, kh, kw) = x.shape, kernel.shape
    height = (h + 2 * py - dy * (kh - 1) - 1) // sy + 1
    width = (w + 2 * px - dx * (kw - 1) - 1) // sx + 1
    y = np.zeros((n, out, height, width))
    for b, o, i, j in itertools.product(range(n), range(out), range(height), range(width)):
        first = o // (out // groups) * within
        y[b, o, i, j] = bias[o]
        for q, u, v in itertools.product(range(within), range(kh), range(kw)):
            row, column = i * sy + u * dy - py, j * sx + v * dx - px
            if 0 <= row < h and 0 <= column < w:
                y[b, o, i, j] += kernel[o, q, u, v] * x[b, first + q, row, column]
    return y


def layer_tensors(rng, p=2, channels=4, out=4, size=3, groups=1):
    """A convolution with p kernels and an affine phi."""
    return {
        "weight": rng.standard_normal((p, out, channels // groups, size, size)),
        "bias": rng.standard_normal((p, out)),
        "phi.weight": rng.standard_normal((p, p)),
        "phi.bias": rng.standard_normal(p),
    }


def test_phi_written_numbers():
    omega = np.array([0.5, 1.0])
    affine = {"phi.weight": np.array([[1.0, 2.0], [3.0, 4.0]]), "phi.bias": np.array([0.25, -1.0])}
    np.testing.assert_array_equal(oracle.phi("affine", omega, affine), [2.75, 4.5])
    np.testing.assert_array_equal(oracle.phi("identity", omega, {}), [0.5, 1.0])
    np.testing.assert_array_equal(oracle.phi("base", omega, {}), [1.0, 0.5, 1.0])
    np.testing.assert_array_equal(oracle.phi("base", omega[None], {}), [[1.0, 0.5, 1.0]])
    # hidden = relu(0.5 - 1, 1 + 0) = (0, 1); logits = (0, log 3): softmax (1/4, 3/4)
    se = {
        "phi.0.weight": np.eye(2),
        "phi.0.bias": np.array([-1.0, 0.0]),
        "phi.2.weight": np.array([[5.0, 0.0], [7.0, np.log(3)]]),
        "phi.2.bias": np.zeros(2),
    }
    assert relative_error(oracle.phi("se", omega, se), [0.25, 0.75]) <= ROUNDING
    se["phi.2.bias"] += 1e4  # softmax is shift-invariant and must not overflow
    np.testing.assert_allclose(oracle.phi("se", omega, se), [0.25, 0.75], rtol=1e-11)


@pytest.mark.parametrize("form", ["affine", "identity", "se", "base"])
def test_phi_row_by_row(form, rng):
    tensors = {
        "phi.weight": rng.standard_normal((3, 3)),
        "phi.bias": rng.standard_normal(3),
        "phi.0.weight": rng.standard_normal((12, 3)),
        "phi.0.bias": rng.standard_normal(12),
        "phi.2.weight": rng.standard_normal((3, 12)),
        "phi.2.bias": rng.standard_normal(3),
    }
    omega = rng.uniform(size=(5, 3))
    rows = [oracle.phi(form, row, tensors) for row in omega]
    assert relative_error(oracle.phi(form, omega, tensors), rows) <= ROUNDING


def test_unknown_names_are_refused(refused):
    with refused(TunableError, "'afine'", "did you mean 'affine'"):
        oracle.phi("afine", np.ones(2), {})
    with refused(TunableError, "'conv2'", "did you mean 'conv2d'"):
        oracle.layer("conv2", "identity", {}, {}, None, np.ones(2))
    with refused(TunableError, "3 aggregation weights for 2 kernels"):
        oracle.aggregate(np.ones(3), np.ones((2, 4)))
    with refused(TunableError, "omega has 2 rows for a batch of 3"):
        oracle.linear(np.ones((3, 1)), np.ones((2, 1)), {"weight": np.ones((1, 1, 1))}, "identity")


def test_aggregate_written_numbers():
    kernels = np.array([[1.0, 2.0], [10.0, 20.0]])
    np.testing.assert_array_equal(oracle.aggregate([1.0, 0.5], kernels), [6, 12])
    np.testing.assert_array_equal(oracle.aggregate([[1.0, 0.5], [0.0, 2.0]], kernels), [[6, 12], [20, 40]])


def test_convolution_written_numbers():
    tensors = {"weight": NINE[None, None, None]}
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(oracle.conv(x, [1.0], tensors, "identity")[0, 0], [[258, 294], [402, 438]])
    same = oracle.conv(NINE[None, None], [1.0], tensors, "identity", padding=1)
    np.testing.assert_array_equal(same[0, 0], [[58, 100, 70], [132, 204, 132], [70, 100, 58]])
    # stride 2 keeps the corners; omega scales; the bias is aggregated too
    tensors["bias"] = np.array([[10.0]])
    strided = oracle.conv(NINE[None, None], [0.5], tensors, "identity", padding=1, stride=2)
    np.testing.assert_array_equal(strided[0, 0], [[34, 40], [40, 34]])


def test_aggregated_convolution_written_numbers():
    """k = 2 k_1 + 3 k_2 with k_1 picking the pixel, k_2 its left neighbour; b = 2 - 3."""
    pick = np.zeros((2, 1, 1, 3, 3))
    pick[0, 0, 0, 1, 1] = pick[1, 0, 0, 1, 0] = 1
    y = oracle.conv(
        NINE[None, None], [2.0, 3.0], {"weight": pick, "bias": np.array([[1.0], [-1.0]])}, "identity", padding=1
    )
    np.testing.assert_array_equal(y[0, 0], [[-1, 1, 6], [5, 16, 21], [11, 31, 36]])


@pytest.mark.parametrize("options", OPTIONS)
def test_convolution_against_loops(options, rng):
    groups = options.get("groups", 1)
    tensors = layer_tensors(rng, groups=groups)
    x, omega = rng.standard_normal((2, 4, 6, 7)), rng.uniform(size=(2, 2))
    y = oracle.conv(x, omega, tensors, "affine", **options)
    for n in range(2):
        alpha = tensors["phi.weight"] @ omega[n] + tensors["phi.bias"]
        kernel = sum(a * k for a, k in zip(alpha, tensors["weight"], strict=True))
        bias = sum(a * b for a, b in zip(alpha, tensors["bias"], strict=True))
        np.testing.assert_allclose(y[n : n + 1], brute_force(x[n : n + 1], kernel, bias, **options), atol=1e-12)


def test_dense_convolution_against_scipy(rng):
    tensors = {"weight": rng.standard_normal((1, 3, 4, 5, 3))}
    x = rng.standard_normal((1, 4, 11, 9))
    y = oracle.conv(x, np.ones(1), tensors, "identity")
    for out in range(3):
        np.testing.assert_allclose(y[0, out], correlate(x[0], tensors["weight"][0, out], "valid")[0], atol=1e-12)


def test_one_kernel_at_one_is_the_ordinary_convolution(rng):
    kernel, bias = rng.standard_normal((3, 4, 3, 3)), rng.standard_normal(3)
    x = rng.standard_normal((2, 4, 5, 5))
    y = oracle.conv(x, np.ones(1), {"weight": kernel[None], "bias": bias[None]}, "identity", padding=1)
    np.testing.assert_allclose(y, brute_force(x, kernel, bias, padding=1), atol=1e-12)


@pytest.mark.parametrize("i", range(3))
def test_unit_vector_selects_its_kernel(i, rng):
    tensors = layer_tensors(rng, p=3)
    x = rng.standard_normal((1, 4, 5, 5))
    y = oracle.conv(x, np.eye(3)[i], tensors, "identity")
    np.testing.assert_allclose(y, brute_force(x, tensors["weight"][i], tensors["bias"][i]), atol=1e-12)


def test_output_is_affine_in_omega(rng):
    """docs/method.md, "Layers": with an affine phi p + 1 folded layers give every omega; on the line p of them do."""
    tensors, x = layer_tensors(rng), rng.standard_normal((1, 4, 5, 5))

    def at(*omega):
        return oracle.conv(x, np.array(omega), tensors, "affine")

    zero, first, second = at(0, 0), at(1, 0), at(0, 1)
    np.testing.assert_allclose(at(0.3, 0.9), zero + 0.3 * (first - zero) + 0.9 * (second - zero), atol=1e-12)
    np.testing.assert_allclose(at(0.3, 0.7), 0.3 * first + 0.7 * second, atol=1e-12)
    assert np.abs(at(0.3, 0.9) - (0.3 * first + 0.9 * second)).max() > 0.1


def test_affine_layer_equals_its_base_form(rng):
    """docs/method.md, "Layers": K_0 = sum_i c_i k_i, K_j = sum_i W_ij k_i."""
    tensors, x, omega = layer_tensors(rng), rng.standard_normal((2, 4, 5, 5)), rng.uniform(size=(2, 2))
    mixing = np.concatenate([tensors["phi.bias"][None], tensors["phi.weight"].T])
    base = {name: np.tensordot(mixing, tensors[name], axes=1) for name in ("weight", "bias")}
    y = oracle.conv(x, omega, tensors, "affine")
    np.testing.assert_allclose(oracle.conv(x, omega, base, "base"), y, atol=1e-12)


@pytest.mark.parametrize("kind", ["conv2d", "linear", "parameter"])
def test_equal_rows_equal_one_omega(kind, rng):
    tensors = layer_tensors(rng)
    if kind == "linear":
        tensors["weight"] = rng.standard_normal((2, 4, 7))
    x = {"conv2d": rng.standard_normal((3, 4, 5, 5)), "linear": rng.standard_normal((3, 5, 7)), "parameter": None}[kind]
    omega = rng.uniform(size=2)
    one = oracle.layer(kind, "affine", tensors, {}, x, omega)
    many = oracle.layer(kind, "affine", tensors, {}, x, np.tile(omega, (3, 1)))
    assert relative_error(many, np.broadcast_to(one, many.shape)) <= ROUNDING
    assert many.shape[0] == 3


def test_linear_and_parameter_written_numbers():
    tensors = {"weight": np.array([[[1.0, 2.0]], [[0.0, 1.0]]]), "bias": np.array([[1.0], [2.0]])}
    x = np.array([[[1.0, 1.0], [3.0, -1.0]], [[0.0, 2.0], [1.0, 0.0]]])
    # omega (1, 0.5): weight (1, 2.5), bias 2; omega (0, 2): weight (0, 2), bias 4
    y = oracle.linear(x, np.array([[1.0, 0.5], [0.0, 2.0]]), tensors, "identity")
    np.testing.assert_array_equal(y[..., 0], [[5.5, 2.5], [8.0, 4.0]])
    np.testing.assert_array_equal(oracle.linear(x[:, 0], np.array([1.0, 0.5]), tensors, "identity"), [[5.5], [7.0]])
    free = {"weight": np.array([[1.0, 1.0], [0.5, -1.0]])}
    np.testing.assert_array_equal(oracle.parameter(np.array([1.0, 0.5]), free, "identity"), [1.25, 0.5])
    np.testing.assert_array_equal(oracle.parameter(np.array([[2.0], [0.0]]), free, "base"), [[2, -1], [1, 1]])


def test_computed_in_float64(rng):
    """float32 in, float64 inside: 1 + 1e-9 survives."""
    tensors = {"weight": np.array([1.0, 1e-9], dtype=np.float32).reshape(1, 1, 2)}
    y = oracle.linear(np.ones((1, 2), dtype=np.float32), np.ones(1, dtype=np.float32), tensors, "identity")
    assert y.dtype == np.float64 and 0.9e-9 < y[0, 0] - 1 < 1.1e-9


def loss_recipe(*objectives, normalise="none", combine="losses"):
    values = {
        "task": "denoise",
        "network": {"name": "resnet"},
        "objectives": [{"name": f"o{i}", **objective} for i, objective in enumerate(objectives)],
        "data": {"train": "bundled"},
        "loss": {"normalise": normalise, "combine": combine},
        "steps": 1,
    }
    return parse(values)


def one_pixel(**pictures):
    """Samples of a single value each: clean=[...], one per sample."""
    return {name: np.array(value, dtype=np.float64).reshape(-1, 1, 1, 1) for name, value in pictures.items()}


def test_noise_target_written_numbers():
    """y + r nu (z - y) with y = 0.5, z = 0.7: 0.1 of the noise 0.2 is 0.02."""
    sample = one_pixel(clean=[0.5, 0.5], degraded=[0.7, 0.3])
    keep = loss_recipe({"kind": "noise", "nu": 0.5}, {"kind": "noise", "nu": 0.5})
    remove = loss_recipe({"kind": "rec"}, {"kind": "noise", "nu": 0.5, "residual": "remove"})
    omega = np.array([[1.0, 0.25], [0.5, 1.0]])
    np.testing.assert_allclose(oracle.target(keep, 0, sample, omega).ravel(), [0.6, 0.45], rtol=1e-14)
    np.testing.assert_allclose(oracle.target(keep, 1, sample, omega).ravel(), [0.525, 0.4], rtol=1e-14)
    np.testing.assert_allclose(oracle.target(remove, 1, sample, omega).ravel(), [0.575, 0.5], rtol=1e-14)
    np.testing.assert_allclose(oracle.target(keep, 1, sample, np.array([0.0, 1.0])).ravel(), [0.6, 0.4], rtol=1e-14)
    np.testing.assert_array_equal(oracle.target(remove, 0, sample, omega).ravel(), [0.5, 0.5])


def test_sharpened_target_is_the_loop(rng):
    """y_eta + omega_2 gamma (y_eta - g y_eta), y_eta with 1 - omega_1 of nu of the noise; g pixel by pixel."""
    recipe = loss_recipe(
        {"kind": "blur", "noise_objective": "o1", "gamma": 3},
        {"kind": "noise", "nu": 0.5, "residual": "remove"},
    )
    sample = {name: rng.uniform(size=(2, 1, 6, 5)) for name in ("clean", "degraded")}
    omega = np.array([[0.3, 0.2], [1.0, 0.6]])
    result = oracle.target(recipe, 0, sample, omega)
    steps = np.arange(-4, 5)
    g = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 2.5**2))
    for n, (sharpen, remove) in enumerate(omega):
        clean, degraded = sample["clean"][n, 0], sample["degraded"][n, 0]
        noisy = clean + (1 - remove) * 0.5 * (degraded - clean)
        assert relative_error(oracle.target(recipe, 1, sample, omega)[n, 0], noisy) <= ROUNDING
        padded, expected = np.pad(noisy, 4, "reflect"), np.zeros((6, 5))
        for i, j in np.ndindex(6, 5):
            blurred = np.sum(g * padded[i : i + 9, j : j + 9]) / g.sum()
            expected[i, j] = noisy[i, j] + sharpen * 3 * (noisy[i, j] - blurred)
        assert relative_error(result[n, 0], expected) <= ROUNDING


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        ("l1", 2.0),
        ("l2", 5.0),
        ("charbonnier", (np.sqrt(9.000001) + np.sqrt(1.000001)) / 2),
        ("fft", 6 / np.sqrt(2) / 4),  # real parts (2, 4) / sqrt 2, imaginary parts 0
    ],
)
def test_distances_written_numbers(distance, expected):
    rec = loss_recipe({"kind": "rec", "distance": distance})
    sample = {"clean": np.zeros((1, 1, 1, 2))}
    restored = np.array([3.0, -1.0]).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(oracle.objective(rec, 0, restored, sample, np.ones(1)), [expected], rtol=1e-14)


def test_parts_of_the_colour_space_written_numbers():
    """Red alone: Y 0.299, U -0.436 0.299 / 0.886, V 0.615; grey: Y alone."""
    sample, red = {"clean": np.zeros((1, 3, 1, 1))}, np.array([1.0, 0, 0]).reshape(1, 3, 1, 1)
    for space, of_red, of_grey in (
        ("luma", 0.299, 1),
        ("chroma", (0.436 * 0.299 / 0.886 + 0.615) / 2, 0),
        ("rgb", 1 / 3, 1),
    ):
        recipe = loss_recipe({"kind": "rec", "space": space})
        for picture, expected in ((red, of_red), (np.ones((1, 3, 1, 1)), of_grey)):
            value = oracle.objective(recipe, 0, picture, sample, np.ones(1))
            np.testing.assert_allclose(value, [expected], rtol=1e-14, atol=1e-16)


def test_multi_loss_written_numbers():
    """Two samples, lambda (2, 3): losses by hand, with and without the division by the sum of omega."""
    kinds = {"kind": "rec", "weight": 2.0}, {"kind": "noise", "weight": 3.0, "nu": 1.0}
    sample, restored = one_pixel(clean=[0, 0], degraded=[1, -1]), np.array([0.5, 0.0]).reshape(2, 1, 1, 1)
    omega = np.array([[0.5, 0.25], [0.0, 1.0]])
    # sample 1: L = (0.5, |0.5 - 0.25|): 0.5 2 0.5 + 0.25 3 0.25 = 0.6875; sample 2: L = (0, 1): 3
    loss, terms = oracle.multi_loss(loss_recipe(*kinds), restored, sample, omega)
    assert loss == pytest.approx((0.6875 + 3) / 2, rel=1e-14)
    np.testing.assert_allclose(terms, [0.25, 0.625], rtol=1e-14)
    divided, same = oracle.multi_loss(loss_recipe(*kinds, normalise="sum"), restored, sample, omega)
    assert divided == pytest.approx((0.6875 / 0.75 + 3) / 2, rel=1e-14)
    np.testing.assert_array_equal(same, terms)


def test_normalisation_has_a_floor():
    recipe = loss_recipe({"kind": "rec"}, {"kind": "rec"}, normalise="sum")
    sample, restored = one_pixel(clean=[0]), np.ones((1, 1, 1, 1))
    assert oracle.multi_loss(recipe, restored, sample, np.array([1e-4, 0.0]))[0] == pytest.approx(0.1, rel=1e-12)
    assert oracle.multi_loss(recipe, restored, sample, np.zeros(2))[0] == 0
    assert oracle.multi_loss(recipe, restored, sample, np.array([0.25, 0.5]))[0] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("i", range(3))
def test_loss_at_a_unit_vector_is_its_weighted_objective(i, rng):
    recipe = loss_recipe(
        {"kind": "rec", "weight": 0.7, "distance": "l2"},
        {"kind": "noise", "weight": 1.3},
        {"kind": "noise", "weight": 2.1, "residual": "remove", "distance": "charbonnier"},
    )
    sample = {name: rng.uniform(size=(2, 3, 4, 5)) for name in ("clean", "degraded")}
    restored, omega = rng.uniform(size=(2, 3, 4, 5)), np.eye(3)[i]
    loss, terms = oracle.multi_loss(recipe, restored, sample, omega)
    alone = oracle.objective(recipe, i, restored, sample, omega).mean()
    assert loss == pytest.approx(recipe.objectives[i].weight * alone, rel=1e-13)
    assert terms[i] == pytest.approx(alone, rel=1e-13)
    assert terms.shape == (3,)


@pytest.mark.parametrize("normalise", ["none", "sum"])
@pytest.mark.parametrize("distance", ["l1", "l2", "charbonnier", "fft"])
@pytest.mark.parametrize("space", ["rgb", "luma", "chroma"])
def test_gradient_against_finite_differences(normalise, distance, space, rng):
    recipe = loss_recipe(
        {"kind": "rec", "weight": 0.7, "distance": distance, "space": space},
        {"kind": "noise", "weight": 1.3, "distance": distance},
        normalise=normalise,
    )
    sample = {name: rng.uniform(size=(2, 3, 3, 2)) for name in ("clean", "degraded")}
    restored, omega = rng.uniform(size=(2, 3, 3, 2)), rng.uniform(0.2, 1, size=(2, 2))
    gradient = oracle.multi_loss_gradient(recipe, restored, sample, omega)
    numeric = np.zeros_like(restored)
    for place in np.ndindex(restored.shape):
        step = np.zeros_like(restored)
        step[place] = 1e-6
        above, below = (oracle.multi_loss(recipe, restored + s, sample, omega)[0] for s in (step, -step))
        numeric[place] = (above - below) / 2e-6
    np.testing.assert_allclose(gradient, numeric, atol=2e-9)


def test_gradient_written_numbers():
    """l1: omega lambda sign / (N elements); zero at the kink itself and at omega = 0."""
    recipe = loss_recipe({"kind": "rec", "weight": 3.0})
    sample = {"clean": np.zeros((2, 1, 1, 2))}
    restored = np.array([0.5, -0.5, 0.0, 2.0]).reshape(2, 1, 1, 2)
    gradient = oracle.multi_loss_gradient(recipe, restored, sample, np.array([[1.0], [0.5]]))
    np.testing.assert_allclose(gradient.ravel(), [0.75, -0.75, 0, 0.375], rtol=1e-14)
    assert not oracle.multi_loss_gradient(recipe, restored, sample, np.zeros(1)).any()
