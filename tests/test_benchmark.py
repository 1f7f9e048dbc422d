"""Ratios of times, by hand; and what `tunable bench` prints of them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tunable.benchmark import network_timing, turns
from tunable.benchmark.turns import WARM_UP, in_turns
from tunable.commands import bench, main


def test_ratios_are_medians_over_rounds():
    times = {"plain": [1.0, 2.0, 4.0], "tunable": [1.1, 2.0, 6.0]}
    assert network_timing.ratios(times, "plain") == {"plain": 1.0, "tunable": 1.1}  # of 1.1, 1.0, 1.5


def test_cases_take_turns_and_the_order_changes():
    order = []
    times = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 10)
    assert order[: 2 * WARM_UP] == ["a", "a", "b", "b"]
    rounds = [tuple(order[start : start + 2]) for start in range(2 * WARM_UP, len(order), 2)]
    assert len(rounds) == 10 and set(rounds) == {("a", "b"), ("b", "a")}
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 10, "b": 10}


def test_a_turn_lasts_long_enough(monkeypatch):
    """Short calls are repeated, and a turn's first one is not timed; rounds go on until the time is up."""
    clock = [0.0]

    def call(case, lasts):
        calls.append(case)
        clock[0] += lasts

    calls = []
    monkeypatch.setattr(turns, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    cases = {"short": lambda: call("short", 1.0), "long": lambda: call("long", 5.0)}
    times = in_turns(cases, 1, seconds=20.0, turn=4.0)
    assert times == {"short": [1.0, 1.0], "long": [5.0, 5.0]}  # a round takes 1 + 4 + 5 seconds
    assert calls.count("short") == WARM_UP + 2 * (1 + 4) and calls.count("long") == WARM_UP + 2


@pytest.fixture
def times():
    return {
        "torch": {
            "plain": [2.0, 2.0],
            "tunable, one omega": [2.2, 2.2],
            network_timing.STEP: [4.0],
            network_timing.WAIT: [0.1],
        },
        "mindspore": {
            "plain": [3.0, 3.0],
            "tunable, one omega": [3.6, 3.6],
            network_timing.STEP: [4.0],
            network_timing.WAIT: [0],
        },
    }


def test_rows(times):
    rows = {(row["backend"], row["case"]): row for row in bench.compare(times)}
    assert rows["torch", "tunable, one omega"]["over_plain"] == pytest.approx(1.1)
    assert rows["mindspore", "tunable, one omega"]["over_plain"] == pytest.approx(1.2)
    assert rows["mindspore", "plain"]["over_torch"] == pytest.approx(1.5)
    assert rows["torch", network_timing.WAIT]["share_of_step"] == pytest.approx(0.025)
    assert ("torch", network_timing.STEP) not in rows


def test_every_backend_gets_its_turns(times, monkeypatch, tmp_path, capsys):
    turns = []

    def turn(args, name):
        turns.append(name)
        return times[name]

    monkeypatch.setattr(bench, "_turn", turn)
    raw = tmp_path / "raw.csv"
    command = ["bench", "training", "--backends", "torch,mindspore", "--turns", "2", "--json", "--out", str(raw)]
    assert main(command) == 0
    assert turns == ["torch", "mindspore"] * 2
    assert {row["backend"] for row in json.loads(capsys.readouterr().out)} == {"torch", "mindspore"}
    lines = raw.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["backend,case,round,seconds", "torch,plain,0,2"]
    assert len(lines) == 1 + 2 * (4 + 4 + 2 * 2)


class _Counting:
    """A backend that only counts what it is asked for."""

    def __init__(self):
        self.built, self.ran, self.steps = [], [], []

    def build(self, spec, num_objectives):
        self.built.append(num_objectives)
        return num_objectives

    def specs(self, network):
        return []

    def assign(self, network, tensors):
        pass

    def fold(self, network, omega):
        return 0

    def run(self, network, pictures, omega):
        self.ran.append((network, None if omega is None else omega.shape))

    def trainer(self, network, recipe):
        return _Steps(self.steps, network)


class _Steps:
    def __init__(self, taken, network):
        self._taken, self._network = taken, network

    def step(self, batch, rate):
        self._taken.append((self._network, batch.omega.ndim, batch.index))


def test_what_is_timed(make_recipe):
    backend = _Counting()
    times = network_timing.networks(backend, make_recipe().network, (3, 3, 8, 8), 3)
    assert set(times) == {"plain", "tunable, one omega", "tunable, omega per sample", "folded"}
    assert backend.built == [0, 2]
    assert set(backend.ran) == {(0, None), (2, (2,)), (2, (3, 2))}

    times = network_timing.training(backend, make_recipe(), 3)
    assert backend.built[2:] == [0, 2, 2, 2]
    assert {(network, dims) for network, dims, _ in backend.steps} == {(0, 2), (2, 1), (2, 2)}
    assert backend.steps[-1][2] == WARM_UP + 2  # the last: fresh batches, as a run takes them
    assert len(times[network_timing.STEP]) == len(times[network_timing.WAIT]) == 3
    assert np.all(np.array(times[network_timing.WAIT]) <= np.array(times[network_timing.STEP]))
