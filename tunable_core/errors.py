"""The project's own errors: every one says what was received and what is wanted, on one line."""

import difflib
from collections.abc import Iterable


class TunableError(Exception):
    """Bad use or bad input. The command line prints it as one line and exits with status 2."""


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


def nearest(word: str, known: Iterable[str]) -> str:
    """The hint " (did you mean 'x'?)" for a misspelt `word`, empty when nothing known is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
