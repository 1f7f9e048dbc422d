"""Finishing an ONNX file that a framework's exporter wrote: names, metadata, float16."""

import importlib.util
from pathlib import Path

import numpy as np

from tunable_core.errors import BackendError, CheckpointError, TunableError

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def missing_packages() -> list[str]:
    """What ONNX needs and is not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def require_onnx() -> None:
    """BackendError unless everything that writing, reading and running ONNX needs is installed."""
    missing = missing_packages()
    if missing:
        raise BackendError(
            f"ONNX export needs {', '.join(missing)}, which is not installed: pip install tunable-convolutions[onnx]"
        )


def finish(path: str | Path, metadata: dict[str, str] | None = None, *, renamed: dict[str, str] | None = None) -> None:
    """Name the sizes of inputs and output, add `metadata`, drop traces of the exporting program, check the model.

    renamed  operators that stand for others: name -> name

    The sizes that may vary become n, h, w; omega's first axis n or 1. Raises TunableError for an invalid model.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    sizes = {"image": ("n", None, "h", "w"), "omega": ("n", None), "restored": ("n", None, "restored_h", "restored_w")}
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


def to_float16(path: str | Path) -> None:
    """Weights and arithmetic in float16, inputs and output still float32."""
    import onnx
    from onnxruntime.transformers import float16, onnx_model

    model = onnx_model.OnnxModel(float16.convert_float_to_float16(onnx.load(path), keep_io_types=True))
    model.topological_sort()  # the conversion of an input is put after the nodes that use it
    _save(model.model, path)


def with_constant(path: str | Path, name: str, value: np.ndarray) -> bytes:
    """The file's model with the input `name` a constant. Raises CheckpointError where the file is gone."""
    import onnx

    try:
        model = onnx.load(path)
    except Exception as error:  # gone, or another file now: protobuf's exceptions share no narrower base
        raise CheckpointError(f"{path} is no longer readable: {' '.join(str(error).split())}") from None
    (given,) = (one for one in model.graph.input if one.name == name)
    model.graph.input.remove(given)
    model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return model.SerializeToString()


def _save(model, path) -> None:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise TunableError(f"the exporter wrote an invalid ONNX model: {' '.join(str(error).split())}") from None
    onnx.save(model, path)
