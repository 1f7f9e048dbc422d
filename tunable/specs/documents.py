"""YAML and JSON that anybody may have written, as plain values: no program, no more of them than the text says.

PyYAML's safe loader runs nothing, but follows aliases (`*name`) as often as they stand there: half a kilobyte can mean
gigabytes. And what is nested deeper than Python's own stack ends in a RecursionError wherever it is next walked.
"""

import json
from typing import Any, TypeGuard, cast

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

NODES = 10_000  # values, aliases counted with all that they stand for
DEPTH = 40  # lists and mappings inside each other
DIGITS = 100  # of a number; Python's own reading of long ones takes time by the square of it


class _Loader(yaml.SafeLoader):
    """Counts what it composes and refuses too much, too deep, and an anchor inside itself."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = self._depth = 0
        self._known: dict[int, tuple[int, int]] = {}  # id of a node -> how many it holds, how deep

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        parser = cast(Any, self)  # PyYAML's stubs leave the parser's methods without types
        alias = parser.check_event(yaml.AliasEvent)
        mark, before = parser.peek_event().start_mark, self._nodes
        self._depth += 1
        self._check(self._nodes + 1, self._depth, mark)
        node = super().compose_node(parent, index)
        if alias:
            if id(node) not in self._known:
                raise ComposerError(None, None, "an anchor stands inside itself", mark)
            nodes, height = self._known[id(node)]
            self._check(self._nodes + nodes, self._depth + height - 1, mark)
            self._nodes += nodes
        else:
            self._nodes += 1
            self._known[id(node)] = self._nodes - before, 1 + max(map(self._height, _children(node)), default=0)
        self._depth -= 1
        return node

    def _height(self, node: yaml.Node) -> int:
        return self._known[id(node)][1]

    def _check(self, nodes: int, depth: int, mark: Any) -> None:
        if nodes > NODES:
            raise ComposerError(None, None, f"more than {NODES} values, aliases written out", mark)
        if depth > DEPTH:
            raise ComposerError(None, None, f"nested more than {DEPTH} deep", mark)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > DIGITS:
            message = f"a number of {len(node.value)} digits"
            raise ConstructorError(None, None, message, node.start_mark)
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _children(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [one for pair in node.value for one in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def read_yaml(text: str) -> Any:
    """Read the values of a YAML document; ValueError, on one line, for what is none or holds too much."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).replace('in "<unicode string>", ', "").split())) from None
    except Exception as error:  # PyYAML's readers of scalars raise many kinds at a tag whose value does not fit
        raise ValueError(" ".join(f"a value does not fit its tag: {error}".split())) from None


def read_json(text: str) -> Any:
    """Read the values of JSON; ValueError for what is none, or nested more than DEPTH deep."""
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {DEPTH} deep") from None
    check_depth(values)
    return values


def check_depth(values: Any) -> None:
    """Raise ValueError where lists and mappings are nested more than DEPTH deep."""
    level = [values]
    for _ in range(DEPTH + 1):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {DEPTH} deep")


def is_mapping(values: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether plain values are a mapping."""
    return isinstance(values, dict)


def is_list(values: Any) -> TypeGuard[list[Any]]:
    """Return whether plain values are a list."""
    return isinstance(values, list)
