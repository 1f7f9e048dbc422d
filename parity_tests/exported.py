"""What the tests of exports share: a tiny model, its export loaded again, and their comparison."""

from contextlib import contextmanager

import numpy as np
import pytest

from parity_tests.twins import differ
from tunable.backends.model import WeightsModel, load
from tunable.exports.judging import tried_export
from tunable.parameters.starts import starting_weights
from tunable.specs.networks import ResNetSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights.storage import Header, UnreadRecipe

RECIPE = UnreadRecipe({"task": "denoise"}, "it lacks all the rest")  # a file holds it all the same
LIMIT = TOLERANCES["export"].limit
OMEGA = [0.3, 0.6]
FORMS = {"shared": {"form": "shared"}, "basis": {"form": "basis"}, "folded": {"omega": OMEGA}}
SHAPES = ((5, 3, 7, 13), (1, 3, 1, 1))
RANGES = ((0.1, 1.0), (0.0, 0.75), (0.25, 0.875))  # not what a network is trained over that says nothing


@contextmanager
def refused(kind, *fragments):
    """The block raises this error, on one line with the fragments."""
    with pytest.raises(kind) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message and all(fragment in message for fragment in fragments), message


def model_of(twin, phi="base", p=2, seed=3, **formulation):
    """A tiny network; p = 0: plain."""
    spec = ResNetSpec(channels=4, blocks=1, phi=phi, tunable=p > 0, **formulation)
    header = Header(spec, tuple("abc"[:p]), RANGES[:p], None, "another version", unread=RECIPE)
    network = twin.backend.build(spec, p)
    twin.backend.assign(network, starting_weights(twin.backend.specs(network), seed))
    return WeightsModel(twin.backend, network, header)


def written(twin, folder, format, kind, phi="base", **more):
    """A model, its export loaded again, and what `tried_export` said of it."""
    model = model_of(twin, phi)
    (made,), report = tried_export(model, format, folder, **FORMS[kind], **more)
    return model, load(made, "onnx" if format == "onnx" else twin.backend), report


def compare(model, exported, kind, rng, limit):
    """At other sizes and batches than exported, one omega and one per sample; and that omega does something."""
    network = model.header.network
    for shape in SHAPES if (network.phi, network.differences) == ("base", "full") else SHAPES[:1]:
        image = rng.uniform(size=shape).astype(np.float32)
        if kind == "folded":
            assert relative_error(exported.run(image), model.run(image, OMEGA)) <= limit, shape
            continue
        settings = [np.array(OMEGA), np.array([-0.4, 1.7]), rng.uniform(size=(len(image), 2))]
        outputs = [exported.run(image, omega) for omega in settings]
        for omega, output in zip(settings, outputs, strict=True):
            assert relative_error(output, model.run(image, omega)) <= limit, (shape, omega)
        assert all(differ(other, outputs[0]) for other in outputs[1:])
