"""The laws of omega: support, moments, proportions, and that a draw is a function of its generator."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from tunable.data.patches import Batches
from tunable.specs.samplers import (
    Annealed,
    Beta,
    Corners,
    Cube,
    Fixed,
    LogUniform,
    Mixture,
    Sampler,
    Simplex,
    Uniform,
    named,
)

N = 20_000  # a mean of N values in [0, 1] is within 0.015 of its expectation (more than four deviations)

ALL = {
    "uniform": Uniform(),
    "beta": Beta(a=0.5, b=2.0),
    "log_uniform": LogUniform(),
    "simplex": Simplex(),
    "corners": Corners(),
    "cube": Cube(),
    "fixed": Fixed(value=[0.1, 0.2, 0.3]),
    "mixture": Mixture(weights=[1, 2], of=[Corners(), Uniform()]),
}


def draw(sampler, n=N, p=3, seed=0):
    return sampler.draw(np.random.default_rng(seed), n, p)


@pytest.mark.parametrize("name", ALL)
def test_every_law(name):
    omega = draw(ALL[name], 500)
    assert omega.shape == (500, 3) and omega.dtype == np.float32
    assert omega.min() >= 0 and omega.max() <= 1
    np.testing.assert_array_equal(omega, draw(ALL[name], 500))
    assert name == "fixed" or not np.array_equal(omega, draw(ALL[name], 500, seed=1))
    assert draw(ALL[name], 1).shape == (1, 3)


BETWEEN = Mixture(weights=[1, 2], of=[Fixed(value=[0.1, 0.2, 0.3]), Fixed(value=[0.5, 0.5, 0.25])])


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (Uniform(), [[0, 1]] * 3),
        (Simplex(), [[0, 1]] * 3),
        (LogUniform(low=0.2), [[0.2, 1]] * 3),
        (Annealed(over=1), [[0, 1]] * 3),
        (Cube(), [[0, 1]] * 3),
        (Corners(), [[1, 1]]),  # of one knob
        (ALL["fixed"], [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]),
        (BETWEEN, [[0.1, 0.5], [0.2, 0.5], [0.25, 0.3]]),
        (Mixture(weights=[1, 2], of=[BETWEEN, Uniform()]), [[0, 1]] * 3),
    ],
)
def test_span(sampler, expected):
    """What is drawn lies within, and nearly reaches both ends."""
    omega, (low, high) = draw(sampler, p=len(expected)), np.transpose(expected)
    assert np.array_equal(sampler.span(len(expected)), expected)
    assert (omega >= low - 1e-6).all() and (omega <= high + 1e-6).all()
    assert (omega.min(0) <= low + 0.05).all() and (omega.max(0) >= high - 0.05).all()


def test_uniform():
    omega = draw(Uniform())
    np.testing.assert_allclose(omega.mean(0), 0.5, atol=0.015)
    np.testing.assert_allclose(np.cov(omega.T), np.eye(3) / 12, atol=0.004)
    assert omega.min() < 0.001 and omega.max() > 0.999


def test_beta():
    omega = draw(Beta(a=0.5, b=2.0))
    np.testing.assert_allclose(omega.mean(0), 0.2, atol=0.01)
    np.testing.assert_allclose(np.cov(omega.T), np.eye(3) * 0.5 * 2 / (2.5**2 * 3.5), atol=0.003)


def test_simplex():
    omega = draw(Simplex())
    np.testing.assert_allclose(omega.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(omega.mean(0), 1 / 3, atol=0.01)
    np.testing.assert_allclose(omega.var(0), 1 / 18, atol=0.003)  # Dirichlet(1, 1, 1): (1/3)(2/3)/4
    pair = draw(Simplex(), p=2)  # the line, uniformly
    np.testing.assert_allclose(np.histogram(pair[:, 0], 4, (0, 1))[0] / N, 0.25, atol=0.015)


def test_corners():
    omega = draw(Corners())
    assert {tuple(row) for row in omega} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    np.testing.assert_allclose(omega.mean(0), 1 / 3, atol=0.015)


def test_log_uniform():
    """As many draws in [0.01, 0.1] as in [0.1, 1], and the logarithms have a uniform law's moments."""
    logs = np.log10(draw(LogUniform(low=0.01)))
    np.testing.assert_allclose(logs.mean(0), -1, atol=0.03)
    np.testing.assert_allclose(np.cov(logs.T), np.eye(3) * 4 / 12, atol=0.016)
    np.testing.assert_allclose((logs < -1).mean(0), 0.5, atol=0.015)


