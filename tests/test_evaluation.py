"""Measuring a model: against arithmetic, with networks that a line of numpy describes."""

import dataclasses

import numpy as np
import pytest
from formula import JOINT, PLAIN
from PIL import Image

from tunable.backends.model import WeightsModel
from tunable.data.degradations import protocol_degraded, protocol_noise, protocol_residues
from tunable.data.filters import gaussian_blur
from tunable.data.patches import BUNDLED_TEST
from tunable.errors import DataError, RecipeError, TunableError
from tunable.evaluation import measuring
from tunable.evaluation.measuring import (
    Measurement,
    evaluate,
    measure,
    objectives_of,
    summarise,
    trained_omega,
    validate,
)
from tunable.evaluation.samples import is_blurred
from tunable.evaluation.sentences import PROTOCOL, protocol
from tunable.images.pictures import read, to_network
from tunable.specs.recipe import Recipe, parse
from tunable.weights.storage import Header, UnreadRecipe


@pytest.fixture
def identity(model_of):
    return model_of(lambda degraded, omega: degraded)


@pytest.fixture
def clean(rng):
    return rng.uniform(size=(64, 80, 3)).astype(np.float32)


# --- one picture


@pytest.mark.parametrize("sigma", [5, 15, 30, 50])
def test_the_identity_measures_the_noise(sigma, identity, clean):
    measured = measure(identity, clean, protocol_degraded(clean, sigma, 0), [1, 0])
    assert abs(measured["psnr"] - 20 * np.log10(255 / sigma)) < 0.1  # 15360 draws: a hundredth of the power
    power = np.mean(protocol_noise(64, 80, 0) ** 2)
    np.testing.assert_allclose(measured["psnr"], 20 * np.log10(255 / sigma) - 10 * np.log10(power), atol=1e-4)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("omega", [(1, 0), (0.5, 0.5), (0, 1), (1, 1)])
def test_psnr_eta_and_residual(kept, omega, model_of, clean):
    """A network that keeps `kept` of the noise is (kept - 0.9 omega_2) of it away from its target."""
    degraded = protocol_degraded(clean, 25, 3)
    noise = to_network(degraded) - to_network(clean)
    model = model_of(lambda x, omega: x - (1 - kept) * noise)
    measured = measure(model, clean, degraded, np.float32(omega))
    power = np.mean(noise.astype(np.float64) ** 2)
    for name, left in (("psnr", kept), ("psnr_eta", kept - 0.9 * omega[1])):
        if abs(left) > 1e-6:
            np.testing.assert_allclose(measured[name], -10 * np.log10(left**2 * power), atol=1e-3, err_msg=name)
        else:
            assert measured[name] > 120, name  # float32 rounding
    np.testing.assert_allclose(measured["residual"], kept / 0.9, atol=1e-5)
    reached = abs(kept - 0.9 * omega[1]) < 1e-6
    assert measured["ssim_eta"] > 1 - 1e-9 if reached else measured["ssim_eta"] < 1 - 1e-3


def test_residual_removes(model_of, clean):
    """`residual: remove`: more omega, less noise; the noise objective may stand anywhere."""
    objectives = [
        {"name": "noise", "kind": "noise", "nu": 0.5, "residual": "remove"},
        {"name": "fidelity", "kind": "rec"},
    ]
    degraded = protocol_degraded(clean, 25, 0)
    model = model_of(lambda x, omega: x, objectives=objectives)  # all of the noise; at omega_1 = 0.2 wanted 0.4 of it
    measured = measure(model, clean, degraded, np.float32([0.2, 1]))
    np.testing.assert_allclose(measured["psnr_eta"], measured["psnr"] - 20 * np.log10(0.6), atol=1e-4)
    assert measured["residual"] == 1  # clipped: it keeps twice the most


@pytest.mark.parametrize("space", ["luma", "chroma"])
def test_a_part_of_the_colours_is_compared_alone(space, model_of, clean):
    """All noise is kept where the objective looks, and none elsewhere: the target of omega_2 = 1 exactly."""
    degraded = protocol_degraded(clean, 25, 3)
    noise = degraded.astype(np.float64) - clean
    grey = np.repeat(noise @ [[0.299], [0.587], [0.114]], 3, axis=2)  # the luma of the noise, in every colour
    kept = grey if space == "luma" else noise - grey
    objectives = [{"name": "a", "kind": "rec"}, {"name": "b", "kind": "noise", "nu": 1.0, "space": space}]
    model = model_of(lambda x, omega: to_network(clean + kept), objectives=objectives)
    measures = measure(model, clean, degraded, np.float32([0, 1]))
    assert measures["psnr_eta"] > 120 and measures["psnr"] < 35  # float32 pictures
    assert abs(measures["residual"] - 1) < 1e-4
    assert np.isnan(measures["ssim_eta"]) if space == "chroma" else measures["ssim_eta"] > 1 - 1e-9


