"""Kernels as functions of omega: aggregation (Eq. 3), differences of full and low rank, scales."""

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


def low_rank(alpha: torch.Tensor, up: torch.Tensor, down: torch.Tensor, groups: int = 1) -> torch.Tensor:
    """The sum of products of low rank, sum_i alpha_i up[i] down[i].

    Args:
        alpha: (m,) or (N, m).
        up: (m, rows, rank).
        down: (m, groups rank, columns).
        groups: parts of the rows, each of which has factors `down` of its own.

    Returns:
        (rows, columns) or (N, rows, columns).
    """
    m, rows, rank = up.shape
    with no_autocast(up):
        left = (up * alpha[..., None, None]).movedim(-3, -2).flatten(-2)
        right = down.reshape(m, groups, rank, -1).transpose(0, 1).flatten(1, 2)
        if groups == 1:
            return left @ right[0]
        return (left.unflatten(-2, (groups, rows // groups)) @ right).flatten(-3, -2)


def with_low_rank(
    alpha: torch.Tensor, weight: torch.Tensor, up: torch.Tensor, down: torch.Tensor, groups: int, transposed: bool
) -> torch.Tensor:
    """The base kernel and differences of low rank, k_0 + sum_j alpha_j B_j A_j.

    Args:
        alpha: (1 + m,) or (N, 1 + m), its first entry 1.
        weight: (1, *kernel), the kernel of a linear layer, a convolution, or a transposed convolution.
        up: (m, out, rank), the points B_j.
        down: (m, *kernel), the kernels A_j, from the layer's inputs to `rank` channels per group.
        groups: parts of the channels that do not see each other.
        transposed: whether kernels are (in, out / groups, *size).

    Returns:
        (*kernel) or (N, *kernel).
    """
    base = exchanged(weight[0], groups) if transposed else weight[0]
    factors = exchanged(down, groups, 1) if transposed else down
    kernel = base + low_rank(alpha[..., 1:], up, factors.flatten(2), groups).reshape(*alpha.shape[:-1], *base.shape)
    return exchanged(kernel, groups, alpha.ndim - 1) if transposed else kernel


def with_scale(
    alpha: torch.Tensor, weight: torch.Tensor, gain: torch.Tensor, groups: int, transposed: bool
) -> torch.Tensor:
    """The base kernel with scaled outputs, diag(1 + sum_j alpha_j g_j) k_0: gain (m, out), else as `with_low_rank`."""
    base = exchanged(weight[0], groups) if transposed else weight[0]
    kernel = base * scales(alpha, gain).reshape(*alpha.shape[:-1], -1, *[1] * (base.ndim - 1))
    return exchanged(kernel, groups, alpha.ndim - 1) if transposed else kernel


def scales(alpha: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """1 + sum_j alpha_j g_j: alpha (1 + m,) or (N, 1 + m), gain (m, out) -> (out,) or (N, out)."""
    return 1 + aggregate(alpha[..., 1:], gain)


def stacked(kernels: torch.Tensor, groups: int, transposed: bool) -> torch.Tensor:
    """Several kernels as one, whose outputs are ordered (group, kernel, output).

    Args:
        kernels: (k, out, in / groups, *size), of transposed convolutions (k, in, out / groups, *size).
        groups: parts of the channels that do not see each other.
        transposed: whether they are of transposed convolutions.

    Returns:
        (k out, in / groups, *size), of transposed convolutions (in, k out / groups, *size).
    """
    if transposed:
        return kernels.movedim(0, 1).flatten(1, 2)
    return kernels.unflatten(1, (groups, kernels.shape[1] // groups)).transpose(0, 1).flatten(0, 2)


def exchanged(kernel: torch.Tensor, groups: int, axis: int = 0) -> torch.Tensor:
    """Exchange the axes of channels, as between the kernels of transposed and of other convolutions.

    Args:
        kernel: (in, out / groups, *size) or (out, in / groups, *size), behind `axis` other axes.
        groups: parts of the channels that do not see each other.
        axis: the first axis of channels.

    Returns:
        (out, in / groups, *size) or (in, out / groups, *size), behind the same other axes.
    """
    parts = kernel.unflatten(axis, (groups, kernel.shape[axis] // groups))
    return parts.swapaxes(axis + 1, axis + 2).flatten(axis, axis + 1)


def no_autocast(tensor: torch.Tensor) -> AbstractContextManager[Any]:
    """A context in which products keep the dtype of their factors: kernels are cast once, after they are summed."""
    kind = tensor.device.type
    # Entered only where there is something to switch off: exporters and compilers trace the context too.
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
