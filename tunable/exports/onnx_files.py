"""ONNX models: finishing what a framework's exporter wrote (names, metadata, float16), omega a constant and back."""

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tunable.errors import BackendError, CheckpointError, TunableError, needs
from tunable.tolerances import relative_error

_BLOCKS = "com.microsoft.nchwc"  # the domain of onnxruntime's operators on blocks of channels
_LAYERS = {"Conv", "ConvTranspose", "MatMul", "Gemm"}  # what is worth preparing; padding and masks are not
PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def missing_packages() -> list[str]:
    """Return the packages that ONNX needs and that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def require_onnx() -> None:
    """Raise BackendError unless everything that writing, reading and running ONNX needs is installed."""
    if packages := missing_packages():
        raise BackendError(f"ONNX export {needs(', '.join(packages), 'onnx')}")


def finish(path: str | Path, metadata: dict[str, str] | None = None, *, renamed: dict[str, str] | None = None) -> None:
    """Name the sizes of inputs and output, add `metadata`, drop traces of the exporting program, check the model.

    Sizes that may vary are called n, h and w.

    Args:
        path: the file, which is written again.
        metadata: of the model.
        renamed: operators that stand for others: name -> name.

    Raises:
        TunableError: for an invalid model.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    sizes = {"image": ("n", None, "h", "w"), "omega": ("n", None)}
    sizes |= {name: ("n", None, "restored_h", "restored_w") for name in ("restored", "heads")}
    for one in (*graph.input, *graph.output):
        for dim, name in zip(one.type.tensor_type.shape.dim, sizes.get(one.name, ()), strict=False):
            if name and dim.dim_value < 1:  # 0: not set; -1: MindSpore's sign for what may vary
                dim.dim_param = name
    for node in graph.node:
        node.op_type = (renamed or {}).get(node.op_type, node.op_type)
    # The exporters leave the paths and lines of the program that called them.
    for one in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        one.ClearField("metadata_props")
        one.ClearField("doc_string")
    for one in graph.value_info:
        for dim in one.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.Clear()
    onnx.helper.set_model_props(model, metadata or {})
    _save(model, path)


def in_two_parts(path: str | Path, trunk: Path, tail: Path) -> None:
    """Cut a model where omega comes in: what does not depend on it becomes one file, and all else another.

    The outputs of the trunk, `features.0` and so on, are the inputs of the tail, which takes omega besides. Constants
    and sizes are computed in both.

    Args:
        path: a model with the inputs `image` and `omega`.
        trunk: the file of the first part.
        tail: the file of the second part.

    Raises:
        TunableError: where no layer comes before omega.
    """
    import onnx

    model = onnx.load(path)
    cut = _cut(model, "features")
    if not any(node.op_type in _LAYERS and cut.reached[node.output[0]] for node in cut.earlier):
        raise TunableError("there is nothing to prepare: the network is tunable from its first layers on")
    metadata = {one.key: one.value for one in model.metadata_props}
    metadata["pair"] = hashlib.sha256(Path(path).read_bytes()).hexdigest()  # by which the other part is known
    for part, target in (("trunk", trunk), ("tail", tail)):
        made = cut.model(part)
        onnx.helper.set_model_props(made, {**metadata, "part": json.dumps(part)})
        _save(made, target)


def with_pools(path: str | Path) -> bytes:
    """Return the model of a file with a pool of one pixel, which changes nothing, at each input that is a picture.

    onnxruntime lays out in blocks of channels what enters such an operator, and then all that follows. `cut_in_blocks`
    takes the pools away again.

    Args:
        path: the file of a tail.

    Returns:
        The model as bytes.

    Raises:
        CheckpointError: where the file can no longer be read.
    """
    import onnx

    model = _read(path)
    graph = model.graph
    pooled = {one.name: f"{one.name}.pool" for one in graph.input if len(one.type.tensor_type.shape.dim) == 4}
    pools = [onnx.helper.make_node("MaxPool", [one], [name], kernel_shape=[1, 1]) for one, name in pooled.items()]
    nodes = [_renamed(node, pooled) for node in graph.node]
    graph.ClearField("node")
    graph.node.extend([*pools, *nodes])
    return model.SerializeToString()


