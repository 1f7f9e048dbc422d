"""Reading the weights files of other programs: MindSpore's checkpoints, safetensors, PyTorch's pickles when asked."""

import math
from pathlib import Path

import numpy as np

from tunable_core.backends import read_pickle
from tunable_core.checkpoint import load_tensors
from tunable_core.errors import CheckpointError, shown

MOST_AXES = 8  # of a tensor; numpy itself knows 32
_TYPES = {"Float32": np.float32, "Float16": np.float16, "Float64": np.float64, "Int32": np.int32, "Int64": np.int64}


def read_foreign(path: str | Path, *, allow_pickle: bool = False) -> dict[str, np.ndarray]:
    """Every tensor of a file by name: .ckpt (MindSpore), .safetensors, .pth or .pt (PyTorch, only `allow_pickle`).

    Raises CheckpointError for a file that cannot be read or holds no tensors, BackendError where torch is needed
    and missing.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no such weights file: {path}")
    if path.suffix == ".safetensors":
        tensors = load_tensors(path)[0]
    elif path.suffix == ".ckpt":
        tensors = _read_ckpt(path)
    elif path.suffix in (".pth", ".pt"):
        if not allow_pickle:
            raise CheckpointError(
                f"{path} is a pickle, which may hold programs: say --allow-pickle to read its tensors"
            )
        tensors = read_pickle(path)
    else:
        raise CheckpointError(f"{path} must be .ckpt, .safetensors, .pth or .pt")
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors")
    return tensors


def _read_ckpt(path: Path) -> dict[str, np.ndarray]:
    """A MindSpore checkpoint is one protobuf message; a large tensor may be spread over several values of one name."""
    from google.protobuf.message import DecodeError

    message = _checkpoint_message()()
    try:
        message.ParseFromString(path.read_bytes())
        parts: dict[str, list] = {}
        for value in message.value:
            if isinstance(value.tag, bytes) or isinstance(value.tensor.tensor_type, bytes):
                raise DecodeError("a string that is not UTF-8 comes as bytes, or as the error below")
            parts.setdefault(value.tag, []).append(value.tensor)
    except (DecodeError, UnicodeDecodeError):
        raise CheckpointError(f"{path} is not a readable MindSpore checkpoint") from None
    return {name: _joined(path, name, tensors) for name, tensors in parts.items()}


def _joined(path: Path, name: str, parts: list) -> np.ndarray:
    kind = _TYPES.get(parts[0].tensor_type)
    if kind is None:
        raise CheckpointError(f"{path}: tensor {name!r} is {parts[0].tensor_type}; known: {', '.join(_TYPES)}")
    content, shape = b"".join(part.tensor_content for part in parts), tuple(parts[0].dims)
    size, rest = divmod(len(content), np.dtype(kind).itemsize)
    if rest or len(shape) > MOST_AXES or min(shape, default=0) < 0 or size != math.prod(shape):
        held = f"{size} values" + (f" and {rest} bytes" if rest else "")
        raise CheckpointError(f"{path}: tensor {name!r} holds {held} for shape {shown(shape)}")
    return np.frombuffer(content, kind).reshape(shape).copy()


def _checkpoint_message():
    """The class of the message: Checkpoint {value: [{tag, tensor: {dims, tensor_type, tensor_content}}]}."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="mindspore_checkpoint.proto", package="foreign", syntax="proto2")

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, (label, kind, local) in enumerate(fields, 1):
            of = {"type": kind} if isinstance(kind, int) else {"type": field.TYPE_MESSAGE, "type_name": kind}
            made.field.add(name=local, number=number, label=label, **of)

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message(
        "Tensor",
        (many, field.TYPE_INT64, "dims"),
        (one, field.TYPE_STRING, "tensor_type"),
        (one, field.TYPE_BYTES, "tensor_content"),
    )
    message("Value", (one, field.TYPE_STRING, "tag"), (one, ".foreign.Tensor", "tensor"))
    message("Checkpoint", (many, ".foreign.Value", "value"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("foreign.Checkpoint"))
