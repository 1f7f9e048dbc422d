"""Batches hold what they always held: the recorded trainings of docs/results are of these batches."""

import numpy as np
import pytest

from tunable.data.patches import Batches

SHARP = {"kind": "gaussian_blur", "sigma": [0, 4], "size": 9}
WHITE = {"kind": "gaussian_noise", "sigma": [5, 30]}
SENSOR = {"kind": "poisson_gaussian", "gain": [0, 5], "sigma": [0, 10]}
# Mean, standard deviation and one number of the clean and of the degraded pictures of batch 3, written down before the
# batches were first made faster. "blur, then noise" is of later: noise is no longer drawn for the pixels that the blur
# alone reads, and which are cut off.
RECORDED = {
    "blur, then noise": (
        {"degradation": [SHARP, WHITE]},
        [0.34062501, 0.33748242, 0.0],
        [0.33251510, 0.24092090, 0.0037160],
    ),
    "noise, then blur": (
        {"degradation": [WHITE, SHARP]},
        [0.34062501, 0.33748242, 0.0],
        [0.33876999, 0.25044288, 0.031627346],
    ),
    "of a sensor": (
        {"degradation": [SENSOR]},
        [0.32788672, 0.32950046, 0.0039215689],
        [0.32661546, 0.34067604, -0.029760871],
    ),
    "enlarged and shrunk": (
        {"degradation": [WHITE], "enlarge": [1, 2], "shrink": [1, 2]},
        [0.31953591, 0.24703991, 0.0044522225],
        [0.31603382, 0.25706462, 0.080613889],
    ),
    "pairs": (
        {"degradation": [], "degraded": "${FOLDER}"},
        [0.32788672, 0.32950046, 0.0039215689],
        [0.32788672, 0.32950046, 0.0039215689],
    ),
}


@pytest.mark.parametrize(("data", "clean", "degraded"), RECORDED.values(), ids=RECORDED)
def test_a_batch_is_what_it_always_was(data, clean, degraded, recipe_of, folder):
    data = {name: str(folder) if value == "${FOLDER}" else value for name, value in data.items()}
    sample = Batches(recipe_of(data=data))[3].sample
    for name, recorded in (("clean", clean), ("degraded", degraded)):
        values = sample[name].astype(np.float64)
        np.testing.assert_allclose([values.mean(), values.std(), values[-1, 1, 2, 3]], recorded, rtol=0, atol=1e-6)