def test_psnr_eta_to_the_mean_of_targets(model_of, clean):
    """Weights 1 and 3, omega (0.5, 0.5): three quarters of 0.8 of the noise are wanted, and r* is three quarters."""
    objectives = [
        {"name": "a", "kind": "rec"},
        {"name": "b", "kind": "noise", "nu": 0.8, "residual": "full", "weight": 3.0},
    ]
    degraded = protocol_degraded(clean, 25, 3)
    noise = to_network(degraded) - to_network(clean)
    model = model_of(lambda x, omega: x - 0.4 * noise, objectives=objectives, loss={"combine": "targets"})
    measures = measure(model, clean, degraded, np.float32([0.5, 0.5]))
    assert measures["psnr_eta"] > 120 and measures["ssim_eta"] > 1 - 1e-9  # float32 pictures
    assert abs(measures["residual"] - 0.75) < 1e-5
    assert measure(model, clean, degraded, np.float32([1, 0]))["psnr_eta"] < 35


def test_psnr_eta_to_residues_of_their_own(model_of, clean):
    """A third of each target: the sum of 0.3 of the noise and 0.2 of the blur is wanted, and is what is given."""
    residues = protocol_residues(clean, 25, 3, 2)
    objectives = [
        {"name": "a", "kind": "rec"},
        {"name": "b", "kind": "residue", "of": "gaussian_noise", "nu": 0.9},
        {"name": "c", "kind": "residue", "of": "gaussian_blur", "nu": 0.6},
    ]
    steps = [{"kind": "gaussian_blur", "sigma": 2}, {"kind": "gaussian_noise", "sigma": 25}]
    kept = to_network(clean + 0.3 * residues["gaussian_noise"] + 0.2 * residues["gaussian_blur"])
    data = {"train": "bundled", "degradation": steps}
    model = model_of(lambda x, omega: kept, objectives=objectives, loss={"combine": "targets"}, data=data)
    arguments = model, clean, protocol_degraded(clean, 25, 3, 2), np.float32([0.5, 0.5, 0.5])
    measures = measure(*arguments, residues=residues)
    assert measures["psnr_eta"] > 120 and measures["psnr"] < 35  # float32 pictures
    assert np.isnan(measure(*arguments)["psnr_eta"])  # where the steps are not known


def test_without_a_noise_objective_there_is_no_target(model_of, clean):
    model = model_of(lambda x, omega: x, objectives=[{"name": "fidelity", "kind": "rec"}])
    measured = measure(model, clean, protocol_degraded(clean, 25, 0), [1])
    assert (
        np.isnan([measured["psnr_eta"], measured["residual"], measured["ssim_eta"]]).all()
        and np.isfinite([measured["psnr"], measured["ssim"]]).all()
    )
    assert [spec.kind for spec in objectives_of(model.header)] == ["rec"]
    assert objectives_of(Header(model.header.network)) == []


@pytest.mark.parametrize("omega", [(1, 0), (1, 0.5), (0.4, 1)])
def test_psnr_gamma(omega, model_of, clean):
    """Against the sharpened y_eta; a network that gives y_eta misses it by the mask, and PSNR_eta by nothing."""
    degraded = protocol_degraded(clean, 25, 3, 2)
    eta = clean + (1 - omega[0]) * 0.9 * (degraded.astype(np.float64) - clean)
    mask = omega[1] * 3 * (eta - np.stack([gaussian_blur(eta[..., c], 2.5, 9) for c in range(3)], axis=-1))
    model = model_of(lambda x, omega: to_network(eta), **JOINT)
    measured = measure(model, clean, degraded, np.float32(omega))
    assert measured["psnr_eta"] > 120  # float32 rounding
    if omega[1]:
        np.testing.assert_allclose(measured["psnr_gamma"], -10 * np.log10(np.mean(mask**2)), atol=1e-3)
    else:
        assert measured["psnr_gamma"] == measured["psnr_eta"]
    np.testing.assert_allclose(measured["residual"], 1 - omega[0], atol=1e-5)


def test_blurred_or_not(model_of):
    assert is_blurred(model_of(None, **JOINT).header.recipe)
    assert not is_blurred(model_of(None).header.recipe) and not is_blurred(None)


def test_ssim_can_be_left_out(identity, clean):
    degraded = protocol_degraded(clean, 25, 0)
    assert np.isnan(measure(identity, clean, degraded, [1, 0], ssim=False)["ssim"])
    assert 0 < measure(identity, clean, degraded, [1, 0])["ssim"] < 1
    assert measure(identity, clean, clean, [1, 0])["ssim"] == 1


