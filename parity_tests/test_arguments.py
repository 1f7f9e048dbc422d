"""Constructors: a network's arguments are its specification's fields, and `help` shows them; layers list their own."""

import copy
import inspect
import pickle
import pydoc

import numpy as np
import pytest

from tunable.errors import TunableError
from tunable.specs.arguments import signature
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, StyleUNetSpec, SwinIRSpec, UNetSpec

SPECS = {
    "resnet": ResNetSpec,
    "nafnet": NAFNetSpec,
    "swinir": SwinIRSpec,
    "style_unet": StyleUNetSpec,
    "unet": UNetSpec,
    "compact": CompactSpec,
}
SMALL = {"channels": 4, "blocks": 1}


def networks(twin):
    return twin.module("networks").NETWORKS


def test_every_network_has_a_specification(twin):
    assert networks(twin).keys() == SPECS.keys()


@pytest.mark.parametrize("name", SPECS)
def test_signature(twin, name):
    """Keywords alone: num_objectives, which has no default, then the specification's fields with their defaults."""
    first, *others = inspect.signature(networks(twin)[name]).parameters.values()
    assert (first.name, first.default) == ("num_objectives", inspect.Parameter.empty)
    assert {one.name: one.default for one in others} == SPECS[name]().arguments()
    assert {one.kind for one in (first, *others)} == {inspect.Parameter.KEYWORD_ONLY}


def test_signature_in_words():
    assert str(signature(StyleUNetSpec)) == (
        "(*, num_objectives: int, channels: int = 64, scales: int = 2, blocks: tuple[int, int, int] = (2, 6, 2), "
        "normalise: bool = True, global_residual: bool = False, outer: Literal[3, 5, 7, 9] = 9, "
        "padding: Literal['zeros', 'reflect'] = 'zeros', "
        "phi: Literal['affine', 'identity', 'se', 'base'] = 'base', "
        "differences: Literal['full', 'low_rank', 'scale'] = 'full', rank: int = 0, anchor: list[float] = [], "
        "bump: bool = False, where: Union[Literal['all'], tunable.specs.formulations.Last, list[str]] = 'all', "
        "tunable_norms: bool = False)"
    )


@pytest.mark.parametrize("name", SPECS)
def test_help_shows_every_argument(twin, name):
    """Name, default, range and meaning."""
    page = " ".join(pydoc.plain(pydoc.render_doc(networks(twin)[name])).replace("|", "").split())
    assert "num_objectives: p, how many objectives omega weighs" in page
    for argument, default in SPECS[name]().arguments().items():
        meaning = SPECS[name].model_fields[argument].description
        assert f" {argument}: {' '.join(meaning.split())}" in page
        assert f" = {default!r}" in page
    assert "It is at least 1 and at most 16384." in page


def test_arguments_reach_the_layers(twin):
    network = twin.impl.ResNet(num_objectives=0, channels=np.int64(5), blocks=2)
    shapes = {name: value.shape for name, value in twin.backend.parameters(network).items()}
    assert shapes["body.1.conv2.weight"] == (5, 5, 3, 3) and "body.2.conv1.weight" not in shapes
    network = twin.impl.NAFNet(num_objectives=2, width=2, middle=0, encoder=(1,), decoder=[2], phi="identity")
    assert twin.backend.parameters(network)["decoders.0.1.conv1.weight"].shape == (2, 4, 2, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"chanels": 4},
            r"ResNet has no argument 'chanels' \(did you mean 'channels'\?\); its arguments: num_objectives",
        ),
        ({"tunable": False}, "ResNet has no argument 'tunable'"),
        ({"phi": "afine"}, r"ResNet: phi: unknown value 'afine' \(did you mean 'affine'\?\); known: affine, identity"),
        ({"upscale": 5}, "ResNet: upscale: unknown value 5; known: 1, 2, 3, 4"),
        ({"blocks": 0}, "ResNet: blocks: Input should be greater than or equal to 1, not 0"),
        ({"rank": 4}, "ResNet: low_rank differences, and no others, have a rank of at least 1: not full with rank 4"),
        ({"differences": "low_rank"}, "ResNet: low_rank differences, .* not low_rank with rank 0"),
        (
            {"differences": "low_rank", "rank": 9, "channels": 8, "blocks": 1},
            "ResNet: rank 9 is above that of every layer, at most 8$",
        ),
        ({"phi": "affine", "bump": True}, "ResNet: differences, anchor and bump change phi base, .* not phi affine$"),
        ({"anchor": [1]}, r"anchor has 1 values for 2 objectives: \[1.0\]$"),
        ({"anchor": [float("nan"), 0]}, "ResNet: anchor.0: Input should be a finite number"),
    ],
)
def test_wrong_arguments_are_refused(twin, arguments, message):
    with pytest.raises(TunableError, match=f"^{message}"):
        twin.impl.ResNet(num_objectives=2, **arguments)


def test_wrong_calls_are_refused(twin):
    with pytest.raises(TunableError, match=r"^NAFNet: encoder has 1 stages, decoder 2: as many are wanted$"):
        twin.impl.NAFNet(num_objectives=2, encoder=[1], decoder=[1, 2])
    with pytest.raises(TypeError, match="positional"):
        twin.impl.ResNet(2)
    with pytest.raises(TypeError, match="num_objectives"):
        twin.impl.ResNet(channels=4)


def test_a_subclass(twin):
    """Of a network: with its constructor or one of its own, whose signature is shown."""

    class Same(twin.impl.ResNet):
        """As it is."""

    class Other(twin.impl.ResNet):
        def __init__(self, depth, *, num_objectives):
            super().__init__(num_objectives=num_objectives, channels=2, blocks=depth)

    class Silent(twin.impl.ResNet, spec=ResNetSpec):
        pass

    Silent(num_objectives=2, **SMALL)
    assert inspect.getdoc(Silent).startswith("Args:")
    assert inspect.signature(Same) == inspect.signature(twin.impl.ResNet)
    assert list(inspect.signature(Other).parameters) == ["depth", "num_objectives"]
    network = Other(3, num_objectives=2)
    assert "body.2.conv1.weight" in twin.backend.parameters(network)
    assert twin.backend.parameters(network.rebuilt(0))["body.2.conv1.weight"].shape == (2, 2, 3, 3)


def test_a_network_keeps_its_own_arguments(twin):
    """A list that the caller changes afterwards changes neither the network nor what is built of it once more."""
    blocks = [1, 1, 1]
    network = twin.impl.StyleUNet(num_objectives=2, channels=2, scales=1, blocks=blocks)
    names = list(twin.backend.parameters(network))
    blocks[1] = 3
    assert list(twin.backend.parameters(network.rebuilt(2))) == names


def test_copies(twin, rng):
    """A deep copy gives the same picture and can be built again in the plain form; in PyTorch a pickle too."""
    network = twin.backend.build(ResNetSpec(**SMALL), 2)
    x, omega = rng.uniform(size=(1, 3, 6, 7)).astype(np.float32), np.float32([0.3, 0.9])
    copies = [copy.deepcopy(network)]
    if twin.name == "torch":
        copies.append(pickle.loads(pickle.dumps(network)))
    for one in copies:
        np.testing.assert_array_equal(twin.backend.run(one, x, omega), twin.backend.run(network, x, omega))
        folded = twin.backend.run(twin.backend.fold(one, omega), x, None)
        np.testing.assert_array_equal(folded, twin.backend.run(twin.backend.fold(network, omega), x, None))
