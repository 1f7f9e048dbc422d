"""The project's errors and the hint at the nearest word."""

import inspect

import pytest

from tunable import errors
from tunable.errors import TunableError, nearest, printable, shown

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


# --- what comes from outside


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("plain ω, ü, 漢字 and 'quotes'", "plain ω, ü, 漢字 and 'quotes'"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),  # sets a terminal's title
        ("a\x9b31mb\x7f", r"a\x9b31mb\x7f"),  # the same in one byte, and delete
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),  # the rest is written from right to left
        ("two\nlines\r\tand a tab\u2028", r"two\nlines\r\tand a tab\u2028"),
        ("half \udce4 and \ud800", r"half \udce4 and \ud800"),  # of a file name that is not UTF-8; of a pair
    ],
)
def test_characters_that_move_a_terminal_are_escaped(received, expected):
    assert printable(received) == expected
    for kind in KINDS:
        assert str(kind(received)) == expected


@pytest.mark.parametrize("character", ["a", "ω", "漢", "\x1b", "\n", "\udce4"])
@pytest.mark.parametrize("length", [1000, 2000, 10**6])
def test_messages_are_cut_in_their_middle(character, length):
    message = str(TunableError(f"received {character * length}, wanted less"))
    assert len(message.encode()) <= 1600
    assert message.startswith("received ") and message.endswith(", wanted less")
    assert (" ... " in message) == (length > 1600 or character != "a"), "only what is too long is cut"


def test_a_long_value_is_quoted_by_its_ends():
    quoted = shown("begin" + "x" * 10**6 + "end")
    assert quoted.startswith("'begin") and quoted.endswith("end'") and "..." in quoted and len(quoted) <= 120
    assert shown("short") == "'short'" and shown([1, 2.5, None]) == "[1, 2.5, None]"
    assert shown(16**5000) == "a whole number of 20001 bits", "Python itself refuses to write it in decimal digits"


def test_a_value_that_repeats_itself_is_quoted_at_once():
    laughs = ["lol"] * 9
    for _ in range(30):
        laughs = [laughs] * 9  # 9 ** 31 words when written out
    assert len(shown({"task": laughs})) < 10_000
