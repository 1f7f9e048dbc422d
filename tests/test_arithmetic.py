"""Multiply-adds of tunable networks over their plain form's, by hand."""

import pytest

from tunable.parameters.arithmetic import beside
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, UNetSpec


@pytest.mark.parametrize(
    "spec",
    [
        *(ResNetSpec(channels=4, blocks=2, upscale=upscale) for upscale in (1, 3, 4)),
        *(UNetSpec(width=4, depth=depth) for depth in (1, 3)),
        CompactSpec(channels=4, blocks=2, upscale=4, tunable_slopes=True),
    ],
)
def test_layers_add_up(spec):
    """The layers' shares of the plain network are the whole, and every one of p + 1 kernels costs as much again."""
    assert beside(spec, 0) == pytest.approx(1, abs=1e-9)
    assert beside(spec, 2) == pytest.approx(3, abs=1e-9)
    assert beside(spec.model_copy(update={"differences": "scale"}), 2) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("rank", "expected"), [(4, 1.14), (8, 1.28)])
def test_low_rank(rank, expected):
    """A_j: 3x3 to r channels, B_j: a point from them; at most 1.3 x the plain 16 x 64 network."""
    plain = 9 * (3 * 64 + 32 * 64 * 64 + 64 * 3)
    features, points = 2 * rank * 9 * (3 + 32 * 64 + 64), 2 * (33 * 64 * rank + 3 * min(rank, 3))
    features -= 2 * 9 * 64 * (rank - min(rank, 3))  # the last layer has three outputs, and no larger rank
    multiple = beside(ResNetSpec(differences="low_rank", rank=rank), 2)
    assert multiple == pytest.approx((plain + features + points) / plain, abs=1e-9)
    assert round(multiple, 2) == expected <= 1.3


def test_some_layers_and_other_networks():
    """Where the last layer alone is tunable it alone costs more; of NAFNet the layers' sizes are not known."""
    spec = ResNetSpec(channels=4, blocks=1, where={"last": 1})
    assert beside(spec, 2) == pytest.approx(1 + 2 * 4 * 3 / (2 * 3 * 4 + 2 * 4 * 4), abs=1e-9)
    assert beside(NAFNetSpec(), 2) is None
