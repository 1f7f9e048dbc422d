"""Pieces of the certificate by hand: limits, rows, sketches, gradients that are truly zero."""

import numpy as np
import pytest

from tunable.backends.protocol import LossReport
from tunable.certificate import Certificate, Row
from tunable.certificate.packs import NUMBERS, SIZES, sketch
from tunable.certificate.programs import Reading, Steps, distances, exempt_weights, unrest, zero_gradients
from tunable.tolerances import FACTOR, FOLLOW_GRADIENTS, KINK, TOLERANCES, limit_of, relative_error
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
        assert reason and (most is None or limit < most <= (5e-3 if stage == "gradient" else 1e-3)), stage


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
    found = digest(tensors)
    assert found == digest(dict(reversed(tensors.items())))
    assert len({found, digest({"a": tensors["a"]}), digest({**tensors, "b": np.zeros(2)}), digest(tensors, {"x": "y"}),
                digest({"a": tensors["a"].reshape(3, 2), "b": tensors["b"]})}) == 5  # fmt: skip
    assert SIZES[0] < SIZES[1] and NUMBERS * 8 < 4_000_000


# --- distances and gradients that are zero


def reading(gradients, layers=None, loss=1.0):
    return Reading(layers or {"head": np.ones(3)}, np.ones(4), LossReport(loss, np.ones(2), gradients), {})


def test_distances():
    true = reading(
        {"a": np.array([3.0, 4.0]), "zero": np.array([1e-15, 0.0])}, {"head": np.ones(4), "tail": np.ones(1)}
    )
    own = reading({"a": np.array([3.0, 4.5]), "zero": np.array([0.0, 1e-3])}, {"head": np.array([1, 1, 1, 1.2])})
    found = distances(own, true)
    assert found["layer output"] == {"head": pytest.approx(0.1), "tail": float("inf")}
    assert found["gradient"] == {"a": pytest.approx(0.1), "zero": pytest.approx(2e-4)}  # of the whole, 5
    assert found["gradients"]["all together"] == pytest.approx((0.25 + 1e-6) ** 0.5 / 5)
    assert found["network"] == {"output": 0} and found["loss"] == {"multi-loss": 0, "terms": 0}
    assert distances(reading({"a": np.ones(2)}), true)["gradient"]["zero"] == float("inf")
    assert "gradient" not in distances(own, reading({"a": np.zeros(2), "zero": np.zeros(2)}))  # omega = 0


def test_zero_gradients():
    gradients = {"a": np.array([1.0]), "small": np.full(4, 1e-9), "zero": np.full(4, 1e-13), "none": np.zeros(2)}
    assert zero_gradients(LossReport(1.0, np.ones(1), gradients)) == {"zero", "none"}


def test_exempt_weights():
    """A key's bias, whose gradient is rounding; a weight that a ReLU has switched off, but not one that moves later."""
    squares = {"qkv.bias": np.array([1.0, 1e-30, 2.0]), "dead": np.array([0.0, 1.0, 0.0]), "none": np.zeros(2)}
    start = {name: np.ones(len(value), np.float32) for name, value in squares.items()}
    last = {**start, "dead": np.array([1.0, 1.1, 1.2])}
    states = {"step 2": {"step": np.ones(1), **{"second." + name: value for name, value in squares.items()}}}
    found, resting = exempt_weights(Steps(np.ones(2), states, last), start, 1.0)
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "qkv.bias": [False, True, False],
        "dead": [True, False, False],
        "none": [True, True],
    }
    assert {name: mask.tolist() for name, mask in resting.items()} == {"dead": [True, False, False]}
    still = {"step 2": {"second." + name: value * 0 for name, value in squares.items()}}
    assert exempt_weights(Steps(np.ones(2), still, last), start, 1.0) == ({}, {})
    kept = Steps(np.ones(2), {}, {"qkv.bias": np.arange(1.0, 4.0)}).reduced(lambda value: value, found)
    assert kept.weights["qkv.bias"].tolist() == [1, 0, 3]


def test_unrest():
    """One of two weights rests: 4 of a length of 5; what moves does not count; decay takes its part."""
    start, resting = {"a": np.array([3.0, 4.0])}, {"a": np.array([False, True])}
    assert unrest({"a": np.array([9.0, 4.0])}, start, resting, 1.0) == 0
    assert unrest({"a": np.array([3.0, 4.5])}, start, resting, 1.0) == pytest.approx(0.1)
    assert unrest({"a": np.array([3.0, 2.0])}, start, resting, 0.5) == 0
