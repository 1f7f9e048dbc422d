"""Kernels as functions of omega: aggregation (Eq. 3), differences of full and low rank, scales."""

from typing import Any

import mindspore as ms
from mindspore import ops as _ops


def aggregate(alpha: ms.Tensor, tensor: ms.Tensor) -> ms.Tensor:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape).

    In the tensor's dtype: where the input of a layer is float16, its kernels are cast once, after they are summed.
    """
    rows = cast_like(alpha, tensor).reshape(-1, alpha.shape[-1])
    samples = () if alpha.ndim == 1 else (-1,)
    return _product(rows, tensor.reshape(tensor.shape[0], -1)).reshape(samples + tensor.shape[1:])


def displaced(base: ms.Tensor, alpha: ms.Tensor, differences: ms.Tensor) -> ms.Tensor:
    """base + sum_i alpha_i differences[i]: base (*shape), alpha (k,), differences (k, *shape) -> (*shape)."""
    return base + aggregate(alpha, differences)


def low_rank(alpha: ms.Tensor, up: ms.Tensor, down: ms.Tensor, groups: int = 1) -> ms.Tensor:
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
    samples = () if alpha.ndim == 1 else (-1,)
    scaled = up * cast_like(alpha, up).reshape(samples + (m, 1, 1))
    left = scaled.swapaxes(-3, -2).reshape(samples + (rows, m * rank))
    right = down.reshape(m, groups, rank, -1).swapaxes(0, 1).reshape(groups, m * rank, -1)
    if groups == 1:
        return _product(left.reshape(-1, m * rank), right[0]).reshape(samples + (rows, down.shape[2]))
    left = left.reshape(samples + (groups, rows // groups, m * rank))
    total = left[..., :1] * right[:, :1]  # not by a product of stacks, which mixed precision `auto` would cast
    for i in range(1, m * rank):
        total = total + left[..., i : i + 1] * right[:, i : i + 1]
    return total.reshape(samples + (rows, down.shape[2]))


def with_low_rank(
    alpha: ms.Tensor, weight: ms.Tensor, up: ms.Tensor, down: ms.Tensor, groups: int, transposed: bool
) -> ms.Tensor:
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
    factors = factors.reshape(factors.shape[:2] + (-1,))
    samples = () if alpha.ndim == 1 else (-1,)
    kernel = base + low_rank(alpha[..., 1:], up, factors, groups).reshape(samples + base.shape)
    return exchanged(kernel, groups, alpha.ndim - 1) if transposed else kernel


def with_scale(alpha: ms.Tensor, weight: ms.Tensor, gain: ms.Tensor, groups: int, transposed: bool) -> ms.Tensor:
    """The base kernel with scaled outputs, diag(1 + sum_j alpha_j g_j) k_0: gain (m, out), else as `with_low_rank`."""
    base = exchanged(weight[0], groups) if transposed else weight[0]
    samples = () if alpha.ndim == 1 else (-1,)
    kernel = base * scales(alpha, gain).reshape(samples + (base.shape[0],) + (1,) * (base.ndim - 1))
    return exchanged(kernel, groups, alpha.ndim - 1) if transposed else kernel


def scales(alpha: ms.Tensor, gain: ms.Tensor) -> ms.Tensor:
    """1 + sum_j alpha_j g_j: alpha (1 + m,) or (N, 1 + m), gain (m, out) -> (out,) or (N, out)."""
    return 1 + aggregate(alpha[..., 1:], gain)


def stacked(kernels: ms.Tensor, groups: int, transposed: bool) -> ms.Tensor:
    """Several kernels as one, whose outputs are ordered (group, kernel, output).

    Args:
        kernels: (k, out, in / groups, *size), of transposed convolutions (k, in, out / groups, *size).
        groups: parts of the channels that do not see each other.
        transposed: whether they are of transposed convolutions.

    Returns:
        (k out, in / groups, *size), of transposed convolutions (in, k out / groups, *size).
    """
    k, first, second = kernels.shape[:3]
    size = kernels.shape[3:]
    if transposed:
        return kernels.swapaxes(0, 1).reshape((first, k * second) + size)
    parts = kernels.reshape((k, groups, first // groups, second) + size).swapaxes(0, 1)
    return parts.reshape((k * first, second) + size)


def exchanged(kernel: ms.Tensor, groups: int, axis: int = 0) -> ms.Tensor:
    """Exchange the axes of channels, as between the kernels of transposed and of other convolutions.

    Args:
        kernel: (in, out / groups, *size) or (out, in / groups, *size), behind `axis` other axes.
        groups: parts of the channels that do not see each other.
        axis: the first axis of channels.

    Returns:
        (out, in / groups, *size) or (in, out / groups, *size), behind the same other axes.
    """
    shape = kernel.shape
    first, second = shape[axis], shape[axis + 1]
    parts = kernel.reshape(shape[:axis] + (groups, first // groups, second) + shape[axis + 2 :])
    parts = parts.swapaxes(axis + 1, axis + 2)
    return parts.reshape(shape[:axis] + (groups * second, first // groups) + shape[axis + 2 :])


def affine(omega: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor) -> ms.Tensor:
    """weight omega + bias: omega (p,) or (N, p), weight (q, p), bias (q,); not by a product that `auto` would cast."""
    return (_ops.expand_dims(omega, -2) * weight).sum(-1) + bias


def _product(a: ms.Tensor, b: ms.Tensor) -> Any:
    """a @ b of two matrices, in their own dtype."""
    product = _ops.matmul(a, b)
    if product.dtype == b.dtype:  # known when a graph is compiled, which then holds one of the two ways
        return product
    # Mixed precision `auto` casts matrix products, in graphs and out of them; products and sums of numbers it leaves.
    columns, rows, total = _ops.unstack(a, 1), _ops.unstack(b, 0), 0
    for i in range(b.shape[0]):
        total = total + _ops.expand_dims(columns[i], 1) * rows[i]
    return total


def cast_like(tensor: ms.Tensor, other: ms.Tensor) -> ms.Tensor:
    """The tensor in the dtype of another."""
    return tensor if tensor.dtype == other.dtype else tensor.astype(other.dtype)
