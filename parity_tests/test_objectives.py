"""Objectives and the multi-loss of each twin against the oracle: values, gradients, limits, written numbers."""

from functools import partial
from itertools import combinations, product

import numpy as np
import pytest

from tunable import oracle
from tunable.errors import TunableError
from tunable.objectives import KINDS, base
from tunable.tolerances import TOLERANCES, relative_error

LIMIT = TOLERANCES["loss"].limit
OBJECTIVES = {
    "rec + noise": [{"kind": "rec"}, {"kind": "noise"}],
    "lambdas": [{"kind": "rec", "weight": 0.7}, {"kind": "noise", "weight": 1.9, "nu": 0.6}],
    "remove": [{"kind": "noise", "residual": "remove"}, {"kind": "rec", "weight": 0.2}],
    "three": [{"kind": "noise", "weight": 3, "residual": "remove", "nu": 0.4}, {"kind": "rec"}, {"kind": "noise"}],
    "one": [{"kind": "noise", "nu": 1}],
    "joint": [{"kind": "noise", "residual": "remove"}, {"kind": "blur", "noise_objective": "o0"}],
    "blur before its noise": [
        {"kind": "blur", "noise_objective": "o2", "gamma": 2.5, "weight": 0.4},
        {"kind": "rec"},
        {"kind": "noise", "nu": 0.3},
    ],
    "residue": [{"kind": "residue", "of": "gaussian_noise", "nu": 0.4, "weight": 1.6}, {"kind": "noise"}],
}


def cases_of(kinds):
    """A case for each kind that has none above and needs no keys; one that looks through networks is compared there."""
    known = {one["kind"] for case in OBJECTIVES.values() for one in case}
    return {
        word: [{"kind": word, "weight": 1.3}, {"kind": "rec"}]
        for word, kind in kinds.items()
        if word not in known and kind.value is not base.Objective.value
    }


