"""What the certificate feeds to the networks: targets that no network meets, so that no L1 distance is at its kink."""

import numpy as np
import pytest

from tunable import oracle
from tunable.certificate import inputs


@pytest.mark.parametrize("omega", [(1, 0), (0, 1), (0.5, 0.5), (1, 1)])
def test_targets_are_out_of_reach(omega, make_recipe, monkeypatch):
    """At least 0.05 from where a perfect network would go, in every pixel."""
    sample = inputs.pictures(16, 3)
    monkeypatch.setattr(inputs, "AWAY", 0.0)
    true = inputs.pictures(16, 3)
    np.testing.assert_array_equal(sample["degraded"], true["degraded"])
    recipe = make_recipe()
    for index in range(recipe.num_objectives):
        distance = oracle.target(recipe, index, sample, omega) - oracle.target(recipe, index, true, omega)
        assert np.abs(distance).min() > 0.0499
        assert np.any(distance > 0) and np.any(distance < 0)


def test_pictures_for_a_network_that_enlarges():
    """`degraded` keeps its size and is the shrunk crop, `clean` is larger and out of reach as well."""
    sample = inputs.pictures(8, 2, 4)
    assert sample["degraded"].shape == (2, 3, 8, 8) and sample["clean"].shape == (2, 3, 32, 32)
    blocks = sample["clean"].reshape(2, 3, 8, 4, 8, 4).mean(axis=(3, 5))  # AWAY goes both ways, and mostly cancels
    assert np.corrcoef(blocks.ravel(), sample["degraded"].ravel())[0, 1] > 0.5
    assert inputs.make_inputs(2, 2, 4).clean.shape[2] == 4 * inputs.make_inputs(2, 2).clean.shape[2]
