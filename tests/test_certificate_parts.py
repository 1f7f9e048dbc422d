"""Pieces of the certificate by hand: limits, rows, sketches, gradients that are truly zero."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from tunable.backends.protocol import LossReport
from tunable.certificate import Certificate, Row, document, inputs, programs, truth
from tunable.certificate.document import subject
from tunable.certificate.inputs import make_inputs
from tunable.certificate.packs import NUMBERS, SIZES, sketch
from tunable.certificate.programs import (
    Reading,
    Training,
    Weights,
    distances,
    gradient_distances,
    optimizer_distances,
    training_distances,
    zero_gradients,
)
from tunable.certificate.sentences import summary
from tunable.errors import TunableError
from tunable.oracle.optimizers import ExactOptimizer
from tunable.specs.optimizers import SGD, Adam, AdamW
from tunable.tolerances import FACTOR, FOLLOW_GRADIENTS, KINK, TOLERANCES, limit_of, relative_error
from tunable.weights import storage
from tunable.weights.storage import digest

# --- limits


def test_limits():
    limit, _, most = TOLERANCES["network"]
    assert limit_of("network") == limit_of("network", 0.0) == limit_of("network", limit / FACTOR) == limit
    assert limit_of("network", limit) == FACTOR * limit
    assert limit_of("network", 1.0) == most
    assert limit_of("network", float("inf")) == limit_of("network", float("nan")) == limit
    assert limit_of("layer", 1.0) == TOLERANCES["layer"].limit  # does not follow the model
    assert limit_of("gradients", 1.0, judged=True) == KINK and limit_of("network", 1.0, judged=True) == most
    assert limit_of("gradients", 0.0, judged=True) == TOLERANCES["gradients"].limit
    assert (
        tuple(s for s, t in TOLERANCES.items() if t.most and s not in ("layer output", "network")) == FOLLOW_GRADIENTS
    )
    for stage, (limit, reason, most) in TOLERANCES.items():
        assert reason and (most is None or limit < most <= (5e-3 if stage in ("gradient", "training") else 1e-3)), stage


# --- rows


def test_first_difference():
    def row(limit, **parts):
        return Row("layer output", "a : b", "", "", max(parts.values()), limit, parts=parts)

    assert row(1.0, head=0.0, body=0.1, tail=0.2).first == "body"
    assert row(1.0, head=0.5, body=1.1, tail=2.0).first == "body"
    assert row(1.0, head=0.5, body=float("nan"), tail=2.0).first == "body"
    assert row(1.0, head=0.0, body=0.0).first == ""


def test_rows_get_their_limits_in_the_end():
    certificate = Certificate("", {})
    certificate.add("folded", "a : live", "", {"output": 0.0})
    certificate.add("network", "a : float64", "", {"output": 3e-6})
    certificate.add("layer", "a : oracle", "", {"head": 1e-7, "body": float("nan")})
    certificate.add("layer", "a : oracle", "", {})
    certificate.add("gradients", "a : float64", "", {"all together": 1e-2})
    certificate.control("control: omega matters", "a", "", "output", 0.1, 1e-3)
    assert not any(row.passed for row in certificate.rows if not row.at_least)  # none without a limit
    certificate.settle({"network": 1e-6, "loss": 1.0, "gradients": 1.0})
    stages = ["layer", "layer", "network", "control: omega matters", "gradients", "folded"]
    assert [row.stage for row in certificate.rows] == stages
    assert [row.passed for row in certificate.rows] == [False, False, True, True, False, True]
    assert certificate.rows[0].worst == "body" and certificate.rows[1].worst == "nothing was compared"
    assert (
        certificate.rows[2].limit == 8e-6
        and certificate.rows[4].limit == TOLERANCES["gradients"].most
        and certificate.rows[5].worst == ""
        and certificate.gaps == {"network": 1e-6, "gradients": 1.0}
    )


def test_the_summary_shows_the_row_nearest_to_failing():
    rows = [Row("network", "a : b", at, "", error, limit) for at, error, limit in (("1", 4.0, 9.0), ("2", 1.0, 1.5))]
    assert [row.omega for row in Certificate("", {}, rows).summary()] == ["2"]
    assert Row("weights", "", "", "", 0.0, 0.0).ratio == 0 and Row("weights", "", "", "", 1.0, 0.0).ratio > 1


def test_rmse():
    """a's distance from float64 over b's: the other framework's, PyTorch's on a CPU, or the first's from the oracle."""
    certificate = Certificate("", {"torch": {}, "mindspore": {}})
    parts = {"torch : oracle": 1e-7, "mindspore : oracle": 3e-7}
    for compared, error in parts.items():
        certificate.add("layer", compared, "(1)", {"head": error, "tail": error})
    for compared, error in {"torch : float64": 2e-7, "mindspore : float64": 1e-7, "mindspore : torch": 9e-7}.items():
        certificate.add("network", compared, "(1)", {"output": error})
    certificate.add("folded", "torch : live", "(1)", {"output": 1e-7})
    certificate.add("network", "mindspore : torch", "(2)", {"output": 1e-7})  # whose truth is not there
    certificate.settle({})
    certificate.compare_rmse({("network", "(1)"): 4e-7})
    ratios = {(row.compared, row.omega): row.rmse for row in certificate.rows}
    assert ratios == {
        ("torch : oracle", "(1)"): None, ("mindspore : oracle", "(1)"): pytest.approx(3),
        ("torch : float64", "(1)"): pytest.approx(0.5), ("mindspore : float64", "(1)"): pytest.approx(0.25),
        ("mindspore : torch", "(1)"): pytest.approx(0.5), ("mindspore : torch", "(2)"): None,
        ("torch : live", "(1)"): None,
    }  # fmt: skip


