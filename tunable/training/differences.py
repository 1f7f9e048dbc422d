"""What may differ when a run goes on: what changes no step, and what is allowed by the names of its keys."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tunable.errors import CheckpointError, nearest, shown
from tunable.specs.recipe import Recipe
from tunable.training.recipe_files import RecipeFiles

# These may differ, for they change no step; `steps` where the schedule does not depend on it.
FREE = ("steps", "checkpoint", "guard", "data.workers", "data.processes", "data.cache_gib")


class Difference(NamedTuple):
    """A key of a recipe, and what differs in one sentence, such as "data.batch was 8, now 4"."""

    key: str
    text: str


def differences(before: Any, now: Any, where: str = "") -> Iterator[Difference]:
    """Yield every value of a recipe, as plain values, that differs."""
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*now, *before]):
            yield from differences(before.get(key), now.get(key), f"{where}.{key}".lstrip("."))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, (a, b) in enumerate(zip(before, now, strict=True)):
            yield from differences(a, b, f"{where}.{i}")
    else:
        yield Difference(where, f"{where} was {before!r}, now {now!r}")


def other_rates(before: int, recipe: Recipe, done: int) -> Iterator[Difference]:
    """Yield a difference where the steps that were done, of a run of `before`, would have had other learning rates."""
    now, factor = recipe.steps, recipe.schedule.factor
    if before != now and any(factor(step, before) != factor(step, now) for step in range(done)):
        yield Difference(
            "steps",
            f"steps was {before}, now {now}, and a {recipe.schedule.kind} schedule depends on it: the {done} steps "
            "done would have had other learning rates",
        )


def within(key: str, keys: Sequence[str]) -> bool:
    """Return whether a key is one of `keys`, or lies in a section that is one of them."""
    return any(key == one or key.startswith(one + ".") for one in keys)


def hint(difference: Difference) -> str:
    """Say how to go on all the same, where that can be."""
    if within(difference.key, ("network",)):
        return ""
    return f"; --allow-change {difference.key} goes on all the same"


def check_known(
    allowed: Sequence[str], recipe: Recipe, files: RecipeFiles, before: dict[str, Any] | None = None
) -> None:
    """Raise CheckpointError unless every key that is allowed to change is one of the recipe, or a section of it.

    Args:
        allowed: the keys.
        recipe: as it is now.
        files: those that the recipe names.
        before: the recipe as it was, as plain values, whose keys count, too.
    """
    known = {*_keys(recipe.to_dict()), *_keys(before), *files}
    for key in allowed:
        if key not in known:
            raise CheckpointError(f"--allow-change {shown(key)}: the recipe has no such key{nearest(key, known)}")


def check_changed(
    allowed: Sequence[str], found: Sequence[Difference], recipe: Recipe, history: Sequence[dict[str, str]]
) -> None:
    """Raise CheckpointError where a key that is allowed to change has not changed, now or when the run last went on."""
    told = [text for leg in history for text in leg.get("changed", "").split("; ")]
    for key in allowed:
        now = any(within(difference.key, [key]) for difference in found)
        if not now and not any(text.startswith((f"{key} ", f"{key}.", f"{key}:")) for text in told):
            raise CheckpointError(f"--allow-change {key}: it has not changed{_value(recipe.to_dict(), key)}")


def _keys(value: Any, where: str = "") -> Iterator[str]:
    if where:
        yield where
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _keys(inner, f"{where}.{key}".lstrip("."))


def _value(values: Any, key: str) -> str:
    """What stands at a key, where it is one value."""
    for part in key.split("."):
        inner = {str(i): value for i, value in enumerate(values)} if isinstance(values, list) else values
        if not isinstance(inner, dict) or part not in inner:
            return ""
        values = inner[part]
    return "" if isinstance(values, dict | list) else f" from {values!r}; --set {key}=... changes it"