def test_tiles_change_nothing(model_of, clean):
    model = model_of(lambda x, omega: x * omega[0])
    degraded = protocol_degraded(clean, 25, 0)
    whole, tiled = (measure(model, clean, degraded, np.float32([0.5, 0]), tile=tile) for tile in (1024, 17))
    assert whole == tiled


def test_a_plain_network_answers_for_its_omega(model_of, clean):
    """What it was trained or folded at decides its target."""
    degraded = protocol_degraded(clean, 25, 0)
    model = model_of(lambda x, omega: x, network=PLAIN, omega={"sampler": {"kind": "fixed", "value": [0, 0.5]}})
    np.testing.assert_array_equal(trained_omega(model.header), np.float32([0, 0.5]))
    measured = measure(model, clean, degraded, None)
    np.testing.assert_allclose(measured["psnr_eta"], measured["psnr"] - 20 * np.log10(1 - 0.45), atol=1e-4)
    folded = WeightsModel(model.backend, None, dataclasses.replace(model.header, folded_at=(1.0, 0.0)))
    assert measure(folded, clean, degraded, None)["psnr_eta"] == measured["psnr"]
    assert trained_omega(Header(model.header.network)) is None and trained_omega(model_of(None).header) is None


def test_measuring_parses_no_recipe(identity, clean, monkeypatch):
    """It is typed since the file was read: a picture, a level and an omega more cost no validation."""
    validated = []
    monkeypatch.setattr(Recipe, "_check_sizes", lambda recipe: validated.append(recipe))
    parse(identity.header.recipe_values)
    assert len(validated) == 1
    for sigma, omega in ((5, [1, 0]), (15, [0, 1])):
        measure(identity, clean, protocol_degraded(clean, sigma, 0), np.float32(omega), ssim=False)
    assert len(validated) == 1


def test_a_recipe_of_another_version_is_not_measured_by(identity, folder, refused):
    unread = UnreadRecipe({"task": "colourise"}, "the recipe in a.safetensors: task: unknown")
    model = dataclasses.replace(identity, header=dataclasses.replace(identity.header, recipe=None, unread=unread))
    with refused(RecipeError, "the recipe in a.safetensors: task: unknown"):
        evaluate(model, str(folder), np.eye(2))


def test_a_network_that_enlarges_is_measured_without_its_recipe(model_of, folder):
    """Also where this version does not accept it: its targets are the pictures themselves."""
    model = model_of(lambda x, omega: x.repeat(2, 2).repeat(2, 3))
    network = model.header.network.model_copy(update={"upscale": 2})
    header = dataclasses.replace(model.header, network=network, recipe=None, unread=UnreadRecipe({}, "unknown"))
    model = dataclasses.replace(model, header=header)
    assert len(evaluate(model, str(folder), np.eye(2), ssim=False)) == 2 * len(list(folder.iterdir()))


# --- a folder


def test_evaluate(model_of, folder, make_recipe):
    """Every picture x sigma x omega, noise by the picture's place, in one fixed order."""
    calls, paths = [], sorted(folder.iterdir())
    model = model_of(lambda x, omega: x * omega[0])
    omegas = np.float32([[1, 0], [0.7, 0.1]])
    rows = evaluate(model, str(folder), omegas, [25, 5], progress=lambda *values: calls.append(values))
    assert [(row.picture, row.sigma, row.omega) for row in rows] == [
        (name, sigma, omega) for name in ("a.png", "b.png") for sigma in (25.0, 5.0) for omega in ((1, 0), (0.7, 0.1))
    ]
    assert calls == [(number, 8) for number in range(1, 9)]
    for row in rows:
        index = "ab".index(row.picture[0])
        clean = read(paths[index])
        error = protocol_degraded(clean, row.sigma, index).astype(np.float64) * np.float32(row.omega[0]) - clean
        np.testing.assert_allclose(row.psnr, -10 * np.log10(np.mean(error**2)), atol=1e-5)
    assert repr(evaluate(model, paths, omegas, [25, 5])) == repr(rows)  # nan is not equal to nan


def test_evaluate_over_blur(model_of, folder):
    rows = evaluate(
        model_of(lambda x, omega: x, **JOINT), str(folder), np.float32([[1, 0]]), [25, 5], [0, 2], ssim=False
    )
    assert [(row.picture, row.sigma, row.rho) for row in rows] == [
        (name, sigma, rho) for name in ("a.png", "b.png") for sigma in (25, 5) for rho in (0, 2)
    ]
    for row in rows:
        index = "ab".index(row.picture[0])
        clean = read(folder / row.picture)
        error = protocol_degraded(clean, row.sigma, index, row.rho).astype(np.float64) - clean
        np.testing.assert_allclose(row.psnr, -10 * np.log10(np.mean(error**2)), atol=1e-5)


