"""Timing several cases in one process, in turns: what drifts of the machine meets all cases alike."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

WARM_UP = 2  # calls of every case before the clock starts: compilation, first allocations

Case = TypeVar("Case", bound=Hashable)


def in_turns(
    calls: Mapping[Case, Callable[[], object]], rounds: int, *, seconds: float = 0.0, turn: float = 0.0
) -> dict[Case, list[float]]:
    """Time calls in rounds: in each round every case has one turn, in an order that is drawn anew.

    Args:
        calls: what is timed, by case.
        rounds: how many there are at least.
        seconds: how long the rounds go on at least.
        turn: seconds that a turn is to last; a case that takes less time is called as often as fits.

    Returns:
        Seconds of one call, by case and round.
    """
    repeats: dict[Case, int] = {}
    for case, call in calls.items():
        for _ in range(WARM_UP - 1):
            call()
        repeats[case] = max(1, round(turn / _seconds(call, 1)))
    times: dict[Case, list[float]] = {case: [] for case in calls}
    cases, rng, done = list(calls), np.random.default_rng(0), 0
    began = time.perf_counter()
    while done < rounds or time.perf_counter() - began < seconds:
        for case in (cases[index] for index in rng.permutation(len(cases))):
            if repeats[case] > 1:
                calls[case]()  # not timed: what the case before has left in caches and allocator is not this one's
            times[case].append(_seconds(calls[case], repeats[case]))
        done += 1
    return times


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
