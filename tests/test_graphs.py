"""What is read from an ONNX file, and that the check of a graph sees what it must not hold."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tunable.errors import TunableError
from tunable.exports.graphs import convolutions, faults, read_onnx

N = ["n", 4, "h", "w"]


@pytest.fixture
def written(tmp_path):
    """written(nodes, weight=array, ...): the graph of an ONNX file with these nodes, from image to restored."""

    def write(nodes, inputs=("image",), functions=(), **constants):
        given = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, N if name == "image" else [1, 2]) for name in inputs
        ]
        result = [helper.make_tensor_value_info("restored", TensorProto.FLOAT, ["n", None, None, None])]
        tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
        opset = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        graph = helper.make_graph(nodes, "g", given, result, tensors)
        onnx.save(helper.make_model(graph, opset_imports=opset, functions=functions), tmp_path / "a.onnx")
        return read_onnx(tmp_path / "a.onnx")

    return write


def kernel(out, channels, size=3):
    return np.ones((out, channels, size, size), np.float32)


def conv(weight="weight", group=1, op="Conv"):
    return helper.make_node(op, ["image", weight], ["restored"], name="c", group=group)


def test_an_ordinary_graph(written):
    graph = written([conv()], weight=kernel(6, 4))
    assert graph.inputs == ("image",) and graph.outputs == ("restored",)
    assert convolutions(graph) == [("c", 1, (6, 4, 3, 3), True)]
    assert faults(graph, tunable=False) == []


@pytest.mark.parametrize(
    ("out", "channels", "group", "op"), [(6, 2, 2, "Conv"), (8, 1, 4, "Conv"), (4, 3, 2, "ConvTranspose")]
)
def test_groups_are_seen(out, channels, group, op, written):
    for tunable in (False, True):
        messages = faults(written([conv(group=group, op=op)], weight=kernel(out, channels)), tunable=tunable)
        assert any(f"c has {group} groups for a kernel ({out}, {channels}, 3, 3)" in fault for fault in messages)


def test_depth_wise_is_allowed(written):
    graph = written([conv(group=4)], weight=kernel(4, 1))
    assert convolutions(graph)[0].depth_wise and not faults(graph, tunable=False)


def test_groups_of_an_unknown_kernel_are_refused(written):
    """Never the benefit of the doubt: the shape of this kernel is known at run time only."""
    nodes = [helper.make_node("Reshape", ["omega", "size"], ["weight"]), conv(group=4)]
    graph = written(nodes, ("image", "omega"), size=np.array([4, 1, 1, -1], np.int64))
    (message,) = [fault for fault in faults(graph, tunable=True) if "groups" in fault]
    assert "4 groups" in message


def test_computed_kernels_are_seen(written):
    """Of a kernel made from an input, however far away; one made from constants is constant."""
    far = [
        helper.make_node("Constant", [], ["half"], value=numpy_helper.from_array(np.float32(0.5))),
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "half"], ["factor"]),
        helper.make_node("Mul", ["weight", "factor"], ["mixed"]),
    ]
    graph = written([*far, conv("mixed")], weight=kernel(6, 4))
    assert not convolutions(graph)[0].constant
    assert faults(graph, tunable=False) == ["c has a kernel that is computed from an input, in a folded network"]
    near = [far[0], helper.make_node("Mul", ["weight", "half"], ["mixed"])]
    graph = written([*near, conv("mixed")], weight=kernel(6, 4))
    assert convolutions(graph) == [("c", 1, (6, 4, 3, 3), True)] and not faults(graph, tunable=False)


def test_inputs_are_seen(written):
    for inputs, tunable in ((("image", "omega"), False), (("image",), True)):
        (fault,) = faults(written([conv()], inputs, weight=kernel(6, 4)), tunable=tunable)
        assert fault.startswith(f"the inputs are {inputs}, not")


def test_a_graph_without_convolutions(written):
    assert faults(written([helper.make_node("Relu", ["image"], ["restored"])]), tunable=False) == [
        "no convolution is seen"
    ]


def test_hidden_convolutions_are_refused(written):
    """Inside a function or a branch nothing would be seen of them."""
    inner = helper.make_function(
        "own", "Block", ["x", "w"], ["y"], [helper.make_node("Conv", ["x", "w"], ["y"], group=2)],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    call = helper.make_node("Block", ["a", "weight"], ["restored"], name="b", domain="own")
    first = helper.make_node("Conv", ["image", "first"], ["a"], name="c")
    graph = written([first, call], functions=[inner], first=kernel(4, 4), weight=kernel(6, 2))
    assert faults(graph, tunable=False) == ["Block b holds a graph of its own"]


def test_a_file_that_is_none(tmp_path, refused):
    (tmp_path / "a.onnx").write_bytes(b"hello, this is text")
    with refused(TunableError, "a.onnx is not a readable ONNX file"):
        read_onnx(tmp_path / "a.onnx")
    with refused(TunableError, "b.onnx"):
        read_onnx(tmp_path / "b.onnx")