def test_rmse_of_what_is_not_finite():
    """A NaN on both sides is no warning, and the row fails by its error."""
    certificate = Certificate("", {"torch": {}})
    certificate.add("gradients", "torch : float64", "(1)", {"all together": float("inf")})
    certificate.settle({})
    certificate.compare_rmse({("gradients", "(1)"): np.float64("inf")})
    assert np.isnan(certificate.rows[0].rmse) and not certificate.passed


# --- what it says


def test_three_sentences():
    machine = {"processor": "a CPU", "platform": "Linux"}
    rows = [Row("gradient", "b : a", "(1, 0)", "", 1e-3, 1e-1), Row("weights", "a : file", "", "", 0.0, 0.0),
            Row("network", "a : float64", "", "", 5e-6, 1e-5),
            Row("control: omega matters", "a", "", "", 2.0, 1.0, True)]  # fmt: skip
    certificate = Certificate("m", {"a": {}, "b": {}}, rows, ["onnx, form shared: no operator"], machine)
    compared, largest, untested = summary(certificate)
    assert compared == (
        "The results of a and b on this weights file were compared with the whole network in PyTorch's float64 and "
        "each other, on a CPU, Linux."
    )
    assert largest == (
        "All 4 comparisons passed, and the largest relative difference is 1.0e-03 (gradient, b : a at ω (1, 0)), 100 "
        "times below its limit of 1.0e-01; nearest to its limit comes 5.0e-06 (network, a : float64), 2 times below "
        "its limit of 1.0e-05."
    )
    assert "(onnx, form shared)" in untested and "trainings of more than 10 steps" in untested
    certificate.rows.append(Row("network", "a : float64", "", "", float("nan"), 1e-5))
    certificate.recorded = {"machine": {"processor": "a GPU"}}
    assert summary(certificate)[0].endswith("; the truth was recorded on a GPU.")
    assert summary(certificate)[1] == "1 of 5 comparisons failed, first in the stage network (a : float64)."
    assert "were compared with nothing" in summary(Certificate("", {}))[0]
    rows = [Row(stage, "a : oracle", "", "", 0.0, 1e-5) for stage in ("layer", "optimizer")]
    assert "with plain numpy in float64 (every layer and optimizer)." in summary(Certificate("", {"a": {}}, rows))[0]


def test_a_date_that_is_none(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 14)
    with pytest.raises(TunableError, match="^SOURCE_DATE_EPOCH must be seconds since 1970, not '99999999999999'$"):
        document.now()


def test_the_subject(monkeypatch, weights_file):
    """The digest is the file's, as sha256sum prints it, and a build may fix the date."""
    file = Weights(weights_file, *storage.load(weights_file))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    facts = subject(file, make_inputs(file.header.num_objectives, 2))
    assert facts["SHA-256"] == hashlib.sha256(Path(weights_file).read_bytes()).hexdigest()
    assert facts["date"] == "1970-01-02 00:00:00 UTC" and facts["network"].startswith("resnet: ")
    assert facts["parameters"] == f"{sum(value.size for value in file.tensors.values()):,}"
    assert facts["ω"] == "(0, 0), (0, 1), (1, 0), (1, 1); and one of its own for each picture of a batch"
    monkeypatch.setattr(document, "ROOT", Path(weights_file).parent)
    assert document.commit() == "" and "commit" not in subject(file, make_inputs(2, 2))["program"]
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert abs(document.now().timestamp() - time.time()) < 60


