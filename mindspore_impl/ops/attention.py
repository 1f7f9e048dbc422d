"""Attention: windows, their shifts, the softmax."""

import math

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from tunable.windows import check_windows, relative_position_index, shift_regions


def softmax(x: ms.Tensor) -> ms.Tensor:
    """Return the softmax over the last axis of x (..., n), in the same shape.

    It is made of powers of e, because MindSpore's exp is off by 4e-6 on a CPU, its pow by 1.4e-7.
    """
    powers = _ops.pow(math.e, x - _ops.stop_gradient(x.max(-1, keepdims=True)))
    return powers / powers.sum(-1, keepdims=True)


class Softmax(nn.Cell):
    """The function `softmax` as a layer."""

    def construct(self, logits: ms.Tensor) -> ms.Tensor:
        """Return the softmax over the last axis of logits (..., n), in the same shape."""
        return softmax(logits)


def bmm(a: ms.Tensor, b: ms.Tensor) -> ms.Tensor:
    """Return the matrix products of two stacks, (B, n, m) and (B, m, k): (B, n, k)."""
    return _ops.bmm(a, b)


def split(x: ms.Tensor, parts: int, axis: int) -> tuple[ms.Tensor, ...]:
    """Split x into so many equal parts along an axis, whose length they must divide."""
    return _ops.split(x, x.shape[axis] // parts, axis)


def roll(x: ms.Tensor, shift: int) -> ms.Tensor:
    """Move x (N, H, W, C) down and right by `shift` pixels, cyclically; negative ones move it up and left."""
    # MindSpore's own roll has no CPU kernel.
    at = -shift % x.shape[1]
    x = _ops.concat([x[:, at:], x[:, :at]], 1)
    at = -shift % x.shape[2]
    return _ops.concat([x[:, :, at:], x[:, :, :at]], 2)


def to_windows(x: ms.Tensor, window: int) -> ms.Tensor:
    """Cut a map into windows, which are numbered row by row.

    Args:
        x: (N, H, W, C).
        window: pixels along the side of a window, which divides H and W.

    Returns:
        (N, windows, window^2, C).

    Raises:
        TunableError: for a map that does not divide into windows.
    """
    height, width, channels = x.shape[1:]
    _check_windows(height, width, window)
    rows, columns = height // window, width // window
    x = x.reshape(-1, rows, window, columns, window, channels)
    return x.swapaxes(2, 3).reshape(-1, rows * columns, window * window, channels)


def from_windows(x: ms.Tensor, window: int, height: int, width: int) -> ms.Tensor:
    """Undo `to_windows`: from x (N, windows, window^2, C) to (N, height, width, C)."""
    channels = x.shape[-1]
    x = x.reshape(-1, height // window, width // window, window, window, channels)
    return x.swapaxes(2, 3).reshape(-1, height, width, channels)


def relative_bias(table: ms.Tensor, window: int) -> ms.Tensor:
    """Return what the relative positions of two pixels of a window add to their attention (Swin).

    Args:
        table: (rows, heads), or (N, rows, heads) for one per sample; rows are (2 window - 1)^2.
        window: pixels along the side of a window.

    Returns:
        (N or 1, 1, heads, window^2, window^2).
    """
    rows = table.reshape((-1,) + table.shape[-2:])
    bias = _ops.gather(rows, _relative_position_index(window), 1).swapaxes(1, 2)
    return bias.reshape(-1, 1, table.shape[-1], window * window, window * window)


def shift_mask(x: ms.Tensor, window: int, shift: int) -> ms.Tensor:
    """Return what is added to attention in shifted windows: 0, or -100 between pixels from opposite borders.

    Args:
        x: the map, (N, H, W, C), already shifted.
        window: pixels along the side of a window.
        shift: pixels by which the map was shifted.

    Returns:
        (windows, 1, window^2, window^2), in the dtype of x.
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
