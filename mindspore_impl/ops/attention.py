"""Attention: windows, their shifts, the softmax."""

import math

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from tunable.windows import check_windows, relative_position_index, shift_regions


def softmax(x: ms.Tensor) -> ms.Tensor:
    """Over the last axis, by powers of e: MindSpore's exp is off by 4e-6 on a CPU, its pow by 1.4e-7."""
    powers = _ops.pow(math.e, x - _ops.stop_gradient(x.max(-1, keepdims=True)))
    return powers / powers.sum(-1, keepdims=True)


class Softmax(nn.Cell):
    """`softmax` as a layer."""

    def construct(self, logits: ms.Tensor) -> ms.Tensor:
        """logits (..., n) -> the same shape."""
        return softmax(logits)


def bmm(a: ms.Tensor, b: ms.Tensor) -> ms.Tensor:
    """Matrix products of two stacks, (B, n, m) and (B, m, k)."""
    return _ops.bmm(a, b)


def split(x: ms.Tensor, parts: int, axis: int) -> tuple[ms.Tensor, ...]:
    """Equal parts along an axis."""
    return _ops.split(x, x.shape[axis] // parts, axis)


def roll(x: ms.Tensor, shift: int) -> ms.Tensor:
    """x (N, H, W, C) moved down and right by `shift` pixels, cyclically."""
    # MindSpore's own roll has no CPU kernel.
    at = -shift % x.shape[1]
    x = _ops.concat([x[:, at:], x[:, :at]], 1)
    at = -shift % x.shape[2]
    return _ops.concat([x[:, :, at:], x[:, :, :at]], 2)


def to_windows(x: ms.Tensor, window: int) -> ms.Tensor:
    """x (N, H, W, C) -> (N, windows, window^2, C), windows row by row; TunableError where they do not fit."""
    height, width, channels = x.shape[1:]
    _check_windows(height, width, window)
    rows, columns = height // window, width // window
    x = x.reshape(-1, rows, window, columns, window, channels)
    return x.swapaxes(2, 3).reshape(-1, rows * columns, window * window, channels)


def from_windows(x: ms.Tensor, window: int, height: int, width: int) -> ms.Tensor:
    """The inverse of `to_windows`."""
    channels = x.shape[-1]
    x = x.reshape(-1, height // window, width // window, window, window, channels)
    return x.swapaxes(2, 3).reshape(-1, height, width, channels)


def relative_bias(table: ms.Tensor, window: int) -> ms.Tensor:
    """table (rows, heads) or (N, rows, heads) -> (N or 1, 1, heads, window^2, window^2)."""
    rows = table.reshape((-1,) + table.shape[-2:])
    bias = _ops.gather(rows, _relative_position_index(window), 1).swapaxes(1, 2)
    return bias.reshape(-1, 1, table.shape[-1], window * window, window * window)


def shift_mask(x: ms.Tensor, window: int, shift: int) -> ms.Tensor:
    """What is added to the attention of x (N, H, W, C) in shifted windows: 0, or -100 between pixels torn apart.

    (windows, 1, window^2, window^2)
    """
    region = _shift_regions(x.shape[1], x.shape[2], window, shift)
    torn = _ops.expand_dims(_ops.expand_dims(region, 1), 3) != _ops.expand_dims(_ops.expand_dims(region, 1), 2)
    return torn.astype(x.dtype) * -100


@_ops.constexpr
def _check_windows(height: int, width: int, window: int):
    check_windows(height, width, window)


@_ops.constexpr
def _relative_position_index(window: int):
    return ms.Tensor(relative_position_index(window).ravel())


@_ops.constexpr
def _shift_regions(height: int, width: int, window: int, shift: int):
    return ms.Tensor(shift_regions(height, width, window, shift))