def cut_in_blocks(model: bytes) -> tuple[bytes, bytes]:
    """Cut what `with_omega` made of a tail where omega comes in.

    Args:
        model: the model as bytes, of a file that `with_pools` made.

    Returns:
        A model that lays the features out in blocks of channels, and one that takes these and omega; as bytes.
    """
    import onnx

    cut = _cut(onnx.load_model_from_string(model), "blocks")
    return cut.model("trunk").SerializeToString(), cut.model("tail").SerializeToString()


class _Cut(NamedTuple):
    """A model that is cut where omega comes in."""

    whole: Any
    values: list  # that go from one part to the other, as the tail knows them
    earlier: list  # operators
    later: list
    reached: dict[str, set[str]]  # value -> the inputs that it depends on

    def model(self, part: str) -> Any:
        """The `trunk`, or the `tail`."""
        import onnx

        graph = self.whole.graph
        omega = [one for one in graph.input if one.name == "omega"]
        if part == "trunk":
            nodes, inputs, outputs = self.earlier, [one for one in graph.input if one not in omega], self.values
        else:
            nodes, inputs, outputs = self.later, [*self.values, *omega], graph.output
        used = {name for node in nodes for name in node.input}
        constants = [one for one in graph.initializer if one.name in used]
        made = onnx.helper.make_graph(nodes, graph.name, inputs, outputs, constants)
        return onnx.helper.make_model(made, opset_imports=self.whole.opset_import, ir_version=self.whole.ir_version)


def _cut(model: Any, prefix: str) -> _Cut:
    """Cut a model; what goes from one part to the other is called `prefix.0` and so on."""
    import onnx

    for node in model.graph.node:
        if node.domain == _BLOCKS:  # onnx knows nothing of these
            model.graph.value_info.extend(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in node.output
            )
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    types = {one.name: one.type.tensor_type for one in (*graph.value_info, *graph.input, *graph.output)}
    given = {one.name: {one.name} for one in graph.input}
    for node in graph.node:
        reached = {one for name in node.input for one in given.get(name, ())}
        given.update(dict.fromkeys(node.output, reached))
    features: dict[str, str] = {}  # value -> its name among the features
    needed, later = {one.name for one in graph.output}, []
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            continue
        later.append(node)
        for name in node.input:
            floats = name in types and types[name].elem_type == onnx.TensorProto.FLOAT
            if floats and given.get(name) and "omega" not in given[name]:
                features.setdefault(name, f"{prefix}.{len(features)}")
            else:
                needed.add(name)
    needed, earlier = set(features), []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            earlier.append(node)
            needed.update(node.input)
    values = []
    for name, feature in features.items():
        dims = [dim.dim_value if dim.dim_value > 0 else None for dim in types[name].shape.dim]
        shape = dims if types[name].HasField("shape") else None
        values.append(onnx.helper.make_tensor_value_info(feature, onnx.TensorProto.FLOAT, shape))
    copies = [onnx.helper.make_node("Identity", [name], [feature]) for name, feature in features.items()]
    tail = [_renamed(node, features) for node in later[::-1]]
    return _Cut(model, values, [*earlier[::-1], *copies], tail, given)


def to_float16(path: str | Path) -> None:
    """Convert the weights and the arithmetic of a file to float16; inputs and output stay float32."""
    import onnx
    from onnxruntime.transformers import float16, onnx_model

    model = onnx_model.OnnxModel(float16.convert_float_to_float16(onnx.load(path), keep_io_types=True))
    model.topological_sort()  # the conversion of an input is put after the nodes that use it
    _save(model.model, path)


