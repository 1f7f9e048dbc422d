"""The twins mirror each other: read as source, neither framework is needed.

The rule: both hold the same files; in these the same public functions, classes and methods with the same
signatures (names, kinds and defaults of arguments; annotations may differ), the same bases, the same public
attributes set by constructors, the same public constants. `forward` and `construct`, `Module` and `Cell` are the
same name. Private names (`_x`) are each framework's own affair. What differs stands in EXCEPTIONS, exactly.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TORCH, MINDSPORE = "torch_impl", "mindspore_impl"
SYNONYMS = {"construct": "forward", "Cell": "Module"}

# "file: name" -> why only one twin has it, or why they differ
EXCEPTIONS = {
    "pickles.py": "PyTorch's files are pickles; MindSpore's are read without it",
    "ops/__init__.py: __all__": "the names of the files below",
    "ops/device.py: device_in_use()": "a compiled MindSpore graph asks once, when it is compiled",
    "ops/kernels.py: cast_like()": "torch's autocast casts; MindSpore's does not see every product",
    "ops/ordinary.py: ORDINARY": "each framework's own classes",
    "ops/ordinary.py: OrdinaryConv": "MindSpore has no such layers: 1-D, output padding, border modes",
    "ops/parameters.py: parameter()": "a MindSpore parameter is made from data, torch's empty",
    "ops/parameters.py: Exact": "a change of dtype reaches torch's buffers, and no tensor of a MindSpore cell",
    "ops/parameters.py: assign()": "in torch this is Tensor.copy_",
    "ops/kernels.py: no_autocast()": "MindSpore casts cell by cell or by operator; both are tested",
    "ops/kernels.py: affine()": "torch's phi is nn.Linear with autocast switched off",
    "ops/device.py: running()": "MindSpore's mode is one global switch",
    "ops/device.py: alone()": "MindSpore dies of two threads at once; of torch's calls each thread has its own",
    "ops/compiling.py": "PyTorch's compiler, transformations and operators are asked by private names",
    "ops/device.py: DISTRIBUTED": "MindSpore names no backend of its communication",
    "ops/device.py: synchronize()": "MindSpore's waits for the device in use, and for no other",
    "ops/device.py: pixel_by_pixel()": "a MindSpore tensor has no memory format",
    "training.py: Trainer.__init__()": "a MindSpore tensor has no memory format",
    "ops/device.py: moved()": "MindSpore copies to its device by itself",
    "ops/parameters.py: gradients()": "MindSpore's are contiguous, and ms.value_and_grad's",
    "ops/memory.py": "MindSpore keeps megabytes for every size of input; what torch keeps is bounded",
    "ops/attention.py: Softmax": "MindSpore's own is not exact enough on a CPU; torch has nn.Softmax",
    "networks/network.py: Network.__call__()": "a compiled MindSpore graph raises Python's own exceptions only",
    "retrofit/network.py: TunedNetwork.__call__()": "a compiled MindSpore graph raises Python's own exceptions only",
    "retrofit/network.py: TunedNetwork.forward()": "omega by name is taken by __call__ there",
    "retrofit/network.py: TunedNetwork.__reduce_ex__()": "torch's class tells exporters the inputs' names",
    "retrofit/network.py: TunedNetwork.__setstate__()": "torch's class tells exporters the inputs' names",
    "retrofit/network.py: TunedNetwork.omega": "what a MindSpore graph sums its kernels at, and its gradient",
    "ops/pixels.py: erf_replaced()": "MindSpore's ONNX exporter knows no Erf",
    "ops/arithmetic.py": "what MindSpore broadcasts in a graph on a CPU keeps memory; torch broadcasts well",
    "parameters.py: GIVEN": "a parameter of a MindSpore cell makes room for a property",
    "backend.py: Backend.name": "the name itself",
    "own.py: FRAMEWORK": "the name itself",
    "own.py: OwnNetwork.__call__()": "a compiled MindSpore graph raises Python's own exceptions only",
    "backend.py: Backend.modes": "eager, compile and channels_last; graph and pynative",
    "backend.py: Backend.formats": "MINDIR is MindSpore's",
    "backend.py: Backend.pads_any_size": "MindSpore's graphs reshape to sizes that are known",
    "backend.py: Backend.opens": "MINDIR is MindSpore's",
    "backend.py: Backend.open()": "MINDIR is MindSpore's, and runs in MindSpore",
    "backend.py: Backend.graph()": "MINDIR is MindSpore's, and its schema comes with it",
    "exports.py: export_mindir()": "MINDIR is MindSpore's",
    "exports.py: operators()": "a MindSpore graph is read as MINDIR; torch counts while it runs",
    "exports.py: read_mindir()": "MINDIR is MindSpore's, and its schema comes with it",
    "exports.py: ExportedNetwork": "MINDIR files are reloaded by MindSpore, ONNX files by onnxruntime",
}


def public(name: str) -> bool:
    return not name.startswith("_") or name.startswith("__")


def signature(function: ast.FunctionDef) -> str:
    """Arguments with kinds and defaults, and decorators except MindSpore's for one thread; no annotations."""
    arguments = function.args
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    decorators = [decorator for decorator in decorators if decorator != "ops.alone()"]
    return " ".join([*decorators, f"({ast.unparse(arguments)})"])