def test_evaluate_a_plain_network(model_of, folder):
    model = model_of(lambda x, omega: x, network=PLAIN, omega={"sampler": {"kind": "fixed", "value": [1, 0]}})
    rows = evaluate(model, str(folder), None, [15])
    assert [row.omega for row in rows] == [(), ()] and all(row.psnr == row.psnr_eta for row in rows)


def test_bundled_photographs_are_not_those_of_training(identity):
    rows = evaluate(identity, "bundled", np.float32([[1, 0]]), [15], ssim=False)
    assert tuple(row.picture for row in rows) == BUNDLED_TEST


@pytest.mark.parametrize(
    ("name", "content", "fragments"),
    [
        ("z.png", b"hello", ["z.png", "cannot identify"]),
        ("z.png", Image.new("RGB", (10, 40)), ["z.png is 10x40", "11x11", "--no-ssim"]),
    ],
)
def test_a_picture_that_cannot_be_used_costs_no_work(name, content, fragments, identity, folder, monkeypatch, refused):
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        content.save(folder / name)
    monkeypatch.setattr(measuring, "measure", lambda *_, **__: pytest.fail("measured"))
    with refused(DataError, *fragments):
        evaluate(identity, str(folder), np.float32([[1, 0]]), [15])


def test_small_pictures_do_without_ssim(identity, folder):
    Image.new("RGB", (10, 40)).save(folder / "z.png")
    assert len(evaluate(identity, str(folder), np.float32([[1, 0]]), [15], ssim=False)) == 3


# --- means


def row(picture, sigma, omega, psnr, residual=0.5, rho=0.0):
    return Measurement(picture, sigma, rho, omega, psnr, psnr + 1, np.nan, 0.5, residual)


def test_summarise():
    """By omega, then sigma, then the mean of all rows."""
    rows = [
        row("a", 30.0, (1.0, 0.0), 20),
        row("b", 30.0, (1.0, 0.0), 24),
        row("a", 5.0, (1.0, 0.0), 30),
        row("b", 5.0, (1.0, 0.0), 32),
        row("a", 5.0, (0.0, 1.0), 10, residual=1),
    ]
    summary = summarise(rows)
    assert [(one["omega"], one["sigma"], one["pictures"], one["psnr"]) for one in summary] == [
        ((0, 1), 5, 1, 10),
        ((0, 1), "mean", 1, 10),
        ((1, 0), 5, 2, 31),
        ((1, 0), 30, 2, 22),
        ((1, 0), "mean", 2, 26.5),
    ]
    assert [one["psnr_eta"] for one in summary] == [11, 11, 32, 23, 27.5]
    assert [one["residual"] for one in summary] == [1, 1, 0.5, 0.5, 0.5]
    assert {one["rho"] for one in summary} == {0}
    assert summarise([]) == []
    assert protocol(summary) == PROTOCOL


def test_summarise_over_blur():
    """By omega, sigma, rho; the mean is over all of them, and the protocol says what the blur is."""
    levels = [(sigma, rho) for sigma in (5.0, 30.0) for rho in (0.0, 4.0)]
    rows = [row("a", sigma, (1.0, 0.0), 20 + i, rho=rho) for i, (sigma, rho) in enumerate(reversed(levels))]
    summary = summarise(rows)
    assert [(one["sigma"], one["rho"], one["psnr"]) for one in summary] == [
        (5, 0, 23),
        (5, 4, 22),
        (30, 0, 21),
        (30, 4, 20),
        ("mean", "mean", 21.5),
    ]
    assert protocol(summary).startswith(PROTOCOL) and "blur of 21x21 pixels" in protocol(summary)


def test_style_transfer_has_nothing_to_measure(model_of, folder):
    sections = {
        "task": "style_transfer",
        "objectives": [{"name": "a", "kind": "style", "image": str(folder / "a.png")}],
        "vgg": {"seed": 0, "width": 4},
        "data": {"train": "bundled", "validate": str(folder), "patch": 8},
    }
    model = model_of(None, **sections)
    assert validate(model, model.header.recipe) == {}
    with pytest.raises(TunableError, match="which style transfer has not"):
        evaluate(model, str(folder), np.eye(1), [15])


def test_all_pictures_that_cannot_be_used_are_named(model, folder, refused):
    """Before anything is measured."""
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:-40])
    Image.new("RGB", (9, 30)).save(folder / "c.png")
    with refused(DataError, f"2 of 3 pictures of {folder} cannot be used", "b.png", "c.png is 9x30; SSIM needs 11x11"):
        evaluate(model, str(folder), np.eye(2), progress=pytest.fail)
