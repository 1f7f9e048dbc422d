"""Everything peculiar to PyTorch, and nothing else of the project (DESIGN, "Layout").

Aggregation of kernels (Eq. 3) and the convolution forms for one omega and for one omega per sample.
"""

import torch
from torch.nn import functional

from tunable_core.errors import BackendError

FORMS = ("auto", "shared", "grouped", "basis", "loop")


def fresh_seed() -> int:
    """A seed from the framework's own generator, for layers built by hand (torch.manual_seed governs it)."""
    return int(torch.randint(2**31, ()))


def aggregate(alpha: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape)."""
    return (alpha @ tensor.flatten(1)).reshape(*alpha.shape[:-1], *tensor.shape[1:])


def choose_form(form: str, per_sample: bool, device: str) -> str:
    """The form that `auto` stands for: one kernel is shared; per-sample kernels run grouped."""
    if not per_sample:
        return "shared"
    return "grouped" if form in ("auto", "shared") else form


def conv2d(x, alpha, weight, bias, stride, padding, dilation, groups, form):
    """A 2-D convolution with kernels aggregated by alpha.

    x       (N, C, H, W)
    alpha   (k,): one kernel for the batch; (N, k): one per sample
    weight  (k, out, C / groups, kh, kw); bias (k, out) or None
    form    for per-sample alpha: `grouped` one convolution with N groups, `basis` all k kernels and then
            a weighted sum of the outputs, `loop` one convolution per sample
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    form = choose_form(form, alpha.ndim == 2, x.device.type)
    if form == "basis":
        return _basis_conv2d(x, alpha, weight, bias, groups, options)
    kernel = aggregate(alpha, weight)
    offset = None if bias is None else aggregate(alpha, bias)
    if form == "shared":
        return functional.conv2d(x, kernel, offset, groups=groups, **options)
    if form == "loop":
        rows = [
            functional.conv2d(x[n : n + 1], kernel[n], None if offset is None else offset[n], groups=groups, **options)
            for n in range(len(x))
        ]
        return torch.cat(rows)
    n, c, h, w = x.shape
    y = functional.conv2d(
        x.reshape(1, n * c, h, w),
        kernel.flatten(0, 1),
        None if offset is None else offset.flatten(),
        groups=n * groups,
        **options,
    )
    return y.reshape(n, -1, *y.shape[2:])


def _basis_conv2d(x, alpha, weight, bias, groups, options):
    """Channels are ordered (group, kernel, out / group), so that the convolution keeps its groups."""
    k, out = weight.shape[:2]
    stacked = weight.reshape(k, groups, out // groups, *weight.shape[2:]).transpose(0, 1).flatten(0, 2)
    y = functional.conv2d(x, stacked, groups=groups, **options)
    n, _, h, w = y.shape
    y = y.reshape(n, groups, k, out // groups, h, w)
    y = (y * alpha.reshape(n, 1, k, 1, 1, 1)).sum(2).reshape(n, out, h, w)
    return y if bias is None else y + aggregate(alpha, bias)[:, :, None, None]


def linear(x, alpha, weight, bias):
    """A linear layer with kernels aggregated by alpha.

    x (N, ..., in), alpha (k,) or (N, k), weight (k, out, in), bias (k, out) or None -> (N, ..., out).
    Per-sample kernels run as one batched matrix product.
    """
    kernel = aggregate(alpha, weight)
    offset = None if bias is None else aggregate(alpha, bias)
    if alpha.ndim == 1:
        return functional.linear(x, kernel, offset)
    rows = x.reshape(len(x), -1, x.shape[-1])
    y = rows @ kernel.transpose(1, 2)
    if offset is not None:
        y = y + offset[:, None]
    return y.reshape(*x.shape[:-1], -1)


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
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
    }
    if device.type == "cuda":
        found["cudnn"] = str(torch.backends.cudnn.version())
        found["cudnn deterministic"] = str(torch.backends.cudnn.deterministic)
    return found
