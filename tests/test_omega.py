"""omega: what passes the check, what is refused and how, grids and lines."""

import numpy as np
import pytest

from tunable.errors import OmegaError
from tunable.omega import check_omega, check_range, format_omega, grid, line, parse_omega, sweep, tour


@pytest.mark.parametrize(
    ("omega", "shape"),
    [([0.7, 0.3], (2,)), ((1, 0), (2,)), (np.zeros((3, 2)), (3, 2)), ([[-0.5, 2.0]], (1, 2)), ([1e-50, 0], (2,))],
)
def test_accepted(omega, shape):
    checked = check_omega(omega, 2)
    assert checked.shape == shape and checked.dtype == np.float32
    np.testing.assert_array_equal(checked, np.asarray(omega, dtype=np.float32))


@pytest.mark.parametrize(
    ("omega", "fragments"),
    [
        ([0.7], ["(1,)", "2 objectives", "(2,) or (N, 2)"]),
        ([0.1, 0.2, 0.3], ["(3,)", "2 objectives"]),
        (0.5, ["()", "2 objectives"]),
        (None, ["()", "2 objectives"]),
        ([], ["(0,)"]),
        (np.zeros((2, 2, 2)), ["(2, 2, 2)"]),
        (np.zeros((2, 3)), ["(2, 3)"]),
        ("fast", ["'fast'", "numbers"]),
        (["a", "b"], ["['a', 'b']"]),
        ([[0.1, 0.2], [0.3]], ["numbers of shape"]),
        ([1j, 0], ["numbers"]),
        (np.array([1j, 0]), ["numbers"]),
        ([float("nan"), 0], ["finite", "nan"]),
        ([0, float("inf")], ["finite", "inf"]),
        ([1e39, 0], ["finite", "inf"]),
    ],
)
def test_refused(omega, fragments, refused):
    with refused(OmegaError, *fragments):
        check_omega(omega, 2)


def test_batch(refused):
    assert check_omega(np.zeros((3, 2)), 2, batch=3).shape == (3, 2)
    assert check_omega(np.zeros(2), 2, batch=3).shape == (2,)
    with refused(OmegaError, "4 rows", "batch of 3"):
        check_omega(np.zeros((4, 2)), 2, batch=3)
    with refused(OmegaError, "1 rows", "batch of 3"):  # one row is not broadcast silently
        check_omega(np.zeros((1, 2)), 2, batch=3)


def test_range(refused):
    trained = [(0.0, 1.0), (0.5, 2.0)]
    for inside in ([0, 0.5], [1, 2], [[0.3, 1.0], [1.0, 0.5]]):
        omega = np.asarray(inside, dtype=np.float32)
        assert check_range(omega, trained) is omega
    for outside in ([0, 0.4], [1.01, 1], [-0.01, 1], [[0.5, 1], [0.5, 2.1]]):
        with refused(OmegaError, "outside", "[0, 1], [0.5, 2]"):
            check_range(np.asarray(outside, dtype=np.float32), trained)


NAMES = ("fidelity", "noise")


def test_parse(refused):
    np.testing.assert_array_equal(parse_omega("0.7, .3", NAMES), np.float32([0.7, 0.3]))
    np.testing.assert_array_equal(parse_omega("1", ["sharp"]), np.float32([1]))
    for text in ("0.7;0.3,", "0.7,", "a,b"):
        with refused(OmegaError, repr(text), "1,0 or fidelity=1,noise=0"):
            parse_omega(text, NAMES)
    with refused(
        OmegaError, "'1,2,3' has 3 values; the network has 2 (fidelity, noise): give 1,0 or fidelity=1,noise=0"
    ):
        parse_omega("1,2,3", NAMES)
    with refused(OmegaError, "'' has 1 value; the network has 2 (fidelity, noise)"):
        parse_omega("", NAMES)
    with refused(OmegaError, "finite"):
        parse_omega("nan,0", NAMES)


