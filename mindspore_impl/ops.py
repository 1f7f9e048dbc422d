"""Everything peculiar to MindSpore, and nothing else of the project (DESIGN, "Layout").

Aggregation of kernels (Eq. 3), the layers' arithmetic in every form of tunable_core.forms, and what must be set
before MindSpore is imported.
"""

import math
import os
import sys
import threading
from contextlib import contextmanager

if "mindspore" not in sys.modules:
    # On AVX-512 machines oneDNN, as MindSpore builds it, falls back to its reference convolution, some
    # 60 times slower than its AVX2 one. It reads this once; a value that the user has set stays.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    # Warnings about the platform on every import and compilation would drown ours: errors only.
    os.environ.setdefault("GLOG_v", "3")

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore import ops as _ops
from mindspore.common.api import _cell_graph_executor, _pynative_executor

from tunable_core.errors import BackendError
from tunable_core.forms import choose, kind_of
from tunable_core.windows import check_windows, reflected, relative_position_index, shift_regions

_TARGETS = {"cpu": "CPU", "ascend": "Ascend", "gpu": "GPU"}
MOST_SIZES, MOST_PIXELS = 8, 2**20  # of inputs for which MindSpore may keep what it has prepared
_MODES = {"graph": ms.GRAPH_MODE, "pynative": ms.PYNATIVE_MODE}


def fresh_seed() -> int:
    """A seed from the framework's own generator, for layers built by hand (mindspore.set_seed governs it)."""
    return int(_ops.randint(0, 2**31 - 1, (1,)).asnumpy()[0])