# --- sketches


def test_a_sketch_is_as_long_as_the_tensor(rng):
    """Within what so many sums can tell, for noise and for a constant."""
    for value in (rng.normal(size=(4, 32, 12, 12)), np.full(5000, 0.3), rng.uniform(size=(100, 100))):
        for size in SIZES:
            assert np.linalg.norm(sketch(value, size)) / np.linalg.norm(value) == pytest.approx(
                1, abs=3 / (2 * size) ** 0.5
            )


def test_every_value_enters_a_sketch():
    value = np.zeros(1000)
    for index in range(1000):
        value[index] = 2.0
        assert np.abs(sketch(value, 16)).sum() == 2.0
        value[index] = 0.0
    value[7] = np.nan
    assert np.isnan(sketch(value, 16)).sum() == 1
    assert relative_error(sketch(value, 16), np.ones(16)) == float("inf")


def test_small_tensors_are_kept_whole(rng):
    value = rng.normal(size=(4, 4)).astype(np.float32)
    np.testing.assert_array_equal(sketch(value, 16), value.ravel().astype(np.float64))
    assert sketch(value, 15).shape == (15,)


def test_sketches_never_change():
    """Packs are read years later: these numbers were written down."""
    assert sketch(np.arange(20.0), 4).tolist() == [-30.0, -34.0, 32.0, 22.0]


def test_digest(rng):
    tensors = {"a": rng.normal(size=(2, 3)), "b": np.zeros(2, np.float32)}
    text = digest(tensors)
    assert text == digest(dict(reversed(tensors.items())))
    assert len({text, digest({"a": tensors["a"]}), digest({**tensors, "b": np.zeros(2)}), digest(tensors, {"x": "y"}),
                digest({"a": tensors["a"].reshape(3, 2), "b": tensors["b"]})}) == 5  # fmt: skip
    assert SIZES[0] < SIZES[1] and NUMBERS * 8 < 4_000_000


# --- distances and gradients that are zero


def reading(gradients, layers=None, loss=1.0):
    return Reading(layers or {"head": np.ones(3)}, np.ones(4), LossReport(loss, np.ones(2), gradients), {})


def test_distances():
    true = reading(
        {"a": np.array([3.0, 4.0]), "zero": np.array([1e-15, 0.0])}, {"head": np.ones(4), "tail": np.ones(1)}
    )
    given = reading({"a": np.array([3.0, 4.5]), "zero": np.array([0.0, 1e-3])}, {"head": np.array([1, 1, 1, 1.2])})
    result = distances(given, true)
    assert result["layer output"] == {"head": pytest.approx(0.1), "tail": float("inf")}
    assert result["gradient"] == {"a": pytest.approx(0.1), "zero": pytest.approx(2e-4)}  # of the whole, 5
    assert result["gradients"]["all together"] == pytest.approx((0.25 + 1e-6) ** 0.5 / 5)
    assert result["network"] == {"output": 0} and result["loss"] == {"multi-loss": 0, "terms": 0}
    assert distances(reading({"a": np.ones(2)}), true)["gradient"]["zero"] == float("inf")
    assert "gradient" not in distances(given, reading({"a": np.zeros(2), "zero": np.zeros(2)}))  # omega = 0


def test_zero_gradients():
    gradients = {"a": np.array([1.0]), "small": np.full(4, 1e-9), "zero": np.full(4, 1e-13), "none": np.zeros(2)}
    assert zero_gradients(LossReport(1.0, np.ones(1), gradients)) == {"zero", "none"}


def test_training_distances():
    """In what the network does, not in its weights, which may have no influence."""
    true = Training(np.array([3.0, 4.0]), np.zeros(0), np.ones(4), {"a": np.ones(1)})
    given = Training(np.array([3.0, 4.5]), np.zeros(0), np.array([1, 1, 1, 1.2]), {"a": np.zeros(1)})
    assert training_distances(given, true) == {"training": {"losses": pytest.approx(0.1), "output": pytest.approx(0.1)}}
    other = true._replace(discriminator=np.array([1.0]))
    for a, b in ((given, other), (other, given)):
        assert training_distances(a, b)["training"]["discriminator's losses"] == float("inf")


