"""What an exported graph holds, read from the file: its inputs, and every convolution's groups and kernel.

ONNX is read here; another format's reader makes the same `Graph` (MINDIR: in the MindSpore twin).
Ascend runs no grouped convolution but depth-wise ones, and a folded network mixes no kernels: both are
properties of the file, so the file is asked.
"""

import re
from pathlib import Path
from typing import NamedTuple

from tunable.errors import TunableError

_CONVOLUTION = re.compile(r"(Depthwise)?Conv(?!ert)")  # ONNX Conv, ConvTranspose; MINDIR Conv2D, Conv2DTranspose, ...


class Node(NamedTuple):
    """One operation of a graph.

    Attributes:
        op: its kind.
        name: its name.
        inputs: names of what it is given.
        outputs: names of what it returns.
        groups: of a convolution, else 1.
        nested: whether it holds graphs of its own.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    groups: int = 1
    nested: bool = False


class Graph(NamedTuple):
    """The graph of an exported file.

    Attributes:
        inputs: names of what it is given.
        outputs: names of what it returns.
        nodes: in order.
        shapes: by name, as far as they are known; an axis that may vary is -1 or 0.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    shapes: dict[str, tuple[int, ...]]


class Convolution(NamedTuple):
    """A convolution of a graph.

    Attributes:
        name: of its node.
        groups: how many it has.
        kernel: its shape, None when the file does not say.
        constant: whether the kernel depends on no input of the graph.
    """

    name: str
    groups: int
    kernel: tuple[int, ...] | None
    constant: bool

    @property
    def depth_wise(self) -> bool:
        """One channel in and one out for each group; False when that is not known."""
        return self.kernel is not None and self.kernel[0] == self.kernel[1] * self.groups == self.groups


def convolutions(graph: Graph) -> list[Convolution]:
    """Return every convolution of a graph, in order."""
    moving, layers = set(graph.inputs), []  # moving: whatever depends on an input
    for node in graph.nodes:
        if _CONVOLUTION.match(node.op):
            kernel = node.inputs[1]
            layers.append(Convolution(node.name, node.groups, graph.shapes.get(kernel), kernel not in moving))
        if moving.intersection(node.inputs):
            moving.update(node.outputs)
    return layers


def faults(graph: Graph, *, tunable: bool, tail: bool = False) -> list[str]:
    """Check an exported graph.

    It must have the inputs `image` and, when tunable, `omega`; at least one convolution; no groups but depth-wise
    ones; constant kernels only where it is not tunable; and no graph inside a node, where none of this is seen.

    Args:
        graph: of the file.
        tunable: whether omega is an input.
        tail: whether it is the second of two parts, which has features as inputs and may be without convolutions.

    Returns:
        One sentence for each thing that is wrong.
    """
    inputs = ("image", "omega") if tunable else ("image",)
    if tail:
        inputs = (*(f"features.{k}" for k in range(len(graph.inputs) - 1)), "omega")
    sentences = [] if graph.inputs == inputs else [f"the inputs are {graph.inputs}, not {inputs}"]
    sentences += [f"{node.op} {node.name} holds a graph of its own" for node in graph.nodes if node.nested]
    seen = convolutions(graph)
    if not seen and not tail:
        sentences.append("no convolution is seen")
    for one in seen:
        if one.groups != 1 and not one.depth_wise:
            sentences.append(
                f"{one.name} has {one.groups} groups for a kernel {one.kernel}: Ascend runs depth-wise ones only"
            )
        if not tunable and not one.constant:
            sentences.append(f"{one.name} has a kernel that is computed from an input, in a folded network")
    return sentences


def read_onnx(path: str | Path) -> Graph:
    """Read the graph of an ONNX file, which needs `onnx`. Raises TunableError for a file that cannot be read."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
    except (OSError, DecodeError, onnx.shape_inference.InferenceError) as error:
        raise TunableError(f"{path} is not a readable ONNX file: {' '.join(str(error).split())}") from None
    graph = model.graph
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}
    for one in (*graph.input, *graph.value_info, *graph.output):
        dims = one.type.tensor_type.shape.dim
        shapes.setdefault(one.name, tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims))
    local = {function.name for function in model.functions}
    nodes = []
    for node in graph.node:
        groups = next((one.i for one in node.attribute if one.name == "group"), 1)
        nested = node.op_type in local or any(one.type in (one.GRAPH, one.GRAPHS) for one in node.attribute)
        nodes.append(Node(node.op_type, node.name, tuple(node.input), tuple(node.output), groups, nested))
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            shapes[node.output[0]] = tuple(node.attribute[0].t.dims)
    constants = {one.name for one in graph.initializer}
    inputs = tuple(one.name for one in graph.input if one.name not in constants)
    return Graph(inputs, tuple(one.name for one in graph.output), tuple(nodes), shapes)
