"""Kernels as functions of omega: aggregation (Eq. 3), differences, low rank."""

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


def low_rank(alpha: ms.Tensor, up: ms.Tensor, down: ms.Tensor) -> ms.Tensor:
    """Sum_i alpha_i up[i] down[i]: alpha (k,), up (k, rows, rank), down (k, rank, columns) -> (rows, columns)."""
    scaled = (up * cast_like(alpha, up).reshape(-1, 1, 1)).swapaxes(0, 1)
    return _product(scaled.reshape(up.shape[1], -1), down.reshape(-1, down.shape[2]))


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
