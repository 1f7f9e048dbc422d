"""Pairs of pictures: how partners are found, cut at one place for training, and measured."""

import shutil

import numpy as np
import pytest
from fake import Numpy
from formula import ENLARGING
from PIL import Image

from tunable.data.pairs import check_pair, partners
from tunable.data.patches import Batches
from tunable.errors import CheckpointError, DataError, RecipeError, TunableError
from tunable.evaluation.measuring import evaluate, summarise, validate
from tunable.evaluation.sentences import protocol
from tunable.images.pictures import read
from tunable.specs.recipe import parse
from tunable.training.loop import train

SCALED = {
    "network": {"name": "resnet", "channels": 4, "blocks": 1, "upscale": 2},
    "objectives": [{"name": "a", "kind": "rec"}],
}


@pytest.fixture
def pairs(folder, tmp_path):
    """pairs(make, suffix): folders of clean pictures and of what `make` makes of their pixels."""

    def made(make, suffix=".png"):
        degraded = tmp_path / "degraded"
        degraded.mkdir()
        for path in folder.iterdir():
            Image.fromarray(make(np.asarray(Image.open(path)))).save(degraded / f"{path.stem}{suffix}")
        return {"train": str(folder), "degraded": str(degraded)}

    return made


def test_both_of_a_pair_are_cut_at_one_place(pairs, make_recipe):
    """The partner is the negative, in every patch and after every flip."""
    batches = Batches(make_recipe(data={**pairs(lambda x: 255 - x), "patch": 7, "batch": 8}))
    for index in range(3):
        sample = batches[index].sample
        assert sample["clean"].shape == (8, 3, 7, 7) and sample["clean"].std() > 0.1
        np.testing.assert_allclose(sample["degraded"], 1 - sample["clean"], atol=1e-6)
    assert len({sample["clean"].tobytes() for sample in (batches[0].sample, batches[1].sample)}) == 2


def test_the_smaller_of_a_pair_is_where_the_larger_is(pairs, folder, make_recipe):
    """Clean pictures of blocks of 2x2 pixels, each block one pixel of the partner, which is named as in usual sets."""
    data = pairs(lambda x: x, "x2.png")
    for path in folder.iterdir():
        picture = Image.open(path)
        picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(path)
    recipe = make_recipe(data={**data, "patch": 5, "batch": 8, "validate": data["train"]}, **SCALED)
    sample = Batches(recipe)[0].sample
    assert sample["clean"].shape == (8, 3, 10, 10) and sample["degraded"].shape == (8, 3, 5, 5)
    np.testing.assert_array_equal(sample["clean"], sample["degraded"].repeat(2, 2).repeat(2, 3))


def test_partners(folder, tmp_path, refused):
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "a.png").rename(other / "a.jpg")
    found = partners([str(folder)], [str(other)])
    assert {clean.name: degraded.name for clean, degraded in found.items()} == {"a.png": "a.jpg", "b.png": "b.png"}
    shutil.copy(other / "b.png", other / "b.tif")
    with refused(DataError, "b.png", "b.tif", "one name"):
        partners([str(folder)], [str(other)])
    for name in ("b.png", "b.tif"):
        (other / name).unlink()
    with refused(DataError, "no partner of 1 pictures", "b.png"):
        partners([str(folder)], [str(other)])
    (other / "inside").mkdir()
    (folder / "inside").mkdir()
    for place in (other, folder):
        shutil.copy(folder / "a.png", place / "inside" / "b.png")
    (folder / "b.png").unlink()
    assert len(partners([str(folder)], [str(other)], recursive=True)) == 2


def test_two_partners_are_refused(folder, tmp_path, refused):
    """One scene with two noisy shots, a picture under both of its names, and two clean ones of one name."""
    shots = [str(shutil.copytree(folder, tmp_path / name)) for name in ("iso1", "iso2")]
    with refused(DataError, "a.png has two partners", "iso1", "iso2"):
        partners([str(folder)] * 2, shots)
    shutil.copy(tmp_path / "iso1" / "a.png", tmp_path / "iso1" / "ax4.png")
    with refused(DataError, "a.png and ax4.png could both be the partner"):
        partners([str(folder)], shots[:1], 4)
    assert len(partners([str(folder)], shots[:1])) == 2  # where nothing is enlarged that is another picture
    shutil.copy(folder / "a.png", folder / "a.bmp")
    with refused(DataError, "a.bmp", "a.png have one name"):
        partners([str(folder)], shots[:1])


