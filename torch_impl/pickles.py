"""PyTorch's own files, which are pickles: only their tensors are read, and only when a user asks for it."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunable.errors import CheckpointError, shown

_SETTINGS = (  # what published checkpoints hold beside tensors: read as something that does nothing
    "argparse.", "collections.", "datetime.", "easydict.", "enum.", "lightning.", "ml_collections.", "numpy.",
    "omegaconf.", "pathlib.", "pytorch_lightning.", "types.SimpleNamespace", "typing.", "yacs.",
    "builtins.bool", "builtins.dict", "builtins.float", "builtins.int", "builtins.list", "builtins.str",
)  # fmt: skip


class _Nothing(dict):
    """Takes the place of everything that is no tensor, number or text: no code of a file or of its classes runs."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


def read_pickle(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read every tensor of a checkpoint, and the type of each, by the names on the way to it, joined by dots.

    bfloat16 comes as the numbers of its bits; a type that numpy does not hold comes empty.

    Args:
        path: the file.

    Returns:
        The arrays by name, and their types by the same names.

    Raises:
        CheckpointError: for a file that holds more than tensors and settings, or is none.
    """
    try:
        allowed = _beside(path)
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # a pickle that is none, or that holds more
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path} cannot be read as tensors alone: {reason}") from None
    tensors, types = {}, {}
    for name, value in _tensors(content):
        kind = str(value.dtype).removeprefix("torch.")
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            kind = f"{kind} in a form that is not plain ({value.layout}, {value.device.type})"
        elif value.numel() * value.element_size() > value.untyped_storage().nbytes():
            kind = f"{kind}, more numbers than the file has"
        elif value.ndim > 8 or math.prod(side or 1 for side in value.shape) > 2**40:  # beside an axis of 0
            kind = f"{kind} of shape {shown(tuple(value.shape))}, which no array has"
        types[name] = kind
        value = value.detach()
        if kind == "bfloat16":
            tensors[name] = value.contiguous().view(torch.int16).numpy().view(np.uint16)
        else:
            tensors[name] = value.numpy() if kind in ("float32", "float16", "float64") else np.zeros(0, np.uint8)
    return tensors, types


def _beside(path: Path) -> list:
    """What stands for the settings beside the tensors; CheckpointError where a file holds anything else."""
    if not zipfile.is_zipfile(path):  # of an older PyTorch: nothing beside
        return []
    with zipfile.ZipFile(path) as file:
        if sum(entry.file_size for entry in file.infolist()) > path.stat().st_size:
            raise CheckpointError(f"{path} cannot be read as tensors alone: it is larger inside than it is")
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    if strange := [name for name in names if not name.startswith(_SETTINGS)]:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise CheckpointError(
            f"{path} cannot be read as tensors alone: it holds {', '.join(strange[:3])}{more}, which would have to "
            "run; whoever trusts the file saves the network's state_dict() alone"
        )
    return [(_Nothing, name) for name in names]


def _tensors(content: Any):
    """(name, tensor) of everything inside; what lies at two places is met at the first."""
    waiting, met = [("", content)], {}
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, dict | list | tuple) and id(value) not in met:
            met[id(value)] = value
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += reversed([(f"{name}.{key}" if name else str(key), each) for key, each in inside])
