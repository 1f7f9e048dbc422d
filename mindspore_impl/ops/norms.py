"""Norms and means."""

import mindspore as ms
from mindspore import ops as _ops

_AXES = {"layer_norm": (-1,), "layer_norm2d": (1,), "instance_norm2d": (2, 3), "batch_norm2d": (0, 2, 3)}


def normalise(x: ms.Tensor, kind: str, eps: float) -> ms.Tensor:
    """(x - mean) / sqrt(variance + eps) over the axes of a kind of norm, variance biased."""
    mean = x.mean(_AXES[kind], keep_dims=True)
    centred = x - mean
    deviation = _ops.sqrt((centred * centred).mean(_AXES[kind], keep_dims=True) + eps)
    return centred / deviation


def scale_and_shift(x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor, kind: str) -> ms.Tensor:
    """x weight + bias per channel, (C,) or (N, C) each; channels on the last axis for layer_norm, else on axis 1."""
    rest = (1,) * (x.ndim - 2)
    channels = weight.shape[-1]
    shape = (-1,) + rest + (channels,) if kind == "layer_norm" else (-1, channels) + rest
    weight, bias = weight.reshape(shape), bias.reshape(shape)
    return x * weight + bias


def global_mean(x: ms.Tensor) -> ms.Tensor:
    """x (N, C, H, W) -> (N, C, 1, 1)."""
    return x.mean((2, 3), keep_dims=True)


def per_sample_mean(values: ms.Tensor) -> ms.Tensor:
    """Mean over all but the first axis: (N, ...) -> (N,)."""
    return values.reshape(values.shape[0], -1).mean(1)
