"""Convolutions and linear layers with aggregated kernels, in every form of tunable.forms, and the ordinary ones."""

import math

import mindspore as ms
import numpy as np
from mindspore import ops as _ops

from mindspore_impl.ops.device import device_in_use
from mindspore_impl.ops.kernels import aggregate, cast_like, exchanged, stacked
from tunable.forms import choose, kind_of


def conv(
    x: ms.Tensor,
    alpha: ms.Tensor | None,
    weight: ms.Tensor,
    bias: ms.Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    form: str,
) -> ms.Tensor:
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
    form = form_of(x, form, _per_sample(x, alpha, weight), _kind_of(weight.shape[-x.ndim :], groups, padding))
    if form == "matmul":
        y = _pointwise(x, _mixed(alpha, weight), stride, groups)
    elif form == "basis" and alpha is not None:
        k, out = weight.shape[:2]
        kernels, split = stacked(weight, groups, False), groups
        if groups > 1 and x.shape[1] == groups and x.ndim < 5:
            split = k * out  # repeated, its input stays depth-wise: Ascend runs no other groups
            x = _ops.gather(x, _repeated(groups, split // groups), 1)
        y = _weighed(_convolve(x, kernels, stride, padding, dilation, split), alpha, groups)
    else:
        kernel = _mixed(alpha, weight)
        if form == "shared":
            y = _convolve(x, kernel, stride, padding, dilation, groups)
        elif form == "loop":
            rows = []
            for n in range(x.shape[0]):
                rows.append(_convolve(x[n : n + 1], kernel[n], stride, padding, dilation, groups))
            y = _ops.concat(rows, 0)
        else:
            kernel = kernel.reshape((-1,) + kernel.shape[2:])
            y = _convolve(_as_channels(x), kernel, stride, padding, dilation, x.shape[0] * groups)
            if bias is not None:  # before the samples part: for channels there is the fast bias
                y = _add_bias(y, _mixed(alpha, bias).reshape(-1))
            return y.reshape((x.shape[0], -1) + y.shape[2:])
    if bias is None:
        return y
    if alpha is not None and alpha.ndim > 2:
        return with_bias(y, at_outputs(alpha, bias, x.ndim - 2))
    return _add_bias(y, _mixed(alpha, bias))


def conv_transpose(
    x: ms.Tensor,
    alpha: ms.Tensor | None,
    weight: ms.Tensor,
    bias: ms.Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    form: str,
) -> ms.Tensor:
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
    # MindSpore's own has no groups on Ascend, and takes no output padding in one dimension: an ordinary convolution
    # of the input with zeros between its pixels, kernels turned round, is the same on every device.
    dims = x.ndim - 2
    size = weight.shape[-dims:]
    x = _stuffed(x, stride)
    for axis in range(dims):
        before = dilation[axis] * (size[axis] - 1) - padding[axis]
        x = _padded(x, axis + 2, before, before + output_padding[axis])
    kernel = exchanged(_ops.flip(weight, tuple(range(-dims, 0))), groups, weight.ndim - dims - 2)
    form = "auto" if form == "matmul" else form
    return conv(x, alpha, kernel, bias, (1,) * dims, (0,) * dims, dilation, groups, form)


def _as_channels(x: ms.Tensor):
    """(N, C, ...) -> (1, N C, ...): every sample its own group of channels."""
    return x.reshape((1, x.shape[0] * x.shape[1]) + x.shape[2:])


def form_of(x: ms.Tensor, form: str, per_sample: bool, kind: str = "dense", differences: str = "full") -> str:
    """The form in which x is convolved on the device in use; the arguments are those of tunable.forms.choose."""
    return _choose(form, per_sample, device_in_use(), kind, differences)


@_ops.constexpr
def _choose(form: str, per_sample: bool, device: str, kind: str, differences: str):
    return choose(form, per_sample, device, kind, differences)


@_ops.constexpr
def _kind_of(kernel: tuple[int, ...], groups: int, padding: tuple[int, ...]):
    return kind_of(kernel, groups, padding)


def _per_sample(x: ms.Tensor, alpha: ms.Tensor | None, weight: ms.Tensor):
    return weight.ndim > x.ndim if alpha is None else alpha.ndim > 1


def _mixed(alpha: ms.Tensor | None, tensor: ms.Tensor):
    """Kernels or biases aggregated by alpha, or as they are where they have been."""
    return tensor if alpha is None else aggregate(alpha, tensor)


def _weighed(y: ms.Tensor, alpha: ms.Tensor, groups: int):
    """The alpha-weighted sum of the outputs of all kernels, channels ordered (group, kernel, out / group)."""
    # Kernel by kernel, not by one reshape: ONNX export knows no reshape to several sizes that it learns at run time.
    k = alpha.shape[1]
    out = y.shape[1] // k
    weights = _spread(cast_like(alpha, y), y.ndim - 2)
    total = 0
    for i in range(k):
        part = y[:, i * out : (i + 1) * out] if groups == 1 else _ops.gather(y, _channels_of(i, k, out, groups), 1)
        total = total + part * weights[:, i : i + 1]
    return total


def _pointwise(x: ms.Tensor, kernel: ms.Tensor, stride: tuple[int, ...], groups: int):
    """A convolution by single points: for every sample and group a matrix, (N g, out / g, C / g)."""
    for axis, step in enumerate(stride):
        x = _every(x, axis + 2, step)
    n, c = x.shape[:2]
    out = kernel.shape[1]
    kernel = kernel.reshape(n * groups, out // groups, c // groups)
    y = _ops.bmm(cast_like(kernel, x), x.reshape(n * groups, c // groups, -1))
    return y.reshape((n, out) + x.shape[2:])


def _add_bias(y: ms.Tensor, bias: ms.Tensor):
    """bias (out,) or (N, out)."""
    if bias.ndim == 1:
        return _ops.bias_add(y, cast_like(bias, y))  # on a CPU in half the time of a sum that broadcasts
    return y + cast_like(bias, y).reshape((-1, y.shape[1]) + (1,) * (y.ndim - 2))


def _convolve(
    x: ms.Tensor,
    kernel: ms.Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
):
    """An ordinary convolution: one dimension as a picture of one row, three as the taps of the first as channels."""
    kernel = cast_like(kernel, x)
    dims = kernel.ndim - 2
    if dims == 2:
        return _convolve2d(x, kernel, stride, padding, dilation, groups)
    if dims == 1:
        stride, padding, dilation = (1,) + tuple(stride), (0,) + tuple(padding), (1,) + tuple(dilation)
        x, kernel = _ops.expand_dims(x, 2), _ops.expand_dims(kernel, 2)
        return _convolve2d(x, kernel, stride, padding, dilation, groups).squeeze(2)
    # Conv3D has no groups on Ascend. Every tap of the kernel along the depth becomes a channel, every depth a picture.
    taps, step, gap = kernel.shape[2], stride[0], dilation[0]
    x = _padded(x, 2, padding[0], padding[0])
    n, c, depth = x.shape[:3]
    depth = (depth - gap * (taps - 1) - 1) // step + 1
    seen = []
    for tap in range(taps):
        first = tap * gap
        seen.append(_every(x[:, :, first : first + (depth - 1) * step + 1], 2, step))
    x = _ops.stack(seen, 2).transpose(0, 3, 1, 2, 4, 5).reshape((n * depth, c * taps) + x.shape[3:])
    kernel = kernel.reshape((kernel.shape[0], kernel.shape[1] * taps) + kernel.shape[3:])
    y = _convolve2d(x, kernel, stride[1:], padding[1:], dilation[1:], groups)
    return y.reshape((n, depth) + y.shape[1:]).swapaxes(1, 2)


def _convolve2d(
    x: ms.Tensor,
    kernel: ms.Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
):
    """An ordinary convolution. Ascend runs groups only when groups = channels in = channels out.

    There a convolution with one input channel per group repeats its input until it is depth-wise, and any
    other with groups is split into dense ones.
    """
    # ops.conv2d, not mint's (no CPU kernel), nor the primitive (its ONNX export fails on a computed kernel).
    # pad_mode must be said: its default differs from nn.Conv2d's.
    channels, out = x.shape[1], kernel.shape[0]
    ascend = device_in_use() == "ascend"
    if ascend and groups > 1 and channels == groups:
        if out != groups:
            x = _ops.gather(x, _repeated(groups, out // groups), 1)
        groups = out
    elif ascend and groups > 1:
        inputs, rows = channels // groups, out // groups
        parts = []
        for g in range(groups):
            part, filters = x[:, g * inputs : (g + 1) * inputs], kernel[g * rows : (g + 1) * rows]
            parts.append(_ops.conv2d(part, filters, None, stride, "pad", padding, dilation, 1))
        return _ops.concat(parts, 1)
    return _ops.conv2d(x, kernel, None, stride, "pad", padding, dilation, groups)


def _every(x: ms.Tensor, axis: int, step: int):
    """Every `step`-th entry along an axis, the first included."""
    # Not a slice with a step: its gradient dies on a CPU ("StridedSliceGrad ... memory out of bounds").
    if step == 1:
        return x
    x = _padded(x, axis, 0, -x.shape[axis] % step)
    before, size, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    x = x.reshape(before + (size // step, step) + after)
    return x[(slice(None),) * (axis + 1) + (0,)]


def _padded(x: ms.Tensor, axis: int, before: int, after: int):
    """Zeros before and after along an axis; negative numbers cut."""
    size = x.shape[axis]
    if before < 0 or after < 0:
        x = x[(slice(None),) * axis + (slice(max(-before, 0), size - max(-after, 0)),)]
    shape = x.shape
    parts = [x]
    if before > 0:
        parts = [_ops.zeros(shape[:axis] + (before,) + shape[axis + 1 :], x.dtype)] + parts
    if after > 0:
        parts = parts + [_ops.zeros(shape[:axis] + (after,) + shape[axis + 1 :], x.dtype)]
    return x if len(parts) == 1 else _ops.concat(parts, axis)


def _stuffed(x: ms.Tensor, stride: tuple[int, ...]):
    """`stride - 1` zeros between neighbours along every dimension."""
    for axis, step in enumerate(stride):
        if step > 1:
            shape = x.shape
            at = axis + 2
            spread = _padded(_ops.expand_dims(x, at + 1), at + 1, 0, step - 1)
            spread = spread.reshape(shape[:at] + (shape[at] * step,) + shape[at + 1 :])
            x = _padded(spread, at, 0, 1 - step)
    return x


def with_low_rank_outputs(y: ms.Tensor, features: ms.Tensor, alpha: ms.Tensor, up: ms.Tensor, groups: int) -> ms.Tensor:
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
    m, out, rank = up.shape
    ones = (1,) * (y.ndim - 2)
    weights = _ops.gather(cast_like(alpha, features), _weights_of(m, rank, groups), 1)
    points = up.swapaxes(0, 1).reshape((out, m * rank) + ones)
    none = (0,) * (y.ndim - 2)
    return y + _convolve(features * _spread(weights, y.ndim - 2), points, ones, none, ones, groups)


def with_scaled_outputs(y: ms.Tensor, alpha: ms.Tensor, gain: ms.Tensor) -> ms.Tensor:
    """Scale the output of the base kernel.

    Args:
        y: (N, out, *size).
        alpha: (N, 1 + m), or (N, 1 + m, *size).
        gain: (m, out).

    Returns:
        A tensor of the shape of y.
    """
    return y * cast_like(1 + at_outputs(alpha[:, 1:], gain, y.ndim - 2), y)


def with_bias(y: ms.Tensor, bias: ms.Tensor) -> ms.Tensor:
    """Add the bias of each sample or pixel: y (N, out, *size), bias (N, out), (N, out, 1, ...) or (N, out, *size)."""
    return y + cast_like(_spread(bias, y.ndim - 2), y)


def at_outputs(alpha: ms.Tensor, tensor: ms.Tensor, dims: int) -> ms.Tensor:
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
    ones = (1,) * dims
    points = tensor.swapaxes(0, 1).reshape((tensor.shape[1], tensor.shape[0]) + ones)
    return _convolve(cast_like(alpha, tensor), points, ones, (0,) * dims, ones, 1)


def _spread(rows: ms.Tensor, dims: int):
    """(N, C) as (N, C, 1, ...); what has axes of pixels already, as it is."""
    return rows.reshape((-1, rows.shape[1]) + (1,) * dims) if rows.ndim == 2 else rows


@_ops.constexpr
def _weights_of(m: int, rank: int, groups: int):
    """Which entry of alpha (1 + m,) weighs each of the features."""
    return ms.Tensor(np.tile(np.arange(1, 1 + m, dtype=np.int32).repeat(rank), groups))


def pad(x: ms.Tensor, padding: tuple[int, ...], mode: str) -> ms.Tensor:
    """Pad x (N, C, *size) with `padding` pixels at both ends of every dimension; mode is `reflect` or `replicate`."""
    for axis, size in enumerate(padding):
        if size:
            x = _ops.gather(x, _outside(x.shape[axis + 2], size, mode), axis + 2)
    return x


@_ops.constexpr
def _outside(size: int, padding: int, mode: str):
    """Which entries a padded axis holds. MindSpore's own reflection ends at two dimensions."""
    inside = np.arange(size, dtype=np.int32)
    return ms.Tensor(np.pad(inside, padding, "reflect" if mode == "reflect" else "edge"))


@_ops.constexpr
def _channels_of(kernel: int, k: int, out: ms.Tensor, groups: int):
    """Where the channels of one kernel stand among the channels of all kernels."""
    return ms.Tensor(np.arange(k * out, dtype=np.int32).reshape(groups, k, -1)[:, kernel].ravel())


@_ops.constexpr
def _number_in(sizes: tuple[int, ...]):
    return math.prod(sizes)


@_ops.constexpr
def _repeated(size: int, times: int):
    """Every entry of an axis `times` times."""
    return ms.Tensor(np.arange(size, dtype=np.int32).repeat(times))


def linear(x: ms.Tensor, alpha: ms.Tensor | None, weight: ms.Tensor, bias: ms.Tensor | None) -> ms.Tensor:
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
    kernel = cast_like(_mixed(alpha, weight), x)
    shape = (-1,) + x.shape[1:-1] + (weight.shape[-2],)
    if kernel.ndim == 2:
        y = _ops.matmul(x.reshape(-1, x.shape[-1]), kernel.swapaxes(0, 1))
        return (y if bias is None else _add_bias(y, _mixed(alpha, bias))).reshape(shape)
    y = _ops.bmm(x.reshape(-1, _number_in(x.shape[1:-1]), x.shape[-1]), kernel.swapaxes(1, 2))
    if bias is not None:
        y = y + _ops.expand_dims(cast_like(_mixed(alpha, bias), y), 1)
    return y.reshape(shape)
