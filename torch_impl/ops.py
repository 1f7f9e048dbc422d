"""Everything peculiar to PyTorch, and nothing else of the project (DESIGN, "Layout").

Aggregation of kernels (Eq. 3), and the layers' arithmetic in every form of tunable_core.forms.
"""

import os
import tempfile
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tunable_core.errors import BackendError
from tunable_core.forms import choose, kind_of
from tunable_core.windows import check_windows, relative_position_index

# glibc returns freed megabytes to the system, and a network on a CPU takes every layer's output and kernel page by page
# from it again: up to a fifth of a forward pass (docs/results/knobs). One larger block that has been freed, untouched,
# makes it keep them (mallopt(3), M_MMAP_THRESHOLD: "dynamic"); what the user has set by MALLOC_* stays.
torch.empty(30 * 2**20, dtype=torch.uint8, device="cpu")

# The compiler keeps what it compiled, and takes it again for a processor that it was not made for: outputs are NaN, or
# Python dies. Who tells torch of another processor (ATEN_CPU_CAPABILITY) gets another folder, unless one is named.
if "ATEN_CPU_CAPABILITY" in os.environ:
    _kept = f"torchinductor_{os.environ.get('USER', '')}_{torch.backends.cpu.get_cpu_capability()}".replace(" ", "_")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(tempfile.gettempdir(), _kept))

# The framework's own layers with a weight and a bias that are started as kernels.
ORDINARY = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def fresh_seed() -> int:
    """A seed from the framework's own generator, for layers built by hand (torch.manual_seed governs it)."""
    return int(torch.randint(2**31, ()))


def aggregate(alpha: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape)."""
    with no_autocast(tensor):
        return (alpha @ tensor.reshape(len(tensor), -1)).reshape(*alpha.shape[:-1], *tensor.shape[1:])


def displaced(base: torch.Tensor, alpha: torch.Tensor, differences: torch.Tensor) -> torch.Tensor:
    """base + sum_i alpha_i differences[i]: base (*shape), alpha (k,), differences (k, *shape) -> (*shape).

    Where autocast is on, inside `no_autocast`.
    """
    return torch.addmv(base.reshape(-1), differences.reshape(alpha.shape[0], -1).T, alpha).reshape(base.shape)


def low_rank(alpha: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Sum_i alpha_i up[i] down[i]: alpha (k,), up (k, rows, rank), down (k, rank, columns) -> (rows, columns)."""
    with no_autocast(up):
        return (up * alpha[:, None, None]).movedim(0, 1).flatten(1) @ down.flatten(0, 1)