def aggregate(alpha: ms.Tensor, tensor: ms.Tensor) -> ms.Tensor:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape).

    In the tensor's dtype: where the input of a layer is float16, its kernels are cast once, after they are summed.
    """
    rows = _like(alpha, tensor).reshape(-1, alpha.shape[-1])
    samples = () if alpha.ndim == 1 else (-1,)
    return _product(rows, tensor.reshape(tensor.shape[0], -1)).reshape(samples + tensor.shape[1:])


def displaced(base: ms.Tensor, alpha: ms.Tensor, differences: ms.Tensor) -> ms.Tensor:
    """base + sum_i alpha_i differences[i]: base (*shape), alpha (k,), differences (k, *shape) -> (*shape)."""
    return base + aggregate(alpha, differences)


def low_rank(alpha: ms.Tensor, up: ms.Tensor, down: ms.Tensor) -> ms.Tensor:
    """Sum_i alpha_i up[i] down[i]: alpha (k,), up (k, rows, rank), down (k, rank, columns) -> (rows, columns)."""
    scaled = (up * _like(alpha, up).reshape(-1, 1, 1)).swapaxes(0, 1)
    return _product(scaled.reshape(up.shape[1], -1), down.reshape(-1, down.shape[2]))


def affine(omega: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor) -> ms.Tensor:
    """weight omega + bias: omega (p,) or (N, p), weight (q, p), bias (q,); not by a product that `auto` would cast."""
    return (_ops.expand_dims(omega, -2) * weight).sum(-1) + bias


def _product(a, b):
    """a @ b of two matrices, in their own dtype."""
    product = _ops.matmul(a, b)
    if product.dtype == b.dtype:  # known when a graph is compiled, which then holds one of the two ways
        return product
    # Mixed precision `auto` casts matrix products, in graphs and out of them; products and sums of numbers it leaves.
    columns, rows, total = _ops.unstack(a, 1), _ops.unstack(b, 0), 0
    for i in range(b.shape[0]):
        total = total + _ops.expand_dims(columns[i], 1) * rows[i]
    return total


def conv(x, alpha, weight, bias, stride, padding, dilation, groups, form):
    """A convolution of one to three dimensions with kernels aggregated by alpha.

    x       (N, C, *size)
    alpha   (k,): one kernel for the batch; (N, k): one per sample
    weight  (k, out, C / groups, *kernel size); bias (k, out) or None
    stride, padding (zeros), dilation: one integer per dimension
    form    one of tunable_core.forms.FORMS
    """
    form = _choose(form, alpha.ndim == 2, _device_in_use(), weight.shape[1:], groups, padding)
    k, out = weight.shape[:2]
    if form == "matmul":
        y = _pointwise(x, alpha, weight, stride, groups)
    elif form == "basis":
        stacked = weight.reshape((k, groups, out // groups) + weight.shape[2:])
        stacked = stacked.swapaxes(0, 1).reshape((k * out,) + weight.shape[2:])
        split = groups
        if groups > 1 and x.shape[1] == groups and x.ndim < 5:
            split = k * out  # repeated, its input stays depth-wise: Ascend runs no other groups
            x = _ops.gather(x, _repeated(groups, split // groups), 1)
        y = _mixed(_convolve(x, stacked, stride, padding, dilation, split), alpha, groups)
    else:
        kernel = aggregate(alpha, weight)
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
                y = _add_bias(y, aggregate(alpha, bias).reshape(-1))
            return y.reshape((x.shape[0], -1) + y.shape[2:])
    return y if bias is None else _add_bias(y, aggregate(alpha, bias))


def conv_transpose(x, alpha, weight, bias, stride, padding, output_padding, dilation, groups, form):
    """A transposed convolution of one to three dimensions with kernels aggregated by alpha.

    weight  (k, C, out / groups, *kernel size); output_padding: rows added at the end of every dimension
    The others as for `conv`; a point-wise kernel is not special, `matmul` means `auto`.
    """
    # MindSpore's own has no groups on Ascend, and takes no output padding in one dimension: an ordinary convolution
    # of the input with zeros between its pixels, kernels turned round, is the same on every device.
    size = weight.shape[3:]
    dims = len(size)
    x = _stuffed(x, stride)
    for axis in range(dims):
        before = dilation[axis] * (size[axis] - 1) - padding[axis]
        x = _padded(x, axis + 2, before, before + output_padding[axis])
    kernel = _ops.flip(weight, tuple(range(3, 3 + dims)))
    k, channels, out = weight.shape[0], weight.shape[1], weight.shape[2]
    kernel = kernel.reshape((k, groups, channels // groups, out) + size).swapaxes(2, 3)
    kernel = kernel.reshape((k, groups * out, channels // groups) + size)
    form = "auto" if form == "matmul" else form
    return conv(x, alpha, kernel, bias, (1,) * dims, (0,) * dims, dilation, groups, form)


def _like(tensor, other):
    """The tensor in the dtype of another."""
    return tensor if tensor.dtype == other.dtype else tensor.astype(other.dtype)


def _as_channels(x):
    """(N, C, ...) -> (1, N C, ...): every sample its own group of channels."""
    return x.reshape((1, x.shape[0] * x.shape[1]) + x.shape[2:])


def _mixed(y, alpha, groups):
    """The alpha-weighted sum of the outputs of all kernels, channels ordered (group, kernel, out / group)."""
    # Kernel by kernel, not by one reshape: ONNX export knows no reshape to several sizes that it learns at run time.
    k = alpha.shape[1]
    out = y.shape[1] // k
    ones = (1,) * (y.ndim - 1)
    total = 0
    for i in range(k):
        own = y[:, i * out : (i + 1) * out] if groups == 1 else _ops.gather(y, _channels_of(i, k, out, groups), 1)
        total = total + own * expanded(_like(alpha, own)[:, i].reshape((-1,) + ones), own)
    return total


def _pointwise(x, alpha, weight, stride, groups):
    """A convolution by single points: for every sample and group a matrix, (N g, out / g, C / g)."""
    for axis, step in enumerate(stride):
        x = _every(x, axis + 2, step)
    n, c = x.shape[:2]
    kernel = aggregate(alpha, weight).reshape(n * groups, weight.shape[1] // groups, c // groups)
    y = _ops.bmm(_like(kernel, x), x.reshape(n * groups, c // groups, -1))
    return y.reshape((n, weight.shape[1]) + x.shape[2:])


def _add_bias(y, bias):
    """bias (out,) or (N, out)."""
    if bias.ndim == 1:
        return _ops.bias_add(y, _like(bias, y))  # on a CPU in half the time of a sum that broadcasts
    return y + expanded(_like(bias, y).reshape((-1, y.shape[1]) + (1,) * (y.ndim - 2)), y)


def _convolve(x, kernel, stride, padding, dilation, groups):
    """An ordinary convolution: one dimension as a picture of one row, three as the taps of the first as channels."""
    kernel = _like(kernel, x)
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


def _convolve2d(x, kernel, stride, padding, dilation, groups):
    """An ordinary convolution. Ascend runs groups only when groups = channels in = channels out.

    There a convolution with one input channel per group repeats its input until it is depth-wise, and any
    other with groups is split into dense ones.
    """
    # ops.conv2d, not mint's (no CPU kernel), nor the primitive (its ONNX export fails on a computed kernel).
    # pad_mode must be said: its default differs from nn.Conv2d's.
    channels, out = x.shape[1], kernel.shape[0]
    ascend = _device_in_use() == "ascend"
    if ascend and groups > 1 and channels == groups:
        if out != groups:
            x = _ops.gather(x, _repeated(groups, out // groups), 1)
        groups = out
    elif ascend and groups > 1:
        inputs, rows = channels // groups, out // groups
        parts = []
        for g in range(groups):
            part, own = x[:, g * inputs : (g + 1) * inputs], kernel[g * rows : (g + 1) * rows]
            parts.append(_ops.conv2d(part, own, None, stride, "pad", padding, dilation, 1))
        return _ops.concat(parts, 1)
    return _ops.conv2d(x, kernel, None, stride, "pad", padding, dilation, groups)


def _every(x, axis, step):
    """Every `step`-th entry along an axis, the first included."""
    # Not a slice with a step: its gradient dies on a CPU ("StridedSliceGrad ... memory out of bounds").
    if step == 1:
        return x
    x = _padded(x, axis, 0, -x.shape[axis] % step)
    before, size, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    x = x.reshape(before + (size // step, step) + after)
    return x[(slice(None),) * (axis + 1) + (0,)]


def _padded(x, axis, before, after):
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


def _stuffed(x, stride):
    """`stride - 1` zeros between neighbours along every dimension."""
    for axis, step in enumerate(stride):
        if step > 1:
            shape = x.shape
            at = axis + 2
            spread = _padded(_ops.expand_dims(x, at + 1), at + 1, 0, step - 1)
            spread = spread.reshape(shape[:at] + (shape[at] * step,) + shape[at + 1 :])
            x = _padded(spread, at, 0, 1 - step)
    return x


def pad(x: ms.Tensor, padding: tuple[int, ...], mode: str) -> ms.Tensor:
    """x (N, C, *size) with `padding` pixels at both ends of every dimension; mode `reflect` or `replicate`."""
    for axis, size in enumerate(padding):
        if size:
            x = _ops.gather(x, _outside(x.shape[axis + 2], size, mode), axis + 2)
    return x


@_ops.constexpr
def _outside(size, padding, mode):
    """Which entries a padded axis holds. MindSpore's own reflection ends at two dimensions."""
    inside = np.arange(size, dtype=np.int32)
    return ms.Tensor(np.pad(inside, padding, "reflect" if mode == "reflect" else "edge"))


