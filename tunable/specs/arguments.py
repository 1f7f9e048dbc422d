"""A network's specification as the arguments of its class: signature, validation and documentation.

Both twins build a network by keywords, for example `ResNet(num_objectives=2, channels=32)`. Names, defaults, ranges and
meanings of these keywords stand once, in the fields of the specification (`tunable.specs.networks`).
"""

import inspect
import textwrap
from types import GenericAlias
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from tunable.errors import TunableError, nearest, shown
from tunable.specs.network_base import NOT_ARGUMENTS, NetworkBase
from tunable.specs.validation import first_fault

NUM_OBJECTIVES = "p, how many objectives omega weighs; 0 builds the plain form, which takes no omega."


def fields(spec: type[NetworkBase]) -> dict[str, FieldInfo]:
    """Return the fields that are arguments, by name; those that every network has come last."""
    common = [name for base in spec.__mro__[1:] for name in getattr(base, "model_fields", {})]
    names = sorted(spec.model_fields, key=lambda name: name in common)
    return {name: spec.model_fields[name] for name in names if name not in NOT_ARGUMENTS | spec.not_arguments}


def signature(spec: type[NetworkBase]) -> inspect.Signature:
    """Make the constructor's signature: `num_objectives` and every argument with its default, all of them keywords.

    Args:
        spec: the specification of the network.

    Returns:
        What `inspect.signature` shall say of the class, and `help` shows.
    """
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("num_objectives", keyword, annotation=int)]
    for name, field in fields(spec).items():
        parameters.append(inspect.Parameter(name, keyword, default=field.default, annotation=_bare(field.annotation)))
    return inspect.Signature(parameters)


class ClassSignature:
    """An attribute `__signature__` of a class that its instances, which are called otherwise, do not show."""

    def __init__(self, of_class: inspect.Signature | None) -> None:
        self._of_class = of_class

    def __get__(self, instance: object, owner: type) -> inspect.Signature | None:
        """The signature of the constructor; AttributeError where an instance is asked."""
        if instance is not None:
            raise AttributeError("__signature__")
        return self._of_class


def documentation(summary: str | None, spec: type[NetworkBase]) -> str:
    """Write a class's docstring with every argument of its constructor.

    Args:
        summary: what the class says of itself; None where docstrings are left out (`python -OO`).
        spec: the specification of the network.

    Returns:
        The summary, then `Args:` and `Raises:` in Google's style.
    """
    arguments = {"num_objectives": NUM_OBJECTIVES}
    arguments |= {name: f"{field.description}{_range(field)}" for name, field in fields(spec).items()}
    entries = [_entry(name, meaning) for name, meaning in arguments.items()]
    error = _entry("TunableError", "for an unknown argument, or a value that the argument cannot have.")
    return "\n".join([inspect.cleandoc(summary or ""), "", "Args:", *entries, "", "Raises:", error])


def validated(network: str, spec: type[NetworkBase], arguments: dict[str, Any]) -> NetworkBase:
    """Make the specification that a class's constructor was given as keywords.

    Args:
        network: the class's name, for messages.
        spec: the class of the specification.
        arguments: the keywords, without `num_objectives`.

    Returns:
        The specification, its other fields at their defaults.

    Raises:
        TunableError: for an unknown argument, with the nearest known one, or a value that the argument cannot have.
    """
    known = ["num_objectives", *fields(spec)]
    for name in arguments:
        if name not in known:
            raise TunableError(
                f"{network} has no argument {shown(name)}{nearest(name, known)}; its arguments: {', '.join(known)}"
            )
    try:
        return spec(**arguments)
    except ValidationError as error:
        raise TunableError(f"{network}: {first_fault(error, arguments)}") from None


def _bare(annotation: Any) -> Any:
    """A type without pydantic's ranges."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bare(parts[0])
    if origin is Union:
        return Union[tuple(_bare(part) for part in parts)]  # noqa: UP007  of as many as there are
    return GenericAlias(origin, tuple(_bare(part) for part in parts)) if origin in (list, tuple) else annotation


def _range(field: FieldInfo) -> str:
    """The numbers that the field takes, as a sentence."""
    words = {"ge": "at least", "gt": "above", "le": "at most"}
    bounds = [(word, getattr(limit, kind, None)) for limit in field.metadata for kind, word in words.items()]
    limits = [f"{word} {number}" for word, number in bounds if number is not None]
    return f" It is {' and '.join(limits)}." if limits else ""


def _entry(name: str, meaning: str) -> str:
    return textwrap.fill(f"{name}: {meaning}", 100, initial_indent=" " * 4, subsequent_indent=" " * 8)
