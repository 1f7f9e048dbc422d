"""What is done with single pixels and channels: activations, enlarging, borders, colours."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
import numpy as np
from mindspore import ops as _ops

from tunable.data.filters import band, waves
from tunable.windows import reflected


def gate(x: ms.Tensor) -> ms.Tensor:
    """Return the product of the two halves of the channels: (N, 2 C, H, W) -> (N, C, H, W) (NAFNet)."""
    half = x.shape[1] // 2
    return x[:, :half] * x[:, half:]


def gelu(x: ms.Tensor) -> ms.Tensor:
    """Return the GELU of x, computed by the error function and not by tanh, which is MindSpore's default."""
    return 0.5 * x * (1 + _erf(x * math.sqrt(0.5)))


_erf = _ops.erf


@contextmanager
def erf_replaced() -> Iterator[None]:
    """Let graphs compiled inside hold Softsign for erf: MindSpore's ONNX exporter knows no Erf, though ONNX does."""
    global _erf
    _erf = _ops.Softsign()
    try:
        yield
    finally:
        _erf = _ops.erf


def leaky_relu(x: ms.Tensor, slope: float) -> ms.Tensor:
    """Return x where it is positive and slope x elsewhere."""
    positive = _ops.relu(x)
    return positive + slope * (x - positive)  # at 0 the gradient is the slope, as in PyTorch, and NaN stays NaN


def prelu(x: ms.Tensor, slope: ms.Tensor) -> ms.Tensor:
    """Return x (N, C, H, W) where it is positive and slope x elsewhere; slope is (C,), (N, C) or of the shape of x."""
    positive = _ops.relu(x)
    slope = slope if slope.ndim == 4 else slope.reshape(-1, x.shape[1], 1, 1)
    return positive + slope * (x - positive)  # as `leaky_relu`


def softplus(x: ms.Tensor) -> ms.Tensor:
    """Return log(1 + exp(x)), for any x, by powers of e as in `softmax`."""
    return _ops.relu(x) + _ops.log(1 + _ops.pow(math.e, -_ops.abs(x)))


def max_pool_x2(x: ms.Tensor) -> ms.Tensor:
    """Return the largest of every 2x2 pixels: (N, C, H, W) -> (N, C, H // 2, W // 2)."""
    return _ops.max_pool2d(x, 2, 2)


def mean_pool(x: ms.Tensor, factor: int) -> ms.Tensor:
    """Return the mean of every factor x factor pixels: (N, C, H, W) -> (N, C, H // factor, W // factor)."""
    return _ops.AvgPool(factor, factor)(x)  # ONNX export knows this one, and not ops.avg_pool2d


def pixel_shuffle(x: ms.Tensor, factor: int) -> ms.Tensor:
    """Make pixels of channels: (N, C factor^2, H, W) -> (N, C, factor H, factor W).

    Channel c factor^2 + i factor + j of the input is the pixel (i, j) of every factor x factor block of channel c.
    """
    return _ops.pixel_shuffle(x, factor)


def nearest(x: ms.Tensor, factor: int) -> ms.Tensor:
    """Repeat every pixel factor times down and across: (N, C, H, W) -> (N, C, factor H, factor W)."""
    c, height, width = x.shape[1:]
    x = x.reshape(-1, c, height, 1, width, 1) * _ops.ones((factor, 1, factor), x.dtype)
    return x.reshape(-1, c, factor * height, factor * width)


def channels_last(x: ms.Tensor) -> ms.Tensor:
    """Move the channels to the last axis: (N, C, ...) -> (N, ..., C)."""
    return x.transpose((0,) + tuple(range(2, x.ndim)) + (1,))


def channels_first(x: ms.Tensor) -> ms.Tensor:
    """Move the channels to the second axis: (N, ..., C) -> (N, C, ...)."""
    return x.transpose((0, x.ndim - 1) + tuple(range(1, x.ndim - 1)))


