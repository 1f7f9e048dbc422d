"""Kernels as functions of omega: aggregation (Eq. 3), differences of full and low rank, scales.

What ends in `_all` or `_each` does for many layers in a fixed number of operators what the function without the ending
does for one.
"""

from collections.abc import Sequence
from typing import Any

import mindspore as ms
from mindspore import mint
from mindspore import ops as _ops

from mindspore_impl.ops.device import device_in_use
from tunable import forms


def aggregate(alpha: ms.Tensor, tensor: ms.Tensor) -> ms.Tensor:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape).

    In the tensor's dtype: where the input of a layer is float16, its kernels are cast once, after they are summed.
    """
    rows = cast_like(alpha, tensor).reshape(-1, alpha.shape[-1])
    samples = () if alpha.ndim == 1 else (-1,)
    return _product(rows, tensor.reshape(tensor.shape[0], -1)).reshape(samples + tensor.shape[1:])


def aggregate_all(alpha: ms.Tensor, tensors: Sequence[ms.Tensor]) -> list[ms.Tensor]:
    """`aggregate` of tensors (k, *shape), each of its own shape, by one product with one alpha, (k,) or (N, k)."""
    if len(tensors) == 0:
        return []
    rows = [tensor.reshape(tensor.shape[0], -1) for tensor in tensors]
    sizes, samples = [row.shape[1] for row in rows], () if alpha.ndim == 1 else (-1,)
    sums = _product(cast_like(alpha, rows[0]).reshape(-1, alpha.shape[-1]), _ops.concat(rows, 1))
    parts = mint.split(sums, tuple(sizes), 1)
    return [parts[i].reshape(samples + tensors[i].shape[1:]) for i in range(len(rows))]


def aggregate_each(alphas: ms.Tensor, tensors: Sequence[ms.Tensor]) -> Sequence[ms.Tensor]:
    """`aggregate` of G tensors of one shape (k, *shape), each with its own alpha, by one product.

    Args:
        alphas: (G, k) or (G, N, k).
        tensors: G tensors.

    Returns:
        G tensors, (*shape) or (N, *shape).
    """
    count, k = len(tensors), alphas.shape[-1]
    samples = () if alphas.ndim == 2 else (-1,)
    rows = stack(tensors).reshape(count, k, -1)
    sums = _products(cast_like(alphas, rows).reshape(count, -1, k), rows)
    return _ops.unbind(sums.reshape((count,) + samples + tensors[0].shape[1:]))


def stack(tensors: Sequence[ms.Tensor]) -> ms.Tensor:
    """Tensors of one shape, one behind the other on a new first axis; a single one is not copied."""
    return _ops.stack(tensors) if len(tensors) > 1 else _ops.expand_dims(tensors[0], 0)


def mixes_network(omega: ms.Tensor, asked: str) -> bool:
    """Whether all kernels of a network are mixed at once on the device in use, as one of tunable.forms.MIXING asks."""
    return _mixes_network(asked, device_in_use())


@_ops.constexpr
def _mixes_network(asked: str, device: str):
    return forms.mixes_network(asked, device)


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


def with_low_rank_each(
    alpha: ms.Tensor, weights: Sequence[ms.Tensor], ups: Sequence[ms.Tensor], downs: Sequence[ms.Tensor]
) -> Sequence[ms.Tensor]:
    """`with_low_rank` of layers of one shape without groups that are not transposed."""
    count, (m, rows, rank) = len(ups), ups[0].shape
    samples = () if alpha.ndim == 1 else (-1,)
    up = stack(ups)
    scaled = up * cast_like(alpha[..., 1:], up).reshape(samples + (1, m, 1, 1))
    left = scaled.swapaxes(-3, -2).reshape(-1, count, rows, m * rank).swapaxes(0, 1).reshape(count, -1, m * rank)
    products = _products(left, stack(downs).reshape(count, m * rank, -1))
    products = products.reshape((count,) + samples + weights[0].shape[1:])
    base = stack(weights)  # (G, 1, *kernel), whose axis of one is that of samples
    return _ops.unbind(products + (base if samples else base.reshape(products.shape)))


def with_scale(alpha: ms.Tensor, weight: ms.Tensor, gain: ms.Tensor, groups: int, transposed: bool) -> ms.Tensor:
    """The base kernel with scaled outputs, diag(1 + sum_j alpha_j g_j) k_0: gain (m, out), else as `with_low_rank`."""
    base = exchanged(weight[0], groups) if transposed else weight[0]
    samples = () if alpha.ndim == 1 else (-1,)
    kernel = base * scales(alpha, gain).reshape(samples + (base.shape[0],) + (1,) * (base.ndim - 1))
    return exchanged(kernel, groups, alpha.ndim - 1) if transposed else kernel


def with_scale_each(alpha: ms.Tensor, weights: Sequence[ms.Tensor], gains: Sequence[ms.Tensor]) -> Sequence[ms.Tensor]:
    """`with_scale` of layers of one shape that are not transposed."""
    base = stack(weights)[:, 0]
    factors = scales(alpha, stack(gains).swapaxes(0, 1))
    kernels = base * factors.reshape(factors.shape + (1,) * (base.ndim - 2))
    return _ops.unbind(kernels, alpha.ndim - 1)


def scales(alpha: ms.Tensor, gain: ms.Tensor) -> ms.Tensor:
    """1 + sum_j alpha_j g_j: alpha (1 + m,) or (N, 1 + m), gain (m, *out) -> (*out) or (N, *out)."""
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


def _products(a: ms.Tensor, b: ms.Tensor) -> Any:
    """a @ b of two stacks of matrices, in their own dtype, as `_product`."""
    products = _ops.bmm(a, b)
    if products.dtype == b.dtype:
        return products
    total = a[:, :, :1] * b[:, :1]
    for i in range(1, b.shape[1]):
        total = total + a[:, :, i : i + 1] * b[:, i : i + 1]
    return total


def cast_like(tensor: ms.Tensor, other: ms.Tensor) -> ms.Tensor:
    """The tensor in the dtype of another."""
    return tensor if tensor.dtype == other.dtype else tensor.astype(other.dtype)
