"""What make_tunable of both twins shares: which places are chosen, plans, starts, and files that are damaged."""

import json

import numpy as np
import pytest

from tunable import retrofit
from tunable.errors import CheckpointError, OmegaError, TunableError
from tunable.retrofit import Entry, LayerParts, Place
from tunable.specs.formulations import Formulation
from tunable.weights import retrofitted, storage

PLACES = [
    Place("embed", "Embedding", "E", {"weight": "embed.weight"}),
    Place("conv", "Conv2d", "C", {"weight": "conv.weight", "bias": "conv.bias"}, usual=True),
    Place("head", "Linear", "L", {"weight": "embed.weight", "bias": "head.bias"}, usual=True),
    Place("lstm", "LSTM", "R", {"weight": "lstm.w"}, obstacle="it remembers"),
    Place("scale", "parameter", "N", {"weight": "scale"}),
]


def test_convolutions_and_linear_layers_are_chosen_unasked():
    picked, left = retrofit.chosen(PLACES, None)
    assert [place.name for place in picked] == ["conv", "head"]
    assert left == {
        "embed": "Embedding: shares embed.weight with head, and is tunable in that",
        "lstm": "LSTM: it remembers",
        "scale": "parameter: not asked for",
    }


def test_a_shared_tensor_has_one_owner():
    picked, _ = retrofit.chosen(PLACES, "*")
    assert {place.name: list(place.tensors) for place in picked} == {
        "embed": ["weight"], "conv": ["weight", "bias"], "head": ["bias"], "scale": ["weight"]
    }  # fmt: skip
    plan = retrofit.plan(picked, 2, "base", "all", 0)
    assert plan.tensors["embed.weight"] == "embed.weight" and plan.tensors["scale"] == "scale.weight"
    assert retrofit.check_places(plan, PLACES, "a file") == picked


def test_alphas_sum_to_one_at_every_omega():
    for p in (1, 2, 5):
        phi = retrofit.phi_start("phi", "affine", {"weight": (p, p), "bias": (p,)}, 0)
        omega = np.random.default_rng(p).uniform(-1, 2, (20, p))
        np.testing.assert_allclose((omega @ phi["weight"].T + phi["bias"]).sum(1), 1, atol=1e-6)
        assert p == 1 or np.ptp(omega @ phi["weight"].T, axis=0).min() > 0.1, "phi ignores omega"


def test_the_product_of_a_low_rank_starts_at_zero():
    assert retrofit.is_low_rank((8, 3, 3, 3), 4) and not retrofit.is_low_rank((8, 3, 3, 3), 8)
    assert not retrofit.is_low_rank((8,), 4) and not retrofit.is_low_rank((8, 3, 3, 3), 0)
    start = retrofit.low_rank_start("conv.weight", (8, 3, 3, 3), 2, 4, 0)
    assert start["up"].shape == (2, 8, 4) and start["down"].shape == (2, 4, 27)
    assert not start["up"].any() and np.abs(start["down"]).min() > 0 and np.abs(start["down"]).max() <= 27**-0.5
    again = retrofit.low_rank_start("conv.weight", (8, 3, 3, 3), 2, 4, 1)
    assert not np.array_equal(start["down"], again["down"])


@pytest.mark.parametrize(("phi", "shapes"), [("base", [(4,), (2, 4)]), ("affine", [(2, 4)])])
def test_what_stands_behind_the_tensors_of_the_file(phi, shapes):
    plan = retrofitted.Plan(num_objectives=2, phi=phi, tensors={"conv.bias": "conv.bias"})
    kept = Entry("other", (3,))
    parameters = {"conv.bias": Entry("given", (4,)), "norm.weight": kept}
    layer = LayerParts("conv", {"bias": "conv.bias"}, {"bias": {"any": Entry("learnt", (2, 4))}}, {})
    stored = retrofit.stored(plan, [layer], parameters, {})
    assert stored["norm.weight"] == [kept] and [part.shape for part in stored["conv.bias"]] == shapes
    specs = {spec.name: spec.shape for spec in retrofit.specs(stored)}
    assert specs == {"norm.weight": (3,), "conv.bias": (len(shapes) + 1, 4)}
    parts = [np.full(shape, i, np.float32) for i, shape in enumerate(shapes)]
    tensor = retrofit.stacked(parts)
    assert tensor.shape == specs["conv.bias"]
    assert all(np.array_equal(a, b) for a, b in zip(retrofit.unstacked(tensor, len(parts)), parts, strict=True))


