"""What is done with single pixels and channels: activations, enlarging, borders, colours."""

import numpy as np
import torch
from torch.nn import functional

from torch_impl.ops.convolution import _reflection
from tunable.data.filters import band, waves


def gate(x: torch.Tensor) -> torch.Tensor:
    """Return the product of the two halves of the channels: (N, 2 C, H, W) -> (N, C, H, W) (NAFNet)."""
    first, second = x.chunk(2, 1)
    return first * second


def gelu(x: torch.Tensor) -> torch.Tensor:
    """Return the GELU of x, computed by the error function and not by tanh."""
    return functional.gelu(x, approximate="none")


def leaky_relu(x: torch.Tensor, slope: float) -> torch.Tensor:
    """Return x where it is positive and slope x elsewhere."""
    return functional.leaky_relu(x, slope)


def prelu(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Return x (N, C, H, W) where it is positive and slope x elsewhere; slope is (C,), (N, C) or of the shape of x."""
    if slope.ndim == 1:
        return functional.prelu(x, slope)
    return torch.where(x > 0, x, (slope[:, :, None, None] if slope.ndim == 2 else slope) * x)


def softplus(x: torch.Tensor) -> torch.Tensor:
    """Return log(1 + exp(x)), for any x."""
    return functional.softplus(x)


def max_pool_x2(x: torch.Tensor) -> torch.Tensor:
    """Return the largest of every 2x2 pixels: (N, C, H, W) -> (N, C, H // 2, W // 2)."""
    return functional.max_pool2d(x, 2)


def mean_pool(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Return the mean of every factor x factor pixels: (N, C, H, W) -> (N, C, H // factor, W // factor)."""
    return functional.avg_pool2d(x, factor)


def pixel_shuffle(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Make pixels of channels: (N, C factor^2, H, W) -> (N, C, factor H, factor W).

    Channel c factor^2 + i factor + j of the input is the pixel (i, j) of every factor x factor block of channel c.
    """
    return functional.pixel_shuffle(x, factor)


def nearest(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Repeat every pixel factor times down and across: (N, C, H, W) -> (N, C, factor H, factor W)."""
    n, c, height, width = x.shape
    x = x[:, :, :, None, :, None].expand(n, c, height, factor, width, factor)
    return x.reshape(n, c, factor * height, factor * width)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Move the channels to the last axis: (N, C, ...) -> (N, ..., C)."""
    return x.movedim(1, -1)


def channels_first(x: torch.Tensor) -> torch.Tensor:
    """Move the channels to the second axis: (N, ..., C) -> (N, C, ...)."""
    return x.movedim(-1, 1)


def pad_to_multiple(x: torch.Tensor, multiple: int, mode: str) -> torch.Tensor:
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
        target = (size + multiple - 1) // multiple * multiple
        if not isinstance(size, torch.SymInt) and target == size:  # a graph for any size has no such branch
            continue
        if mode == "reflect":
            x = x.index_select(axis, _reflection(size, 0, target - size, x.device))
        elif mode == "replicate":
            x = x.index_select(axis, torch.arange(target, device=x.device).clamp(max=size - 1))
        else:
            x = functional.pad(x, (0, target - size) if axis == 3 else (0, 0, 0, target - size))
    return x


def shift_colours(x: torch.Tensor, colour: tuple[float, ...], sign: int) -> torch.Tensor:
    """Add a colour, times `sign`, to every pixel of x (N, C, H, W); it has C values."""
    return x + sign * torch.tensor(colour, dtype=x.dtype, device=x.device)[:, None, None]


def scale_colours(x: torch.Tensor, colour: tuple[float, ...], sign: int) -> torch.Tensor:
    """Multiply (`sign` 1) or divide (`sign` -1) every pixel of x (N, C, H, W) by a colour, which has C values."""
    factor = torch.tensor(colour, dtype=x.dtype, device=x.device)[:, None, None]
    return x * factor if sign > 0 else x / factor


def mix_colours(x: torch.Tensor, rows: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    """Return weighted sums of the channels: x (N, C, H, W), rows of C weights -> (N, len(rows), H, W)."""
    return torch.einsum("rc,nchw->nrhw", x.new_tensor(rows), x)


def filtered(x: torch.Tensor, taps: tuple[float, ...]) -> torch.Tensor:
    """Compute weighted sums of neighbours along one axis after the other, where they lie inside.

    Args:
        x: (N, C, H, W).
        taps: k weights, the same along both axes.

    Returns:
        (N, C, H - k + 1, W - k + 1).
    """
    height, width = x.shape[2:]
    x = x @ _constant(band(taps, width), x)
    return (x.mT @ _constant(band(taps, height), x)).mT


def spectrum(x: torch.Tensor) -> torch.Tensor:
    """Compute the orthonormal Fourier transform of real numbers, as numpy's rfft2 in `ortho`, turned on its side.

    By products of real numbers: complex ones are not compiled by torch, and hardly run on Ascend.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, 2 C, W // 2 + 1, H): all real parts, then all imaginary ones.
    """
    height, width = x.shape[2:]
    kept = width // 2 + 1
    seen = (x @ _constant(waves(width, kept), x)).mT @ _constant(waves(height, height), x)
    cosines, sines = seen[:, :, :kept], seen[:, :, kept:]
    real = cosines[..., :height] - sines[..., height:]
    imaginary = -cosines[..., height:] - sines[..., :height]
    return torch.cat([real, imaginary], 1)


def _constant(matrix: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(matrix, dtype=like.dtype, device=like.device)
