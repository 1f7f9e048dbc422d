"""Shrunk and enlarged parts of pictures as patches (`data.shrink`, `data.enlarge`)."""

import numpy as np
import pytest
from PIL import Image
from test_patches import assert_equal, maker

from tunable.errors import RecipeError


@pytest.fixture
def batches(make_recipe, folder):
    return maker(make_recipe, folder)


def test_enlarged_patches(batches, tmp_path):
    """They show a smaller part of the picture, larger: of a ramp the same ramp, less steep by a factor in the range."""
    ramp = np.tile(np.linspace(0, 1, 120, dtype=np.float32)[None, :, None], (90, 1, 3))
    (tmp_path / "ramps").mkdir()
    Image.fromarray(np.uint16(65535 * ramp[..., 0])).save(tmp_path / "ramps" / "a.png")
    options = {"train": str(tmp_path / "ramps"), "patch": 40, "flip": False, "degradation": [], "batch": 8}
    slopes = {
        name: np.diff(batches(**options, **chosen)[0].sample["clean"][:, 0, 20, 10:30]).mean(-1) * 119
        for name, chosen in {"whole": {}, "enlarged": {"enlarge": [1.5, 3]}}.items()
    }
    np.testing.assert_allclose(slopes["whole"], 1, atol=1e-3)
    assert 1 / 3.1 < slopes["enlarged"].min() < slopes["enlarged"].max() < 1 / 1.45
    assert slopes["enlarged"].std() > 0.03
    sometimes = batches(**options | {"batch": 60}, enlarge=[0, 2])[0].sample["clean"]
    whole = np.isclose(np.diff(sometimes[:, 0, 20, 10:30]).mean(-1) * 119, 1, atol=1e-3).mean()
    assert 0.3 < whole < 0.7  # half of them, as drawn
    assert_equal(batches(**options)[0], batches(**options, enlarge=1)[0])


def test_shrunk_patches(batches, tmp_path):
    """Noise of the picture itself is averaged away, also if the patch is enlarged again; a small picture limits it."""
    (tmp_path / "noise").mkdir()
    noise = np.random.default_rng(0).uniform(0, 1, (120, 90))
    Image.fromarray(np.uint16(65535 * noise)).save(tmp_path / "noise" / "a.png")
    options = {"train": str(tmp_path / "noise"), "patch": 24, "degradation": [], "batch": 8}
    deviation = {
        name: batches(**options, **chosen)[0].sample["clean"].std((1, 2, 3)).mean()
        for name, chosen in {
            "whole": {}, "enlarged": {"enlarge": 2}, "shrunk": {"shrink": 3}, "both": {"shrink": 3, "enlarge": 2},
            "too much": {"shrink": 8},
        }.items()
    }  # fmt: skip
    np.testing.assert_allclose(deviation["whole"], 12**-0.5, rtol=0.02)
    assert deviation["enlarged"] > 0.75 * deviation["whole"]
    energy = 0.814  # of the bicubic filter: the integral of its square, by which it weakens noise along each axis
    np.testing.assert_allclose(deviation["shrunk"] / deviation["whole"], energy / 3, rtol=0.05)
    assert 0.5 < deviation["both"] / deviation["shrunk"] < 1
    np.testing.assert_allclose(deviation["too much"] / deviation["whole"], energy * 24 / 90, rtol=0.05)  # by 3.75 only
    assert_equal(batches(**options, enlarge=2)[0], batches(**options, enlarge=2, shrink=[0, 1])[0])


@pytest.mark.parametrize("resized", ["shrink", "enlarge"])
def test_pairs_are_not_resized(batches, folder, resized):
    with pytest.raises(RecipeError, match="shrink and enlarge want 1"):
        batches(degraded=str(folder), degradation=[], **{resized: [1, 2]})