def renamed_ends(path: str | Path, names: dict[str, str], batch: int) -> None:
    """Rename inputs and outputs of a file, which is written again, and fix the batch of each.

    Args:
        path: the file.
        names: old name -> new name.
        batch: how many pictures it takes.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                values[place] = names.get(name, name)
    for one in (*graph.input, *graph.output):
        one.name = names.get(one.name, one.name)
        one.type.tensor_type.shape.dim[0].dim_value = batch
    graph.ClearField("value_info")  # which says that the batch may vary
    _save(model, path)


def with_constant(path: str | Path, name: str, value: np.ndarray) -> bytes:
    """Return the model of a file with one input a constant.

    Args:
        path: the file.
        name: of the input.
        value: of the constant, of the input's shape.

    Returns:
        The model as bytes.

    Raises:
        CheckpointError: where the file can no longer be read.
    """
    import onnx

    model = _read(path)
    (given,) = (one for one in model.graph.input if one.name == name)
    model.graph.input.remove(given)
    model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return model.SerializeToString()


def with_omega(ends: Sequence[Path], between: Path, at: np.ndarray, limit: float) -> bytes | None:
    """Make one model with the input omega (1, p) from files in which omega is a constant.

    A constant that depends on omega becomes its value at 0 plus omega times the differences.

    Args:
        ends: the files at omega = 0 and at the unit vectors.
        between: the file at `at`, which is compared with what the ends say of it.
        at: (p,).
        limit: of the relative error of a constant.

    Returns:
        The model as bytes; None where a constant is not affine in omega, or more than the constants differ.
    """
    import onnx

    origin, *others = (onnx.load(path) for path in (*ends, between))
    if any(_operations(other) != _operations(origin) for other in others):
        return None
    tables = [{one.name: one for one in other.graph.initializer} for other in others]
    constants, sums = [], []
    for one in origin.graph.initializer:
        base = onnx.numpy_helper.to_array(one)
        *units, inside = (onnx.numpy_helper.to_array(table[one.name]) for table in tables)
        if all(np.array_equal(base, value) for value in (*units, inside)):
            constants.append(one)
            continue
        if base.dtype != np.float32:
            return None
        differences = np.stack([(value - base).ravel() for value in units])
        predicted = base + (at @ differences).reshape(base.shape)
        if relative_error(predicted, inside) > limit:
            return None
        names = [f"{one.name}.{part}" for part in ("differences", "base", "shape", "sum")]
        arrays = (differences, base.reshape(1, -1), np.array(base.shape, np.int64))
        constants += map(onnx.numpy_helper.from_array, arrays, names[:3])
        sums.append(onnx.helper.make_node("Gemm", ["omega", names[0], names[1]], [names[3]]))
        sums.append(onnx.helper.make_node("Reshape", [names[3], names[2]], [one.name]))
    graph = origin.graph
    operations = [*sums, *graph.node]
    graph.ClearField("initializer")
    graph.ClearField("node")
    graph.initializer.extend(constants)
    graph.node.extend(operations)
    graph.input.append(onnx.helper.make_tensor_value_info("omega", onnx.TensorProto.FLOAT, (1, len(at))))
    return origin.SerializeToString()


def _read(path: str | Path) -> Any:
    import onnx

    try:
        return onnx.load(path)
    except Exception as error:  # gone, or another file now: protobuf's exceptions share no narrower base
        raise CheckpointError(f"{path} is no longer readable: {' '.join(str(error).split())}") from None


def _operations(model: Any) -> list[tuple]:
    """What the nodes do, whatever they are called."""
    return [(one.op_type, *one.input, "to", *one.output, str(one.attribute)) for one in model.graph.node]


def _renamed(node: Any, names: dict[str, str]) -> Any:
    """The same operation on inputs of other names."""
    import onnx

    renamed = onnx.NodeProto()
    renamed.CopyFrom(node)
    renamed.ClearField("input")
    renamed.input.extend(names.get(name, name) for name in node.input)  # pyright: ignore[reportArgumentType]
    return renamed


def _save(model: Any, path: str | Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise TunableError(f"the exporter wrote an invalid ONNX model: {' '.join(str(error).split())}") from None
    onnx.save(model, path)
