"""The kernels of a whole network mixed at once: what each layer mixes for itself, in few operators."""

import numpy as np
import pytest

from tunable.errors import TunableError
from tunable.parameters.starts import starting_weights
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, SwinIRSpec, UNetSpec
from tunable.tolerances import TOLERANCES, joint_error, relative_error

LIMIT, GRADIENT = (TOLERANCES[stage].limit for stage in ("network", "gradients"))
SMALL = {"channels": 4, "blocks": 2}
NAFNET = NAFNetSpec(width=4, encoder=[1], middle=1, decoder=[1], phi="base", tunable_norms=True)
NETWORKS = {  # every phi and formulation, every kind of layer: grouped, pointwise, norms, linear, free parameters
    "anchor and bump": ResNetSpec(**SMALL, anchor=[1, 0], bump=True),
    "affine": ResNetSpec(**SMALL, phi="affine"),
    "se": ResNetSpec(**SMALL, phi="se"),
    "low rank": NAFNET.model_copy(update={"differences": "low_rank", "rank": 3}),
    "scale": CompactSpec(channels=4, blocks=2, differences="scale", tunable_slopes=True),
    "nafnet": NAFNET,
    "swinir, affine": SwinIRSpec(channels=4, depths=[2], heads=[2], window=4, phi="affine", tunable_norms=True),
    "part": UNetSpec(width=4, depth=1, where=["middle*", "tail"]),
}
OMEGAS = {"one": [0.7, 0.3], "per sample": [[0.7, 0.3], [0.2, 1.1]]}


def built(twin, spec, **options):
    """A network with random weights, and how it is told to mix."""
    network, rng = twin.backend.build(spec, 2), np.random.default_rng(3)
    drawn = starting_weights(twin.backend.specs(network), 3)
    tensors = {name: (v + 0.2 * rng.normal(size=v.shape)).astype("f") for name, v in drawn.items()}
    twin.backend.assign(network, tensors)
    for key, value in options.items():
        setattr(network, key, value)
    return network


@pytest.mark.parametrize("label", OMEGAS)
@pytest.mark.parametrize("name", NETWORKS)
def test_each_layer_finds_its_own_kernels(twin, name, label, rng):
    """Outputs and gradients, in omega too, are those of a network whose layers mix for themselves."""
    x, omega = rng.uniform(size=(2, 3, 8, 8)).astype("f"), np.array(OMEGAS[label], "f")
    results = []
    for mix in ("layer", "network"):
        network = built(twin, NETWORKS[name], mix=mix)
        output = twin.run(network, x, omega)
        results.append({"output": output} | twin.gradients(network, x, omega, np.cos(output)))
    gradients = [{place: value for place, value in one.items() if place != "output"} for one in results]
    assert joint_error(*gradients[::-1]) <= GRADIENT  # omega's is a sum whose terms cancel: judged with all others
    for place, expected in results[0].items():
        if place != "omega" and np.abs(expected).max() > 1e-6:  # the gradient of a key's bias is zero
            assert relative_error(results[1][place], expected) <= (LIMIT if place == "output" else GRADIENT), place


@pytest.mark.parametrize("phi", ["base", "affine"])
def test_kernels_that_run_beside_each_other(twin, phi, rng):
    """Their layers are given alpha; so are layers of low rank, whose bias alone is mixed."""
    x, omega = rng.uniform(size=(2, 3, 6, 6)).astype("f"), np.array(OMEGAS["per sample"], "f")
    low_rank = {"differences": "low_rank", "rank": 2} if phi == "base" else {}
    for options in ({}, low_rank):
        outputs = []
        for mix, form in (("layer", "grouped"), ("network", "basis")):
            network = built(twin, ResNetSpec(**SMALL, phi=phi, **options), mix=mix)
            for layer in twin.modules(network):
                if hasattr(layer, "form") and layer is not network.tail:
                    layer.form = form
            outputs.append(twin.run(network, x, omega))
        assert relative_error(*outputs[::-1]) <= LIMIT


def test_mindspore_graph(mindspore, rng):
    """As in PyNative mode, of both ways to mix."""
    x, omega = rng.uniform(size=(2, 3, 6, 6)).astype("f"), np.array(OMEGAS["per sample"], "f")
    for phi in ("base", "affine"):
        network = built(mindspore, ResNetSpec(channels=4, blocks=1, phi=phi), mix="network")
        outputs = [mindspore.in_mode(mode).run(network, x, omega) for mode in ("pynative", "graph")]
        assert relative_error(*outputs) <= LIMIT


def test_operators_of_torch(torch, monkeypatch, rng):
    """Of the 16 x 64 network: beside the convolutions and what joins them phi, one concatenation and one product."""
    x, omega = rng.uniform(size=(1, 3, 8, 8)).astype("f"), np.array(OMEGAS["one"], "f")
    counts = {}
    for mix, p in (("layer", 0), ("layer", 2), ("network", 2)):
        monkeypatch.setenv("TUNABLE_MIX", mix)
        network = torch.backend.build(ResNetSpec(), p)
        counts[mix, p] = torch.backend.operators(network, x, omega if p else None).total()
    assert counts["layer", 0] == 67
    assert counts["layer", 2] >= 203
    assert counts["network", 2] <= 67 + 10


def test_operators_of_mindspore(mindspore, rng):
    """As many beside the plain network's for one block as for two, and few: `tunable bench operators` at full size."""
    x, omega = rng.uniform(size=(1, 3, 6, 6)).astype("f"), np.array(OMEGAS["one"], "f")
    added = {}
    for blocks, mixes in ((1, ("network", "layer")), (2, ("network",))):
        spec = ResNetSpec(channels=4, blocks=blocks)
        plain = mindspore.backend.operators(mindspore.backend.build(spec, 0), x, None).total()
        for mix in mixes:
            network = built(mindspore, spec, mix=mix)
            added[mix, blocks] = mindspore.backend.operators(network, x, omega).total() - plain
    assert added["network", 1] == added["network", 2] <= 10
    assert added["layer", 1] > added["network", 1]


def test_a_layer_of_another_network_keeps_its_own_kernels(twin, rng):
    x, omega = rng.uniform(size=(2, 3, 6, 6)).astype("f"), np.array(OMEGAS["one"], "f")
    outputs = []
    for mix in ("layer", "network"):
        network, other = (built(twin, ResNetSpec(channels=4, blocks=blocks), mix=mix) for blocks in (1, 2))
        network.body = other.body
        outputs.append(twin.run(network, x, omega))
    assert relative_error(*outputs) <= LIMIT


def test_the_environment_says_where_kernels_are_mixed(twin, monkeypatch):
    monkeypatch.setenv("TUNABLE_MIX", "network")
    assert twin.backend.build(ResNetSpec(**SMALL), 2).mix == "network"
    monkeypatch.setenv("TUNABLE_MIX", "netwrok")
    with pytest.raises(TunableError, match=r"TUNABLE_MIX is 'netwrok' \(did you mean 'network'\?\)"):
        twin.backend.build(ResNetSpec(**SMALL), 2)
