"""Reading the weights files of other programs: MindSpore's checkpoints, safetensors, PyTorch's pickles when asked.

What a file is its content says, not its suffix. Its tensors may lie at any depth, beside anything else: the path to
one, joined by dots, is its name here, and the network is where the names that it must have are found.
"""

import itertools
import math
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from tunable.backends.registry import read_pickle
from tunable.errors import CheckpointError, nearest, shown
from tunable.weights.run_state import STATE_FORMAT
from tunable.weights.storage import FAMILY, FORMAT, check_header

FLOATS = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16, "float64": np.float64}
"""What becomes float32 -> as which numpy holds it. The first three have no value that float32 lacks."""
MOST_AXES = 8  # of a tensor; numpy itself knows 32
MOST_VALUES = 2**40  # of a tensor, an axis of 0 counted as 1: numpy holds no shape far beyond
_TYPES = {"Float32": np.float32, "Float16": np.float16, "Float64": np.float64, "BFloat16": np.uint16,
          "Int32": np.int32, "Int64": np.int64}  # fmt: skip
_SAFETENSORS_TYPES = {"F32": "float32", "F16": "float16", "F64": "float64", "BF16": "bfloat16", "I64": "int64"}

_WRAPPER = r"(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
_WRAPPERS = re.compile(rf"(?<![^.]){_WRAPPER}")
"""What torch.compile, DataParallel and their like put into the names of what they wrap."""
_AVERAGED = re.compile(r"(^|[._])ema([._]|$)", re.IGNORECASE)
_OF_AN_OPTIMIZER = re.compile(r"(^|\.)(moment\w*|accum\w*|exp_avg\w*|optim\w*|adam_\w*)(\.|$)", re.IGNORECASE)
# A module that protoc generates would be tied to the versions of protobuf around its own; this text is read by all.
_SCHEMA = """
name: "mindspore_checkpoint.proto" package: "foreign" syntax: "proto2"
message_type {
  name: "Tensor"
  field { number: 1 name: "dims" label: LABEL_REPEATED type: TYPE_INT64 }
  field { number: 2 name: "tensor_type" label: LABEL_OPTIONAL type: TYPE_STRING }
  field { number: 3 name: "tensor_content" label: LABEL_OPTIONAL type: TYPE_BYTES }
}
message_type {
  name: "Value"
  field { number: 1 name: "tag" label: LABEL_OPTIONAL type: TYPE_STRING }
  field { number: 2 name: "tensor" label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".foreign.Tensor" }
}
message_type {
  name: "Checkpoint"
  field { number: 1 name: "value" label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".foreign.Value" }
}
"""
_OURS = {FORMAT: "a weights file of this project", STATE_FORMAT: "a checkpoint of a run of this project"}
_MISTAKEN = {  # first bytes, in lower case, of what is given by mistake
    b"version https://git-lfs": "a pointer of Git LFS to a file that was not fetched (git lfs pull fetches it)",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
}


class ForeignFile(NamedTuple):
    """The tensors of a file.

    Attributes:
        tensors: by name, as they lie there.
        types: of each, one of FLOATS, or what cannot be used.
    """

    tensors: dict[str, np.ndarray]
    types: dict[str, str]


class ForeignNetwork(NamedTuple):
    """The network in a file.

    Attributes:
        tensors: by their names in the network.
        types: of each, as in ForeignFile.
        notes: what a user should know of where the network lies.
    """

    tensors: dict[str, np.ndarray]
    types: dict[str, str]
    notes: list[str]


