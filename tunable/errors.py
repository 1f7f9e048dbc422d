"""The project's own errors: every one says what was received and what is wanted, on one line.

What was received may come from anybody: a file, a name, another program's message. It may be as long as a file and hold
what moves a terminal's cursor, so a message is cut in its middle (`shorten`) and shows such characters as escapes
(`printable`).
"""

import difflib
import itertools
import reprlib
from collections.abc import Iterable

LONGEST = 1600  # bytes of a message in UTF-8


class TunableError(Exception):
    """Bad use or bad input. The command line prints it as one line and exits with status 2.

    Whatever enters a message, the message is one line of at most `LONGEST` bytes that a terminal only shows.

    Args:
        message: what was received and what is wanted, of any length and kind.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class OmegaError(TunableError):
    """An omega of the wrong length, shape or range."""


class RecipeError(TunableError):
    """A recipe that does not follow the schema."""


class DataError(TunableError):
    """A folder or a picture that cannot be used."""


class CheckpointError(TunableError):
    """A weights file or a run that cannot be read, or that does not fit the network."""


class BackendError(TunableError):
    """A framework that is unknown or not installed."""


class CheckFailed(TunableError):
    """A check ran and did not pass, or some of several inputs failed. Exit status 1."""


def needs(packages: str, extra: str) -> str:
    """Return "needs PACKAGES, which is not installed", with the command that installs the extra that brings them.

    For example "needs gradio, which is not installed: pip install 'tunable-convolutions[app]'". The command is quoted
    because zsh takes brackets for a pattern.
    """
    return f"needs {packages}, which is not installed: pip install 'tunable-convolutions[{extra}]'"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint " (did you mean 'x'?)" for a misspelt `word`, empty when nothing known is close."""
    close = difflib.get_close_matches(word[:100], itertools.islice(known, 1000), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


class _Repr(reprlib.Repr):
    """`repr` that looks at no more of a value than it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 3, 120, 120, 60

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 4096:  # Python refuses to write a longer one in decimal digits
            return f"a whole number of {x.bit_length()} bits"
        return super().repr_int(x, level)


def shown(value: object) -> str:
    """Return `value` as a message quotes it: its `repr`, of long or nested ones the beginning and the end."""
    return _REPR.repr(value)


_REPR = _Repr()


def printable(text: str) -> str:
    """Return `text` with every character that is not printed (control, direction, half of a pair) as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return `text`, its middle cut out where it is longer than `longest` bytes in UTF-8."""
    if len(text) > 2 * longest:
        text = text[:longest] + text[-longest:]
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= longest:
        return text
    half = (longest - 5) // 2
    return encoded[:half].decode("utf-8", "ignore") + " ... " + encoded[-half:].decode("utf-8", "ignore")


def one_line(text: str) -> str:
    """Return `text` as a message may hold it: printable, and of at most `LONGEST` bytes."""
    return shorten(printable(shorten(text)))