@_ops.constexpr
def _channels_of(kernel, k, out, groups):
    """Where the channels of one kernel stand among those of all."""
    return ms.Tensor(np.arange(k * out, dtype=np.int32).reshape(groups, k, -1)[:, kernel].ravel())


@_ops.constexpr
def _number_in(sizes):
    return math.prod(sizes)


@_ops.constexpr
def _repeated(size, times):
    """Every entry of an axis `times` times."""
    return ms.Tensor(np.arange(size, dtype=np.int32).repeat(times))


@_ops.constexpr
def _choose(form, per_sample, device, kernel, groups, padding):
    return choose(form, per_sample, device, kind_of(kernel, groups, padding))


@_ops.constexpr
def _device_in_use():
    """The device's name. A constant of the compiled graph, which cannot ask for it itself."""
    return ms.get_context("device_target").lower()


def ordinary_conv(
    in_channels,
    out_channels,
    kernel_size,
    *,
    stride,
    padding,
    dilation,
    groups,
    bias,
    padding_mode="zeros",
    output_padding=None,
) -> nn.Cell:
    """The ordinary convolution, transposed when output_padding is given; tuples of one to three numbers.

    nn.Conv2d where it means the same, else OrdinaryConv.
    """
    if len(kernel_size) != 2 or padding_mode != "zeros" or output_padding is not None:
        options = (stride, padding, dilation, groups, bias, padding_mode, output_padding)
        return OrdinaryConv(in_channels, out_channels, kernel_size, *options)
    # Every argument by name: defaults differ from PyTorch's (padding "same", no bias) and are announced to change.
    # Four paddings, for MindSpore counts the sides: top, bottom, left, right.
    return nn.Conv2d(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        stride=stride,
        pad_mode="pad",
        padding=(padding[0], padding[0], padding[1], padding[1]),
        dilation=dilation,
        group=groups,
        has_bias=bias,
    )


