"""Norms and means."""

import mindspore as ms
from mindspore import ops as _ops

_AXES = {"layer_norm": (-1,), "layer_norm2d": (1,), "instance_norm2d": (2, 3), "batch_norm2d": (0, 2, 3)}


def normalise(x: ms.Tensor, kind: str, eps: float) -> ms.Tensor:
    """Return (x - mean) / sqrt(variance + eps), the variance biased.

    Args:
        x: (N, ..., C) for the kind layer_norm, (N, C, H, W) for the others.
        kind: layer_norm, layer_norm2d, instance_norm2d or batch_norm2d; it says over which axes the mean is taken.
        eps: what is added to the variance, above 0.

    Returns:
        A tensor of the same shape.
    """
    mean = x.mean(_AXES[kind], keep_dims=True)
    centred = x - mean
    deviation = _ops.sqrt((centred * centred).mean(_AXES[kind], keep_dims=True) + eps)
    return centred / deviation


def scale_and_shift(x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor, kind: str) -> ms.Tensor:
    """Return x weight + bias, channel by channel.

    Args:
        x: (N, ..., C) for the kind layer_norm, (N, C, ...) for the others.
        weight: (C,), or (N, C) for one per sample.
        bias: likewise.
        kind: as for `normalise`.

    Returns:
        A tensor of the same shape.
    """
    rest = (1,) * (x.ndim - 2)
    channels = weight.shape[-1]
    shape = (-1,) + rest + (channels,) if kind == "layer_norm" else (-1, channels) + rest
    weight, bias = weight.reshape(shape), bias.reshape(shape)
    return x * weight + bias


def global_mean(x: ms.Tensor) -> ms.Tensor:
    """Return the mean of every channel over its pixels: x (N, C, H, W) -> (N, C, 1, 1)."""
    return x.mean((2, 3), keep_dims=True)


def per_sample_mean(values: ms.Tensor) -> ms.Tensor:
    """Return the mean over all but the first axis: (N, ...) -> (N,)."""
    return values.reshape(values.shape[0], -1).mean(1)