def annealed(batch, n, p, **values):
    """Without a generator: nothing is random."""
    return Annealed(**values).draw(None, n, p, batch)


def test_annealed_written_numbers():
    """Two knobs, half of the way: (0.5, 0.5) + 1/2 of what the grid (0, 1), (1/4, 3/4), ... is from there."""
    omega = annealed(4, 5, 2, divisions=4, over=10)
    np.testing.assert_allclose(np.sort(omega[:, 0]), [0.25, 0.375, 0.5, 0.625, 0.75], atol=1e-7)
    np.testing.assert_allclose(omega.sum(1), 1, atol=1e-7)
    last = annealed(9, 5, 2, divisions=4, over=10)  # the last step of the way, and all that follow
    np.testing.assert_array_equal(np.sort(last[:, 0]), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(last, annealed(1000, 5, 2, divisions=4, over=10))


@pytest.mark.parametrize(("n", "p", "count"), [(8, 2, 11), (3, 3, 66), (1, 4, 286), (4, 1, 1)])
def test_annealed_meets_every_point_equally_often(n, p, count):
    """Each batch, of any size, goes on where the last ended; there are C(10 + p - 1, p - 1) points."""
    omega = np.concatenate([annealed(batch, n, p, over=1) for batch in range(count)])
    points, counts = np.unique(omega.round(6), axis=0, return_counts=True)
    assert len(points) == count and (counts == n).all()
    assert set(map(tuple, np.eye(p))) <= set(map(tuple, points))
    np.testing.assert_allclose(points.sum(1), 1, atol=1e-5)


def test_a_batch_of_an_annealed_grid_is_spread():
    """Four neighbours among eleven points would span 0.3."""
    for batch in range(20):
        assert np.ptp(annealed(batch, 4, 2, over=1)[:, 0]) > 0.55


def test_annealed_in_a_mixture_knows_its_batch():
    mixture = Mixture(weights=[1], of=[Annealed(over=100)])
    for batch in (0, 7, 500):
        expected = annealed(batch, 6, 2, over=100)
        np.testing.assert_array_equal(mixture.draw(np.random.default_rng(0), 6, 2, batch), expected)


def test_a_grid_of_too_many_points_is_refused():
    Annealed(divisions=10).check(4, 1000)
    with pytest.raises(ValueError, match="10 divisions has 3268760 points for 16 objectives; the limit is 10000"):
        Annealed(divisions=10).check(16, 1000)
    for sampler in (Annealed(over=11), Mixture(weights=[1], of=[Annealed(over=11)])):
        sampler.check(2, 11)
        with pytest.raises(
            ValueError, match="^an annealed grid that spreads over 11 steps never reaches .* in 10 steps"
        ):
            sampler.check(2, 10)


def test_cube():
    omega = draw(Cube())
    rows, counts = np.unique(omega, axis=0, return_counts=True)
    assert len(rows) == 7 and set(np.unique(rows)) == {0, 1} and (rows.sum(1) > 0).all()
    np.testing.assert_allclose(counts / N, 1 / 7, atol=0.012)
    np.testing.assert_array_equal(draw(Cube(), 5, p=1), np.ones((5, 1)))


def test_fixed():
    np.testing.assert_array_equal(draw(Fixed(value=[0.25, 1.0]), 4, p=2), [[0.25, 1.0]] * 4)
    Fixed(value=[0.25, 1.0]).check(2, 1000)
    with pytest.raises(ValueError, match="2 values for 3 objectives"):
        Fixed(value=[0.25, 1.0]).check(3, 1000)


def test_mixture_proportions():
    mixture = Mixture(weights=[1, 3, 4], of=[Fixed(value=[0.0, 0.0]), Corners(), Fixed(value=[0.5, 0.5])])
    omega = draw(mixture, p=2)
    assert {tuple(row) for row in omega} == {(0, 0), (1, 0), (0, 1), (0.5, 0.5)}
    shares = [np.mean(omega.sum(1) == 0), np.mean(omega.max(1) == 1), np.mean(omega[:, 0] == 0.5)]
    np.testing.assert_allclose(shares, [1 / 8, 3 / 8, 4 / 8], atol=0.015)


def test_mixture_chooses_row_by_row():
    omega = draw(Mixture(weights=[1, 1], of=[Fixed(value=[0.0]), Fixed(value=[1.0])]), p=1)[:, 0]
    assert 0.45 < np.mean(omega[1:] != omega[:-1]) < 0.55


def test_mixture_checks_its_parts():
    nested = Mixture(weights=[1], of=[Mixture(weights=[1, 1], of=[Uniform(), Fixed(value=[0.5])])])
    nested.check(1, 1000)
    with pytest.raises(ValueError, match="1 values for 2 objectives"):
        nested.check(2, 1000)
    with pytest.raises(ValidationError, match="a mixture of 2 samplers needs as many weights, not 1"):
        Mixture(weights=[1], of=[Uniform(), Corners()])


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "beta", "a": 0, "b": 1},
        {"kind": "beta", "a": 1, "b": -1},
        {"kind": "beta", "a": float("inf"), "b": 1},
        {"kind": "beta", "a": 1},
        {"kind": "log_uniform", "low": 0},
        {"kind": "log_uniform", "low": 1e-300},
        {"kind": "log_uniform", "low": 1},
        {"kind": "annealed", "divisions": 0},
        {"kind": "annealed", "over": 0},
        {"kind": "fixed", "value": []},
        {"kind": "fixed", "value": [1.5]},
        {"kind": "fixed", "value": [float("nan")]},
        {"kind": "mixture", "weights": [0], "of": [{"kind": "uniform"}]},
        {"kind": "mixture", "weights": [float("inf")], "of": [{"kind": "uniform"}]},
        {"kind": "mixture", "weights": [], "of": []},
        {"kind": "uniform", "a": 1},
        {"kind": "gauss"},
    ],
)
def test_impossible_laws_are_refused(values):
    with pytest.raises(ValidationError):
        TypeAdapter(Sampler).validate_python(values)


def test_named():
    assert named("cube") == {"kind": "cube"}
    assert named({"kind": "beta", "a": 1}) == {"kind": "beta", "a": 1}
    mixture = {"kind": "mixture", "weights": [1, 1], "of": ["cube", {"kind": "mixture", "weights": [1], "of": ["x"]}]}
    nested = {"kind": "mixture", "weights": [1], "of": [{"kind": "x"}]}
    assert named(mixture) == {"kind": "mixture", "weights": [1, 1], "of": [{"kind": "cube"}, nested]}
    assert mixture["of"][0] == "cube"  # the given value is not changed
    assert named(3) == 3


def test_processes_share_the_points_of_a_grid(recipe_of):
    """Two processes with three samples each train at the omega of one process with six, and not both at the same."""

    def omega(batch, **processes):
        annealed = {"sampler": {"kind": "annealed", "divisions": 7, "over": 1}}
        return Batches(recipe_of(omega=annealed, data={"batch": batch}), **processes)[3].omega

    both = np.concatenate([omega(3, rank=rank, processes=2) for rank in range(2)])
    np.testing.assert_array_equal(both, omega(6))
    assert len(np.unique(both, axis=0)) == 6
