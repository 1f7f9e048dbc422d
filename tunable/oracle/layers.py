"""The tunable layers (Eqs. 1-6) in float64. `tensors` holds a layer's parameters by local name, as in a weights file
(docs/design.md, "The weights file"): weight (k, ...), bias (k, out), phi.*; k is the number of kernels.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tunable.arrays import Tensors
from tunable.errors import TunableError, nearest
from tunable.specs.formulations import Formulation

Form = Formulation | str  # or the name of a phi alone
_Padding = Literal["constant", "reflect", "edge"]
_PADDING: dict[str, _Padding] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}  # numpy's words


def phi(formulation: Form, omega: np.ndarray, tensors: Tensors) -> np.ndarray:
    """Compute alpha = phi(omega) (Eq. 6).

    Args:
        formulation: its phi is affine: W omega + c, from phi.weight (p, p) and phi.bias (p,); identity: omega;
            se: softmax(B relu(A omega + a) + b), from phi.0.weight, phi.0.bias, phi.2.weight and phi.2.bias;
            base: (1, omega - omega*), omega* the anchor or 0, for k = p + 1 kernels; with bump the products
            omega_i omega_j - omega*_i omega*_j of every pair i < j follow.
        omega: (p,), (N, p) or (N, p, *size).
        tensors: of the layer, by local name.

    Returns:
        alpha, (k,), (N, k) or (N, k, *size).
    """
    omega, formulation = float64(omega), Formulation.of(formulation)
    if omega.ndim > 2:
        rows = np.moveaxis(omega, 1, -1)
        alpha = phi(formulation, rows.reshape(-1, rows.shape[-1]), tensors)
        return np.moveaxis(alpha.reshape(*rows.shape[:-1], -1), -1, 1)
    form = formulation.phi
    if form == "affine":
        return _affine(omega, tensors, "phi")
    if form == "identity":
        return omega
    if form == "se":
        logits = _affine(np.maximum(_affine(omega, tensors, "phi.0"), 0), tensors, "phi.2")
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    anchor = float64(formulation.anchor or np.zeros(omega.shape[-1]))
    first, second = np.triu_indices(omega.shape[-1] if formulation.bump else 0, 1)
    moved = [omega - anchor, omega[..., first] * omega[..., second] - anchor[first] * anchor[second]]
    return np.concatenate([np.ones_like(omega[..., :1]), *moved], axis=-1)


def aggregate(alpha: np.ndarray, tensor: np.ndarray) -> np.ndarray:
    """Sum_i alpha_i tensor[i] (Eq. 3): alpha (k,) or (N, k), tensor (k, *shape) -> (*shape) or (N, *shape)."""
    alpha, tensor = float64(alpha), float64(tensor)
    if alpha.shape[-1] != len(tensor):
        raise TunableError(f"{alpha.shape[-1]} aggregation weights for {len(tensor)} kernels")
    return np.tensordot(alpha, tensor, axes=1)


def difference(tensors: Tensors, j: int, groups: int = 1, transposed: bool = False) -> np.ndarray:
    """Compute a difference of low rank or scale, which stands beside the base kernel weight[0].

    Args:
        tensors: of the layer: weight (1, *kernel); of low rank, down (m, groups rank, in / groups, *size), or of a
            transposed convolution (m, in, rank, *size), and up (m, out, rank); of scale, gain (m, out).
        j: which of the m differences.
        groups: parts of the channels that do not see each other.
        transposed: whether the layer is a transposed convolution.

    Returns:
        (*kernel): from each input to each output of its group the sum over the rank of up down, or the base kernel
        times the gain of the output.
    """
    axes, parts = "io" if transposed else "oi", []
    for group, base in enumerate(np.split(float64(tensors["weight"][0]), groups)):
        if "gain" in tensors:
            gain = np.split(float64(tensors["gain"][j]), groups)[group]
            parts.append(np.einsum(f"{axes}...,o->{axes}...", base, gain))
        else:
            up, down = (np.split(float64(tensors[name][j]), groups)[group] for name in ("up", "down"))
            parts.append(np.einsum(f"{axes.replace('o', 'r')}...,or->{axes}...", down, up))
    return np.concatenate(parts)


def conv(
    x: np.ndarray,
    omega: np.ndarray,
    tensors: Tensors,
    formulation: Form,
    *,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> np.ndarray:
    """Compute the tunable convolution (Eqs. 1-6) of one to three dimensions: x (N, in, *size) -> (N, out, *size').

    weight (k, out, in / groups, *kernel size), bias (k, out) or absent; padding_mode zeros, reflect or replicate.
    Where differences are of low rank or scale, the tensors are those of `difference`.
    """
    if np.ndim(omega) > 2:
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        alone = partial(conv, x, formulation="identity", padding_mode=padding_mode, **options)
        return _per_pixel(alone, omega, tensors, formulation, groups=groups)
    kernel, bias = _kernels(formulation, omega, tensors, len(x), groups)  # one per sample
    n, out, within, *taps = kernel.shape
    stride, padding, dilation = (_each(value, len(taps)) for value in (stride, padding, dilation))
    mode = _PADDING[padding_mode]
    x = np.pad(float64(x), [(0, 0), (0, 0), *((size, size) for size in padding)], mode)
    if x.shape[1] != within * groups:
        raise TunableError(f"{x.shape[1]} input channels for {groups} groups of {within}")
    size = [(a - d * (k - 1) - 1) // s + 1 for a, k, s, d in zip(x.shape[2:], taps, stride, dilation, strict=True)]
    if min(size) < 1:
        raise TunableError(f"a padded input of {_by(x.shape[2:])} is smaller than the kernel of {_by(taps)}")
    x = x.reshape(n, groups, within, *x.shape[2:])
    kernel = kernel.reshape(n, groups, out // groups, within, *taps)
    y = np.zeros((n, groups, out // groups, math.prod(size)))
    for tap in np.ndindex(*taps):  # y[i] = sum over taps u of k[u] x[i stride + u dilation]
        spans = zip(tap, size, stride, dilation, strict=True)
        seen = x[(..., *(slice(u * d, u * d + (m - 1) * s + 1, s) for u, m, s, d in spans))]
        y += np.ascontiguousarray(kernel[(..., *tap)]) @ seen.reshape(n, groups, within, -1)  # else numpy is slow
    return y.reshape(n, out, *size) + bias.reshape(n, out, *[1] * len(size))


def conv_transpose(
    x: np.ndarray,
    omega: np.ndarray,
    tensors: Tensors,
    formulation: Form,
    *,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> np.ndarray:
    """Compute the transposed tunable convolution, the adjoint of `conv` in x: x (N, in, *size) -> (N, out, *size').

    weight (k, in, out / groups, *kernel size), bias (k, out) or absent. Every input pixel i adds k[u] x[i] to the
    output pixel i stride + u dilation - padding; size' = (size - 1) stride - 2 padding + dilation (kernel size - 1)
    + output_padding + 1.
    """
    if np.ndim(omega) > 2:
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        alone = partial(conv_transpose, x, formulation="identity", output_padding=output_padding, **options)
        return _per_pixel(alone, omega, tensors, formulation, groups=groups, transposed=True)
    kernel, bias = _kernels(formulation, omega, tensors, len(x), groups, transposed=True)
    x = float64(x)
    (n, channels, *size), within, taps = x.shape, kernel.shape[2], kernel.shape[3:]
    if channels != kernel.shape[1]:
        raise TunableError(f"{channels} input channels for kernels of {kernel.shape[1]}")
    dims = len(taps)
    stride, padding, dilation, added = (_each(value, dims) for value in (stride, padding, dilation, output_padding))
    reach = [d * (k - 1) for d, k in zip(dilation, taps, strict=True)]
    y = np.zeros(
        (n, groups, within, *((m - 1) * s + r + 1 + a for m, s, r, a in zip(size, stride, reach, added, strict=True)))
    )
    x = x.reshape(n, groups, channels // groups, -1)
    kernel = kernel.reshape(n, groups, channels // groups, within, *taps)
    for tap in np.ndindex(*taps):
        spans = zip(tap, size, stride, dilation, strict=True)
        place = (..., *(slice(u * d, u * d + (m - 1) * s + 1, s) for u, m, s, d in spans))
        y[place] += (np.swapaxes(kernel[(..., *tap)], 2, 3) @ x).reshape(n, groups, within, *size)
    y = y[(..., *(slice(p, m - p) for p, m in zip(padding, y.shape[3:], strict=True)))]
    y = y.reshape(n, groups * within, *y.shape[3:])
    return y + bias.reshape(n, -1, *[1] * dims)


def linear(x: np.ndarray, omega: np.ndarray, tensors: Tensors, formulation: Form) -> np.ndarray:
    """Compute the tunable linear layer, x (N, ..., in) -> (N, ..., out); weight (k, out, in), bias (k, out) or none."""
    if np.ndim(omega) > 2:
        return _per_pixel(partial(linear, x, formulation="identity"), omega, tensors, formulation, channels=-1)
    kernel, bias = _kernels(formulation, omega, tensors, len(x))
    x = float64(x)
    rows = x.reshape(len(x), -1, x.shape[-1])
    y = rows @ kernel.transpose(0, 2, 1) + bias[:, None]
    return y.reshape(*x.shape[:-1], -1)


def parameter(omega: np.ndarray, tensors: Tensors, formulation: Form) -> np.ndarray:
    """The tunable free parameter: weight (k, *shape) -> (*shape), or (N, *shape) for omega (N, p).

    At a map (N, p, *size) that of one number for each channel, (C,) or (C, 1, 1), is (N, C, *size).
    """
    alpha = phi(formulation, omega, tensors)
    if alpha.ndim > 2:
        return np.einsum("nk...,kc->nc...", alpha, float64(tensors["weight"]).reshape(alpha.shape[1], -1))
    return aggregate(alpha, tensors["weight"])


_NORM_AXES = {"layer_norm": (-1,), "layer_norm2d": (1,), "instance_norm2d": (2, 3)}


def norm(kind: str, x: np.ndarray, omega: np.ndarray, tensors: Tensors, formulation: Form, *, eps: float) -> np.ndarray:
    """A norm with tunable scale and shift, as x: weight (k, C), bias (k, C); variance biased.

    Args:
        kind: layer_norm, over the last axis of x (N, ..., C); layer_norm2d, over the channels of x (N, C, H, W);
            instance_norm2d, over its pixels.
        x: the input.
        omega: (p,), (N, p), or a map of the pixels of x.
        tensors: weight (k, C), bias (k, C) and phi's.
        formulation: of scale and shift.
        eps: what is added to the variance.

    Returns:
        A tensor of the shape of x.
    """
    if np.ndim(omega) > 2:
        alone = partial(norm, kind, x, formulation="identity", eps=eps)
        return _per_pixel(alone, omega, tensors, formulation, channels=-1 if kind == "layer_norm" else 1)
    scale, shift = _kernels(formulation, omega, tensors, len(x))
    x = float64(x)
    shape = [len(x)] + [1] * (x.ndim - 1)
    shape[-1 if kind == "layer_norm" else 1] = -1
    mean, variance = (f(x, axis=_NORM_AXES[kind], keepdims=True) for f in (np.mean, np.var))
    return (x - mean) / np.sqrt(variance + eps) * scale.reshape(shape) + shift.reshape(shape)


def window_attention(
    x: np.ndarray,
    omega: np.ndarray,
    tensors: Tensors,
    formulation: Form,
    *,
    heads: int,
    window: int,
    shift: int,
) -> np.ndarray:
    """Attention inside the windows of a map (Swin), one window and head at a time: x (N, H, W, C), as x.

    qkv and proj are tunable linear layers, relative_position_bias_table (k, (2 window - 1)^2, heads) a tunable
    parameter. Windows lie `shift` pixels down and right, cyclically; pixels that only the cycle has brought into one
    window get -100 before the softmax.
    """
    x = float64(x)
    n, height, width, channels = x.shape
    size = channels // heads
    qkv = linear(x, omega, part(tensors, "qkv"), formulation).reshape(n, height, width, 3, heads, size)
    table = parameter(rows_of(omega, n), part(tensors, "relative_position_bias_table"), formulation)
    mixed = np.zeros_like(x)
    rows, columns = (place.ravel() for place in np.indices((window, window)))
    distance = (rows[:, None] - rows + window - 1) * (2 * window - 1) + columns[:, None] - columns + window - 1
    for top, left in np.ndindex(height // window, width // window):
        y, z = top * window + shift + rows, left * window + shift + columns  # beyond the border: the cycle's other end
        torn = ((y >= height)[:, None] != (y >= height)) | ((z >= width)[:, None] != (z >= width))
        y, z = y % height, z % width
        for sample, head in np.ndindex(n, heads):
            q, k, v = (qkv[sample, y, z, i, head] for i in range(3))
            logits = q @ k.T / np.sqrt(size) + table[sample][distance, head] - 100 * torn
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            mixed[sample, y, z, head * size : (head + 1) * size] = powers / powers.sum(axis=1, keepdims=True) @ v
    return linear(mixed, omega, part(tensors, "proj"), formulation)


def channel_attention(x: np.ndarray, omega: np.ndarray, tensors: Tensors, formulation: Form) -> np.ndarray:
    """Squeeze and excitation: x sigmoid(expand(relu(reduce(mean)))), x (N, C, H, W); both convolutions are points."""
    omega = pooled(omega)
    hidden = np.maximum(conv(_global_mean(x), omega, part(tensors, "reduce"), formulation), 0)
    return float64(x) * (1 + np.tanh(conv(hidden, omega, part(tensors, "expand"), formulation) / 2)) / 2


def simplified_channel_attention(x: np.ndarray, omega: np.ndarray, tensors: Tensors, formulation: Form) -> np.ndarray:
    """NAFNet's: x conv(mean), x (N, C, H, W), the convolution a point."""
    return float64(x) * conv(_global_mean(x), pooled(omega), part(tensors, "conv"), formulation)


def _global_mean(x: np.ndarray) -> np.ndarray:
    return float64(x).mean(axis=(2, 3), keepdims=True)


def pooled(omega: np.ndarray) -> np.ndarray:
    """Return an omega for what mixes the whole picture: the mean of a map (N, p, H, W), (N, p), or what is no map."""
    return float64(omega).mean(axis=(2, 3)) if np.ndim(omega) > 2 else omega


def part(tensors: Tensors, name: str) -> Tensors:
    """Return the parameters of a layer inside another, by their names in it."""
    return {local.removeprefix(name + "."): value for local, value in tensors.items() if local.startswith(name + ".")}


# One signature for all: (x, omega, tensors, formulation, **options) -> output.
LAYERS: dict[str, Callable[..., np.ndarray]] = {
    "conv1d": conv,
    "conv2d": conv,
    "conv3d": conv,
    "conv_transpose1d": conv_transpose,
    "conv_transpose2d": conv_transpose,
    "conv_transpose3d": conv_transpose,
    "linear": linear,
    "parameter": lambda x, omega, tensors, formulation: parameter(omega, tensors, formulation),
    **{kind: partial(norm, kind) for kind in _NORM_AXES},
    "window_attention": window_attention,
    "channel_attention": channel_attention,
    "simplified_channel_attention": simplified_channel_attention,
}


def layer(
    kind: str,
    formulation: Form,
    tensors: Tensors,
    options: dict[str, Any],
    x: np.ndarray | None,
    omega: np.ndarray,
) -> np.ndarray:
    """Compute the layer that a tunable.backends.protocol.LayerCall records (x is None for a parameter)."""
    if kind not in LAYERS:
        raise TunableError(f"unknown layer {kind!r}{nearest(kind, LAYERS)}; known: {', '.join(LAYERS)}")
    return LAYERS[kind](x, omega, tensors, formulation, **options)


def _kernels(
    formulation: Form,
    omega: np.ndarray,
    tensors: Tensors,
    n: int,
    groups: int = 1,
    transposed: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The aggregated kernel (N, ...) and bias (N, out) of every sample; a missing bias is zero."""
    alpha = phi(formulation, rows_of(omega, n), tensors)
    kernel = aggregate(alpha, _stacked(formulation, tensors, alpha.shape[1], groups, transposed))
    if "bias" in tensors:
        return kernel, aggregate(alpha, tensors["bias"])
    return kernel, np.zeros((n, kernel.shape[2] * groups if transposed else kernel.shape[1]))


def _stacked(formulation: Form, tensors: Tensors, k: int, groups: int, transposed: bool) -> np.ndarray:
    """All k kernels, (k, ...): the base kernel and its differences, where these are not full."""
    kernels = float64(tensors["weight"])
    if Formulation.of(formulation).differences == "full":
        return kernels
    return np.stack([kernels[0], *(difference(tensors, j, groups, transposed) for j in range(k - 1))])


def _per_pixel(
    alone: Callable[..., np.ndarray],
    omega: np.ndarray,
    tensors: Tensors,
    formulation: Form,
    *,
    channels: int = 1,
    groups: int = 1,
    transposed: bool = False,
) -> np.ndarray:
    """A layer at a map (N, p, *size): each pixel of its output is that of the layer at the pixel's omega.

    What a layer computes is linear in its kernels and biases together: the sum over i of alpha_i, of the pixel, times
    what kernel i and bias i alone compute. `channels` is the output's axis of channels.
    """
    alpha = phi(formulation, omega, tensors)
    kernels = {"weight": _stacked(formulation, tensors, alpha.shape[1], groups, transposed)}
    kernels |= {"bias": tensors["bias"]} if "bias" in tensors else {}
    outputs = [alone(omega=unit, tensors=kernels) for unit in np.eye(alpha.shape[1])]
    return np.sum([np.expand_dims(alpha[:, i], channels) * y for i, y in enumerate(outputs)], axis=0)


def _affine(x: np.ndarray, tensors: Tensors, name: str) -> np.ndarray:
    return x @ float64(tensors[name + ".weight"]).T + float64(tensors[name + ".bias"])


def rows_of(omega: np.ndarray, n: int) -> np.ndarray:
    """Return omega (p,) or (N, p) as (N, p)."""
    omega = float64(omega)
    if omega.ndim == 2 and len(omega) != n:
        raise TunableError(f"omega has {len(omega)} rows for a batch of {n}")
    return np.broadcast_to(omega, (n, omega.shape[-1]))


def _each(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    """One number per dimension."""
    return (value,) * dims if isinstance(value, int | np.integer) else tuple(value)


def _by(sizes: Iterable[int]) -> str:
    return "x".join(str(size) for size in sizes)


def float64(value: ArrayLike) -> np.ndarray:
    """Return an array, or what numpy makes one of, in float64."""
    return np.asarray(value, dtype=np.float64)
