"""What the certificate feeds to the networks: targets that no network meets, so that no L1 distance is at its kink."""

import numpy as np
import pytest

from tunable_core import oracle
from tunable_core.certificate import inputs


@pytest.mark.parametrize("omega", [(1, 0), (0, 1), (0.5, 0.5), (1, 1)])
def test_targets_are_out_of_reach(omega, make_recipe, monkeypatch):
    """At least 0.05 from where a perfect network would go, in every pixel."""
    sample = inputs.pictures(16, 3)
    monkeypatch.setattr(inputs, "AWAY", 0.0)
    true = inputs.pictures(16, 3)
    np.testing.assert_array_equal(sample["degraded"], true["degraded"])
    specs = make_recipe().objectives
    for index in range(len(specs)):
        distance = oracle.target(specs, index, sample, omega) - oracle.target(specs, index, true, omega)
        assert np.abs(distance).min() > 0.0499
        assert np.any(distance > 0) and np.any(distance < 0)
