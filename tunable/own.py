"""Parts of one's own (docs/own_parts.md): the classes that `import: module:Name` names, in recipes and in headers.

This is the only place that imports them. A module is imported from the working directory or from what is installed,
and only inside `permitted`: training a recipe permits it, a file does not, unless its user says so (--allow-import).
"""

import functools
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tunable.errors import TunableError, one_line

HINT = "--allow-import runs it; in Python, allow_import=True"
_permitted: ContextVar[bool] = ContextVar("permitted", default=False)
_files: set[str] = set()  # of the modules that were imported here
_ROOT, _OURS = Path(__file__).parent.parent, ("tunable", "torch_impl", "mindspore_impl")


@contextmanager
def permitted(allowed: bool = True) -> Iterator[None]:
    """Permit imports inside the block, if `allowed`; else leave it as it is outside."""
    token = _permitted.set(allowed or _permitted.get())
    try:
        yield
    finally:
        _permitted.reset(token)


def is_permitted() -> bool:
    """Return whether parts of one's own may be imported here."""
    return _permitted.get()


def imported(reference: str, what: str, *, functions: bool = False) -> Any:
    """Import a class.

    Args:
        reference: "module:Name".
        what: it is, for messages, such as "network".
        functions: whether a function will do, which returns what objects of a class would be.

    Raises:
        TunableError: where imports are not permitted, for a module or a name that is not there, for what is no class,
            and, with its file and line, for an error inside the module.
    """
    if not _permitted.get():
        raise TunableError(f"the {what} {reference} is a program of its author's: {HINT}")
    module, _, name = reference.partition(":")
    loaded = _module(module, reference, what)
    found = getattr(loaded, name, None)
    if not (isinstance(found, type) or (functions and callable(found))):
        kind = "has no" if found is None else "has, but not as a class,"
        raise TunableError(f"{what} {reference}: {_short(getattr(loaded, '__file__', module))} {kind} {name}")
    return found


def made(reference: str, arguments: Mapping[str, Any], what: str, *needs: str) -> Any:
    """Import a class and construct an object of it.

    Args:
        reference: "module:Name".
        arguments: of its constructor, by name.
        what: it is, for messages.
        needs: the methods that it must have.

    Raises:
        TunableError: as `imported`, for a class without one of these methods, and, with file and line, for arguments
            that its constructor does not take and for an error inside it.
    """
    kind = imported(reference, what)
    for method in needs:
        if not callable(getattr(kind, method, None)):
            raise TunableError(f"{what} {reference}: the class has no method {method} (docs/own_parts.md)")
    with blamed(reference, what):
        return kind(**arguments)


def shared(reference: str, arguments: Mapping[str, Any], what: str, *needs: str) -> Any:
    """Return the one object of a class with these arguments, made at the first call; otherwise as `made`."""
    return _shared(reference, json.dumps(arguments, sort_keys=True), what, needs)


@contextmanager
def blamed(reference: str, what: str) -> Iterator[None]:
    """Turn an error of somebody's part, while it is called, into one line that names its file and line."""
    try:
        yield
    except (TunableError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        raise TunableError(f"{what} {reference}: {explained(error)}") from error


def explained(error: BaseException) -> str:
    """Say what an error is and, where it passed through a module that was imported here, in which file and line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    where = place(error)
    return f"{where}: {said}" if where else said


def place(error: BaseException) -> str | None:
    """Return "file:line" of the last line of an imported module that an error passed through, None for no such."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    return f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else None


@functools.cache
def _shared(reference: str, arguments: str, what: str, needs: tuple[str, ...]) -> Any:
    return made(reference, json.loads(arguments), what, *needs)


def _module(name: str, reference: str, what: str) -> Any:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        loaded = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise TunableError(
                f"{what} {reference}: there is no module {error.name}, neither in {here} nor installed"
            ) from None
        raise TunableError(f"{what} {reference}: {_explained_from(error, name)}") from error
    except Exception as error:
        raise TunableError(f"{what} {reference}: {_explained_from(error, name)}") from error
    finally:
        sys.path.remove(here)
        if here not in sys.path:
            sys.path.append(here)  # what their functions import later; what is installed goes first
    if file := getattr(loaded, "__file__", None):
        _files.add(os.path.abspath(file))
    return loaded


def _explained_from(error: Exception, name: str) -> str:
    """As `explained`, of an error while a module is loaded, whose file no module holds yet."""
    with suppress(Exception):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            _files.add(os.path.abspath(spec.origin))
    return explained(error)


def _is_theirs(file: str) -> bool:
    """Whether a file is of an imported module, or lies under the working directory, and is none of this package."""
    path = Path(os.path.abspath(file))
    if any(path.is_relative_to(_ROOT / package) for package in _OURS):
        return False
    return str(path) in _files or (path.is_relative_to(os.getcwd()) and "site-packages" not in path.parts)


def _short(path: str) -> str:
    """A path as seen from the working directory where it lies there."""
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return one_line(path if relative.startswith("..") else relative)