class OrdinaryConv(nn.Cell):
    """The ordinary convolutions that MindSpore's own layers are not: theirs in one dimension stores its kernel with an
    axis more, its transposed ones know no output padding, and none reflects or replicates its border.

    Parameters as in PyTorch: weight (out, in / groups, *kernel size), transposed (in, out / groups, *kernel size).
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding,
        dilation,
        groups,
        bias,
        padding_mode,
        output_padding,
    ):
        super().__init__()
        first, second = (in_channels, out_channels) if output_padding is not None else (out_channels, in_channels)
        self.weight = parameter((first, second // groups) + kernel_size)
        self.bias = parameter((out_channels,)) if bias else None
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.padding_mode = padding_mode
        self.output_padding = output_padding

    def construct(self, x):
        one = _ops.ones((1,), x.dtype)
        weight = _ops.expand_dims(self.weight, 0)
        bias = None if self.bias is None else _ops.expand_dims(self.bias, 0)
        if self.output_padding is not None:
            options = (self.stride, self.padding, self.output_padding, self.dilation, self.groups)
            return conv_transpose(x, one, weight, bias, *options, "shared")
        padding = self.padding
        if self.padding_mode != "zeros":
            x = pad(x, padding, self.padding_mode)
            padding = (0,) * len(padding)
        return conv(x, one, weight, bias, self.stride, padding, self.dilation, self.groups, "shared")


# The ordinary layers with a weight and a bias that are started as kernels.
ORDINARY = (nn.Conv2d, nn.Dense, OrdinaryConv)


def linear(x, alpha, weight, bias):
    """A linear layer with kernels aggregated by alpha.

    x (N, ..., in), alpha (k,) or (N, k), weight (k, out, in), bias (k, out) or None -> (N, ..., out).
    Per-sample kernels run as one batched matrix product.
    """
    kernel = _like(aggregate(alpha, weight), x)
    shape = (-1,) + x.shape[1:-1] + (weight.shape[1],)
    if alpha.ndim == 1:
        y = _ops.matmul(x.reshape(-1, x.shape[-1]), kernel.swapaxes(0, 1))
        return (y if bias is None else _add_bias(y, aggregate(alpha, bias))).reshape(shape)
    y = _ops.bmm(x.reshape(-1, _number_in(x.shape[1:-1]), x.shape[-1]), kernel.swapaxes(1, 2))
    if bias is not None:
        y = y + expanded(_ops.expand_dims(_like(aggregate(alpha, bias), y), 1), y)
    return y.reshape(shape)


def expanded(x: ms.Tensor, like: ms.Tensor) -> ms.Tensor:
    """x, of a shape that broadcasts to that of `like`, in the shape of `like`, with which it is combined.

    A graph on a CPU keeps, for every sum and product that broadcasts, lists of indices four times as large as the
    result. Elsewhere, and in an exported graph, they broadcast.
    """
    if not _expands():
        return x
    if x.shape[-2:] == (1, 1):  # single numbers: of these tile makes pixels one by one, broadcast_to of rows
        return _ops.broadcast_to(x, like.shape)
    return _ops.tile(x, _times(x.shape, like.shape))


_for_export = False


@_ops.constexpr
def _times(shape, like):
    """How often an array of `shape` stands in one of `like`, along each axis."""
    return tuple(b // a for a, b in zip((1,) * (len(like) - len(shape)) + tuple(shape), like, strict=True))


@contextmanager
def for_export():
    """Graphs compiled inside are for other machines."""
    global _for_export
    _for_export = True
    try:
        yield
    finally:
        _for_export = False


@_ops.constexpr
def _expands():
    return ms.get_context("device_target") == "CPU" and not _for_export


_AXES = {"layer_norm": (-1,), "layer_norm2d": (1,), "instance_norm2d": (2, 3), "batch_norm2d": (0, 2, 3)}


def normalise(x: ms.Tensor, kind: str, eps: float) -> ms.Tensor:
    """(x - mean) / sqrt(variance + eps) over the axes of a kind of norm, variance biased."""
    mean = x.mean(_AXES[kind], keep_dims=True)
    centred = x - expanded(mean, x)
    deviation = _ops.sqrt((centred * centred).mean(_AXES[kind], keep_dims=True) + eps)
    return centred / expanded(deviation, x)


def scale_and_shift(x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor, kind: str) -> ms.Tensor:
    """x weight + bias per channel, (C,) or (N, C) each; channels on the last axis for layer_norm, else on axis 1."""
    rest = (1,) * (x.ndim - 2)
    channels = weight.shape[-1]
    shape = (-1,) + rest + (channels,) if kind == "layer_norm" else (-1, channels) + rest
    weight, bias = expanded(weight.reshape(shape), x), expanded(bias.reshape(shape), x)
    return x * weight + bias


def global_mean(x: ms.Tensor) -> ms.Tensor:
    """x (N, C, H, W) -> (N, C, 1, 1)."""
    return x.mean((2, 3), keep_dims=True)


def softmax(x: ms.Tensor) -> ms.Tensor:
    """Over the last axis, by powers of e: MindSpore's exp is off by 4e-6 on a CPU, its pow by 1.4e-7."""
    powers = _ops.pow(math.e, x - expanded(_ops.stop_gradient(x.max(-1, keepdims=True)), x))
    return powers / expanded(powers.sum(-1, keepdims=True), x)


