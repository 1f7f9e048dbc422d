"""Validation during training: the corners of omega, on crops of the validation pictures."""

import numpy as np
from formula import ENLARGING, JOINT, PLAIN

from tunable.data.degradations import protocol_degraded, protocol_noise, protocol_shrunk
from tunable.data.patches import BUNDLED_TEST, bundled
from tunable.evaluation import measuring
from tunable.evaluation.measuring import (
    validate,
)
from tunable.evaluation.metrics import ssim
from tunable.evaluation.sheets import sweep_sheet
from tunable.images.pictures import read, to_levels
from tunable.specs.recipe import parse

# --- validation during training


def test_validate_blurs_where_training_does(model_of, folder):
    model, data = model_of(lambda x, omega: x, **JOINT), {**JOINT["data"], "validate": str(folder)}
    values = validate(model, model_of(None, **{**JOINT, "data": data}).header.recipe)
    pictures = [read(path) for path in sorted(folder.iterdir())]
    errors = [np.mean((protocol_degraded(y, 15, i, 2).astype(np.float64) - y) ** 2) for i, y in enumerate(pictures)]
    assert list(values) == ["psnr_1_0", "psnr_0_1", "ssim_1_0", "ssim_0_1", "score"]
    np.testing.assert_allclose(values["psnr_1_0"], np.mean(-10 * np.log10(errors)), atol=1e-4)


def with_validation(recipe, **spec):
    return parse({**recipe.to_dict(), "validation": spec})


def test_validate(model_of, folder, make_recipe):
    """The corners, sigma 15, central crops of the first pictures."""
    model = model_of(lambda x, omega: x + omega[1])
    recipe = make_recipe(data={"train": "bundled", "validate": str(folder)})
    values = validate(model, recipe)
    assert list(values) == ["psnr_1_0", "psnr_0_1", "ssim_1_0", "ssim_0_1", "score"]
    for name, shift in (("psnr_1_0", 0), ("psnr_0_1", 1)):
        errors = [np.mean((protocol_noise(20, 24, index) * 15 / 255 + shift) ** 2) for index in (0, 1)]
        np.testing.assert_allclose(values[name], np.mean(-10 * np.log10(errors)), atol=1e-4)
    clean = [read(path) for path in sorted(folder.iterdir())]
    similar = [ssim(protocol_degraded(y, 15, index), y) for index, y in enumerate(clean)]
    np.testing.assert_allclose(values["ssim_1_0"], np.mean(similar), atol=1e-6)
    assert list(validate(model, with_validation(recipe, size=10))) == [
        "psnr_1_0",
        "psnr_0_1",
        "score",
    ]  # below a window
    np.testing.assert_allclose(
        validate(model, with_validation(recipe, pictures=1, size=12))["psnr_1_0"],
        -10 * np.log10(np.mean((protocol_noise(12, 12, 0) * 15 / 255) ** 2)),
        atol=1e-4,
    )
    assert validate(model, make_recipe()) == {}


def test_validate_crops_the_middle(model_of, folder, make_recipe, monkeypatch):
    model, seen = model_of(lambda x, omega: x), []
    monkeypatch.setattr(
        measuring, "measure", lambda model, clean, *_, **__: seen.append(clean) or {"psnr": 0, "psnr_eta": 0, "ssim": 0}
    )
    recipe = make_recipe(data={"train": "bundled", "validate": str(folder)})
    validate(model, with_validation(recipe, pictures=1, size=22))
    np.testing.assert_array_equal(seen[0], read(folder / "a.png")[:, 1:23])


def test_validate_a_plain_network(model_of, folder, make_recipe):
    sections = {"network": PLAIN, "omega": {"sampler": {"kind": "fixed", "value": [1, 0]}}}
    recipe = make_recipe(data={"train": "bundled", "validate": [str(folder), "bundled"]}, **sections)
    assert list(validate(model_of(lambda x, omega: x, **sections), recipe)) == ["psnr", "ssim", "score"]
    assert measuring.validation_pictures(recipe)[2:] == bundled(BUNDLED_TEST)


def test_validate_a_network_that_returns_nan(model_of, folder, make_recipe):
    """Its columns stay, and so does the score: nothing but NaN can be said of them."""
    model = model_of(lambda x, omega: x + np.where(omega[1], np.nan, 0))
    values = validate(model, make_recipe(data={"train": "bundled", "validate": str(folder)}))
    assert [name for name, value in values.items() if np.isnan(value)] == ["psnr_0_1", "ssim_0_1", "score"]
    assert list(values) == ["psnr_1_0", "psnr_0_1", "ssim_1_0", "ssim_0_1", "score"]


def test_validate_an_enlarging_network(model_of, folder):
    """Shrunk pictures, each pixel four times: by hand."""
    model = model_of(lambda x, omega: x.repeat(2, axis=2).repeat(2, axis=3), **ENLARGING)
    data = {**ENLARGING["data"], "validate": str(folder)}
    values = validate(model, model_of(None, **{**ENLARGING, "data": data}).header.recipe)
    errors = []
    for path in sorted(folder.iterdir()):
        clean, shrunk = protocol_shrunk(read(path), 2)
        errors.append(np.mean((shrunk.repeat(2, axis=0).repeat(2, axis=1).astype(np.float64) - clean) ** 2))
    np.testing.assert_allclose(values["psnr_1_0"], np.mean(-10 * np.log10(errors)), atol=1e-4)


def test_the_score_is_to_what_is_wanted(model_of, folder, make_recipe):
    """The network gives what the line's targets want, so that the score is far above the PSNR to the truth."""
    model = model_of(lambda x, omega: x)
    recipe = make_recipe(data={"train": "bundled", "validate": str(folder)})
    values = validate(model, with_validation(recipe, points=3))
    assert list(values) == ["psnr_1_0", "psnr_0.5_0.5", "psnr_0_1", "ssim_1_0", "ssim_0.5_0.5", "ssim_0_1", "score"]
    noisy = values["psnr_1_0"]  # the target keeps r nu of the noise: the identity misses it by the rest
    expected = [noisy - 20 * np.log10(1 - 0.9 * r) for r in (0, 0.5, 1)]
    np.testing.assert_allclose(values["score"], np.mean(expected), atol=1e-3)


def test_a_sheet_of_the_first_picture(model_of, folder, make_recipe):
    """Degraded, restored at both unit vectors, clean, side by side below their names; nothing without a picture."""
    model = model_of(lambda x, omega: np.full_like(x, omega[0]))
    recipe = make_recipe(data={"train": "bundled", "validate": str(folder)})
    sheet = sweep_sheet(model, with_validation(recipe, size=16))
    assert sheet.dtype == np.uint8
    rows = sheet[-22:-6]  # of the pictures, whose columns are as wide as the widest name
    column = (sheet.shape[1] - 6) // 4
    middles = [6 + place * column + (column - 6 - 16) // 2 for place in range(4)]
    cells = [rows[:, left : left + 16] for left in middles]
    clean = read(folder / "a.png")
    top, left = ((side - 16) // 2 for side in clean.shape[:2])
    clean = clean[top : top + 16, left : left + 16]
    expected = [protocol_degraded(clean, 15, 0), np.ones_like(clean), np.zeros_like(clean), clean]
    for cell, picture in zip(cells, expected, strict=True):
        np.testing.assert_array_equal(cell, to_levels(picture))
    assert sweep_sheet(model, make_recipe()) is None
