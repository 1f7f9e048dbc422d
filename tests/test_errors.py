"""The project's errors and the hint at the nearest word."""

import inspect

import pytest

from tunable_core import errors
from tunable_core.errors import TunableError, nearest

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_the_projects_own(kind):
    assert issubclass(kind, TunableError) and str(kind("what was wrong")) == "what was wrong"
    assert kind.__doc__


def test_kinds_are_told_apart():
    """The command line gives CheckFailed another exit status; no kind may be caught with another."""
    assert len(KINDS) == 7
    assert all(kind.__bases__ == (TunableError,) for kind in KINDS if kind is not TunableError)


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("chanels", ["channels", "blocks"], " (did you mean 'channels'?)"),
        ("block", ["channels", "blocks"], " (did you mean 'blocks'?)"),
        ("colour", ["channels", "blocks"], ""),
        ("x", [], ""),
        ("", ["a"], ""),
        ("torhc", {"torch": 1, "mindspore": 2}, " (did you mean 'torch'?)"),
    ],
)
def test_nearest(word, known, hint):
    assert nearest(word, known) == hint
