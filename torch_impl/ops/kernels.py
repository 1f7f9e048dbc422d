"""Kernels as functions of omega: aggregation (Eq. 3), differences of full and low rank, scales.

What ends in `_all` or `_each` does for many layers in a fixed number of operators what the function without the ending
does for one.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from tunable import forms


def aggregate(alpha: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape)."""
    with no_autocast(tensor):
        return (alpha @ tensor.reshape(len(tensor), -1)).reshape(*alpha.shape[:-1], *tensor.shape[1:])


def aggregate_all(alpha: torch.Tensor, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """`aggregate` of tensors (k, *shape), each of its own shape, by one product with one alpha, (k,) or (N, k)."""
    if not tensors:
        return []
    with no_autocast(tensors[0]):
        rows = [tensor.reshape(len(tensor), -1) for tensor in tensors]
        sums, sizes = alpha @ torch.cat(rows, 1), [row.shape[1] for row in rows]
    # What belongs to one sample lies together, where a layer wants the samples of its kernels to follow each other.
    split = torch.split if alpha.ndim == 1 else torch.split_with_sizes_copy
    parts: Any = split(sums, sizes, alpha.ndim - 1)
    shapes = [(*alpha.shape[:-1], *tensor.shape[1:]) for tensor in tensors]
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def aggregate_each(alphas: torch.Tensor, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """`aggregate` of G tensors of one shape (k, *shape), each with its own alpha, by one product.

    Args:
        alphas: (G, k) or (G, N, k).
        tensors: G tensors.

    Returns:
        G tensors, (*shape) or (N, *shape).
    """
    with no_autocast(tensors[0]):
        rows = stack(tensors).flatten(2)
        sums = torch.bmm(alphas.reshape(len(alphas), -1, rows.shape[1]), rows)
    return sums.reshape(*alphas.shape[:-1], *tensors[0].shape[1:]).unbind()


def stack(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Tensors of one shape, one behind the other on a new first axis; a single one is not copied."""
    return torch.stack(tuple(tensors)) if len(tensors) > 1 else tensors[0][None]


def mixes_network(omega: torch.Tensor, asked: str) -> bool:
    """Whether all kernels of a network are mixed at once where omega is, as one of tunable.forms.MIXING asks."""
    return forms.mixes_network(asked, omega.device.type)


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


def with_low_rank_each(
    alpha: torch.Tensor, weights: Sequence[torch.Tensor], ups: Sequence[torch.Tensor], downs: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor]:
    """`with_low_rank` of layers of one shape without groups that are not transposed."""
    (m, rows, rank), kernel = ups[0].shape, weights[0].shape[1:]
    with no_autocast(ups[0]):
        base, up = stack(weights).reshape(len(ups), rows, -1), stack(ups)
        left = (up * alpha[..., None, 1:, None, None]).movedim(-3, -2).flatten(-2)
        right = stack(downs).reshape(len(ups), m * rank, -1)
        kernels = torch.baddbmm(base, left, right) if alpha.ndim == 1 else base + left @ right
    return kernels.reshape(*alpha.shape[:-1], len(ups), *kernel).unbind(alpha.ndim - 1)


def with_scale(
    alpha: torch.Tensor, weight: torch.Tensor, gain: torch.Tensor, groups: int, transposed: bool
) -> torch.Tensor:
    """The base kernel with scaled outputs, diag(1 + sum_j alpha_j g_j) k_0: gain (m, out), else as `with_low_rank`."""
    base = exchanged(weight[0], groups) if transposed else weight[0]
    kernel = base * scales(alpha, gain).reshape(*alpha.shape[:-1], -1, *[1] * (base.ndim - 1))
    return exchanged(kernel, groups, alpha.ndim - 1) if transposed else kernel


def with_scale_each(
    alpha: torch.Tensor, weights: Sequence[torch.Tensor], gains: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor]:
    """`with_scale` of layers of one shape that are not transposed."""
    base = stack(weights)[:, 0]
    factors = scales(alpha, stack(gains).swapaxes(0, 1))
    return (base * factors.reshape(*factors.shape, *[1] * (base.ndim - 2))).unbind(alpha.ndim - 1)


def scales(alpha: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """1 + sum_j alpha_j g_j: alpha (1 + m,) or (N, 1 + m), gain (m, *out) -> (*out) or (N, *out)."""
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
