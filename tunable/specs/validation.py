"""What is wrong with a recipe or a header, in one sentence, from pydantic's own errors."""

import re
from typing import Any

from pydantic import ValidationError

from tunable.errors import nearest, shown
from tunable.specs.documents import is_mapping
from tunable.specs.optimizers import KIND
from tunable.specs.own import KEY as IMPORT


def first_fault(error: ValidationError, values: Any) -> str:
    """Say where the first fault is, what is wrong there, and what was received.

    Args:
        error: what pydantic raised.
        values: the plain values that it validated; with them the place is named as `--set` names it.

    Returns:
        Such as "network.blocks: Input should be greater than 0, not -1"; without a place where all is at fault.
    """
    first = error.errors()[0]
    place = _location(values, first)
    return f"{place}: {_message(first)}" if place else _message(first)


def _location(values: Any, error: Any) -> str:
    """The dotted path of a pydantic error as `--set` takes it, without the kinds and names that pydantic adds."""
    parts: list[str] = []
    place: Any = values
    tagged: Any = None
    for part in error["loc"]:
        tags = (*_tags(place), *(IMPORT,) * (IMPORT in place)) if is_mapping(place) and place is not tagged else ()
        if place == part or part in tags and (part == IMPORT or part not in place):
            tagged = place  # once: a key may have the name of the tag
            continue
        parts.append(str(part))
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            place = None
    if error["type"].startswith("union_tag") and error["ctx"]["discriminator"] == "'name'":  # a network
        parts.append("name")
    return ".".join(parts)


def _tags(place: dict[str, Any]) -> tuple[Any, ...]:
    """What tells the members of a union apart: an objective's or optimizer's kind, a network's name."""
    return place.get("kind", KIND), place.get("name")


def _message(error: Any) -> str:
    """What pydantic found, with the nearest valid word where a word was wrong, and what was received."""
    kind, received = error["type"], error["input"]
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if kind == "missing":
        return "is missing"
    if kind in ("union_tag_invalid", "literal_error"):
        expected = error["ctx"]["expected" if kind == "literal_error" else "expected_tags"]
        known = [one.strip("'") for one in re.split(", | or ", expected)]
        word = received if kind == "literal_error" else error["ctx"]["tag"]
        what = "value" if kind == "literal_error" or error["ctx"]["discriminator"] == "'name'" else "kind"
        return f"unknown {what} {shown(word)}{nearest(str(word), known)}; known: {', '.join(known)}"
    if kind == "union_tag_not_found" and error["ctx"]["discriminator"] == "'name'":
        return "is missing"
    if kind in ("union_tag_not_found", "model_attributes_type"):
        return f"wants keys, one of them `kind`, not {shown(received)}"
    if kind in ("too_short", "too_long"):
        return error["msg"].replace(" after validation", "")
    return f"{error['msg']}, not {shown(received)}"