def test_pairs_of_other_sizes(pairs, folder, make_recipe, refused):
    recipe = make_recipe(data={**pairs(lambda x: x[:-1]), "patch": 4})
    with refused(DataError, "2 of 2 pictures of data.train", "24x20", "24x19", "the same size"):
        Batches(recipe)
    with refused(DataError, "a.png is 24x20", "must have 2 times the size"):
        check_pair(folder / "a.png", folder / "b.png", 2)


@pytest.mark.parametrize(
    ("data", "fragments"),
    [
        ({"degraded": ["a", "b"]}, ["degraded wants a folder for each", "1, not 2"]),
        ({"train": "bundled", "degraded": "a"}, ["no partners of the bundled"]),
        (
            {"degraded": "a", "degradation": [{"kind": "gaussian_noise", "sigma": 5}]},
            ["nothing may stand in degradation"],
        ),
        ({"validate_degraded": "a"}, ["validate_degraded wants a folder for each", "0, not 1"]),
    ],
)
def test_recipes_of_pairs(data, fragments, values, refused):
    with refused(RecipeError, "data", *fragments):
        parse({**values, "data": {"train": "x", **data}})


def test_a_changed_partner_is_seen(pairs, recipe_of, tmp_path, refused):
    data = {**pairs(lambda x: 255 - x), "degradation": []}
    train(recipe_of(data=data), Numpy(), tmp_path / "run")
    shutil.copy(tmp_path / "degraded" / "a.png", tmp_path / "degraded" / "b.png")
    with refused(CheckpointError, "data.degraded: b.png changed"):
        train(recipe_of(data=data), Numpy(), tmp_path / "run", resume=True)


def test_given_pictures_are_measured_as_they_are(pairs, folder, model_of, make_recipe):
    """The identity leaves what is between clean and degraded: PSNR, and PSNR_eta of the target with 0.9 of it."""
    data = pairs(lambda x: np.clip(x.astype(int) + 8, 0, 255).astype(np.uint8))
    given, model = partners([data["train"]], [data["degraded"]]), model_of(lambda x, omega: x)
    rows = evaluate(model, [], np.float32([[0, 1]]), given=given, ssim=False)
    errors = [np.mean((read(other).astype(np.float64) - read(clean)) ** 2) for clean, other in given.items()]
    np.testing.assert_allclose([row.psnr for row in rows], -10 * np.log10(errors), atol=1e-4)
    np.testing.assert_allclose([row.psnr_eta - row.psnr for row in rows], 20, atol=1e-3)
    summary = summarise(rows)
    assert [row["sigma"] for row in summary] == ["given", "mean"] and protocol(summary).startswith("Clean and degraded")
    recipe = make_recipe(data={"train": "bundled", "validate": data["train"], "validate_degraded": data["degraded"]})
    np.testing.assert_allclose(validate(model, recipe)["psnr_1_0"], np.mean(-10 * np.log10(errors)), atol=1e-4)


def test_pairs_of_an_enlarging_network_are_measured(pairs, folder, model_of):
    """A network that repeats pixels finds the blocks again; the crop of a validation lies at one place in both."""
    data = pairs(lambda x: x)
    for path in folder.iterdir():
        picture = Image.open(path)
        picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(path)
    model = model_of(lambda x, omega: x.repeat(2, 2).repeat(2, 3), **{**ENLARGING, **SCALED})
    given = partners([data["train"]], [data["degraded"]], 2)
    (first, _) = evaluate(model, [], np.float32([[1]]), given=given)
    assert first.psnr == np.inf
    values = {**model.header.recipe.to_dict(), "validation": {"size": 9}}
    values["data"] = {**data, "validate": data["train"], "validate_degraded": data["degraded"]}
    assert validate(model, parse(values)) == {"psnr_1": np.inf, "score": np.inf}


def test_levels_of_given_pictures_are_refused(pairs, model_of, refused):
    data = pairs(lambda x: x)
    with refused(TunableError, "the degraded pictures are given"):
        evaluate(model_of(lambda x, omega: x), [], None, [5], given=partners([data["train"]], [data["degraded"]]))