def test_a_digest_tells_names_shapes_and_values_apart():
    tensors = {"a": np.zeros(4, np.float32), "b": np.ones(2, np.float32)}
    others = [
        {"a": tensors["b"], "b": tensors["a"]},
        {**tensors, "a": np.zeros((2, 2), np.float32)},
        {**tensors, "b": np.array([1, 1.0000001], np.float32)},
    ]
    assert retrofitted.digest(tensors) == retrofitted.digest(dict(reversed(tensors.items())))
    assert len({retrofitted.digest(each) for each in [tensors, *others]}) == 4


def test_rows_are_counted_wherever_tensors_stand():
    retrofit.check_rows(2, [np.zeros((2, 3)), {"a": [np.zeros((2, 1))]}, None, "word"], np.ndarray)
    for wrong in (np.zeros((3, 3)), np.zeros(()), {"a": (np.zeros((1, 2)),)}):
        with pytest.raises(OmegaError, match="omega has 2 rows, one per sample, but an input has shape"):
            retrofit.check_rows(2, [np.zeros((2, 3)), wrong], np.ndarray)


@pytest.fixture
def file(tmp_path):
    """file(change): a weights file whose header a change has gone over."""
    plan = retrofit.plan(retrofit.chosen(PLACES, "conv")[0], 2, "base", "differences", 0)

    def write(change=lambda metadata: None):
        path = tmp_path / "net.safetensors"
        retrofitted.save(path, {"conv.bias.differences": np.zeros((2, 4), np.float32)}, plan, "some digest")
        tensors, metadata = storage.load_tensors(path)
        change(metadata)
        storage.save_tensors(path, tensors, metadata)
        return path

    return write


def test_a_file_comes_back(file):
    tensors, plan, base = retrofitted.load(file())
    assert list(tensors) == ["conv.bias.differences"] and base == "some digest" and plan.train == "differences"
    assert plan.tensors == {"conv.weight": "conv.weight", "conv.bias": "conv.bias"}
    retrofitted.check_base("some digest", base, "net")
    with pytest.raises(CheckpointError, match="differences from other weights than those of the base given"):
        retrofitted.check_base("another", base, "net")


def changed(**values):
    def change(metadata):
        metadata["plan"] = json.dumps({**json.loads(metadata["plan"]), **values})

    return change


DAMAGE = {
    "another format": (lambda metadata: metadata.update(format="mine"), "made tunable: format 'mine', wanted"),
    "no plan": (lambda metadata: metadata.pop("plan"), "damaged header: it lacks 'plan'"),
    "no base": (lambda metadata: metadata.pop("base"), "damaged header: it lacks 'base'"),
    "no JSON": (lambda metadata: metadata.update(plan="{"), "damaged plan: not JSON"),
    "no objectives": (changed(num_objectives=0), "damaged plan: num_objectives"),
    "an unknown phi": (changed(phi="cubic"), "damaged plan: phi"),
    "an unknown key": (changed(colour="red"), "damaged plan: unknown key 'colour'"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_are_refused_in_one_line(file, name):
    change, message = DAMAGE[name]
    with pytest.raises(CheckpointError, match=message) as caught:
        retrofitted.load(file(change))
    assert "\n" not in str(caught.value)


def test_plans_that_do_not_fit_a_network(file):
    _, plan, _ = retrofitted.load(file())
    for places, message in (
        (PLACES[:1], "makes 'conv.weight' tunable, which the network does not hold"),
        ([PLACES[1]._replace(obstacle="it is lazy")], "makes 'conv' tunable, which cannot be: it is lazy"),
    ):
        with pytest.raises(CheckpointError, match=message):
            retrofit.check_places(plan, places, "a file")
    with pytest.raises(TunableError, match="cannot be interpolated: lstm .LSTM: it remembers"):
        retrofit.interpolation(*retrofit.chosen(PLACES[3:], "*"), 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_objectives": 2.5}, "^num_objectives: .*integer"),
        ({"num_objectives": 2000}, "^num_objectives: .*less than or equal to"),
        ({"rank": 2**21, "train": "differences"}, "^rank: .*less than or equal to"),
    ],
)
def test_plans_out_of_range_are_refused_in_one_line(values, message):
    with pytest.raises(TunableError, match=message) as caught:
        retrofit.plan(PLACES[:1], **{"num_objectives": 2, "phi": "base", "train": "all", "rank": 0, **values})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"anchor": None}, "anchor must be a number for each objective, such as [1, 0], not None"),
        ({"anchor": ["x"]}, "anchor must be a number for each objective, such as [1, 0], not ['x']"),
        ({"differences": "low_rank", "rank": "2"}, "rank must be a whole number, not '2'"),
    ],
)
def test_a_formulation_of_what_are_no_numbers(keys, line):
    with pytest.raises(TunableError) as refused:
        Formulation(**keys)
    assert str(refused.value) == line