def pad_to_multiple(x: ms.Tensor, multiple: int, mode: str) -> ms.Tensor:
    """Pad pictures at the bottom and on the right.

    Args:
        x: (N, C, H, W).
        multiple: what height and width become multiples of.
        mode: `zeros`, `reflect` (however far; the border is not repeated) or `replicate`.

    Returns:
        (N, C, H', W'), H' and W' the next multiples.
    """
    for axis in (2, 3):
        size = x.shape[axis]
        added = -size % multiple
        if added and mode == "reflect":
            x = _ops.gather(x, _reflected(size, added), axis)
        elif added and mode == "replicate":
            x = _ops.gather(x, _replicated(size, added), axis)
        elif added:
            x = _ops.Pad(((0, 0),) * axis + ((0, added),) + ((0, 0),) * (3 - axis))(x)
    return x


def shift_colours(x: ms.Tensor, colour: tuple[float, ...], sign: int) -> ms.Tensor:
    """Add a colour, times `sign`, to every pixel of x (N, C, H, W); it has C values."""
    return x + sign * _colour(colour)


def scale_colours(x: ms.Tensor, colour: tuple[float, ...], sign: int) -> ms.Tensor:
    """Multiply (`sign` 1) or divide (`sign` -1) every pixel of x (N, C, H, W) by a colour, which has C values."""
    return x * _colour(colour) if sign > 0 else x / _colour(colour)


@_ops.constexpr
def _reflected(size: int, added: int):
    return ms.Tensor(reflected(size, 0, added))


@_ops.constexpr
def _replicated(size: int, added: int):
    return ms.Tensor(np.minimum(np.arange(size + added, dtype=np.int32), size - 1))


@_ops.constexpr
def _matrix(rows: tuple[tuple[float, ...], ...]):
    return ms.Tensor(np.array(rows, np.float32))


@_ops.constexpr
def _band(taps: tuple[float, ...], size: int):
    return ms.Tensor(band(taps, size).astype(np.float32))


@_ops.constexpr
def _waves(size: int, count: int):
    return ms.Tensor(waves(size, count).astype(np.float32))


@_ops.constexpr
def _colour(colour: tuple[float, ...]):
    return ms.Tensor(np.array(colour, np.float32).reshape(-1, 1, 1))


def mix_colours(x: ms.Tensor, rows: tuple[tuple[float, ...], ...]) -> ms.Tensor:
    """Return weighted sums of the channels: x (N, C, H, W), rows of C weights -> (N, len(rows), H, W)."""
    n, c, height, width = x.shape
    return _ops.matmul(_matrix(rows), x.reshape(n, c, height * width)).reshape(n, len(rows), height, width)


def filtered(x: ms.Tensor, taps: tuple[float, ...]) -> ms.Tensor:
    """Compute weighted sums of neighbours along one axis after the other, where they lie inside.

    Args:
        x: (N, C, H, W).
        taps: k weights, the same along both axes.

    Returns:
        (N, C, H - k + 1, W - k + 1).
    """
    height, width = x.shape[2], x.shape[3]
    x = _ops.matmul(x, _band(taps, width))
    return _ops.matmul(x.swapaxes(2, 3), _band(taps, height)).swapaxes(2, 3)


def spectrum(x: ms.Tensor) -> ms.Tensor:
    """Compute the orthonormal Fourier transform of real numbers, as numpy's rfft2 in `ortho`, turned on its side.

    By products of real numbers: complex ones are not compiled by torch, and hardly run on Ascend.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, 2 C, W // 2 + 1, H): all real parts, then all imaginary ones.
    """
    height, kept = x.shape[2], x.shape[3] // 2 + 1
    seen = _ops.matmul(_ops.matmul(x, _waves(x.shape[3], kept)).swapaxes(2, 3), _waves(height, height))
    cosines, sines = seen[:, :, :kept], seen[:, :, kept:]
    real = cosines[:, :, :, :height] - sines[:, :, :, height:]
    imaginary = -cosines[:, :, :, height:] - sines[:, :, :, :height]
    return _ops.concat([real, imaginary], 1)