class Softmax(nn.Cell):
    """`softmax` as a layer."""

    def construct(self, logits: ms.Tensor) -> ms.Tensor:
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
def _check_windows(height, width, window):
    check_windows(height, width, window)


@_ops.constexpr
def _relative_position_index(window):
    return ms.Tensor(relative_position_index(window).ravel())


@_ops.constexpr
def _shift_regions(height, width, window, shift):
    return ms.Tensor(shift_regions(height, width, window, shift))


def gate(x: ms.Tensor) -> ms.Tensor:
    """The product of the two halves of the channels: (N, 2 C, H, W) -> (N, C, H, W)."""
    half = x.shape[1] // 2
    return x[:, :half] * x[:, half:]


def gelu(x: ms.Tensor) -> ms.Tensor:
    """By the error function, not by tanh, which is MindSpore's default."""
    return 0.5 * x * (1 + _erf(x * math.sqrt(0.5)))


_erf = _ops.erf


@contextmanager
def erf_replaced():
    """Graphs compiled inside hold Softsign where erf is meant: MindSpore's ONNX exporter knows no Erf (ONNX does)."""
    global _erf
    _erf = _ops.Softsign()
    try:
        yield
    finally:
        _erf = _ops.erf


def leaky_relu(x: ms.Tensor, slope: float) -> ms.Tensor:
    """x where positive, slope x elsewhere."""
    return _ops.relu(x) - slope * _ops.relu(-x)


def softplus(x: ms.Tensor) -> ms.Tensor:
    """log(1 + exp(x)), for any x; powers of e as in `softmax`."""
    return _ops.relu(x) + _ops.log(1 + _ops.pow(math.e, -_ops.abs(x)))


def max_pool_x2(x: ms.Tensor) -> ms.Tensor:
    """The largest of every 2x2 pixels: (N, C, H, W) -> (N, C, H // 2, W // 2)."""
    return _ops.max_pool2d(x, 2, 2)


