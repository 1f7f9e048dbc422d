"""Networks with a tunable end: features computed once, `network.prepare(x).at(omega)`."""

import numpy as np
import pytest

from parity_tests.test_where import made
from parity_tests.twins import differ
from tunable.errors import OmegaError, TunableError
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, StyleUNetSpec, SwinIRSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error

LIMIT = TOLERANCES["network"].limit
OMEGA = np.array([0.2, 0.7], np.float32)
# Specification -> how many stages of how many are the trunk.
NETWORKS = {
    "resnet": (ResNetSpec(channels=4, blocks=2, where={"last": 3}), 2, 4),
    "resnet x4": (
        ResNetSpec(channels=4, blocks=1, upscale=4, mean=True, global_residual=True, where={"last": 2}),
        3,
        5,
    ),
    "unet": (UNetSpec(width=4, depth=2, where=["decoders.1.*", "tail"]), 4, 6),
    "compact": (CompactSpec(channels=4, blocks=2, upscale=2, tunable_slopes=True, where={"last": 2}), 2, 4),
    "nafnet": (NAFNetSpec(width=4, middle=1, encoder=[1, 1], decoder=[1, 1], where=["decoders.1.0.beta"]), 5, 7),
    "swinir": (SwinIRSpec(channels=6, depths=[1], heads=[2], window=4, where={"last": 1}), 1, 2),
    "style_unet": (StyleUNetSpec(channels=4, scales=1, blocks=(1, 1, 1), where={"last": 1}), 4, 5),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_prepared_networks(twin, name, rng):
    """In the mode that compiles too: at any omega, and with one for each sample, what the network returns."""
    spec, trunk, stages = NETWORKS[name]
    network, tensors = made(twin, spec), twin.tensors
    assert (network.trunk_stages, len(network.stages)) == (trunk, stages)
    x, each = rng.uniform(size=(2, 3, 9, 7)).astype("f"), rng.uniform(size=(2, 2)).astype("f")
    (pictures,) = tensors([x])
    prepared, outputs = network.prepare(pictures), []
    for omega in (OMEGA, OMEGA[::-1].copy(), each):
        outputs.append(twin.array(prepared.at(*tensors([omega]))))
        assert relative_error(outputs[-1], twin.backend.run(network, x, omega)) <= LIMIT
    assert differ(outputs[0], outputs[1])


def test_the_trunk_runs_once(twin, rng, monkeypatch):
    """`at` calls no stage before the first tunable one."""
    network, places = made(twin, NETWORKS["unet"][0]), []
    kind, stage = type(network), type(network).stage
    monkeypatch.setattr(kind, "stage", lambda self, place, *more: places.append(place) or stage(self, place, *more))
    x, omega = twin.tensors([rng.uniform(size=(1, 3, 8, 8)), OMEGA])
    prepared = network.prepare(x)
    assert places == [0, 1, 2, 3]
    prepared.at(omega)
    prepared.at(omega)
    assert places == [0, 1, 2, 3, 4, 5, 4, 5]


def test_what_cannot_be_prepared(twin, rng):
    x, wrong = twin.tensors([rng.uniform(size=(2, 3, 8, 8)), [1, 0, 0]])
    for spec, p, message in (
        (UNetSpec(width=4, depth=1), 2, r"this UNet is tunable from its first layers on \(encoders.0, downs.0\)"),
        (UNetSpec(width=4, depth=1, tunable=False), 0, "a plain network takes no omega"),
    ):
        with pytest.raises(TunableError, match=message):
            twin.backend.build(spec, p).prepare(x)
    with pytest.raises(OmegaError, match=r"\(3,\)"):
        made(twin, NETWORKS["unet"][0]).prepare(x).at(wrong)