def no_autocast(tensor: torch.Tensor):
    """A context in which products keep the dtype of their factors: kernels are cast once, after they are summed."""
    kind = tensor.device.type
    # Entered only where there is something to switch off: exporters and compilers trace the context too.
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def conv(x, alpha, weight, bias, stride, padding, dilation, groups, form):
    """A convolution of one to three dimensions with kernels aggregated by alpha.

    x       (N, C, *size)
    alpha   (k,): one kernel for the batch; (N, k): one per sample
    weight  (k, out, C / groups, *kernel size); bias (k, out) or None
    stride, padding (zeros), dilation: one integer per dimension
    form    one of tunable_core.forms.FORMS
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


def conv_transpose(x, alpha, weight, bias, stride, padding, output_padding, dilation, groups, form):
    """A transposed convolution of one to three dimensions with kernels aggregated by alpha.

    weight  (k, C, out / groups, *kernel size); output_padding: rows added at the end of every dimension
    The others as for `conv`; a point-wise kernel is not special, `matmul` means `auto`.
    """
    run = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[weight.ndim - 4]
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    form = choose(form, alpha.ndim == 2, x.device.type)
    if form == "basis":
        stacked = weight.movedim(0, 1).flatten(1, 2)
        return _basis(run, x, alpha, stacked, bias, len(weight), groups, {"groups": groups, **options})
    return _aggregated(run, x, alpha, weight, bias, groups, options, form)


def _aggregated(run, x, alpha, weight, bias, groups, options, form):
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


def _basis(run, x, alpha, stacked, bias, k, groups, options):
    """All k kernels, their outputs ordered (group, kernel, out / group) so that the groups stay; then the sum."""
    y = run(x, stacked, **options)
    mix = alpha.reshape(alpha.shape[0], 1, k, *[1] * (y.ndim - 1))
    y = (y.unflatten(1, (groups, k, -1)) * mix).sum(2).flatten(1, 2)
    return y if bias is None else y + aggregate(alpha, bias).reshape(alpha.shape[0], -1, *[1] * (y.ndim - 2))


def _pointwise(x, alpha, weight, bias, stride, groups):
    """A convolution by single points: for every sample and group a matrix, (N g, out / g, C / g)."""
    x = x[(..., *(slice(None, None, step) for step in stride))]
    (n, c, *size), out = x.shape, weight.shape[1]
    kernel = aggregate(alpha, weight).reshape(n * groups, out // groups, c // groups)
    offset = None if bias is None else aggregate(alpha, bias).reshape(n * groups, -1, 1)
    return _products(kernel, x.reshape(n * groups, c // groups, -1), offset).reshape(n, out, *size)


def _products(a, b, offset):
    """a @ b + offset of stacks of matrices, offset broadcast, or None. Added later it costs two fifths more."""
    return torch.bmm(a, b) if offset is None else torch.baddbmm(offset, a, b)


def pad(x: torch.Tensor, padding: tuple[int, ...], mode: str) -> torch.Tensor:
    """x (N, C, *size) with `padding` pixels at both ends of every dimension; mode `reflect` or `replicate`."""
    return functional.pad(x, [side for size in reversed(padding) for side in (size, size)], mode)


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
) -> nn.Module:
    """The framework's ordinary convolution, transposed when output_padding is given; tuples of one to three numbers."""
    dims = len(kernel_size)
    if output_padding is None:
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
        options = {"padding_mode": padding_mode}
    else:
        kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
        options = {"output_padding": output_padding}
    options |= {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": bias}
    return kind(in_channels, out_channels, kernel_size, **options)


def linear(x, alpha, weight, bias):
    """A linear layer with kernels aggregated by alpha.

    x (N, ..., in), alpha (k,) or (N, k), weight (k, out, in), bias (k, out) or None -> (N, ..., out).
    Per-sample kernels run as one batched matrix product.
    """
    kernel = aggregate(alpha, weight)
    offset = None if bias is None else aggregate(alpha, bias)
    if alpha.ndim == 1:
        return functional.linear(x, kernel, offset)
    offset = None if offset is None else offset[:, None]
    return _products(x.reshape(x.shape[0], -1, x.shape[-1]), kernel.mT, offset).reshape(*x.shape[:-1], -1)


def expanded(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """x, of a shape that broadcasts to that of `like`, with which it is combined: as it is, torch broadcasts well."""
    return x


_AXES = {"layer_norm": (-1,), "layer_norm2d": (1,), "instance_norm2d": (2, 3), "batch_norm2d": (0, 2, 3)}


def normalise(x: torch.Tensor, kind: str, eps: float) -> torch.Tensor:
    """(x - mean) / sqrt(variance + eps) over the axes of a kind of norm, variance biased."""
    mean = x.mean(_AXES[kind], keepdim=True)
    centred = x - mean
    deviation = torch.sqrt(centred.square().mean(_AXES[kind], keepdim=True) + eps)
    return centred / deviation


def scale_and_shift(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, kind: str) -> torch.Tensor:
    """x weight + bias per channel, (C,) or (N, C) each; channels on the last axis for layer_norm, else on axis 1."""
    rest = [1] * (x.ndim - 2)
    rows = weight.shape[0] if weight.ndim == 2 else 1
    shape = (rows, *rest, -1) if kind == "layer_norm" else (rows, -1, *rest)
    weight, bias = weight.reshape(shape), bias.reshape(shape)
    return x * weight + bias


def global_mean(x: torch.Tensor) -> torch.Tensor:
    """x (N, C, H, W) -> (N, C, 1, 1)."""
    return x.mean((2, 3), keepdim=True)


def softmax(x: torch.Tensor) -> torch.Tensor:
    """Over the last axis."""
    return x.softmax(-1)


def bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Matrix products of two stacks, (B, n, m) and (B, m, k)."""
    return torch.bmm(a, b)


def split(x: torch.Tensor, parts: int, axis: int) -> tuple[torch.Tensor, ...]:
    """Equal parts along an axis."""
    return x.chunk(parts, axis)


def roll(x: torch.Tensor, shift: int) -> torch.Tensor:
    """x (N, H, W, C) moved down and right by `shift` pixels, cyclically."""
    return torch.roll(x, (shift, shift), (1, 2))


def to_windows(x: torch.Tensor, window: int) -> torch.Tensor:
    """x (N, H, W, C) -> (N, windows, window^2, C), windows row by row; TunableError where they do not fit."""
    n, height, width, channels = x.shape
    check_windows(height, width, window)
    x = x.reshape(n, height // window, window, width // window, window, channels)
    return x.swapaxes(2, 3).reshape(n, -1, window**2, channels)


def from_windows(x: torch.Tensor, window: int, height: int, width: int) -> torch.Tensor:
    """The inverse of `to_windows`."""
    n, channels = x.shape[0], x.shape[-1]
    x = x.reshape(n, height // window, width // window, window, window, channels)
    return x.swapaxes(2, 3).reshape(n, height, width, channels)


def relative_bias(table: torch.Tensor, window: int) -> torch.Tensor:
    """table (rows, heads) or (N, rows, heads) -> (N or 1, 1, heads, window^2, window^2)."""
    index = torch.from_numpy(relative_position_index(window)).flatten().to(table.device)
    rows = table.reshape(-1, *table.shape[-2:])
    bias = rows.index_select(1, index).swapaxes(1, 2)
    return bias.reshape(rows.shape[0], 1, -1, window**2, window**2)


def shift_mask(x: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """What is added to the attention of x (N, H, W, C) in shifted windows: 0, or -100 between pixels torn apart.

    (windows, 1, window^2, window^2)
    """
    rows, columns = (torch.arange(size, device=x.device) >= size - shift for size in x.shape[1:3])
    region = (2 * rows[:, None] + columns).to(x.dtype)
    region = to_windows(region[None, :, :, None], window)[0, :, :, 0]
    torn = region[:, None, :, None] != region[:, None, None, :]
    return torn.to(x.dtype) * -100


def gate(x: torch.Tensor) -> torch.Tensor:
    """The product of the two halves of the channels: (N, 2 C, H, W) -> (N, C, H, W)."""
    first, second = x.chunk(2, 1)
    return first * second


def gelu(x: torch.Tensor) -> torch.Tensor:
    """By the error function, not by tanh."""
    return functional.gelu(x, approximate="none")


def leaky_relu(x: torch.Tensor, slope: float) -> torch.Tensor:
    """x where positive, slope x elsewhere."""
    return functional.leaky_relu(x, slope)


def softplus(x: torch.Tensor) -> torch.Tensor:
    """log(1 + exp(x)), for any x."""
    return functional.softplus(x)


def max_pool_x2(x: torch.Tensor) -> torch.Tensor:
    """The largest of every 2x2 pixels: (N, C, H, W) -> (N, C, H // 2, W // 2)."""
    return functional.max_pool2d(x, 2)


def pixel_shuffle(x: torch.Tensor, factor: int) -> torch.Tensor:
    """(N, C factor^2, H, W) -> (N, C, factor H, factor W); the colour is the slowest of the channels' three digits."""
    return functional.pixel_shuffle(x, factor)


def nearest_x2(x: torch.Tensor) -> torch.Tensor:
    """Every pixel four times: (N, C, H, W) -> (N, C, 2 H, 2 W)."""
    n, c, height, width = x.shape
    return x[:, :, :, None, :, None].expand(n, c, height, 2, width, 2).reshape(n, c, 2 * height, 2 * width)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C) -> (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)


def extend(x: torch.Tensor, multiple: int, mode: str) -> torch.Tensor:
    """x (N, C, H, W) continued at the bottom and on the right to multiples; mode `zeros` or `reflect`, any size."""
    for axis in (2, 3):
        size = x.shape[axis]
        wanted = (size + multiple - 1) // multiple * multiple
        if not isinstance(size, torch.SymInt) and wanted == size:  # a graph for any size has no such branch
            continue
        if mode == "reflect":
            x = x.index_select(axis, _reflected(size, wanted, x.device))
        else:
            x = functional.pad(x, (0, wanted - size) if axis == 3 else (0, 0, 0, wanted - size))
    return x


def _reflected(size, wanted, device) -> torch.Tensor:
    """What tunable_core.windows.reflected(size, 0, wanted - size) is, in a graph for any size too."""
    last = torch.arange(size, device=device)[-1:]
    index = torch.arange(wanted, device=device) % (2 * last).clamp(min=1)  # there and back again
    return torch.minimum(index, 2 * last - index)


def shift_colours(x: torch.Tensor, colour: tuple[float, ...], sign: int) -> torch.Tensor:
    """x (N, 3, H, W) plus sign times a colour."""
    return x + sign * torch.tensor(colour, dtype=x.dtype, device=x.device)[:, None, None]


def scale_colours(x: torch.Tensor, colour: tuple[float, ...], sign: int) -> torch.Tensor:
    """x (N, 3, H, W) times (sign 1) or over (sign -1) a colour."""
    factor = torch.tensor(colour, dtype=x.dtype, device=x.device)[:, None, None]
    return x * factor if sign > 0 else x / factor


def mix_colours(x: torch.Tensor, rows: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    """Weighted sums of the channels: (N, C, H, W) -> (N, len(rows), H, W)."""
    return torch.einsum("rc,nchw->nrhw", x.new_tensor(rows), x)


def freeze(module: nn.Module, tensors: dict[str, np.ndarray], like: torch.Tensor) -> nn.Module:
    """The module with these parameters, none of them to be trained, where `like` is and in its dtype."""
    module.to(like.device, like.dtype).requires_grad_(False)
    for name, value in module.named_parameters():
        value.copy_(torch.from_numpy(tensors[name]))
    return module


def per_sample_mean(values: torch.Tensor) -> torch.Tensor:
    """Mean over all but the first axis: (N, ...) -> (N,)."""
    return values.flatten(1).mean(1)


def device_of(name: str | None) -> torch.device:
    """The torch device for `cpu`, `cuda` or `cuda:1`; None: cuda when there is one."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BackendError(f"torch has no device {name!r}; known: cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise BackendError(f"torch device {name!r} is not supported; known: cpu, cuda, cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            f"torch device {name!r} was requested, but this torch ({torch.__version__}) sees no CUDA device"
        )
    return device


def full_precision() -> None:
    """float32 means float32: no TF32 in convolutions and matrix products (cuDNN allows it by default)."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def facts(device: torch.device, mode: str) -> dict[str, str]:
    """Version, device and every switch that changes numbers."""
    found = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "mode": mode,
        "threads": str(torch.get_num_threads()),
        "tf32 convolution": str(torch.backends.cudnn.allow_tf32),
        "tf32 matmul": str(torch.backends.cuda.matmul.allow_tf32),
        "float32 matmul": torch.get_float32_matmul_precision(),
        "amp": str(torch.is_autocast_enabled(device.type)),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "onednn isa cap": os.environ.get("ONEDNN_MAX_CPU_ISA", "none"),
    }
    if device.type == "cuda":
        found["cudnn"] = str(torch.backends.cudnn.version())
        found["cudnn deterministic"] = str(torch.backends.cudnn.deterministic)
        found["cudnn benchmark"] = str(torch.backends.cudnn.benchmark)
    return found
