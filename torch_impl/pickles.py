"""PyTorch's own files, which are pickles: only their tensors are read, and only when a user asks for it."""

from pathlib import Path

import numpy as np
import torch

from tunable_core.errors import CheckpointError

_WRAPPERS = ("params_ema", "params", "state_dict")  # under which published files hold their tensors


def read_pickle(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a .pth file by name, as float32; CheckpointError for a file that holds more than tensors."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle that is none, or that holds more
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path} cannot be read as tensors alone: {reason}") from None
    for wrapper in _WRAPPERS:
        if isinstance(held, dict) and isinstance(held.get(wrapper), dict):
            held = held[wrapper]
    tensors = held.items() if isinstance(held, dict) else ()
    return {str(name): value.float().numpy() for name, value in tensors if isinstance(value, torch.Tensor)}
