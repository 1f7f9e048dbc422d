"""Single samples of what a network takes, and the outputs for single samples as one batch again."""

from typing import Any

import torch

from tunable.errors import OmegaError


def _sample(value: Any, n: int) -> Any:
    """Inputs of the sample n alone, its axis kept: every tensor in tuples, lists and dictionaries."""
    if isinstance(value, torch.Tensor):
        return value[n : n + 1]
    if isinstance(value, dict):
        return {key: _sample(part, n) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_sample(part, n) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _joined(values: list) -> Any:
    """The outputs of single samples as one output."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        if first.ndim == 0 or len(first) != 1:
            raise OmegaError(
                f"with omega per sample the network's outputs must have one row per sample, "
                f"but one of a single sample has shape {tuple(first.shape)}"
            )
        return torch.cat(values)
    if isinstance(first, dict):
        return {key: _joined([value[key] for value in values]) for key in first}
    if isinstance(first, tuple | list):
        parts = [_joined(list(part)) for part in zip(*values, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if all(value is None for value in values):
        return None
    raise OmegaError(f"with omega per sample outputs must be tensors, not {type(first).__name__}")