def test_parse_names(refused):
    for text in ("fidelity=0.7,noise=0.3", "noise=.3, fidelity = 0.7"):
        np.testing.assert_array_equal(parse_omega(text, NAMES), np.float32([0.7, 0.3]))
    some = parse_omega(f"{NAMES[1]}=0.3", NAMES, (0.9, 0))  # the other stands where it stood
    np.testing.assert_array_equal(some, np.float32([0.9, 0.3]))
    for text, *fragments in (
        ("noise=1", "lacks a value for fidelity", "fidelity=1,noise=0"),
        ("noise=1,fidelty=0", "'fidelty'", "did you mean 'fidelity'", "the knobs are fidelity, noise"),
        ("noise=1,fidelity=0,noise=1", "names noise twice"),
        ("noise=1,0", "a value without a name"),
        ("noise=1,fidelity=much", "2 numbers like 1,0 or fidelity=1,noise=0"),
        ("noise=1,fidelity=", "2 numbers"),
    ):
        with refused(OmegaError, *fragments):
            parse_omega(text, NAMES)


def test_format():
    assert format_omega([0.25, 0.75]) == "(0.25, 0.75)"
    assert format_omega(np.float32([1, 0.1])) == "(1, 0.1)"
    assert format_omega(np.float32([1 / 3])) == "(0.3333)"


def test_grid(refused):
    np.testing.assert_array_equal(
        grid(2, 3), [[0, 0], [0, 0.5], [0, 1], [0.5, 0], [0.5, 0.5], [0.5, 1], [1, 0], [1, 0.5], [1, 1]]
    )
    assert grid(3, 5).shape == (125, 3) and grid(1, 2).dtype == np.float32
    with refused(OmegaError, "2 points", "not 1"):
        grid(2, 1)


def test_line(refused):
    np.testing.assert_array_equal(line(5), [[0, 1], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1, 0]])
    assert line(2).dtype == np.float32
    with refused(OmegaError, "2 points", "not 0"):
        line(0)


def test_sweeps_go_from_one_end_of_every_knob_to_the_other():
    assert [row.tolist() for row in sweep(1, 3)] == [[[0], [0.5], [1]]]
    assert [row.tolist() for row in sweep(2, 3)] == [[[0, 1], [0.5, 0.5], [1, 0]]]
    assert [row.tolist() for row in sweep(2, 2, square=True)] == [[[0, 1], [1, 1]], [[0, 0], [1, 0]]]
    rows = sweep(3, 3)
    assert [row.tolist() for row in rows] == [
        [[1, 0, 0]], [[0.5, 0.5, 0], [0.5, 0, 0.5]], [[0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    ]  # fmt: skip
    assert all(row.dtype == np.float32 for row in rows)


def test_models_with_a_default_get_a_row_for_every_knob():
    rows = sweep(3, 3, start=(1, 1, 0))
    assert [row.tolist() for row in rows] == [
        [[0, 1, 0], [0.5, 1, 0], [1, 1, 0]], [[1, 0, 0], [1, 0.5, 0], [1, 1, 0]], [[1, 1, 0], [1, 1, 0.5], [1, 1, 1]]
    ]  # fmt: skip
    assert len(sweep(5, 2, start=(0,) * 5)) == 5 and sweep(2, 3, start=(1, 0))[0].tolist() == line(3).tolist()
    away = [
        (0.5, 1, 0),
        (0, 1, 0),
        (0.5, 1, 0),
        (1, 0.5, 0),
        (1, 0, 0),
        (1, 0.5, 0),
        (1, 1, 0.5),
        (1, 1, 1),
        (1, 1, 0.5),
    ]
    np.testing.assert_allclose(tour(3, 3, (1, 1, 0)), [(1, 1, 0), *away])


def test_tours_end_where_they_start():
    assert tour(1, 3).tolist() == [[0], [0.5], [1], [0.5]]
    assert tour(2, 2).tolist() == [[0, 1], [1, 0]]
    round_trip = tour(3, 3)
    assert round_trip.tolist() == [
        [1, 0, 0], [0.5, 0, 0.5], [0, 0, 1], [0, 0.5, 0.5], [0, 1, 0], [0.5, 0.5, 0]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_objectives": 2, "points": 1}, "at least 2 points, not 1"),
        ({"num_objectives": 4, "points": 3}, "one, two or three objectives; this network has 4"),
        ({"num_objectives": 3, "points": 3, "square": True}, "a square sweep is for two objectives"),
    ],
)
def test_sweeps_that_cannot_be(arguments, message):
    with pytest.raises(OmegaError, match=message):
        sweep(**arguments)
