"""Small networks for tests that need no training."""

import numpy as np

from tunable.backends.model import WeightsModel
from tunable.backends.registry import default_backend, get_framework
from tunable.specs.networks import NetworkSpec
from tunable.weights.storage import Header


def small(spec: NetworkSpec, p: int = 2) -> WeightsModel:
    """A model of knobs grain and detail, or plain where p is 0, with weights of which none is zero."""
    backend, rng = get_framework(default_backend(), "cpu"), np.random.default_rng(4)
    network = backend.build(spec, p)
    backend.assign(network, {one.name: rng.normal(0, 0.2, one.shape).astype("f") for one in backend.specs(network)})
    return WeightsModel(backend, network, Header(spec, ("grain", "detail")[:p], ((0.0, 1.0),) * p))
