"""Convolutions and linear layers with aggregated kernels, in every form of tunable.forms, and the ordinary ones."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from torch_impl.ops.kernels import aggregate, no_autocast, stacked
from tunable.forms import choose, kind_of


def conv(
    x: torch.Tensor,
    alpha: torch.Tensor | None,
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
        alpha: (k,): one kernel for the batch; (N, k): one per sample; (N, k, *size'): one per pixel of the output, in
            form `basis`; None: kernels are aggregated already, and weight and bias have no axis of kernels, but one of
            samples where each sample has its own.
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
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[x.ndim - 3]
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    form = form_of(x, form, _per_sample(x, alpha, weight), kind_of(weight.shape[-x.ndim :], groups, padding))
    if form == "matmul":
        return _pointwise(x, _mixed(alpha, weight), _mixed(alpha, bias), stride, groups)
    if form == "basis" and alpha is not None:
        k, kernels = len(weight), stacked(weight, groups, transposed=False)
        split = groups
        if groups > 1 and x.shape[1] == groups:  # repeated, its input stays depth-wise: Ascend runs no other groups
            split = len(kernels)
            x = x.repeat_interleave(split // groups, 1)
        return _basis(run, x, alpha, kernels, bias, k, groups, {"groups": split, **options})
    return _aggregated(run, x, _mixed(alpha, weight), _mixed(alpha, bias), groups, options, form)


def conv_transpose(
    x: torch.Tensor,
    alpha: torch.Tensor | None,
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
    run = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[x.ndim - 3]
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    form = form_of(x, form, _per_sample(x, alpha, weight))
    if form == "basis" and alpha is not None:
        kernels = stacked(weight, groups, transposed=True)
        return _basis(run, x, alpha, kernels, bias, len(weight), groups, {"groups": groups, **options})
    return _aggregated(run, x, _mixed(alpha, weight), _mixed(alpha, bias), groups, options, form)


def form_of(x: torch.Tensor, form: str, per_sample: bool, kind: str = "dense", differences: str = "full") -> str:
    """The form in which x is convolved where it is; the arguments are those of tunable.forms.choose."""
    return choose(form, per_sample, x.device.type, kind, differences)


def _per_sample(x: torch.Tensor, alpha: torch.Tensor | None, weight: torch.Tensor) -> bool:
    return weight.ndim > x.ndim if alpha is None else alpha.ndim > 1


def _mixed(alpha: torch.Tensor | None, tensor: torch.Tensor | None) -> Any:
    """Kernels or biases aggregated by alpha, or as they are where they have been."""
    return tensor if alpha is None or tensor is None else aggregate(alpha, tensor)


def _aggregated(
    run: Callable[..., torch.Tensor],
    x: torch.Tensor,
    kernel: torch.Tensor,
    offset: torch.Tensor | None,
    groups: int,
    options: dict[str, Any],
    form: str,
):
    """One ordinary convolution (`shared`) with aggregated kernels, one with N groups, or N of them."""
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
    kernels: torch.Tensor,
    bias: torch.Tensor | None,
    k: int,
    groups: int,
    options: dict[str, Any],
):
    """All k kernels, their outputs ordered (group, kernel, out / group) so that the groups stay; then the sum."""
    y = run(x, kernels, **options)
    mix = _spread(alpha, y.ndim - 2)[:, None, :, None]
    y = (y.unflatten(1, (groups, k, -1)) * mix).sum(2).flatten(1, 2)
    return y if bias is None else with_bias(y, at_outputs(alpha, bias, y.ndim - 2))


def _pointwise(
    x: torch.Tensor,
    kernel: torch.Tensor,
    offset: torch.Tensor | None,
    stride: tuple[int, ...],
    groups: int,
):
    """A convolution by single points: for every sample and group a matrix, (N g, out / g, C / g)."""
    x = x[(..., *(slice(None, None, step) for step in stride))]
    (n, c, *size), out = x.shape, kernel.shape[1]
    kernel = kernel.reshape(n * groups, out // groups, c // groups)
    offset = None if offset is None else offset.reshape(n * groups, -1, 1)
    return _products(kernel, x.reshape(n * groups, c // groups, -1), offset).reshape(n, out, *size)


def _products(a: torch.Tensor, b: torch.Tensor, offset: torch.Tensor | None):
    """a @ b + offset of stacks of matrices, offset broadcast, or None. Added later it costs two fifths more."""
    return torch.bmm(a, b) if offset is None else torch.baddbmm(offset, a, b)


def with_low_rank_outputs(
    y: torch.Tensor, features: torch.Tensor, alpha: torch.Tensor, up: torch.Tensor, groups: int
) -> torch.Tensor:
    """Add differences of low rank to the output of the base kernel, for every sample or pixel its own.

    Args:
        y: (N, out, *size), what the base kernel computes.
        features: (N, groups m rank, *size), what the kernels A_j compute, ordered (group, j, rank).
        alpha: (N, 1 + m), or (N, 1 + m, *size).
        up: (m, out, rank), the points B_j.
        groups: parts of the channels that do not see each other.

    Returns:
        (N, out, *size): y + sum_j alpha_j B_j A_j.
    """
    rank, dims = up.shape[2], y.ndim - 2
    weights = torch.cat([alpha[:, 1:].repeat_interleave(rank, 1)] * groups, 1)
    points = up.movedim(0, 1).flatten(1).unflatten(1, (-1, *[1] * dims))
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1]
    return y + run(features * _spread(weights, dims), points, groups=groups)


def with_scaled_outputs(y: torch.Tensor, alpha: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Scale the output of the base kernel.

    Args:
        y: (N, out, *size).
        alpha: (N, 1 + m), or (N, 1 + m, *size).
        gain: (m, out).

    Returns:
        A tensor of the shape of y.
    """
    return y * (1 + at_outputs(alpha[:, 1:], gain, y.ndim - 2))


