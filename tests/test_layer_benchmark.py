"""The numbers of `tunable bench layers` by hand: ratios, the fastest form, limits, what is printed and written."""

import json

import pytest

from tunable.benchmark import layer_timing
from tunable.benchmark.layer_timing import AGAIN, ORDINARY, SHARED, Case
from tunable.benchmark.layers import Layer
from tunable.commands import bench, main
from tunable.forms import FORMS, KINDS, choose, kind_of, runnable
from tunable.reports import layers


@pytest.mark.parametrize(
    ("kernel", "groups", "padding", "kind"),
    [
        ((8, 4, 3, 3), 1, (1, 1), "dense"),
        ((8, 4, 1, 1), 1, (0, 0), "pointwise"),
        ((8, 4, 1, 1), 2, (0, 0), "pointwise"),
        ((8, 4, 1, 1), 1, (1, 0), "dense"),
        ((8, 1, 3, 3), 8, (1, 1), "depthwise"),
        ((8, 1, 5), 8, (2,), "depthwise"),
        ((8, 1, 3, 3), 4, (1, 1), "dense"),
        ((1, 1, 3, 3), 1, (1, 1), "dense"),
    ],
)
def test_kind(kernel, groups, padding, kind):
    assert kind_of(kernel, groups, padding) == kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("device", ["cpu", "cuda", "gpu", "ascend"])
def test_what_is_chosen_runs(device, kind):
    for form in FORMS:
        assert choose(form, False, device, kind) == "shared"
        assert choose(form, True, device, kind) in runnable(device, kind)
    for form in runnable(device, kind):
        assert choose(form, True, device, kind) == form


def test_runnable():
    assert runnable("cpu", "dense") == ("grouped", "loop", "basis")
    assert runnable("ascend", "dense") == ("loop", "basis")
    assert runnable("ascend", "depthwise") == ("grouped", "loop", "basis")
    assert runnable("cuda", "pointwise") == ("grouped", "loop", "basis", "matmul")


def row(form, p, seconds, *, kind="dense", channels=32, batch=4):
    layer = Layer(kind, 1 if kind == "pointwise" else 3, channels, batch)
    return {"device": "cpu", **layer._asdict(), "form": form, "p": p, "seconds": seconds}


@pytest.fixture
def rows():
    """One framework's, in two turns: grouped +10 %, loop +20 %, basis +150 %; one omega +4 %."""
    return [
        row(ORDINARY, 0, [1.0, 2.0]),
        row("grouped", 4, [1.1, 2.2]),
        row("loop", 4, [1.2, 2.4]),
        row("basis", 4, [2.5, 5.0]),
        row(ORDINARY, 0, [4.0]),
        row("grouped", 4, [6.0]),
        row("loop", 4, [4.8]),
        row("basis", 4, [10.0]),
        row(ORDINARY, 0, [1.0, 1.0], batch=1),
        row(SHARED, 4, [1.04, 1.04], batch=1),
        row(AGAIN, 0, [1.0, 0.98], batch=1),
    ]


def test_summary_joins_turns(rows):
    summary = {(r["batch"], r["form"]): r for r in layer_timing.summary("torch", rows)}
    assert len(summary) == 7
    grouped = summary[4, "grouped"]  # of 1.1, 1.1, 1.5
    assert (grouped["backend"], grouped["rounds"], grouped["seconds"]) == ("torch", 3, 2.2)
    assert [grouped[name] for name in ("low", "ratio", "high")] == pytest.approx([1.1, 1.1, 1.3])
    assert summary[1, SHARED]["ratio"] == pytest.approx(1.04)


def test_fastest_and_limits(rows):
    summary = layer_timing.summary("torch", rows)
    assert layer_timing.fastest(summary) == {"cpu": {"dense": "grouped"}}
    assert layers.auto(summary) == ['    "cpu": {"dense": "grouped"},  # torch']
    limits = {(r["batch"], r["form"]): layers.limit_of(r) for r in summary}
    assert limits == {
        **{(4, form): None for form in (ORDINARY, "loop", "basis")},
        (4, "grouped"): 0.15,
        **{(1, form): None for form in (ORDINARY, AGAIN)},
        (1, SHARED): 0.05,
    }
    assert layers.missed(summary) == ["Every one of the 2 that have a limit keeps it."]
    rows[1]["seconds"] = [1.2, 2.2]
    missed = layers.missed(layer_timing.summary("torch", rows))
    assert missed[0].startswith("1 of the 2") and "grouped" not in missed[1] and "+20.0 %" in missed[1]


def test_forms_are_compared_where_all_were_timed(rows):
    """A layer that only some forms ran must not decide: there loop is the faster."""
    wide = [row(ORDINARY, 0, [1.0], channels=64), row("grouped", 4, [9.0], channels=64)]
    wide += [row("loop", 4, [1.0], channels=64)]
    assert layer_timing.fastest(layer_timing.summary("torch", rows + wide))["cpu"]["dense"] == "grouped"
    assert layer_timing.fastest(layer_timing.summary("torch", wide)) == {}


def test_the_fastest_has_the_least_geometric_mean(rows):
    """1.1 times 9 is less than 1.2 times 8.5; added up it is more."""
    other = [row(ORDINARY, 0, [1.0], channels=64), row("grouped", 4, [9.0], channels=64)]
    other += [row("loop", 4, [8.5], channels=64), row("basis", 4, [9.0], channels=64)]
    assert layer_timing.fastest(layer_timing.summary("torch", rows + other))["cpu"]["dense"] == "grouped"


class _Counting:
    """A backend that counts what it is asked for."""

    device = "cpu"

    def __init__(self):
        self.asked, self.ran = [], []

    def layer_call(self, layer, form, num_objectives):
        self.asked.append((layer, Case(form, num_objectives)))
        return lambda: self.ran.append(form)


def test_every_case_is_timed():
    backend = _Counting()
    rows = list(layer_timing.measure(backend, [Layer("dense", 3, 32, 4)], 5, seconds=0))
    forms = ("grouped", "loop", "basis")
    expected = {Case(ORDINARY), Case(AGAIN), *(Case(form, p) for form in forms for p in (2, 4, 8))} - {Case("basis", 8)}
    assert {case for _, case in backend.asked} == expected == {Case(r["form"], r["p"]) for r in rows}
    assert all(len(r["seconds"]) == 5 for r in rows)


def test_command(rows, monkeypatch, tmp_path, capsys):
    turns = []
    monkeypatch.setattr(bench, "_turn", lambda args, name: turns.append(name) or rows)
    table = tmp_path / "layers.csv"
    assert main(["bench", "layers", "--backends", "torch,mindspore", "--json", "--out", str(table)]) == 0
    assert turns == ["torch", "mindspore"]
    answer = json.loads(capsys.readouterr().out)
    assert answer["fastest"] == {name: {"cpu": {"dense": "grouped"}} for name in turns}
    assert len(answer["layers"]) == 14 and len(table.read_text("utf-8").splitlines()) == 15
    assert main(["bench", "layers", "--backends", "torch"]) == 0
    printed = capsys.readouterr().out
    assert "| torch | 3x3 | p = 4 | +4.0 % |" in printed and "**grouped, p = 4** | +10.0 %" in printed
