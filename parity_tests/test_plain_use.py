"""Outside `ops`, a twin uses its framework as any programmer of that framework would: by its public interface.

What is none of that is a quirk, and a quirk lives in the twin's `ops`: a private name, a global switch, an operator as
a class (a primitive of MindSpore), a module that is no part of the usual imports.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FRAMEWORKS = {"torch_impl": "torch", "mindspore_impl": "mindspore"}
IMPORTS = {"torch", "torch.nn", "mindspore", "mindspore.nn", "mindspore.ops", "mindspore.mint"}
SWITCHES = ("torch.backends", "mindspore.context", "mindspore.device_context")
SETTERS = ("set_", "get_context", "use_deterministic")

# "file: name" -> why it is no affair of ops
EXCEPTIONS = {
    "torch_impl/parameters.py: torch.nn.modules.batchnorm._BatchNorm": "PyTorch's common class of batch norms",
    "torch_impl/parameters.py: torch.nn.parameter.is_lazy": "networks of users are looked through for such parameters",
    "torch_impl/parameters.py: torch.nn.utils.parametrize": "networks of users are looked through for such layers",
    "torch_impl/optimizers.py: torch.optim.swa_utils.get_ema_multi_avg_fn": "PyTorch's own average of weights",
    "torch_impl/parameters.py: torch.optim.swa_utils.AveragedModel": "a wrapper that users have around networks",
    "mindspore_impl/exports.py: mindspore.train.mind_ir_pb2": "the schema of MINDIR, which comes with MindSpore",
}


def names(source: str, framework: str) -> set[str]:
    """Dotted names of a framework that a source imports or uses, aliases resolved."""
    used, aliases, tree = set(), {}, ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else framework
                used.add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                used.add(f"{node.module}.{alias.name}")
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in (node for node in ast.walk(tree) if id(node) not in inner):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in aliases:
            used.add(".".join([aliases[node.id], *reversed(parts)]))
    return {name for name in used if name.partition(".")[0] == framework}


def quirks(source: str, framework: str) -> set[str]:
    """What of it is no plain use."""
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == framework
        for alias in node.names
    }
    return imported - IMPORTS | {name for name in names(source, framework) if not _is_plain(name)}


def _is_plain(name: str) -> bool:
    parts = name.split(".")
    private = any(part.startswith("_") and not part.startswith("__") for part in parts)
    primitive = parts[:2] == ["mindspore", "ops"] and any(part[0].isupper() for part in parts[2:])
    return not private and not primitive and not name.startswith(SWITCHES) and not parts[-1].startswith(SETTERS)


def files() -> list[str]:
    paths = (path for twin in FRAMEWORKS for path in sorted((ROOT / twin).rglob("*.py")))
    return [str(path.relative_to(ROOT)) for path in paths if path.relative_to(ROOT).parts[1] != "ops"]


def all_quirks() -> set[str]:
    places = set()
    for path in files():
        source = (ROOT / path).read_text("utf-8")
        places |= {f"{path}: {name}" for name in quirks(source, FRAMEWORKS[path.partition("/")[0]])}
    return places


def test_quirks_live_in_ops():
    """And no exception is stale."""
    assert all_quirks() == EXCEPTIONS.keys()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("torch._dynamo.reset()", {"torch._dynamo.reset"}),
        ("torch.backends.cudnn.benchmark = True", {"torch.backends.cudnn.benchmark"}),
        ("torch.use_deterministic_algorithms(True)", {"torch.use_deterministic_algorithms"}),
        ("from torch.nn import functional", {"torch.nn.functional"}),
        ("nn.modules.conv._ConvNd", {"torch.nn.modules.conv._ConvNd"}),
        ("torch.relu(torch.__version__)", set()),
        ("nn.Conv2d(1, 1, 1)._parameters", set()),
    ],
)
def test_a_quirk_of_torch_is_seen(line, expected):
    assert quirks(f"import torch\nfrom torch import nn\n{line}", "torch") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("framework.Pad(((0, 0),))(x)", {"mindspore.ops.Pad"}),
        ("from mindspore.ops import operations", {"mindspore.ops.operations"}),
        ("ms.set_context(mode=ms.GRAPH_MODE)", {"mindspore.set_context"}),
        ("ms.context.get_context('mode')", {"mindspore.context.get_context"}),
        ("def f():\n    from mindspore import _c_expression", {"mindspore._c_expression"}),
        ("framework.relu(ms.Tensor(1))", set()),
    ],
)
def test_a_quirk_of_mindspore_is_seen(line, expected):
    assert quirks(f"import mindspore as ms\nfrom mindspore import ops as framework\n{line}", "mindspore") == expected