def read_foreign(path: str | Path, *, allow_pickle: bool = False) -> ForeignFile:
    """Read every tensor of a file: safetensors, a MindSpore checkpoint, or a PyTorch one.

    Args:
        path: the file; its content, not its suffix, says what it is.
        allow_pickle: whether a PyTorch checkpoint is read, which is a pickle.

    Raises:
        CheckpointError: for a file that cannot be read or holds no tensors.
        BackendError: where torch is needed and missing.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no such weights file: {path}")
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    if any(start.lower().startswith(mark) for mark in _MISTAKEN):
        raise CheckpointError(f"{path} is {next(v for k, v in _MISTAKEN.items() if start.lower().startswith(k))}")
    suffix = path.suffix.lower()
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size or suffix == ".safetensors":
        read = _read_safetensors(path)
    elif start.startswith((b"PK\x03\x04", b"\x80")):  # a zip, or the bare pickle of an older PyTorch
        if not allow_pickle:
            raise CheckpointError(
                f"{path} is a pickle of PyTorch's, which may hold programs: say --allow-pickle to read its tensors"
            )
        read = ForeignFile(*read_pickle(path))
    elif suffix == ".ckpt" or start.startswith(b"\n"):
        read = _read_ckpt(path)
    elif start:
        raise CheckpointError(
            f"{path} must be a .safetensors file, a PyTorch checkpoint or a MindSpore one; it is none"
        )
    else:
        read = ForeignFile({}, {})
    if not read.tensors:
        raise CheckpointError(f"{path} holds no tensors")
    return read


def network_in(file: ForeignFile, marks: Iterable[str], key: str | None = None) -> ForeignNetwork:
    """Find the network among the tensors of a file: it lies below what stands before one of the names `marks`.

    Args:
        file: the tensors of a file.
        marks: names of tensors; every network that is looked for has one of them.
        key: names of the path to the network, where a file holds several; without it an averaged network ("ema") goes
            before others.

    Returns:
        The tensors by their names in the network.

    Raises:
        CheckpointError: where there is no network, or where it may be one of several.
    """
    names, places = _unwrapped(file.tensors), {}
    for name, mark in itertools.product(names, marks):
        if name == mark or name.endswith("." + mark):
            place = name.removesuffix(mark)
            places.setdefault(place, _with_wrappers(place, names[name]))
    able = {place: full for place, full in places.items() if not _OF_AN_OPTIMIZER.search(place)}
    if not able:
        examples = ", ".join(repr(name) for name in itertools.islice(names, 3))
        raise CheckpointError(f"none of its {len(names)} tensors ({examples}, ...) is named {' or '.join(marks)}")
    asked = [place for place, full in able.items() if key is None or f".{key}." in f".{full}"]
    if key is not None and not asked:
        known = [name for full in able.values() for name in full.split(".")]
        raise CheckpointError(f"it holds no network under {key!r}{nearest(key, known)}, but {_listed(able.values())}")
    best = [place for place in asked if _AVERAGED.search(place)] or asked
    if len(best) > 1 and key is None:
        raise CheckpointError(
            f"it holds {len(best)} networks, {_listed(able[place] for place in best)}: --key NAME chooses one"
        )
    place = min(best, key=len)
    inside = tuple(other for other in places if other.startswith(place) and other != place)
    chosen = {
        name: full
        for name, full in names.items()
        if full.startswith(able[place]) and name.startswith(place) and not (inside and name.startswith(inside))
    }
    notes = [f"its network lies {_listed([able[place]])}"] if able[place] else []
    if others := [full for other, full in able.items() if other != place]:
        notes.append(f"other networks in it lie {_listed(others)}: --key NAME chooses one")
    if len(chosen) < len(names):
        notes.append(f"{len(names) - len(chosen)} of its tensors are beside this network")
    at = len(place)
    tensors = {name[at:]: file.tensors[full] for name, full in chosen.items()}
    return ForeignNetwork(tensors, {name[at:]: file.types[full] for name, full in chosen.items()}, notes)


def as_float32(name: str, value: np.ndarray, kind: str) -> np.ndarray:
    """Return a tensor of a file as float32.

    Args:
        name: of the tensor, for the message.
        value: of any shape, as the file holds it; bfloat16 as uint16.
        kind: its type, a key of FLOATS.

    Raises:
        CheckpointError: for any other type.
    """
    if kind not in FLOATS:
        raise CheckpointError(f"tensor {name!r} is {kind}; known: {', '.join(FLOATS)}")
    if kind == "bfloat16":  # the upper half of a float32
        return (value.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # to infinite, which no network takes
        return np.ascontiguousarray(value, np.float32)


def _unwrapped(tensors: Collection[str]) -> dict[str, str]:
    """Maps the names without the names of wrappers to the file's; all stay as they are where two would become one."""
    names = {_WRAPPERS.sub("", name): name for name in tensors}
    return names if len(names) == len(tensors) else {name: name for name in tensors}


