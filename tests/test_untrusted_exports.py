"""Exported files and MindSpore's checkpoints that anybody may have written: they are read as far as they are true."""

import json
import math

import numpy as np
import pytest
from prepared import P
from untrusted import RESNET, ckpt, header_of, onnx_file

from tunable.backends.model import load
from tunable.errors import BackendError, CheckpointError
from tunable.weights.foreign import read_foreign


@pytest.mark.parametrize(
    ("changes", "graph", "fragments"),
    [
        ({"size": [8, 8]}, {}, ["takes pictures ('n', 3, 'h', 'w')", "('n', 3, 8, 8)"]),
        ({"size": [10**9, 10**9]}, {}, ["damaged header", "size"]),
        ({}, {"image": ("n", 3)}, ["takes pictures ('n', 3)"]),
        ({}, {"omega": (1, 10**9)}, ["takes omega (1, 1000000000)", "(n, 2)"]),
        ({}, {"omega": (1, "many")}, ["takes omega (1, 'many')"]),
        ({}, {"omega": (2,)}, ["takes omega (2,)"]),
        ({}, {"omega": None}, ["has inputs ['image']"]),
        ({"network": {**RESNET, "blocks": 2_000_000}}, {}, ["damaged header", "network.blocks"]),
        ({"network": {"name": "style_unet", "scales": 60}}, {}, ["damaged header", "network.scales"]),
        (
            {"part": "planes", "objectives": [], "omega_range": [], "network": {**RESNET, "tunable": False}},
            {"omega": None},
            ["damaged header", "part 'planes', but no objectives"],
        ),
        ({"objectives": ["\x1b[2J", "b"]}, {}, ["damaged header", r"\x1b[2J"]),
    ],
)
def test_exported_files_that_promise_what_they_are_not(changes, graph, fragments, tmp_path, refuses):
    path = onnx_file(tmp_path / "m.onnx", header_of(**changes), **graph)
    refuses(f"restore {path} {P}/pictures/a.png --omega 1,0 -o {tmp_path}/x.png --backend onnx", "m.onnx", *fragments)


def test_an_exported_file_makes_another_size_than_it_promises(tmp_path, refused):
    picture, omega = np.zeros((1, 3, 8, 8), np.float32), [1, 0]
    right = load(onnx_file(tmp_path / "right.onnx", header_of()), "onnx")
    assert right.run(picture, omega).shape == (1, 3, 8, 8)
    wrong = load(onnx_file(tmp_path / "wrong.onnx", header_of(), scale=3.0), "onnx")
    with refused(BackendError, "makes float32 of shape (1, 3, 24, 24)", "promises float32 of shape (1, 3, 8, 8)"):
        wrong.run(picture, omega)


def test_names_inside_an_exported_file_that_are_not_utf8(tmp_path, refused, capfd):
    """Of metadata, and of what the graph holds; onnxruntime itself would print such an error and try once more."""
    content = onnx_file(tmp_path / "m.onnx", header_of(), ("n", 3, "height", "w")).read_bytes()
    for word in (b"omega_range", b"Identity", b"omega\x12", b"height"):
        assert word in content
        (tmp_path / "m.onnx").write_bytes(content.replace(word, b"\xff" + word[1:]))
        with refused(CheckpointError, "m.onnx"):
            load(tmp_path / "m.onnx", "onnx").run(np.zeros((1, 3, 8, 8), np.float32), [1, 0])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (ckpt(bytes(15)), ["'head.weight'", "holds 3 values and 3 bytes for shape (3,)"]),
        (ckpt(tag=b"\xff\xfe"), ["not a readable MindSpore checkpoint"]),
        (ckpt(kind=b"\xff\xfe"), ["not a readable MindSpore checkpoint"]),
        (ckpt(dims=(2**62, 4)), ["3 values for shape (4611686018427387904, 4)"]),
        (ckpt(b"", dims=(2**32, 2**32)), ["0 values for shape (4294967296, 4294967296)"]),  # 2 ** 64 wraps to 0
        (ckpt(b"", dims=(0, 2**62)), ["0 values for shape (0, 4611686018427387904)"]),  # numpy has no such array
        (ckpt(b"", dims=(0, 2**31, 2**31, 4)), ["0 values for shape (0, 2147483648, 2147483648, 4)"]),
        (ckpt(dims=(2**64 - 3,)), ["3 values for shape (-3,)"]),
        (ckpt(dims=(2**64 - 1, 2**64 - 3)), ["3 values for shape (-1, -3)"]),  # their product is right
        (ckpt(dims=(1,) * 40 + (3,)), ["3 values for shape (1, 1"]),
        (ckpt(tag=b"\x1b]0;owned\x07", dims=(5,)), [r"'\x1b]0;owned\x07'"]),
        (ckpt(tag=b"x" * 10**6, dims=(5,)), ["xxx"]),
        (ckpt()[:-3], ["not a readable MindSpore checkpoint"]),
        (b"\x0a\xff\xff\xff\xff\x0f" + bytes(20), ["not a readable MindSpore checkpoint"]),  # 4 GB in 20 bytes
        (b"\x0b" * 10**5, ["not a readable MindSpore checkpoint"]),  # groups inside each other
    ],
)
def test_checkpoints_of_mindspore(content, fragments, tmp_path, refuses):
    (tmp_path / "a.ckpt").write_bytes(content)
    refuses(f"convert {tmp_path}/a.ckpt --from mindediting -o {tmp_path}/x.safetensors", "a.ckpt", *fragments)


@pytest.mark.parametrize("shape", [(0, 2**62), (1,) * 80])
def test_shapes_that_no_array_has(shape, tmp_path, refuses):
    size = 4 * math.prod(shape)
    header = json.dumps({"intro.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    refuses(f"convert {tmp_path}/a.safetensors --from nafnet -o {tmp_path}/x.safetensors", "which no array has")


def test_checkpoints_larger_than_their_format(tmp_path, refuses):
    """Refused before they are read: 6 GB of holes cost 6 GB of memory."""
    with open(tmp_path / "a.ckpt", "wb") as file:
        file.write(b"\n")
        file.truncate(6 * 2**30)
    refuses(f"convert {tmp_path}/a.ckpt --from nafnet -o {tmp_path}/x.safetensors", "a.ckpt", "6442450944 bytes")


def test_a_checkpoint_as_it_should_be(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(ckpt(np.float32([1, 2, 3]).tobytes()))
    assert read_foreign(tmp_path / "a.ckpt").tensors["head.weight"].tolist() == [1, 2, 3]
