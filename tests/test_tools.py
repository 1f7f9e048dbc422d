"""Programs of tools/ ask the project for nothing that it does not have: most run seldom, and a name may have gone."""

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tunable.backends.registry import installed

ROOT = Path(__file__).parent.parent
PROGRAMS = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "tools").rglob("*.py"))}
PROJECT = {"tunable", *(f"{name}_impl" for name in installed() if name != "onnx")}


def asked_for(source: str):
    """Modules of the project, and the name that a program takes from each."""
    known: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PROJECT:
            for one in node.names:
                yield node.module, one.name
                known[one.asname or one.name] = f"{node.module}.{one.name}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            yield known[node.value.id], node.attr


def there(module: str, name: str) -> bool:
    """Whether a module has a name, or a file of it; True for what is a class or a function and no module."""
    package, _, last = module.rpartition(".")
    found = getattr(import_module(package), last, None) if package else None
    if found is not None and not isinstance(found, ModuleType):
        return True
    at = import_module(module)
    try:
        return hasattr(at, name) or bool(import_module(f"{module}.{name}"))
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_program_asks_for_is_there(name):
    gone = [
        f"{module}.{word}" for module, word in asked_for(PROGRAMS[name].read_text("utf-8")) if not there(module, word)
    ]
    assert not gone


def test_what_is_gone_is_seen():
    """One that is called through its module, as `run_tiled` of the command was, and one that is imported by name."""
    source = "from tunable.commands import restore\nfrom tunable.files import nothing\nrestore.run_tiled()\n"
    assert [pair for pair in asked_for(source) if not there(*pair)] == [
        ("tunable.files", "nothing"),
        ("tunable.commands.restore", "run_tiled"),
    ]