def with_bias(y: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Add the bias of each sample or pixel: y (N, out, *size), bias (N, out), (N, out, 1, ...) or (N, out, *size)."""
    return y + _spread(bias, y.ndim - 2)


def at_outputs(alpha: torch.Tensor, tensor: torch.Tensor, dims: int) -> torch.Tensor:
    """Sum_i alpha_i tensor[i], one number for every channel of each sample or pixel.

    Args:
        alpha: (N, k), or (N, k, *size).
        tensor: (k, C).
        dims: how many axes of pixels the result has.

    Returns:
        (N, C, 1, ...), or (N, C, *size).
    """
    if alpha.ndim == 2:
        return _spread(aggregate(alpha, tensor), dims)
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1]
    with no_autocast(tensor):
        return run(alpha, tensor.T.unflatten(1, (-1, *[1] * dims)))


def _spread(rows: torch.Tensor, dims: int) -> torch.Tensor:
    """(N, C) as (N, C, 1, ...); what has axes of pixels already, as it is."""
    return rows.unflatten(1, (-1, *[1] * dims)) if rows.ndim == 2 else rows


def pad(x: torch.Tensor, padding: tuple[int, ...], mode: str) -> torch.Tensor:
    """Pad x (N, C, *size) with `padding` pixels at both ends of every dimension; mode is `reflect` or `replicate`.

    Reflection goes however far, there and back again, as numpy's does; PyTorch's own ends at one pixel less than x has.
    """
    left = list(padding)
    for axis, added in enumerate(padding):
        size = x.shape[axis + 2]
        if mode == "reflect" and added and (isinstance(size, torch.SymInt) or added >= size):
            x, left[axis] = x.index_select(axis + 2, _reflection(size, added, added, x.device)), 0
    return functional.pad(x, [side for size in reversed(left) for side in (size, size)], mode) if any(left) else x


def _reflection(size: int, before: int, after: int, device: torch.device) -> torch.Tensor:
    """Return what tunable.windows.reflected(size, before, after) is, in a graph for any size too."""
    last = torch.arange(size, device=device)[-1:]
    index = (torch.arange(size + before + after, device=device) - before).abs() % (2 * last).clamp(min=1)
    return torch.minimum(index, 2 * last - index)


def linear(
    x: torch.Tensor, alpha: torch.Tensor | None, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Apply a linear layer with kernels aggregated by alpha (Eq. 3).

    Kernels that differ from sample to sample run as one batched matrix product.

    Args:
        x: (N, ..., in).
        alpha: (k,): one kernel for the batch; (N, k): one per sample; None: kernels are aggregated already, as in
            `conv`.
        weight: (k, out, in).
        bias: (k, out) or None.

    Returns:
        (N, ..., out).
    """
    kernel, offset = _mixed(alpha, weight), _mixed(alpha, bias)
    if kernel.ndim == 2:
        return functional.linear(x, kernel, offset)
    offset = None if offset is None else offset[:, None]
    return _products(x.reshape(x.shape[0], -1, x.shape[-1]), kernel.mT, offset).reshape(*x.shape[:-1], -1)
