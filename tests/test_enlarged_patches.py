"""Enlarged parts of pictures as patches (`data.enlarge`)."""

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


def test_pairs_are_not_enlarged(batches, tmp_path, folder):
    with pytest.raises(RecipeError, match="enlarge wants 1"):
        batches(degraded=str(folder), degradation=[], enlarge=[1, 2])