OBJECTIVES |= cases_of(KINDS)
FULL = {"kind": "noise", "residual": "full"}
COMBINED = {  # with `combine: targets`
    "rec + noise": [{"kind": "rec", "weight": 0.7}, {**FULL, "weight": 1.9, "nu": 0.6}],
    "three": [{**FULL, "nu": 0.4}, {"kind": "rec", "weight": 0.2}, {**FULL, "nu": 1, "weight": 3}],
    "parts": [
        {"kind": "rec", "space": "luma"},
        {"kind": "rec", "space": "chroma", "weight": 1.4},
        {**FULL, "space": "chroma", "weight": 0.6},
        {**FULL, "space": "luma", "nu": 0.3},
    ],
    "residues": [
        {"kind": "residue", "of": "gaussian_blur", "nu": 0.4, "weight": 2},
        {"kind": "rec", "weight": 0.2},
        {"kind": "residue", "of": "gaussian_noise"},
    ],
}
OMEGAS = ("per batch", "per sample", "unit vector", "small")
DISTANCES, NORMALISE = ("l1", "l2", "charbonnier", "fft"), ("none", "sum")
# In pairs: each of two settings stands with each of the other at least once.
GRID = [
    (name, DISTANCES[(i + j) % 4], NORMALISE[(i + j // 2) % 2], label)
    for i, name in enumerate(OBJECTIVES)
    for j, label in enumerate(OMEGAS)
]
SHAPE = (3, 2, 6, 5)  # the least that an unsharp mask takes is 5


@pytest.fixture
def make_loss(twin, make_recipe):
    """make_loss(objectives, ...): a recipe and the twin's loss built from it."""
    return partial(build_loss, twin, make_recipe)


def build_loss(twin, make_recipe, objectives, normalise="none", distance="l1", combine="losses"):
    named = [
        {"name": f"o{i}", **({"distance": distance} if measured(objective["kind"]) else {}), **objective}
        for i, objective in enumerate(objectives)
    ]
    recipe = make_recipe(
        objectives=named,
        loss={"normalise": normalise, "combine": combine},
        data={
            "train": "bundled",
            "patch": 176 if distance == "ms_ssim" else 12,
            "degradation": [{"kind": kind, "sigma": 1} for kind in ("gaussian_blur", "gaussian_noise")],
        },
    )
    (like,) = twin.parameters({"like": np.zeros(1)}).values()
    return recipe, twin.module("objectives").make_loss(recipe, like)


def measured(kind):
    """Whether a kind is told its distance."""
    return kind in KINDS and "distance" in KINDS[kind].model_fields


def compute(twin, loss, restored, sample, omega):
    """Value, terms, and the gradients of the value in restored, every picture of the sample, and omega."""
    terms = []

    def value(restored, *pictures_and_omega):
        *pictures, omega = pictures_and_omega
        total, parts = loss(restored, dict(zip(sample, pictures, strict=True)), omega)
        terms.append(parts)
        return total

    result, gradients = twin.differentiate(value, [restored, *sample.values(), omega])
    (parts,) = terms
    return result, twin.array(parts), gradients


def draw(rng, shape=SHAPE):
    names = ("clean", "degraded", "gaussian_blur", "gaussian_noise")
    return rng.uniform(size=shape), {name: rng.uniform(size=shape).astype(np.float32) for name in names}


def draw_omega(rng, label, p):
    if label == "per batch":
        return rng.uniform(size=p)
    if label == "per sample":
        return rng.uniform(size=(SHAPE[0], p))
    return np.eye(p)[0] if label == "unit vector" else np.full((SHAPE[0], p), 1e-5)  # below the floor of `sum`


@pytest.mark.parametrize(("name", "distance", "normalise", "label"), GRID)
def test_multi_loss(twin, make_loss, rng, name, distance, normalise, label):
    recipe, loss = make_loss(OBJECTIVES[name], normalise, distance)
    check_loss(twin, recipe, loss, *draw(rng), draw_omega(rng, label, recipe.num_objectives))


def check_loss(twin, recipe, loss, restored, sample, omega):
    """Value, terms and gradient; targets carry no gradient, not even into omega."""
    restored, omega = restored.astype(np.float32), omega.astype(np.float32)
    value, terms, (in_restored, *in_sample, in_omega) = compute(twin, loss, restored, sample, omega)
    true_value, true_terms = oracle.multi_loss(recipe, restored, sample, omega)
    assert relative_error(value, true_value) <= LIMIT
    assert relative_error(terms, true_terms) <= LIMIT
    assert relative_error(in_restored, oracle.multi_loss_gradient(recipe, restored, sample, omega)) <= LIMIT
    assert not any(gradient.any() for gradient in in_sample)
    expected, size = omega_gradient(recipe, restored, sample, omega)
    assert np.linalg.norm(in_omega - expected) <= LIMIT * size


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("spaces", [("luma", "chroma"), ("chroma", "rgb")])
def test_parts_of_the_colour_space(twin, make_loss, rng, spaces, distance):
    """A `rec` in one part and a `noise` in another."""
    kinds = ({"kind": "rec", "weight": 0.7}, {"kind": "noise", "nu": 0.6})
    objectives = [{**kind, "space": space} for kind, space in zip(kinds, spaces, strict=True)]
    recipe, loss = make_loss(objectives, "sum", distance)
    check_loss(twin, recipe, loss, *draw(rng, (3, 3, 6, 5)), draw_omega(rng, "per sample", 2))


@pytest.mark.parametrize(("name", "label"), [(name, label) for name in COMBINED for label in OMEGAS])
def test_mean_of_targets(twin, make_loss, rng, name, label):
    """Each distance with each set of objectives and each omega, with and without the division."""
    i, j = [*COMBINED].index(name), OMEGAS.index(label)
    distance, normalise = DISTANCES[(i + j) % 4], NORMALISE[(i + j // 2) % 2]
    recipe, loss = make_loss(COMBINED[name], normalise, distance, "targets")
    check_loss(twin, recipe, loss, *draw(rng, (3, 3, 6, 5)), draw_omega(rng, label, recipe.num_objectives))


def test_mean_of_targets_written_numbers(twin):
    """Built by hand, y = 0, z = 1, lambda (2, 3), nu 1: 3/7 is wanted at omega (0.5, 0.25), and y at 0."""
    impl, sample = twin.impl, {"clean": np.zeros((2, 1, 1, 1)), "degraded": np.ones((2, 1, 1, 1))}
    objectives = [impl.Reconstruction(), impl.NoisePreservation(nu=1.0, residual="full")]
    loss = impl.MultiLoss(objectives, weights=[2.0, 3.0], shared=((0, 1),))
    restored, omega = np.array([0.5, 0.25]).reshape(2, 1, 1, 1), np.array([[0.5, 0.25], [0, 0]])
    value, terms, (gradient, *_) = compute(twin, loss, restored, sample, omega)
    assert value == pytest.approx(1.75 / 14 / 2, rel=1e-6)
    np.testing.assert_allclose(terms, [(1 / 14 + 0.25) / 2] * 2, rtol=1e-6)
    np.testing.assert_allclose(gradient.ravel(), [1.75 / 2, 0], rtol=1e-6)


def test_means_that_do_not_exist(twin):
    impl = twin.impl
    noise, rec = impl.NoisePreservation(), impl.Reconstruction()
    for objectives, shared, said in (
        ([rec, impl.Reconstruction(distance="l2")], ((0, 1),), r"one distance and one space, not of \[\('l1', 'rgb'\)"),
        ([rec, impl.Reconstruction(space="luma")], ((0, 1),), r"one distance and one space, not of \[\('l1', 'luma'\)"),
        ([noise, impl.Sharpening(noise=noise)], ((0, 1),), "needs no other knob, not Sharpening"),
        ([rec, noise], ((0, 1), (1,)), r"each once, not \(\(0, 1\), \(1,\)\)"),
        ([rec, noise], ((0, 2),), "places of 2 objectives"),
    ):
        with pytest.raises(TunableError, match=said):
            impl.MultiLoss(objectives, weights=[1.0, 1.0], shared=shared)


def draw_blocks(rng, shape):
    """Blocks with noise, whose MS-SSIM is far from 0 and 1; the last sample has noise of opposite signs."""
    blocks = rng.uniform(size=(*shape[:2], 12, 12)).repeat(16, 2).repeat(16, 3)[:, :, : shape[2], : shape[3]]
    restored, clean, degraded = (blocks + a * rng.standard_normal(shape) for a in (0.05, 0.02, 0.2))
    noise = 0.1 * rng.standard_normal(shape[1:])
    restored[-1], clean[-1] = blocks[-1] + noise, blocks[-1] - noise
    return restored, {"clean": clean.astype(np.float32), "degraded": degraded.astype(np.float32)}


def test_ms_ssim(twin, make_loss, rng):
    """In luma and in all colours; a negative term of the first scale has no gradient."""
    recipe, loss = make_loss([{"kind": "rec", "space": "luma"}, {"kind": "rec", "weight": 0.3}], distance="ms_ssim")
    check_loss(twin, recipe, loss, *draw_blocks(rng, (2, 3, 177, 176)), draw_omega(rng, "per batch", 2))


def test_ms_ssim_in_a_graph(mindspore, rng):
    restored, sample = draw_blocks(rng, (1, 1, 176, 176))
    distance_between = mindspore.module("objectives.distances").distance_between

    def value(restored, clean):
        return distance_between(restored, clean, "ms_ssim").sum()

    pictures = [restored, sample["clean"]]
    eager, (gradient, _) = mindspore.differentiate(value, pictures)
    compiled, (in_graph, _) = mindspore.differentiate(mindspore.compiled(value), pictures)
    assert relative_error(compiled, eager) <= LIMIT and relative_error(in_graph, gradient) <= LIMIT


def test_ms_ssim_needs_room(twin):
    """Five scales of windows of 11 pixels: 11 times 16."""
    loss = twin.impl.MultiLoss([twin.impl.Reconstruction(distance="ms_ssim")], weights=[1.0])
    with pytest.raises(TunableError, match="ms_ssim needs pictures of at least 176 pixels a side, not 180x175"):
        compute(twin, loss, np.zeros((1, 1, 175, 180)), {"clean": np.zeros(1), "degraded": np.zeros(1)}, np.ones(1))


def test_parts_of_the_colour_space_written_numbers(twin, make_loss):
    """Of a grey difference of 0.5 luma sees all and chroma nothing; pure blue has Y 0.114, U 0.436, V -0.1000143."""
    kinds = [{"kind": "rec", "space": space} for space in ("luma", "chroma", "rgb")]
    _, loss = make_loss(kinds)
    sample = {"clean": np.zeros((1, 3, 2, 2)), "degraded": np.zeros((1, 3, 2, 2))}
    _, terms, _ = compute(twin, loss, np.full((1, 3, 2, 2), 0.5), sample, np.ones(3))
    np.testing.assert_allclose(terms, [0.5, 0, 0.5], rtol=1e-6, atol=1e-7)
    blue = np.zeros((1, 3, 2, 2))
    blue[:, 2] = 1
    _, terms, _ = compute(twin, loss, blue, sample, np.ones(3))
    np.testing.assert_allclose(terms, [0.114, (0.436 + 0.615 * 0.114 / 0.701) / 2, 1 / 3], rtol=1e-6)


def test_the_grid_holds_every_pair():
    settings = (OBJECTIVES, DISTANCES, NORMALISE, OMEGAS)
    for i, j in combinations(range(4), 2):
        assert {(row[i], row[j]) for row in GRID} == set(product(settings[i], settings[j]))


def omega_gradient(recipe, restored, sample, omega):
    """d loss / d omega with the targets held where they are, and the size of its parts, which may cancel.

    The loss of a sample is sum_i omega_i t_i / d, t_i = lambda_i L_i, d = 1 or max(sum_i omega_i, 1e-3).
    """
    rows = np.broadcast_to(omega, (len(restored), omega.shape[-1])).astype(np.float64)
    terms = [
        spec.weight * oracle.objective(recipe, i, restored, sample, omega) for i, spec in enumerate(recipe.objectives)
    ]
    terms, through_divisor = np.stack(terms, 1) / len(restored), 0.0
    if recipe.loss.normalise == "sum":
        total = rows.sum(1, keepdims=True)
        divisor = np.maximum(total, 1e-3)
        through_divisor = (total > 1e-3) * (rows * terms).sum(1, keepdims=True) / divisor**2
        terms = terms / divisor
    gradient = terms - through_divisor
    return gradient.sum(0) if omega.ndim == 1 else gradient, np.linalg.norm(terms)


@pytest.mark.parametrize("i", range(3))
def test_loss_at_a_unit_vector_is_its_weighted_objective(twin, make_loss, rng, i):
    recipe, loss = make_loss(OBJECTIVES["three"])
    restored, sample = draw(rng)
    value, terms, _ = compute(twin, loss, restored, sample, np.eye(3)[i])
    spec = recipe.objectives[i]
    alone = oracle.objective(recipe, i, restored, sample, np.eye(3)[i]).mean()
    assert relative_error(value, spec.weight * alone) <= LIMIT
    assert relative_error(terms[i], alone) <= LIMIT


def test_no_loss_at_zero(twin, make_loss, rng):
    for normalise in ("none", "sum"):
        _, loss = make_loss(OBJECTIVES["lambdas"], normalise)
        value, terms, gradients = compute(twin, loss, *draw(rng), np.zeros(2))
        assert value == 0 and not gradients[0].any() and (terms > 0).all()


def test_written_numbers(twin, make_loss):
    """Two samples of one value each, lambda (2, 3), nu 1.

    Sample 1: L = (0.5, |0.5 - 0.25|): 0.5 2 0.5 + 0.25 3 0.25 = 0.6875; sample 2: L = (0, 1): 1 3 1 = 3.
    """
    sample = {"clean": np.zeros((2, 1, 1, 1)), "degraded": np.array([1, -1]).reshape(2, 1, 1, 1)}
    restored, omega = np.array([0.5, 0]).reshape(2, 1, 1, 1), np.array([[0.5, 0.25], [0, 1]])
    objectives = [{"kind": "rec", "weight": 2}, {"kind": "noise", "weight": 3, "nu": 1}]
    for normalise, expected, slopes in (("none", 3.6875, [1.75, 3]), ("sum", 0.6875 / 0.75 + 3, [1.75 / 0.75, 3])):
        value, terms, (gradient, *_) = compute(twin, make_loss(objectives, normalise)[1], restored, sample, omega)
        assert value == pytest.approx(expected / 2, rel=1e-6)
        np.testing.assert_allclose(terms, [0.25, 0.625], rtol=1e-6)
        np.testing.assert_allclose(gradient.ravel(), np.array(slopes) / 2, rtol=1e-6)


def test_built_by_hand(twin):
    """The public classes, without a recipe; l2 of a difference of 3 and -1 is 5."""
    impl = twin.impl
    objectives = [impl.Reconstruction(distance="l2"), impl.NoisePreservation(nu=1.0)]
    loss = impl.MultiLoss(objectives, weights=[1.0, 1.0])
    sample = {"clean": np.zeros((1, 1, 1, 2)), "degraded": np.ones((1, 1, 1, 2))}
    value, terms, _ = compute(twin, loss, np.array([3, -1]).reshape(1, 1, 1, 2), sample, np.array([1, 0.5]))
    np.testing.assert_allclose(terms, [5, 2], rtol=1e-6)  # |3 - 0.5|, |-1 - 0.5|
    assert value == pytest.approx(6, rel=1e-6)
    with pytest.raises(twin.module("objectives.multi").TunableError, match="1 objectives need as many weights"):
        impl.MultiLoss([impl.Reconstruction()], weights=[1.0, 2.0])


def test_each_objective_has_the_knob_of_its_place(twin):
    """In reverse order with omega in reverse order: the same; |3 - 0.5| and |-1 - 0.5| of the noise, at its own 0.5."""
    impl = twin.impl
    sample = {"clean": np.zeros((1, 1, 1, 2)), "degraded": np.ones((1, 1, 1, 2))}
    restored = np.array([3, -1]).reshape(1, 1, 1, 2)
    loss = impl.MultiLoss([impl.NoisePreservation(nu=1.0), impl.Reconstruction(distance="l2")], weights=[1.0, 1.0])
    value, terms, _ = compute(twin, loss, restored, sample, np.array([0.5, 1]))
    np.testing.assert_allclose(terms, [2, 5], rtol=1e-6)
    assert value == pytest.approx(6, rel=1e-6)
    with pytest.raises(twin.module("objectives.multi").TunableError, match="none of these 1 objectives"):
        impl.MultiLoss([impl.Sharpening(noise=impl.NoisePreservation())], weights=[1.0])


@pytest.mark.parametrize(("place", "around"), [(7, 1.0), (0, None)])
def test_sharpening_written_numbers(twin, make_loss, place, around):
    """A single 1 in a clean picture, all noise removed, omega_2 gamma = 4: 1 + 4 (1 - c) there, -4 g around it.

    c = w0^2 is the Gaussian's centre. In the middle all of g is seen; in a corner the part of w0 ... w4 along both
    axes, as the reflection does not repeat the edge.
    """
    w0 = 1 / (1 + 2 * sum(np.exp(-(k**2) / (2 * 2.5**2)) for k in (1, 2, 3, 4)))
    around = around or ((1 + w0) / 2) ** 2
    clean = np.zeros((1, 1, 15, 15))
    clean[0, 0, place, place] = 1
    sample = {"clean": clean, "degraded": np.full_like(clean, 9)}
    _, loss = make_loss(OBJECTIVES["joint"])
    value, terms, _ = compute(twin, loss, np.zeros_like(clean), sample, np.array([1, 0.5]))
    expected = (1 + 4 * (1 - w0**2) + 4 * (around - w0**2)) / 225
    np.testing.assert_allclose(terms, [1 / 225, expected], rtol=1e-5)
    assert value == pytest.approx((1 + 0.5 * 225 * expected) / 225, rel=1e-5)


def test_sharpening_by_hand_and_without(twin, rng):
    """gamma 0 or omega 0 leaves the noise objective's target; equal pictures have nothing to sharpen."""
    impl = twin.impl
    restored, sample = draw(rng)
    for gamma, omega in ((0.0, [0.3, 1]), (8.0, [0.3, 0])):
        noise = impl.NoisePreservation(residual="remove")
        loss = impl.MultiLoss([noise, impl.Sharpening(noise=noise, gamma=gamma)], weights=[1.0, 1.0])
        _, terms, _ = compute(twin, loss, restored, sample, np.array(omega))
        assert terms[0] == terms[1]
    flat = {"clean": np.full(SHAPE, 0.25), "degraded": np.full(SHAPE, 0.75)}
    noise = impl.NoisePreservation(nu=1.0)
    loss = impl.MultiLoss([impl.Sharpening(noise=noise), noise], weights=[1.0, 1.0])
    _, terms, _ = compute(twin, loss, np.zeros(SHAPE), flat, np.array([1, 0.5]))
    np.testing.assert_allclose(terms, [0.5, 0.5], rtol=1e-6)