def pixel_shuffle(x: ms.Tensor, factor: int) -> ms.Tensor:
    """(N, C factor^2, H, W) -> (N, C, factor H, factor W); the colour is the slowest of the channels' three digits."""
    return _ops.pixel_shuffle(x, factor)


def nearest_x2(x: ms.Tensor) -> ms.Tensor:
    """Every pixel four times: (N, C, H, W) -> (N, C, 2 H, 2 W)."""
    c, height, width = x.shape[1:]
    x = x.reshape(-1, c, height, 1, width, 1) * _ops.ones((2, 1, 2), x.dtype)
    return x.reshape(-1, c, 2 * height, 2 * width)


def channels_last(x: ms.Tensor) -> ms.Tensor:
    """(N, C, H, W) -> (N, H, W, C)."""
    return x.transpose(0, 2, 3, 1)


def channels_first(x: ms.Tensor) -> ms.Tensor:
    """(N, H, W, C) -> (N, C, H, W)."""
    return x.transpose(0, 3, 1, 2)


def extend(x: ms.Tensor, multiple: int, mode: str) -> ms.Tensor:
    """x (N, C, H, W) continued at the bottom and on the right to multiples; mode `zeros` or `reflect`, any size."""
    for axis in (2, 3):
        size = x.shape[axis]
        added = -size % multiple
        if added and mode == "reflect":
            x = _ops.gather(x, _reflected(size, added), axis)
        elif added:
            x = _ops.Pad(((0, 0),) * axis + ((0, added),) + ((0, 0),) * (3 - axis))(x)
    return x


def shift_colours(x: ms.Tensor, colour: tuple[float, ...], sign: int) -> ms.Tensor:
    """x (N, 3, H, W) plus sign times a colour."""
    return x + sign * _colour(colour)


def scale_colours(x: ms.Tensor, colour: tuple[float, ...], sign: int) -> ms.Tensor:
    """x (N, 3, H, W) times (sign 1) or over (sign -1) a colour."""
    return x * _colour(colour) if sign > 0 else x / _colour(colour)


@_ops.constexpr
def _reflected(size, added):
    return ms.Tensor(reflected(size, 0, added))


@_ops.constexpr
def _matrix(rows):
    return ms.Tensor(np.array(rows, np.float32))


@_ops.constexpr
def _colour(colour):
    return ms.Tensor(np.array(colour, np.float32).reshape(-1, 1, 1))


def mix_colours(x: ms.Tensor, rows: tuple[tuple[float, ...], ...]) -> ms.Tensor:
    """Weighted sums of the channels: (N, C, H, W) -> (N, len(rows), H, W)."""
    n, c, height, width = x.shape
    return _ops.matmul(_matrix(rows), x.reshape(n, c, height * width)).reshape(n, len(rows), height, width)


def freeze(module: nn.Cell, tensors: dict[str, np.ndarray], like: ms.Parameter) -> nn.Cell:
    """The module with these parameters, none of them to be trained, where `like` is: on the one device in use."""
    for name, value in module.parameters_and_names():
        assign(value, tensors[name])
        value.requires_grad = False
    return module


def per_sample_mean(values: ms.Tensor) -> ms.Tensor:
    """Mean over all but the first axis: (N, ...) -> (N,)."""
    return values.reshape(values.shape[0], -1).mean(1)


def parameter(shape: tuple[int, ...], value: float = 0) -> ms.Parameter:
    """A parameter of one value. Its name is the attribute that it becomes."""
    return ms.Parameter(ms.Tensor(np.full(shape, value, np.float32)))


def assign(parameter: ms.Parameter, value: np.ndarray) -> None:
    """Copy `value` into a parameter in place."""
    # Not set_data: a function compiled with ms.jit that has updated the parameter once never sees what that sets.
    # Tensor(value) copies; a view of a numpy array must be made contiguous first, which turns () into (1,).
    kind = np.float64 if parameter.dtype == ms.float64 else np.float32
    held = ms.Tensor(np.ascontiguousarray(value, dtype=kind).reshape(parameter.shape))
    _ops.assign(parameter, _like(held, parameter))


_one_thread = threading.RLock()


