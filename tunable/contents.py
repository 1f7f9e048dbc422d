"""What an object holds, wherever it stands in it."""

import functools
from collections import deque
from collections.abc import Iterable, Mapping
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any


def reachable(path: str, value: Any, stop: tuple[type, ...]) -> Iterable[tuple[str, Any]]:
    """Go through the contents of an attribute, by where they stand: of containers, of objects, of what functions hold.

    The contents of `stop`, of classes and of modules are left out.
    """
    waiting, seen = [(path, value)], set()
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen or isinstance(value, type | ModuleType | str | bytes | int | float | None):
            continue
        seen.add(id(value))
        yield path, value
        if isinstance(value, stop):
            continue
        if isinstance(value, Mapping):
            waiting += [(f"{path}[{key!r}]", part) for key, part in list(value.items())]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            waiting += [(f"{path}[{n}]", part) for n, part in enumerate(list(value))]
        elif isinstance(value, functools.partial):
            waiting += [(f"{path}'s arguments", part) for part in (value.func, value.args, value.keywords)]
        elif isinstance(value, MethodType):
            waiting.append((f"{path}.__self__", value.__self__))
        elif isinstance(value, FunctionType):
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            waiting += [(f"{path}'s {name}", _content(cell)) for name, cell in cells]
            waiting += [(f"{path}'s defaults", part) for part in (value.__defaults__, value.__kwdefaults__)]
        elif hasattr(value, "__dict__"):
            waiting += [(f"{path}.{name}", part) for name, part in list(vars(value).items())]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None