def _with_wrappers(place: str, name: str) -> str:
    """The part of a name in the file that is `place` without the names of wrappers."""
    pattern = "".join(f"(?:{_WRAPPER})*{re.escape(part)}\\." for part in place.split(".")[:-1]) + f"(?:{_WRAPPER})*"
    match = re.match(pattern, name)
    return match[0] if match else place


def _listed(places: Iterable[str]) -> str:
    named = (f"under {place.rstrip('.')!r}" if place else "at the top" for place in itertools.islice(places, 8))
    return ", ".join(named)


def _read_safetensors(path: Path) -> ForeignFile:
    try:
        check_header(path)
        with safe_open(path, framework="numpy") as file:
            format = (file.metadata() or {}).get("format", "")
        ours = format.startswith(FAMILY)  # a checkpoint holds an optimizer's tensors by the same names
        entries = [] if ours else deserialize(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {' '.join(str(error).split())}") from None
    if ours:
        kind = _OURS.get(format, f"a file of this project's format {shown(format)}")
        raise CheckpointError(f"{path} is {kind} already: --from plain gives plain weights knobs")
    tensors, types = {}, {}
    for name, entry in sorted(entries, key=lambda entry: entry[0]):  # the library's order changes
        dtype: str = entry["dtype"]
        kind = types[name] = _SAFETENSORS_TYPES.get(dtype, dtype)
        if not is_a_shape(entry["shape"]):
            kind = types[name] = f"{kind} of shape {shown(tuple(entry['shape']))}, which no array has"
        numbers = np.frombuffer(entry["data"], FLOATS.get(kind, np.uint8))
        tensors[name] = numbers.reshape(entry["shape"]) if kind in FLOATS else numbers
    return ForeignFile(tensors, types)


def _read_ckpt(path: Path) -> ForeignFile:
    """A MindSpore checkpoint is one protobuf message; a large tensor may be spread over several values of one name."""
    from google.protobuf.message import DecodeError

    check_message(path, "MindSpore checkpoint")
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
    tensors = {name: _joined(path, name, tensors) for name, tensors in parts.items()}
    return ForeignFile(tensors, {name: tensors[0].tensor_type.lower() for name, tensors in parts.items()})


def is_a_shape(shape: Iterable[int]) -> bool:
    """Return whether a tensor of a network may have it; an axis of 0 hides sizes that numpy cannot hold."""
    shape = tuple(shape)
    return len(shape) <= MOST_AXES and math.prod(side or 1 for side in shape) <= MOST_VALUES


def check_message(path: Path, kind: str) -> None:
    """Raise CheckpointError for a file that is too large for protobuf to read, before it takes memory."""
    if (size := path.stat().st_size) >= 2**31:
        raise CheckpointError(
            f"{path} is not a readable {kind}: it has {size} bytes, the format's limit is {2**31 - 1}"
        )


def _joined(path: Path, name: str, parts: list) -> np.ndarray:
    kind = _TYPES.get(parts[0].tensor_type)
    if kind is None:  # refused where the network wants it
        return np.zeros(0, np.uint8)
    content, shape = b"".join(part.tensor_content for part in parts), tuple(parts[0].dims)
    size, rest = divmod(len(content), np.dtype(kind).itemsize)
    if rest or not is_a_shape(shape) or min(shape, default=0) < 0 or size != math.prod(shape):
        amount = f"{size} values" + (f" and {rest} bytes" if rest else "")
        raise CheckpointError(f"{path}: tensor {name!r} holds {amount} for shape {shown(shape)}")
    return np.frombuffer(content, kind).reshape(shape).copy()


def _checkpoint_message() -> type:
    """The class of _SCHEMA's message Checkpoint."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("foreign.Checkpoint"))
