"""Everything peculiar to MindSpore, and nothing else of the project (DESIGN, "Layout").

Aggregation of kernels (Eq. 3), the convolution forms for one omega and for one omega per sample, and
what must be set before MindSpore is imported.
"""

import math
import os
import sys
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

from tunable_core.errors import BackendError

FORMS = ("auto", "shared", "grouped", "basis", "loop")
_TARGETS = {"cpu": "CPU", "ascend": "Ascend", "gpu": "GPU"}
_MODES = {"graph": ms.GRAPH_MODE, "pynative": ms.PYNATIVE_MODE}


def fresh_seed() -> int:
    """A seed from the framework's own generator, for layers built by hand (mindspore.set_seed governs it)."""
    return int(_ops.randint(0, 2**31 - 1, (1,)).asnumpy()[0])


def aggregate(alpha: ms.Tensor, tensor: ms.Tensor) -> ms.Tensor:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape)."""
    rows = alpha.reshape(-1, alpha.shape[-1])
    return _ops.matmul(rows, tensor.reshape(tensor.shape[0], -1)).reshape(alpha.shape[:-1] + tensor.shape[1:])


def choose_form(form: str, per_sample: bool, device: str) -> str:
    """The form that `auto` stands for: one kernel is shared; per-sample kernels run grouped, on Ascend as basis.

    Ascend has no grouped convolutions but depth-wise ones: an explicit `grouped` is `basis` there too.
    """
    if not per_sample:
        return "shared"
    if form in ("auto", "shared", "grouped"):
        return "basis" if device == "ascend" else "grouped"
    return form


def conv2d(x, alpha, weight, bias, stride, padding, dilation, groups, form, device=None):
    """A 2-D convolution with kernels aggregated by alpha.

    x       (N, C, H, W)
    alpha   (k,): one kernel for the batch; (N, k): one per sample
    weight  (k, out, C / groups, kh, kw); bias (k, out) or None
    form    for per-sample alpha: `grouped` one convolution with N groups, `basis` all k kernels and then
            a weighted sum of the outputs, `loop` one convolution per sample
    device  whose restrictions hold: `cpu`, `ascend` or `gpu`; None: the one in use
    """
    if device is None:
        device = _device_in_use()
    form = choose_form(form, alpha.ndim == 2, device)
    if form == "basis":
        return _basis_conv2d(x, alpha, weight, bias, stride, padding, dilation, groups, device)
    kernel = aggregate(alpha, weight)
    if form == "shared":
        y = _convolve(x, kernel, stride, padding, dilation, groups, device)
    elif form == "loop":
        rows = []
        for n in range(x.shape[0]):
            rows.append(_convolve(x[n : n + 1], kernel[n], stride, padding, dilation, groups, device))
        y = _ops.concat(rows, 0)
    else:
        n, c, h, w = x.shape
        kernel = kernel.reshape((-1,) + kernel.shape[2:])
        y = _convolve(x.reshape(1, n * c, h, w), kernel, stride, padding, dilation, n * groups, device)
        y = y.reshape((n, -1) + y.shape[2:])
    return y if bias is None else _add_bias(y, aggregate(alpha, bias))


def _basis_conv2d(x, alpha, weight, bias, stride, padding, dilation, groups, device):
    """Channels are ordered (group, kernel, out / group), so that the convolution keeps its groups."""
    k, out = weight.shape[:2]
    stacked = weight.reshape((k, groups, out // groups) + weight.shape[2:])
    stacked = stacked.swapaxes(0, 1).reshape((k * out,) + weight.shape[2:])
    y = _convolve(x, stacked, stride, padding, dilation, groups, device)
    n, _, h, w = y.shape
    y = y.reshape(n, groups, k, out // groups, h, w) * alpha.reshape(n, 1, k, 1, 1, 1)
    y = y.sum(2).reshape(n, out, h, w)
    return y if bias is None else _add_bias(y, aggregate(alpha, bias))


def _add_bias(y, bias):
    """bias (out,) or (N, out)."""
    return y + bias.reshape(-1, y.shape[1], 1, 1)


def _convolve(x, kernel, stride, padding, dilation, groups, device):
    """An ordinary convolution. Ascend runs groups only when groups = channels in = channels out.

    There a convolution with one input channel per group repeats its input until it is depth-wise, and any
    other with groups is split into dense ones.
    """
    # ops.conv2d, not mint's (no CPU kernel), nor the primitive (its ONNX export fails on a computed kernel).
    # pad_mode must be said: its default differs from nn.Conv2d's.
    channels, out = x.shape[1], kernel.shape[0]
    if device == "ascend" and groups > 1 and channels == groups:
        if out != groups:
            x = _ops.repeat_interleave(x, out // groups, 1)
        groups = out
    elif device == "ascend" and groups > 1:
        inputs, rows = channels // groups, out // groups
        parts = []
        for g in range(groups):
            part, own = x[:, g * inputs : (g + 1) * inputs], kernel[g * rows : (g + 1) * rows]
            parts.append(_ops.conv2d(part, own, None, stride, "pad", padding, dilation, 1))
        return _ops.concat(parts, 1)
    return _ops.conv2d(x, kernel, None, stride, "pad", padding, dilation, groups)


@_ops.constexpr
def _device_in_use():
    """The device's name. A constant of the compiled graph, which cannot ask for it itself."""
    return ms.get_context("device_target").lower()


