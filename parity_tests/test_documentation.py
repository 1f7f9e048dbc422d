"""What `help` shows of public names: every argument by name and type, what is returned, and which errors are raised."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import tunable


def documented(text: str, section: str) -> dict[str, str]:
    """The entries of a section of a docstring in Google's style, by name.

    For example `Args:` with the line `x: the input.` below it gives {"x": "the input."}.
    """
    lines = iter(inspect.cleandoc(text).splitlines())
    entries: dict[str, str] = {}
    for line in lines:
        if line == section:
            break
    for line in lines:
        if line and not line.startswith(" "):
            break
        if match := re.match(r" {4}(\*{0,2}[\w, .*]+?):\s*(.*)", line):
            entries |= dict.fromkeys(match[1].replace("*", "").split(", "), match[2])
    return entries


def faults(name: str, thing) -> list[str]:
    """What the documentation of a class or function lacks; [] where nothing does."""
    text = thing.__doc__ or ""
    if not text:
        return [f"{name} has no docstring"]
    lacks = []
    parameters = [p for p in inspect.signature(thing).parameters.values() if p.name not in ("self", "cls")]
    entries = documented(text, "Args:") | documented(text, "Attributes:")  # the fields of a dataclass
    for parameter in parameters:
        if not entries.get(parameter.name):
            lacks.append(f"{name}: argument {parameter.name} is not explained")
        if parameter.annotation is parameter.empty:
            lacks.append(f"{name}: argument {parameter.name} has no type")
    lacks += [
        f"{name}: {entry} is explained, but is no argument" for entry in entries.keys() - {p.name for p in parameters}
    ]
    if inspect.isfunction(thing):
        returned = inspect.signature(thing).return_annotation
        if returned is inspect.Signature.empty:
            lacks.append(f"{name} has no return type")
        elif returned not in (None, "None") and "\nReturns:\n" not in inspect.cleandoc(text):
            lacks.append(f"{name}: what it returns is not said")
    return lacks


def public(face) -> dict[str, object]:
    """The classes and functions of a face, by name."""
    things = {name: getattr(face, name) for name in face.__all__}
    return {name: thing for name, thing in things.items() if inspect.isclass(thing) or inspect.isfunction(thing)}


def test_the_neutral_face_is_documented():
    lacks = [fault for name, thing in public(tunable).items() for fault in faults(name, thing)]
    assert not lacks, "\n".join(lacks)


def test_a_face_is_documented(twin):
    """Every class and function of tunable.torch and tunable.mindspore, and what users meet behind them.

    Nobody but make_tunable and its like constructs a TunedNetwork; its methods are what users call.
    """
    things = public(importlib.import_module(f"tunable.{twin.name}"))
    tuned = things.pop("TunedNetwork")
    things |= {f"TunedNetwork.{name}": getattr(tuned, name) for name in ("fold", "assign", "save")}
    for module, names in {
        "layers": ["BatchNorm2d"],
        "networks": ["Discriminator", "VGG"],
        "objectives": ["Perceptual", "Style", "make_loss"],
    }.items():
        things |= {name: getattr(twin.module(module), name) for name in names}
    assert {"TunableConvTranspose3d", "NAFNet", "make_tunable", "MultiLoss"} <= things.keys()
    lacks = [fault for name, thing in things.items() for fault in faults(name, thing)]
    assert not lacks, "\n".join(lacks)


def test_the_layer_explains_its_constructor(twin):
    """`help(TunableConv2d)` explains the arguments that its base class takes."""
    text = importlib.import_module(f"tunable.{twin.name}").TunableConv2d.__doc__
    assert "channels of the input" in documented(text, "Args:")["in_channels"]


def test_sections_instead_of_columns():
    """No public docstring explains names in columns ("x   the input"): help and other tools render sections only."""
    columns = []
    for package in ("tunable", "torch_impl", "mindspore_impl"):
        for path in sorted((Path(__file__).parent.parent / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
                    continue
                if re.search(r"^\w[\w, ]* {2,}\S", ast.get_docstring(node) or "", re.MULTILINE):
                    columns.append(f"{path.name}: {node.name}")
    assert not columns, "\n".join(columns)


@pytest.mark.parametrize(
    "text, lacking",
    [
        ("What it does.", "argument x is not explained"),
        ("What it does.\n\nArgs:\n    x: a.\n    y: b.\n\nReturns:\n    c.", "y is explained"),
        ("What it does.\n\nArgs:\n    x: a.", "what it returns"),
    ],
)
def test_what_is_lacking_is_seen(text, lacking):
    def function(x: int) -> int:
        return x

    function.__doc__ = text
    (fault,) = [line for line in faults("function", function) if lacking in line]
    assert fault
