"""Learning-rate schedules against hand-computed factors."""

import pytest
from pydantic import TypeAdapter, ValidationError

from tunable.specs.schedules import Constant, Cosine, MultiStep, Schedule

ROOT = 0.7071067811865476


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        (Constant(), 4, [1, 1, 1, 1]),
        (Constant(warmup=4), 6, [0.25, 0.5, 0.75, 1, 1, 1]),
        (Cosine(), 4, [1, (1 + ROOT) / 2, 0.5, (1 - ROOT) / 2, 0]),
        (Cosine(final=0.2), 4, [1, 0.2 + 0.4 * (1 + ROOT), 0.6, 0.2 + 0.4 * (1 - ROOT), 0.2]),
        (Cosine(warmup=2), 6, [0.5, 1, 1, (1 + ROOT) / 2, 0.5, (1 - ROOT) / 2, 0]),
        (MultiStep(milestones=[2, 3]), 5, [1, 1, 0.5, 0.25, 0.25]),
        (MultiStep(milestones=[1, 3], gamma=0.1, warmup=2), 6, [0.5, 1, 1, 0.1, 0.1, 0.01]),
    ],
)
def test_written_numbers(schedule, steps, expected):
    assert [schedule.factor(step, steps) for step in range(len(expected))] == pytest.approx(expected, abs=1e-12)


def test_limits():
    assert Cosine().factor(100, 10) == pytest.approx(0, abs=1e-12)  # never rises again beyond the end
    assert Cosine(final=1.0).factor(7, 10) == pytest.approx(1)
    assert Cosine(warmup=10).factor(4, 5) == pytest.approx(0.5)  # a warm-up longer than the run
    assert Cosine(warmup=5).factor(5, 5) == pytest.approx(1)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "cosine", "final": 1.5},
        {"kind": "constant", "warmup": -1},
        {"kind": "multistep", "milestones": []},
        {"kind": "multistep", "milestones": [0]},
        {"kind": "multistep", "milestones": [5], "gamma": 0},
        {"kind": "linear"},
    ],
)
def test_refused(values):
    with pytest.raises(ValidationError):
        TypeAdapter(Schedule).validate_python(values)
