"""Files that promise what they are not: weights files, recipes, exported files, checkpoints of MindSpore."""

import json

import numpy as np

from tunable.specs.networks import NAFNetSpec
from tunable.weights import storage
from tunable.weights.storage import Header

RESNET = {"name": "resnet", "channels": 8, "blocks": 1}


def promise(path, network=RESNET, objectives=("fidelity", "noise"), tensors=None, **changes):
    """A weights file that holds one small tensor, or `tensors`, and says of itself what it likes."""
    metadata = Header(NAFNetSpec()).to_metadata() | {
        "network": json.dumps(network),
        "objectives": json.dumps(list(objectives)),
        "omega_range": json.dumps([[0.0, 1.0]] * len(objectives)),
        **{key: json.dumps(value) for key, value in changes.items()},
    }
    storage.save_tensors(path, tensors or {"head.weight": np.zeros((3, 8, 3, 3, 3), np.float32)}, metadata)
    return path


def laughs(levels):
    """Nine words, nine times as many on every level: 461 bytes for 8 levels, gigabytes when written out."""
    rows = ["n0: &n0 [" + ",".join(["lol"] * 9) + "]"]
    rows += [f"n{i}: &n{i} [" + ",".join([f"*n{i - 1}"] * 9) + "]" for i in range(1, levels)]
    return "task: {" + ", ".join(rows) + "}\nsteps: 10\n"


def onnx_file(path, header, image=("n", 3, "h", "w"), omega=(1, 2), scale=1.0):
    """A graph that returns its picture, enlarged without its header's knowledge."""
    import onnx
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)]
    if omega is not None:
        inputs.append(helper.make_tensor_value_info("omega", TensorProto.FLOAT, omega))
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, scale, scale])
    nodes = [helper.make_node("Identity", ["image"], ["restored"])]
    if scale != 1:
        nodes = [helper.make_node("Resize", ["image", "", "scales"], ["restored"], mode="nearest")]
    output = helper.make_tensor_value_info("restored", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", inputs, [output], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, header)
    onnx.save(model, path)
    return path


def header_of(**changes):
    objectives = json.dumps(["a", "b"])
    ranges = json.dumps([[0, 1], [0, 1]])
    values = {"network": json.dumps(RESNET), "objectives": objectives, "omega_range": ranges}
    return Header(NAFNetSpec()).to_metadata() | values | {key: json.dumps(value) for key, value in changes.items()}


def field(number, content):
    """A field of a protobuf message: bytes, or an integer."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    low = value & 127
    return bytes([low]) if value < 128 else bytes([low | 128]) + varint(value >> 7)


def ckpt(content=bytes(12), dims=(3,), tag=b"head.weight", kind=b"Float32"):
    tensor = b"".join(field(1, dim) for dim in dims) + field(2, kind) + field(3, content)
    return field(1, field(1, tag) + field(2, tensor))