def attributes(function: ast.FunctionDef) -> Iterator[str]:
    """Public names that a method sets on self."""
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def described(source: str) -> dict[str, str]:
    """Every public name of a module -> what must be equal about it."""
    signatures = {}

    def add(name, description):
        if public(name.rstrip("()").rpartition(".")[2]):
            signatures[name] = description

    def describe(body, prefix=""):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                add(f"{prefix}{SYNONYMS.get(node.name, node.name)}()", signature(node))
                if node.name in ("__init__", "build"):  # a network's layers are made in build
                    for attribute in attributes(node):
                        add(f"{prefix}{attribute}", "set by the constructor")
            elif isinstance(node, ast.ClassDef) and public(node.name):
                bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                bases = [SYNONYMS.get(base, base) for base in bases] + [ast.unparse(one) for one in node.keywords]
                add(prefix + node.name, "class of " + ", ".join(bases))
                describe(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        add(prefix + target.id, ast.unparse(node.value))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                add(prefix + node.target.id, ast.unparse(node.value) if node.value else "declared")

    describe(ast.parse(source).body)
    return signatures


def read(package: str) -> dict[str, dict[str, str]]:
    folder = ROOT / package
    return {str(path.relative_to(folder)): described(path.read_text("utf-8")) for path in sorted(folder.rglob("*.py"))}


def differences(first: dict[str, dict[str, str]], second: dict[str, dict[str, str]]) -> dict[str, str]:
    """ "file: name" -> what each holds; a class that one lacks is one difference, not one per method."""
    lines = {}
    for file in sorted(first.keys() | second.keys()):
        if file not in first or file not in second:
            lines[file] = f"only in {TORCH if file in first else MINDSPORE}"
            continue
        a, b = first[file], second[file]
        for name in sorted(a.keys() | b.keys()):
            owner = name.rpartition(".")[0]
            if a.get(name) != b.get(name) and (not owner or (owner in a) == (owner in b)):
                lines[f"{file}: {name}"] = f"{TORCH}: {a.get(name, 'none')}; {MINDSPORE}: {b.get(name, 'none')}"
    return lines


def test_twins_mirror_each_other():
    lines = differences(read(TORCH), read(MINDSPORE))
    unexplained = {name: what for name, what in lines.items() if name not in EXCEPTIONS}
    assert not unexplained, "\n".join(f"{name}  {what}" for name, what in unexplained.items())


def test_no_exception_is_stale():
    assert sorted(EXCEPTIONS) == sorted(differences(read(TORCH), read(MINDSPORE)))
    assert all(EXCEPTIONS.values())


def test_the_twins_are_read():
    """What the comparison must have seen to mean anything."""
    files = read(TORCH)
    assert {"ops/convolution.py", "layers/conv.py", "networks/resnet.py", "training.py", "backend.py"} <= files.keys()
    conv = files["layers/conv.py"]
    assert conv["TunableConv.forward()"] == "(self, x, omega)"
    assert "stride=1" in conv["TunableConv.__init__()"] and "TunableConv.form" in conv
    assert files["backend.py"]["Backend.modes"] == "('eager', 'compile', 'channels_last')"


ONE = """
KNOWN = ("a", "b")

class Layer(nn.Module):
    kind = "x"
    def __init__(self, channels, *, bias: bool = True):
        self.weight = 1
    def forward(self, x: Tensor): ...
    def _own(self): ...

def make(form: str = "auto"): ...
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("nn.Module", "nn.Cell", []),
        ("forward", "construct", []),
        ("x: Tensor", "x: ms.Tensor", []),
        ("def _own(self)", "def _other(self, y)", []),
        ("forward(self, x: Tensor)", "forward(self, z: Tensor)", ["f.py: Layer.forward()"]),
        ("bias: bool = True", "bias: bool = False", ["f.py: Layer.__init__()"]),
        ("*, bias", "bias", ["f.py: Layer.__init__()"]),
        ("self.weight", "self.kernel", ["f.py: Layer.kernel", "f.py: Layer.weight"]),
        ('kind = "x"', 'kind = "y"', ["f.py: Layer.kind"]),
        ("nn.Module", "Tunable", ["f.py: Layer"]),
        ("nn.Module", "nn.Module, spec=Spec", ["f.py: Layer"]),
        ("class Layer", "class Other", ["f.py: Layer", "f.py: Other"]),
        ('"auto"', '"loop"', ["f.py: make()"]),
        ('("a", "b")', '("b", "a")', ["f.py: KNOWN"]),
    ],
)
def test_a_difference_is_seen(old, new, expected):
    """Negative control: one edit of a module each."""
    assert old in ONE
    assert sorted(differences({"f.py": described(ONE)}, {"f.py": described(ONE.replace(old, new))})) == expected


def test_a_missing_file_is_seen():
    assert differences({"f.py": {}}, {}) == {"f.py": "only in torch_impl"}
