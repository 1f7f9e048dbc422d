"""How a fault gets into a twin: wrong arguments, a wrong result, a wrong line.

Each way makes a fault(twin, monkeypatch). A place is `module:name` in the twin, `ops:conv` or
`layers.conv:TunableConv.forward` (MindSpore's `construct`); `tunable.images.tiling:run_tiled` is neutral, `torch:relu`
is the framework's own, which `framework:relu` finds in either, and `twin.backend:run` is a method of the one backend
that the twin's tests use.
"""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace

import pytest

FUNCTIONS = {"torch": "torch", "mindspore": "mindspore.ops"}
SYNONYMS = {"mindspore": {"forward": "construct"}}


class MutantError(Exception):
    """The mutant itself is at fault: what it changes is gone, or it cannot do what it means to."""


def find(twin, place: str) -> tuple:
    """The module or class of a place, and the name in it."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    module = FUNCTIONS[twin.name] if module == "framework" else module
    try:
        if module == "twin.backend":
            owner = twin.backend
        elif module.partition(".")[0] in ("tunable", twin.name):
            owner = _file_of(importlib.import_module(module), (owners or [name])[0])
        else:
            owner = _file_of(twin.module(module), (owners or [name])[0])
        for each in owners:
            owner = getattr(owner, each)
        name = SYNONYMS.get(twin.name, {}).get(name, name)
        getattr(owner, name)
    except (ImportError, AttributeError) as error:
        raise MutantError(f"{twin.name} has no {place}: {error}") from None
    return owner, name


def _file_of(module, name: str):
    """The file of a package of functions, such as `ops`, that holds a name which the package itself does not show."""
    if hasattr(module, name) or not hasattr(module, "__path__"):
        return module
    return next((file for file in _files(module) if hasattr(file, name)), module)


def _files(module) -> list:
    """The loaded modules of the package that a module is, or belongs to."""
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    return [each for name, each in sys.modules.items() if f"{name}.".startswith(f"{package}.")]


def put(twin, place: str, value: object, monkeypatch) -> None:
    """Set what stands at `place`, and wherever else in the same package it has been imported under that name."""
    owner, name = find(twin, place)
    real, holders = getattr(owner, name), []
    if inspect.ismodule(owner) and owner.__name__.partition(".")[0] != twin.name:
        holders = [file for file in _files(owner) if vars(file).get(name) is real]
    for holder in holders or [owner]:
        monkeypatch.setattr(holder, name, value)


def given(place: str, **changes: Callable) -> Callable:
    """The function at `place` gets other arguments: name -> function(arguments) of the new value."""

    def fault(twin, monkeypatch):
        owner, name = find(twin, place)
        real = getattr(owner, name)
        signature = inspect.signature(real)
        if not changes.keys() <= signature.parameters.keys():
            raise MutantError(f"{place} takes {', '.join(signature.parameters)}, not {', '.join(changes)}")

        @wraps(real)
        def wrong(*args, **kwargs):
            bound = _bind(signature, args, kwargs)
            arguments = SimpleNamespace(twin=twin, **bound.arguments)
            bound.arguments.update({argument: _blamed(change, arguments) for argument, change in changes.items()})
            return real(*bound.args, **bound.kwargs)

        put(twin, place, wrong, monkeypatch)

    return fault


def returned(place: str, change: Callable) -> Callable:
    """The function at `place` returns change(its result, its arguments)."""

    def fault(twin, monkeypatch):
        owner, name = find(twin, place)
        real = getattr(owner, name)
        signature = inspect.signature(real)

        @wraps(real)
        def wrong(*args, **kwargs):
            arguments = SimpleNamespace(twin=twin, **_bind(signature, args, kwargs).arguments)
            return _blamed(change, real(*args, **kwargs), arguments)

        put(twin, place, wrong, monkeypatch)

    return fault


def edited(place: str, *edits: tuple[str, str]) -> Callable:
    """The source of the function at `place` reads otherwise: pairs of a text that is there once, and another."""

    def fault(twin, monkeypatch):
        owner, name = find(twin, place)
        real = inspect.unwrap(getattr(owner, name))
        source = textwrap.dedent(inspect.getsource(real))
        for old, new in edits:
            if source.count(old) != 1:
                raise MutantError(f"{twin.name}'s {place} holds {source.count(old)} times, not once: {old}")
            source = source.replace(old, new)
        # inside a function, for there `super()` finds its class
        source = f"def make(__class__):\n{textwrap.indent(source, '    ')}\n    return {real.__name__}\n"
        made = {}
        exec(compile(source, f"<mutant of {place}>", "exec"), real.__globals__, made)
        put(twin, place, made["make"](owner), monkeypatch)

    return fault


def replaced(place: str, value: object) -> Callable:
    """Something else stands at `place`."""

    def fault(twin, monkeypatch):
        put(twin, place, value, monkeypatch)

    return fault


def within(place: str, *faults: Callable) -> Callable:
    """The faults are there while the function at `place` runs, and in nothing else."""

    def fault(twin, monkeypatch):
        owner, name = find(twin, place)
        real = getattr(owner, name)
        with pytest.MonkeyPatch.context() as trial:  # what cannot be put in is known at once
            both(*faults)(twin, trial)

        @wraps(real)
        def wrong(*args, **kwargs):
            with pytest.MonkeyPatch.context() as inner:
                both(*faults)(twin, inner)
                return real(*args, **kwargs)

        put(twin, place, wrong, monkeypatch)

    return fault


class But:
    """An object with other values of some attributes, for a method that is given it as `self`."""

    def __init__(self, real: object, **changes: object):
        vars(self).update(_real=real, **changes)

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __setattr__(self, name, value):
        setattr(self._real, name, value)


def but(place: str, **changes: Callable) -> Callable:
    """The method at `place` sees other attributes of its object: name -> function(arguments) of the value."""
    return given(place, self=lambda a: But(a.self, **{name: change(a) for name, change in changes.items()}))


def each(**faults: Callable) -> Callable:
    """One fault by twin, where their lines differ; a twin without one is not concerned."""

    def fault(twin, monkeypatch):
        faults[twin.name](twin, monkeypatch)

    fault.backends = tuple(faults)
    return fault


def both(*faults: Callable) -> Callable:
    """A fault that is made of several."""

    def fault(twin, monkeypatch):
        for part in faults:
            part(twin, monkeypatch)

    return fault


def _bind(signature, args, kwargs):
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


def _blamed(change, *arguments):
    """change(*arguments); what goes wrong inside is the mutant's failure and kills nothing."""
    try:
        return change(*arguments)
    except Exception as error:
        raise MutantError(f"{type(error).__name__} in the mutant: {error}") from error
