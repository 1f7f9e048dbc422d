"""Who may import whom (docs/design.md, "Layout"), read from the sources; that the command line loads no framework."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE, TWINS = "tunable", ("torch_impl", "mindspore_impl")
FRAMEWORKS = {"torch_impl": "torch", "mindspore_impl": "mindspore"}

# Inside a twin, part -> the parts it may import: ops <- layers <- networks <- training, folding, exports <- backend.
PARTS = {
    "ops": set(),
    "layers": {"ops"},
    "networks": {"ops", "layers"},
    "own": {"ops", "layers", "parameters", "retrofit"},
    "objectives": {"ops", "layers", "networks", "own"},
    "control": {"ops", "layers", "networks"},
    "parameters": {"ops"},
    "retrofit": {"ops", "parameters", "layers"},
    "folding": {"ops", "layers", "networks", "retrofit", "own"},
    "exports": {"ops", "layers", "networks", "folding"},
    "optimizers": {"ops"},
    "pickles": set(),
    "timing": {"ops", "layers"},
    "adversary": {"ops", "layers", "networks", "objectives", "optimizers"},
    "training": {"ops", "layers", "networks", "objectives", "optimizers", "adversary"},
}
PARTS["backend"] = set(PARTS)
PARTS["__init__"] = set(PARTS) - {"backend"}

# The faces of the twins, the only imports upwards; nothing inside imports them.
FACES = {"tunable/torch.py": "torch_impl", "tunable/mindspore.py": "mindspore_impl"}

# The only places that import by a name made at run time.
BY_NAME = {
    "tunable/backends/registry.py": "a twin, by its backend's name",
    "tunable/commands/__init__.py": "a verb",
    "tunable/objectives/__init__.py": "files of its own, and a twin's of the same names",
    "tunable/own.py": "what a recipe names",
}


def imports(source: str) -> set[str]:
    """Dotted names of everything a source imports, wherever in it; `from a import b` gives a and a.b."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


@cache
def sources(package: str) -> dict[str, str]:
    """Path from the root -> source."""
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted((ROOT / package).rglob("*.py"))}


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def misplaced(path: str, source: str) -> set[str]:
    """Imports of a twin's file that its place does not allow."""
    twin, *rest = Path(path).with_suffix("").parts
    other = next(name for name in TWINS if name != twin)
    wrong = top(imports(source)) & {other, FRAMEWORKS[other], "parity_tests", "tests", "tools"}
    for name in imports(source):
        package, _, inner = name.partition(".")
        part = inner.partition(".")[0]
        if package == twin and part in PARTS and part != rest[0] and part not in PARTS[rest[0]]:
            wrong.add(name)
    return wrong


@pytest.mark.parametrize("path", sources(CORE))
def test_core_imports_no_framework(path):
    """Nor a twin, nor what stands above it; and by a computed name only where that is the point."""
    source = sources(CORE)[path]
    above = {*FRAMEWORKS, *FRAMEWORKS.values(), "parity_tests", "tests", "tools"}
    assert top(imports(source)) & above == ({FACES[path]} if path in FACES else set())
    assert ("import_module" in source or "__import__" in source) == (path in BY_NAME)


@pytest.mark.parametrize("path", [path for twin in TWINS for path in sources(twin)])
def test_twin_imports_downwards(path):
    assert Path(path).with_suffix("").parts[1] in PARTS, "a new part of a twin needs its place above"
    assert not misplaced(path, sources(path.partition("/")[0])[path])


@pytest.mark.parametrize("path", [path for package in (CORE, *TWINS) for path in sources(package)])
def test_nothing_imports_a_face(path):
    source = (ROOT / path).read_text("utf-8")
    assert not imports(source) & {face.removesuffix(".py").replace("/", ".") for face in FACES}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("torch_impl/ops/kernels.py", "from torch_impl.layers import Tunable"),
        ("torch_impl/layers/conv.py", "import mindspore"),
        ("torch_impl/training.py", "from mindspore_impl import ops"),
        ("mindspore_impl/layers/phi.py", "from mindspore_impl.networks.network import call"),
        ("mindspore_impl/objectives/multi.py", "from mindspore_impl import training"),
        ("mindspore_impl/folding.py", "def f():\n    import torch"),
    ],
)
def test_a_misplaced_import_is_seen(path, line):
    """Negative control: one more line in a file."""
    assert misplaced(path, sources(path.partition("/")[0])[path] + "\n" + line)


def graph() -> dict[str, set[str]]:
    """Module -> the modules of this project that it imports when it is loaded (packages stand for their __init__)."""
    texts = {}
    for package in (CORE, *TWINS):
        for path, source in sources(package).items():
            texts[path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = source
    edges = {}
    for module, source in texts.items():
        edges[module] = imports(source) & texts.keys()
        parents = {name for name in texts if module.startswith(name + ".")}
        # `from package import module` does not need what else the package imports
        edges[module] -= parents | {module}
    return edges


def circle(edges: dict[str, set[str]]) -> list[str]:
    """A circle of modules, [] where there is none: take away what imports nothing that is left, again and again."""
    left = dict(edges)
    while True:
        free = [module for module in left if not edges[module] & left.keys()]
        if not free:
            return sorted(left)
        for module in free:
            del left[module]
        if not left:
            return []


def test_no_circles():
    edges = graph()
    assert "tunable.errors" in edges["torch_impl.ops.device"] and "torch_impl.ops" in edges["torch_impl.layers.conv"]
    assert not circle(edges)
    edges["torch_impl.ops"].add("torch_impl.training")
    assert "torch_impl.ops" in circle(edges)  # a circle would be seen


HELP = """
import contextlib, io, sys
from tunable.commands import VERBS, main
text = io.StringIO()
for arguments in (["--help"], *([verb, "--help"] for verb in VERBS)):
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main(arguments)
assert text.getvalue().count("usage:") == len(VERBS) + 1, text.getvalue()
print(*sys.modules)
"""
SLOW = {"scipy", "skimage", "matplotlib", "jinja2", "onnx", "onnxruntime", "tensorboardX"}  # each is a part of a second


@pytest.mark.parametrize(
    ("program", "absent"),
    [("import sys, tunable.commands; print(*sys.modules)", {"numpy", "pydantic", "PIL", "yaml"}), (HELP, SLOW)],
    ids=["the command line", "help of every verb"],
)
def test_what_the_command_line_does_not_load(program, absent):
    """No framework, and nothing that takes long and serves few verbs, in a fresh process."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "argparse" in done.stdout.split()
    assert not set(done.stdout.split()) & {*FRAMEWORKS, *FRAMEWORKS.values(), *SLOW, *absent}
