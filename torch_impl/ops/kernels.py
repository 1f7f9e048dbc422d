"""Kernels as functions of omega: aggregation (Eq. 3), differences, low rank."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def aggregate(alpha: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape)."""
    with no_autocast(tensor):
        return (alpha @ tensor.reshape(len(tensor), -1)).reshape(*alpha.shape[:-1], *tensor.shape[1:])


def displaced(base: torch.Tensor, alpha: torch.Tensor, differences: torch.Tensor) -> torch.Tensor:
    """base + sum_i alpha_i differences[i]: base (*shape), alpha (k,), differences (k, *shape) -> (*shape).

    Where autocast is on, inside `no_autocast`.
    """
    return torch.addmv(base.reshape(-1), differences.reshape(alpha.shape[0], -1).T, alpha).reshape(base.shape)


def low_rank(alpha: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Sum_i alpha_i up[i] down[i]: alpha (k,), up (k, rows, rank), down (k, rank, columns) -> (rows, columns)."""
    with no_autocast(up):
        return (up * alpha[:, None, None]).movedim(0, 1).flatten(1) @ down.flatten(0, 1)


def no_autocast(tensor: torch.Tensor) -> AbstractContextManager[Any]:
    """A context in which products keep the dtype of their factors: kernels are cast once, after they are summed."""
    kind = tensor.device.type
    # Entered only where there is something to switch off: exporters and compilers trace the context too.
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
