"""Every mutant is killed: all of torch's, and every third of MindSpore's.

The others of MindSpore's are marked `rest`, which `make test` leaves to `make mutants`: the checks that see them are
the same functions in both twins.
"""

import pytest

from parity_tests.mutants import harness
from parity_tests.mutants.checks import CHECKS, Check
from parity_tests.mutants.harness import Mutant, broken, judge, run
from parity_tests.mutants.table import MUTANTS
from parity_tests.mutants.ways import both, edited, given, replaced, returned
from parity_tests.twins import get_twin
from tunable.backends.registry import requested

pytestmark = pytest.mark.mutant


def cases():
    """Mutants by twin."""
    for backend in requested():
        for place, mutant in enumerate(mutant for mutant in MUTANTS if mutant.concerns(backend)):
            marks = [pytest.mark.rest] if backend == "mindspore" and place % 3 else []
            yield pytest.param(backend, mutant, id=f"{backend}-{mutant.name}", marks=marks)


@pytest.mark.parametrize(("backend", "mutant"), [*cases()])
def test_a_mutant_is_killed(backend, mutant):
    verdict = judge(get_twin(backend), mutant)
    assert verdict.killed, verdict


def test_every_mutant_can_be_put_in(twin):
    """Those, too, that `make test` leaves out."""
    for mutant in MUTANTS:
        if mutant.concerns(twin.name):
            with broken(twin, mutant):
                pass


def test_names_and_number():
    """At least 60 in each twin, each name once, of every kind that has checks."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert {mutant.kind for mutant in MUTANTS} == set(CHECKS)
    for backend in ("torch", "mindspore"):
        assert sum(mutant.concerns(backend) for mutant in MUTANTS) >= 60


HARMLESS = both(
    given("ops:linear", x=lambda a: a.x),
    returned("ops:softmax", lambda y, a: y),
    edited("networks.resnet:ResNet.stage", ("y + features[1]", "features[1] + y")),
)
WRONG_PLACES = {
    "a module that is gone": given("operators:conv"),
    "a function that is gone": returned("ops:convolve", lambda y, a: y),
    "a class that is gone": replaced("layers.conv:Conv.forward", None),
    "an argument that is gone": given("ops:conv", kernels=lambda a: 1),
    "a line that is gone": edited("ops:normalise", ("variance", "deviation " * 2)),
    "a line that is there twice": edited("ops:linear", ("weight", "bias")),
    "a line that is no Python": edited("ops:bmm", ("return", "returns")),
}


def test_what_changes_nothing_survives(twin, monkeypatch):
    """Its own kind's checks and another's, which stand for all: none of them fails without a mutant."""
    monkeypatch.setattr(harness, "CHECKS", {kind: CHECKS[kind] for kind in ("network", "linear")})
    verdict = judge(twin, Mutant("harmless", "linear", HARMLESS))
    assert not verdict.killed and not verdict.error and str(verdict) == "SURVIVED"


@pytest.mark.parametrize("name", WRONG_PLACES)
def test_what_cannot_be_applied_is_an_error(twin, name):
    verdict = judge(twin, Mutant(name, "linear", WRONG_PLACES[name]))
    assert verdict.error and not verdict.killed and str(verdict).startswith("ERROR")


def test_a_check_that_always_fails_kills_nothing(twin, monkeypatch):
    """What it finds in a broken twin it finds in a mended one."""

    def always(twin):
        raise AssertionError("as ever")

    monkeypatch.setattr(harness, "CHECKS", {"linear": [Check(always, {})]})
    verdict = judge(twin, Mutant("bias dropped", "linear", given("ops:linear", bias=lambda a: None)))
    assert verdict.error and not verdict.killed and str(verdict) == "ERROR: fails without a mutant too: as ever"


@pytest.mark.parametrize(
    "fault",
    [
        given("ops:linear", x=lambda a: a.x.no_such_method()),
        returned("ops:linear", lambda y, a: y + "text"),
        edited("ops:linear", ("kernel = aggregate(", "kernel = no_such_name(")),
    ],
)
def test_a_mutant_that_fails_itself_kills_nothing(twin, fault):
    verdict = judge(twin, Mutant("clumsy", "linear", fault))
    assert verdict.error and not verdict.killed


def test_the_twin_is_mended(twin):
    """After a mutant everything is as it was."""
    ops = twin.module("ops")
    real = ops.linear
    assert judge(twin, Mutant("bias dropped", "linear", given("ops:linear", bias=lambda a: None))).killed
    assert ops.linear is real
    assert run(twin, CHECKS["linear"]).killer is None
