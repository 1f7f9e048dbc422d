"""Convolutions and linear layers with aggregated kernels, in every form of tunable.forms, and the ordinary ones."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from torch_impl.ops.kernels import aggregate
from tunable.forms import choose, kind_of

# The framework's own layers with a weight and a bias that are started as kernels.
ORDINARY = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def conv(
    x: torch.Tensor,
    alpha: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    form: str,
) -> torch.Tensor:
    """Convolve in one to three dimensions with kernels aggregated by alpha (Eqs. 3, 5).

    Args:
        x: (N, C, *size).
        alpha: (k,): one kernel for the batch; (N, k): one per sample.
        weight: (k, out, C / groups, *kernel size).
        bias: (k, out) or None.
        stride: one integer per dimension.
        padding: zeros added on both sides, one integer per dimension.
        dilation: one integer per dimension.
        groups: parts of the channels that do not see each other.
        form: one of tunable.forms.FORMS.

    Returns:
        (N, out, *size').
    """
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[weight.ndim - 4]
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    form = choose(form, alpha.ndim == 2, x.device.type, kind_of(weight.shape[1:], groups, padding))
    if form == "matmul":
        return _pointwise(x, alpha, weight, bias, stride, groups)
    if form == "basis":
        k, out = weight.shape[:2]
        stacked = weight.unflatten(1, (groups, out // groups)).transpose(0, 1).flatten(0, 2)
        split = groups
        if groups > 1 and x.shape[1] == groups:  # repeated, its input stays depth-wise: Ascend runs no other groups
            split = len(stacked)
            x = x.repeat_interleave(split // groups, 1)
        return _basis(run, x, alpha, stacked, bias, k, groups, {"groups": split, **options})
    return _aggregated(run, x, alpha, weight, bias, groups, options, form)


def conv_transpose(
    x: torch.Tensor,
    alpha: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    form: str,
) -> torch.Tensor:
    """Convolve, transposed, in one to three dimensions with kernels aggregated by alpha (Eqs. 3, 5).

    Args:
        x, alpha, bias, stride, dilation, groups: as for `conv`.
        weight: (k, C, out / groups, *kernel size).
        padding: pixels of the output cut off on both sides, one integer per dimension.
        output_padding: pixels added at the end, one integer per dimension.
        form: one of tunable.forms.FORMS; `matmul` means `auto`, for a point-wise kernel is not special here.

    Returns:
        (N, out, *size'), size' = (size - 1) stride - 2 padding + dilation (kernel size - 1) + output_padding + 1.
    """
    run = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[weight.ndim - 4]
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    form = choose(form, alpha.ndim == 2, x.device.type)
    if form == "basis":
        stacked = weight.movedim(0, 1).flatten(1, 2)
        return _basis(run, x, alpha, stacked, bias, len(weight), groups, {"groups": groups, **options})
    return _aggregated(run, x, alpha, weight, bias, groups, options, form)


def _aggregated(
    run: Callable[..., torch.Tensor],
    x: torch.Tensor,
    alpha: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    groups: int,
    options: dict[str, Any],
    form: str,
):
    """Kernels first, then one ordinary convolution (`shared`), one with N groups or N of them."""
    kernel = aggregate(alpha, weight)
    offset = None if bias is None else aggregate(alpha, bias)
    if form == "shared":
        return run(x, kernel, offset, groups=groups, **options)
    if form == "loop":
        rows = [
            run(x[n : n + 1], kernel[n], None if offset is None else offset[n], groups=groups, **options)
            for n in range(len(x))
        ]
        return torch.cat(rows)
    n = len(x)
    offset = None if offset is None else offset.flatten()
    y = run(x.flatten(0, 1)[None], kernel.flatten(0, 1), offset, groups=n * groups, **options)
    return y.reshape(n, -1, *y.shape[2:])


def _basis(
    run: Callable[..., torch.Tensor],
    x: torch.Tensor,
    alpha: torch.Tensor,
    stacked: torch.Tensor,
    bias: torch.Tensor | None,
    k: int,
    groups: int,
    options: dict[str, Any],
):
    """All k kernels, their outputs ordered (group, kernel, out / group) so that the groups stay; then the sum."""
    y = run(x, stacked, **options)
    mix = alpha.reshape(alpha.shape[0], 1, k, *[1] * (y.ndim - 1))
    y = (y.unflatten(1, (groups, k, -1)) * mix).sum(2).flatten(1, 2)
    return y if bias is None else y + aggregate(alpha, bias).reshape(alpha.shape[0], -1, *[1] * (y.ndim - 2))


def _pointwise(
    x: torch.Tensor,
    alpha: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: tuple[int, ...],
    groups: int,
):
    """A convolution by single points: for every sample and group a matrix, (N g, out / g, C / g)."""
    x = x[(..., *(slice(None, None, step) for step in stride))]
    (n, c, *size), out = x.shape, weight.shape[1]
    kernel = aggregate(alpha, weight).reshape(n * groups, out // groups, c // groups)
    offset = None if bias is None else aggregate(alpha, bias).reshape(n * groups, -1, 1)
    return _products(kernel, x.reshape(n * groups, c // groups, -1), offset).reshape(n, out, *size)


def _products(a: torch.Tensor, b: torch.Tensor, offset: torch.Tensor | None):
    """a @ b + offset of stacks of matrices, offset broadcast, or None. Added later it costs two fifths more."""
    return torch.bmm(a, b) if offset is None else torch.baddbmm(offset, a, b)


def pad(x: torch.Tensor, padding: tuple[int, ...], mode: str) -> torch.Tensor:
    """Pad x (N, C, *size) with `padding` pixels at both ends of every dimension; mode is `reflect` or `replicate`."""
    return functional.pad(x, [side for size in reversed(padding) for side in (size, size)], mode)


def ordinary_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, ...],
    *,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    bias: bool,
    padding_mode: str = "zeros",
    output_padding: tuple[int, ...] | None = None,
) -> nn.Module:
    """Make an ordinary convolution, the framework's own layer, with its starting weights.

    Tuples hold one number per dimension, of which there are one to three. The convolution is a transposed one where
    output_padding is given; its `padding` is cut off the output.
    """
    dims = len(kernel_size)
    options: dict[str, Any] = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "bias": bias,
    }
    if output_padding is None:
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
        options["padding_mode"] = padding_mode
    else:
        kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
        options["output_padding"] = output_padding
    return kind(in_channels, out_channels, **options)


def linear(x: torch.Tensor, alpha: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Apply a linear layer with kernels aggregated by alpha (Eq. 3).

    Kernels that differ from sample to sample run as one batched matrix product.

    Args:
        x: (N, ..., in).
        alpha: (k,): one kernel for the batch; (N, k): one per sample.
        weight: (k, out, in).
        bias: (k, out) or None.

    Returns:
        (N, ..., out).
    """
    kernel = aggregate(alpha, weight)
    offset = None if bias is None else aggregate(alpha, bias)
    if alpha.ndim == 1:
        return functional.linear(x, kernel, offset)
    offset = None if offset is None else offset[:, None]
    return _products(x.reshape(x.shape[0], -1, x.shape[-1]), kernel.mT, offset).reshape(*x.shape[:-1], -1)