def test_a_gradient_where_there_is_none():
    """At omega = 0 the true gradient is zero: another is seen, and zero gives no row."""
    none, one = ({"a": np.full(2, value)} for value in (0.0, 1e-3))
    reports = {name: LossReport(0.0, np.ones(1), value) for name, value in (("none", none), ("one", one))}
    assert gradient_distances(reports["none"], reports["none"]) == {}
    broken = LossReport(0.0, np.ones(1), {"a": np.array([0.0, np.nan])})
    for report, error in ((reports["one"], np.sqrt(2) * 1e-3), (broken, float("inf"))):
        assert gradient_distances(report, reports["none"]) == {"gradients": {"all together": pytest.approx(error)}}


def test_an_optimizer_that_loses_a_tensor():
    settings = Adam()
    given = inputs.optimizer_inputs(SHAPES, settings)
    parts = optimizer_distances({}, {}, given, ExactOptimizer(settings))["optimizer"]
    assert set(parts.values()) == {float("inf")} and "count of steps" in parts and "moves of tail.bias" in parts


# --- the optimizer alone


SHAPES = {"head.weight": (3, 8, 5), "norm.gamma": (8,), "tail.bias": (1,)}


def test_optimizers_are_given_many_gradients():
    """Some weights have no gradient, some one near eps, some steps are shortened, and what moves, moves visibly."""
    for settings in (
        Adam(), Adam(clip_norm=0.1), AdamW(weight_decay=0.1), SGD(learning_rate=1), SGD(learning_rate=1, momentum=0.9)
    ):  # fmt: skip
        given, again = (inputs.optimizer_inputs(SHAPES, settings) for _ in range(2))
        gradients = np.stack([step["head.weight"] for step in given.gradients])
        assert all(np.array_equal(value, again.weights[name]) for name, value in given.weights.items())
        assert gradients.dtype == np.float32 and len({step.tobytes() for step in gradients}) == len(gradients) > 2
        rests = (gradients == 0).all(0)
        assert 0.05 < rests.mean() < 0.25 and np.array_equal(rests, (gradients[0] == 0))
        norms = [np.sqrt(sum(np.sum(value.astype(float) ** 2) for value in step.values())) for step in given.gradients]
        if settings.clip_norm:
            assert {norm > settings.clip_norm for norm in norms} == {True, False}
        elif settings.kind != "sgd":
            assert np.mean(abs(gradients[gradients != 0]) < 10 * settings.eps) > 0.1
        exact, weights = ExactOptimizer(settings), given.weights
        for step in given.gradients:
            weights = exact.step(weights, step, given.learning_rate)
        moved = np.linalg.norm(weights["head.weight"] - given.weights["head.weight"])
        assert 0.05 < moved / np.linalg.norm(given.weights["head.weight"]) < 2


def test_perturbed(rng):
    """By 1e-7 of each weight, as numpy draws it."""
    tensors = {"a": rng.normal(size=1000).astype(np.float64), "zero": np.zeros(3)}
    others = [truth.perturbed(tensors, seed) for seed in (0, 1)]
    for other in others:
        assert np.std(other["a"] / tensors["a"] - 1) == pytest.approx(1e-7, rel=0.1) and not np.any(other["zero"])
    assert not np.array_equal(others[0]["a"], others[1]["a"])


def optimized(settings, change=lambda weights, state: None):
    """What numpy in float32 makes of it, changed."""
    given, exact = inputs.optimizer_inputs(SHAPES, settings), ExactOptimizer(settings)
    weights = given.weights
    for step in given.gradients:
        weights = {name: v.astype(np.float32) for name, v in exact.step(weights, step, given.learning_rate).items()}
    state = {name: value.astype(np.float32) for name, value in exact.state.items()} | {"step": np.full(1, exact.steps)}
    change(weights, state)
    return programs.optimizer_distances(weights, state, given, ExactOptimizer(settings))["optimizer"]


def test_optimizer_distances():
    limit = TOLERANCES["optimizer"].limit
    for settings in (Adam(), AdamW(clip_norm=0.1), SGD(learning_rate=1, momentum=0.9)):
        parts = optimized(settings)
        assert 0 < max(parts.values()) < limit and "moves of norm.gamma" in parts and "count of steps" in parts
    assert {"first.tail.bias", "second.tail.bias"} <= optimized(Adam()).keys()
    assert "momentum.tail.bias" in optimized(SGD(learning_rate=1, momentum=0.9))

    def one(weights, state):
        weights["norm.gamma"] = weights["norm.gamma"] * np.float32(1.0001)
        state["second.head.weight"] = state["second.head.weight"] * np.float32(1.0001)
        del state["first.tail.bias"]
        state["step"] = state["step"] + 1

    wrong = {name for name, error in optimized(Adam(), one).items() if error > limit}
    assert wrong == {"moves of norm.gamma", "second.head.weight", "first.tail.bias", "count of steps"}