def ordinary_conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias) -> nn.Conv2d:
    """nn.Conv2d with PyTorch's meaning of its arguments, all of them pairs of integers but groups and bias."""
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


def linear(x, alpha, weight, bias):
    """A linear layer with kernels aggregated by alpha.

    x (N, ..., in), alpha (k,) or (N, k), weight (k, out, in), bias (k, out) or None -> (N, ..., out).
    Per-sample kernels run as one batched matrix product.
    """
    kernel = aggregate(alpha, weight)
    shape = x.shape[:-1] + (weight.shape[1],)
    if alpha.ndim == 1:
        y = _ops.matmul(x.reshape(-1, x.shape[-1]), kernel.swapaxes(0, 1))
        return (y if bias is None else y + aggregate(alpha, bias)).reshape(shape)
    y = _ops.bmm(x.reshape(x.shape[0], -1, x.shape[-1]), kernel.swapaxes(1, 2))
    if bias is not None:
        y = y + _ops.expand_dims(aggregate(alpha, bias), 1)
    return y.reshape(shape)


class Softmax(nn.Cell):
    """Softmax over the last axis, by powers of e: MindSpore's exp is off by 4e-6 on a CPU, its pow by 1.4e-7."""

    def construct(self, logits: ms.Tensor) -> ms.Tensor:
        powers = _ops.pow(math.e, logits - _ops.stop_gradient(logits.max(-1, keepdims=True)))
        return powers / powers.sum(-1, keepdims=True)


def per_sample_mean(values: ms.Tensor) -> ms.Tensor:
    """Mean over all but the first axis: (N, ...) -> (N,)."""
    return values.reshape(values.shape[0], -1).mean(1)


def parameter(shape: tuple[int, ...]) -> ms.Parameter:
    """A parameter of zeros. Its name is the attribute that it becomes."""
    return ms.Parameter(ms.Tensor(np.zeros(shape, np.float32)))


def assign(parameter: ms.Parameter, value: np.ndarray) -> None:
    """Copy `value` into a parameter in place."""
    # Not set_data: a function compiled with ms.jit that has updated the parameter once never sees what that sets.
    # Tensor(value) copies; a view of a numpy array must be made contiguous first, which turns () into (1,).
    held = np.ascontiguousarray(value, dtype=np.float32).reshape(parameter.shape)
    _ops.assign(parameter, ms.Tensor(held))


class Adam(nn.Adam):
    """Adam with eps outside the root, as PyTorch computes it, driven step by step from outside.

    MindSpore computes m / (sqrt(v) + eps) and corrects the bias of both moments in the learning rate, so its eps
    acts as eps / sqrt(1 - beta2^t): 30 times too large at the first step. `prepare` gives it eps sqrt(1 - beta2^t)
    instead. It also sets the powers of beta from the step rather than as a running float32 product, so that a
    resumed run has the same bits.
    """

    def __init__(self, parameters, beta1: float, beta2: float, eps: float):
        # A learning rate given as a number becomes a Parameter: changing it compiles nothing anew.
        super().__init__(parameters, learning_rate=1.0, beta1=beta1, beta2=beta2, eps=eps)
        self._betas, self._eps = (beta1, beta2), eps
        del self.eps
        self.eps = ms.Parameter(ms.Tensor(eps, ms.float32), name="eps", requires_grad=False)

    def prepare(self, step: int, learning_rate: float) -> None:
        """Set up the update that follows `step` finished ones."""
        beta1, beta2 = self._betas
        for held, value in (
            (self.beta1_power, beta1**step),
            (self.beta2_power, beta2**step),
            (self.eps, self._eps * np.sqrt(1 - beta2 ** (step + 1))),
            (self.learning_rate, learning_rate),
        ):
            assign(held, np.float32(value))


@contextmanager
def running(mode: str):
    """Run the body in `graph` or `pynative` mode; MindSpore's mode is one global switch."""
    before = ms.get_context("mode")
    ms.set_context(mode=_MODES[mode])
    try:
        yield
    finally:
        ms.set_context(mode=before)


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
        "onednn isa cap": os.environ.get("ONEDNN_MAX_CPU_ISA", "none"),
        "single-threaded dispatch": os.environ.get("MS_DEV_HOST_BLOCKING_RUN", "0"),
    }
