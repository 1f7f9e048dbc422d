"""What cannot be made tunable, or not be called so: one line each, when it is asked for."""

import copy

import numpy as np
import pytest

from parity_tests import strangers
from parity_tests.tuned import call, made, omega_of
from tunable.errors import CheckpointError, OmegaError, TunableError
from tunable.specs.networks import ResNetSpec


def test_end_points_that_cannot_be_interpolated(twin):
    parameters = twin.module("parameters")
    with pytest.raises(TunableError, match="two or more networks can be interpolated, not 1"):
        twin.impl.from_endpoints(strangers.build("unet", twin.name))
    with pytest.raises(TunableError, match="networks 1 and 2 differ in"):
        twin.impl.from_endpoints(strangers.build("unet", twin.name), strangers.build("reused", twin.name))
    first, other = (strangers.build("depthwise", twin.name) for _ in range(2))
    each = parameters.statistics(other)["norm1.running_mean"]
    parameters.set_value(each, np.ones(each.shape, np.float32))
    with pytest.raises(TunableError, match=r"differ in 'norm1.running_mean': running statistics do not follow omega"):
        twin.impl.from_endpoints(first, other)


WRONG = {
    "a misspelt name": ({"where": "qvk"}, "no layer or parameter is called 'qvk' .did you mean 'qkv'"),
    "a class it lacks": ({"where": dict}, "no layer of class dict"),
    "no where at all": ({"where": 5}, "a pattern of names, a class, a predicate or a list of these, not 5"),
    "nothing left": ({"where": lambda name, layer: False}, "nothing of this network becomes tunable: it holds"),
    "identity": ({"phi": "identity"}, "only where omega sums to one: take base, affine or se"),
    "unknown phi": ({"phi": "afine"}, "unknown phi 'afine' .did you mean 'affine'"),
    "unknown training": ({"train": "diferences"}, "unknown train 'diferences' .did you mean 'differences'"),
    "affine differences": ({"phi": "affine", "train": "differences"}, "only phi base has differences"),
    "a rank for all": ({"rank": 2}, "a rank is for train='differences'"),
    "a negative rank": ({"train": "differences", "rank": -1}, "rank must be 0 .any. or more, not -1"),
    "scale for all": ({"differences": "scale"}, "scale is for train='differences' without a rank"),
    "scale of a rank": (
        {"differences": "scale", "train": "differences", "rank": 2},
        "scale is for train='differences'",
    ),
    "differences of low rank": ({"differences": "low_rank"}, "differences are full, scale, not 'low_rank'"),
    "an anchor of another length": ({"anchor": [1.0]}, "anchor has 1 values for 2 objectives: \\[1.0\\]"),
    "an anchor of one number": ({"anchor": 0.5}, "anchor must be a number for each objective, .* not 0.5"),
    "an anchor of words": ({"anchor": ["x", "y"]}, "anchor must be a number for each .*, not \\['x', 'y'\\]"),
    "a rank of a word": ({"train": "differences", "rank": "2"}, "rank must be a whole number, not '2'"),
    "an anchor of affine": ({"anchor": [1, 0], "phi": "affine"}, "anchor and bump change phi base, .* not phi affine"),
    "a bump of one knob": ({"bump": True, "num_objectives": 1}, "it needs at least two, not 1"),
    "no objectives": ({"num_objectives": 0}, "num_objectives must be 1 or more, not 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_line_for_what_cannot_be(twin, name):
    options, message = WRONG[name]
    with pytest.raises(TunableError, match=message):
        twin.impl.make_tunable(strangers.build("attention", twin.name), **{"num_objectives": 2, **options})


def test_networks_that_cannot_be_given(twin):
    with pytest.raises(TunableError, match="must be a .*, not int"):
        twin.impl.make_tunable(3, 2)
    network, _ = made(twin, "unet")
    with pytest.raises(TunableError, match="TunedNetwork is tunable already"):
        twin.impl.make_tunable(network, 2)
    with pytest.raises(TunableError, match="ResNet is tunable already: it holds a TunableConv2d"):
        twin.impl.make_tunable(twin.backend.build(ResNetSpec(channels=4, blocks=1), 2), 2)


def test_omegas_that_cannot_be(twin, arrays):
    network, _ = made(twin, "guided")
    x = arrays("guided")
    with pytest.raises(OmegaError, match=r"omega, the last input, must be a tensor \(2,\) or \(N, 2\), not list"):
        network(*twin.tensors(x), [0.3, 0.8])
    with pytest.raises(OmegaError, match=r"must be .* \(2,\) or \(N, 2\), not .* of shape \(3,\)"):
        call(twin, network, x, np.zeros(3))
    with pytest.raises(OmegaError, match=r"omega has 3 rows, one per sample, but an input has shape \(2, 3, 8, 7\)"):
        call(twin, network, x, np.zeros((3, 2)))


@pytest.mark.parametrize("rows", [None, 2])
def test_outputs_without_a_row_per_sample_are_refused(twins, rows):
    """A number for the whole batch, or two rows for a sample, cannot be put together; in a graph neither."""
    torch, mindspore = twins
    x = np.ones((2, 5), np.float32)

    class OfTorch(torch.torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = torch.torch.nn.Linear(5, 4)

        def forward(self, x):
            y = self.dense(x)
            return y.sum() if rows is None else y.reshape(-1, 2)

    class OfMindSpore(mindspore.ms.nn.Cell):
        def __init__(self):
            super().__init__()
            self.dense = mindspore.ms.nn.Dense(5, 4)

        def construct(self, x):
            y = self.dense(x)
            return y.sum() if rows is None else y.reshape(-1, 2)

    with pytest.raises(OmegaError, match="outputs must have one row per sample"):
        call(torch, torch.impl.make_tunable(OfTorch(), 2), [x], omega_of("per sample"))
    network = mindspore.impl.make_tunable(OfMindSpore(), 2)
    for mode in ("pynative", "graph"):
        with mindspore.module("ops").running(mode), pytest.raises(ValueError, match="outputs must have one row per"):
            call(mindspore, network, [x], omega_of("per sample"))


def test_files_that_do_not_fit(twin, tmp_path):
    network, _ = made(twin, "unet")
    path = tmp_path / "unet.safetensors"
    network.save(path)
    with pytest.raises(CheckpointError, match="makes '.*' tunable, which the network does not hold"):
        twin.impl.load_tuned(path, base=strangers.build("reused", twin.name))
    with pytest.raises(CheckpointError, match="no such weights file"):
        twin.impl.load_tuned(tmp_path / "none.safetensors", base=strangers.build("unet", twin.name))


def test_what_torch_cannot_make_tunable(torch):
    """Listed when it stands beside others, refused when it is asked for."""
    nn = torch.torch.nn

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.lstm = nn.LSTM(3, 3)
            self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
            self.lazy = nn.LazyLinear(3)
            self.count = nn.Parameter(torch.torch.zeros(2, dtype=torch.torch.int64), requires_grad=False)

    left = torch.impl.make_tunable(Odd(), 2).left
    reasons = {
        "lstm": "LSTM: its computation holds its weights by other ways than their names",
        "lazy": "LazyLinear: it has no shape yet: run the network once first",
        "count": "parameter: its values are torch.int64",
    }
    assert {name: left[name] for name in reasons} == reasons
    assert "its weight is computed from other parameters" in left["normed"]
    for name in (*reasons, "normed"):
        with pytest.raises(TunableError, match=f"{name} .* cannot become tunable"):
            torch.impl.make_tunable(Odd(), 2, where=name)


def test_a_kernel_that_was_taken_away_afterwards(torch):
    """Pruning and parametrizations put something computed in its place, in which no omega would be."""
    from torch.nn.utils import prune

    nn = torch.torch.nn
    x, omega = torch.tensors([np.ones((1, 3, 4, 4)), np.array([0.5, 0.5])])
    for take in (
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        nn.utils.parametrizations.weight_norm,
    ):
        network = torch.impl.make_tunable(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)), 2)
        take(network.network[2])
        with pytest.raises(TunableError, match="2.weight is no longer a parameter.*fold"):
            network(x, omega)
        with pytest.raises(TunableError, match="2.weight is no longer a parameter.*fold"):
            network.fold(omega)


def test_a_layer_that_was_exchanged_afterwards(twin, rng):
    """What is in its place follows no omega: refused when called and when folded, in copies too."""
    tuned = twin.impl.make_tunable(strangers.build("unet", twin.name), 2)
    x, omega = twin.tensors([strangers.inputs("unet", rng)[0], np.float32([0.5, 0.5])])
    other = copy.deepcopy(tuned)
    tuned(x, omega)
    for network in (tuned, other):
        network.network.last = strangers.build("unet", twin.name, seed=1).last
        with pytest.raises(TunableError, match="last .Conv2d. was exchanged after make_tunable"):
            network(x, omega)
        with pytest.raises(TunableError, match="last .Conv2d. was exchanged after make_tunable"):
            network.fold(omega)


def test_what_mindspore_cannot_make_tunable(mindspore):
    nn = mindspore.ms.nn

    class Odd(nn.Cell):
        def __init__(self):
            super().__init__()
            self.dense = nn.Dense(3, 3)
            self.lstm = nn.LSTM(3, 3)

    assert "it holds parameters in a tuple" in mindspore.impl.make_tunable(Odd(), 2).left["lstm"]
    with pytest.raises(TunableError, match="lstm .LSTM. cannot become tunable"):
        mindspore.impl.make_tunable(Odd(), 2, where="lstm")
