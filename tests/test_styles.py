"""The model `styles`: three styles, and what lies between them."""

import numpy as np
import pytest
from skimage import data

from tunable.backends.model import load
from tunable.backends.registry import get_framework, requested
from tunable.images.pictures import read, to_network, write
from tunable.models import MODELS, sweep_start, unnamed_omega

PHOTOGRAPH = to_network(data.astronaut()[:160, 150:310].astype(np.float32) / 255)
ALONE = np.eye(3, dtype=np.float32)
pytestmark = pytest.mark.usefixtures("here")


def spread(picture: np.ndarray) -> float:
    return float(picture.std())


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The root mean square of a difference."""
    return float(np.sqrt(np.mean((one - other) ** 2)))


@pytest.fixture(scope="module")
def painted():
    """The photograph in each style alone, (3, 3, H, W), by the first framework."""
    model = load("styles", get_framework(requested()[0]))
    return np.concatenate([model.run(PHOTOGRAPH, omega) for omega in ALONE])


def test_styles_differ_and_are_pictures(painted):
    for i in range(3):
        assert spread(painted[i]) > 0.1 and painted[i].min() > -0.5 and painted[i].max() < 1.8
        assert apart(painted[i], PHOTOGRAPH[0]) > 0.1 and apart(painted[i], painted[i - 1]) > 0.1


def test_what_was_seen_stays(painted):
    """Where the photograph has edges, each painting has some too: more than beside them."""
    grey = PHOTOGRAPH[0].mean(0)
    slope = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    edge = slope > np.quantile(slope, 0.9)
    for picture in painted.mean(1):
        drawn = np.abs(np.diff(picture, axis=0))[:, :-1] + np.abs(np.diff(picture, axis=1))[:-1]
        assert drawn[edge].mean() > 1.5 * drawn[~edge].mean()


def test_in_between(painted):
    """A mixture is nearer to each of its styles than these are to each other; only shares matter, nearly."""
    model = load("styles", get_framework(requested()[0]))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        mixed, double = (model.run(PHOTOGRAPH, share * (ALONE[i] + ALONE[j]))[0] for share in (0.5, 1))
        most = apart(painted[i], painted[j])
        assert max(apart(mixed, painted[i]), apart(mixed, painted[j])) < most
        assert apart(mixed, double) < most / 2


def test_both_frameworks_paint_alike(painted):
    for name in requested()[1:]:
        model = load("styles", get_framework(name))
        for omega, expected in zip(ALONE, painted, strict=True):
            np.testing.assert_allclose(model.run(PHOTOGRAPH, omega)[0], expected, atol=2e-3)


def test_presets_are_the_styles():
    presets = MODELS["styles"].presets
    assert [presets[name] for name in ("wave", "composition", "auvers")] == [tuple(row) for row in ALONE.tolist()]
    assert MODELS["styles"].omega == presets["wave"]


def test_a_style_that_is_named_stands_alone(tunable):
    """What `--omega` does not name is 0, and a sweep has no start from which one knob moves at a time."""
    write("a.png", PHOTOGRAPH[0].transpose(1, 2, 0))
    words = ("restore", "a.png", "--model", "styles", "-o")
    for name, setting in (("named.png", ("--omega", "auvers=1")), ("preset.png", ("--preset", "auvers"))):
        assert tunable(*words, name, *setting)[0] == 0
    np.testing.assert_array_equal(read("named.png"), read("preset.png"))
    assert sweep_start("styles") == () and unnamed_omega("styles") == (0, 0, 0)
    assert sweep_start("photo") == unnamed_omega("photo") == MODELS["photo"].omega