@contextmanager
def alone():
    """No other thread uses MindSpore meanwhile: two at once bring the process down. They wait for each other here."""
    with _one_thread:
        yield


@contextmanager
def running(mode: str):
    """Run the body in `graph` or `pynative` mode, alone; MindSpore's mode is one global switch."""
    with alone():
        before = ms.get_context("mode")
        ms.set_context(mode=_MODES[mode])
        try:
            yield
        finally:
            ms.set_context(mode=before)


class Sizes:
    """The sizes of inputs for which something is kept: at most MOST_SIZES, and of MOST_PIXELS together."""

    def __init__(self):
        self._kept: dict[tuple[int, ...], int] = {}  # shape -> pixels

    def full(self, size: tuple[int, ...]) -> bool:
        """Whether what is kept must go before something runs with inputs of `size`, (N, C, H, W); keep that then."""
        pixels, held = math.prod(size[:1] + size[2:]), len(self._kept)
        full = size not in self._kept and (held >= MOST_SIZES or sum(self._kept.values()) + pixels > MOST_PIXELS)
        if full:
            self._kept.clear()
        self._kept[size] = pixels
        return full and held > 0


_outside_graphs = Sizes()


def make_room(size: tuple[int, ...]) -> None:
    """Before a run in PyNative mode: drop what MindSpore keeps for sizes of inputs, megabytes for each, if too much."""
    if _outside_graphs.full(size):
        _pynative_executor.clear_res()


def forget_graphs(cell: nn.Cell) -> None:
    """Drop what a cell was compiled to."""
    _cell_graph_executor.del_net_res(cell, cell.compile_cache)
    cell.compile_cache.clear()


def device_of(name: str | None) -> str:
    """The MindSpore device for `cpu`, `ascend`, `gpu` or `ascend:1`, made current; None: ascend when there is one."""
    name = name or ("ascend" if _available("ascend") else "cpu")
    kind, _, index = name.partition(":")
    if kind not in _TARGETS or (index and not index.isdigit()) or (":" in name and not index):
        raise BackendError(f"mindspore has no device {name!r}; known: cpu, ascend, gpu, ascend:N, gpu:N")
    if not _available(kind):
        raise BackendError(
            f"mindspore device {name!r} was requested, but this mindspore ({ms.__version__}) sees no such device"
        )
    if kind == "cpu":
        # Single-threaded dispatch: by default the Python thread spins while it waits for a graph, and with as few
        # cores as kernels have threads it starves them (a training step on two cores took twice as long).
        os.environ.setdefault("MS_DEV_HOST_BLOCKING_RUN", "1")
    try:
        ms.set_device(_TARGETS[kind], int(index or 0))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BackendError(f"mindspore device {name!r} cannot be used: {reason}") from None
    return name


def _available(kind: str) -> bool:
    """Whether MindSpore has the device: asking for one that it was built without is a RuntimeError."""
    try:
        return bool(getattr(ms.device_context, kind).is_available())
    except (RuntimeError, AttributeError):
        return False


def full_precision() -> None:
    """float32 means float32: no HF32 (11-bit mantissa) in convolutions and matrix products, Ascend's default."""
    if _device_in_use() == "ascend":
        ms.device_context.ascend.op_precision.conv_allow_hf32(False)
        ms.device_context.ascend.op_precision.matmul_allow_hf32(False)


def facts(device: str, mode: str) -> dict[str, str]:
    """Version, device and every switch that changes numbers."""
    hf32 = "False" if device.startswith("ascend") else "not on this device"
    return {
        "mindspore": ms.__version__,
        "device": device,
        "mode": mode,
        "threads": str(ms.get_context("runtime_num_threads")),
        "hf32 convolution": hf32,
        "hf32 matmul": hf32,
        "amp": "False",  # MindSpore has no switch for it: a network is rewritten, and nothing here rewrites one
        "deterministic": str(ms.get_context("deterministic")),
        "onednn isa cap": os.environ.get("ONEDNN_MAX_CPU_ISA", "none"),
        "single-threaded dispatch": os.environ.get("MS_DEV_HOST_BLOCKING_RUN", "0"),
    }
