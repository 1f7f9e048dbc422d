"""Normalisations: plain as the networks hold them, and with a tunable scale and shift."""

from collections.abc import Sequence

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers.tunable import Tunable
from tunable.docstrings import inherit_arguments
from tunable.specs.formulations import DEFAULT_PHI, Formulation


class Norm(nn.Module):
    """y = scale (x - mean) / sqrt(variance + eps) + shift, variance biased, scale and shift per channel.

    Parameters: weight (C,), bias (C,). Use LayerNorm, LayerNorm2d, InstanceNorm2d or BatchNorm2d, which differ in
    the entries over which mean and variance are taken.

    Args:
        channels: C, the length of the axis of channels.
        eps: what is added to the variance, above 0.
    """

    kind = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        inherit_arguments(cls)

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise x, (N, ..., C) for LayerNorm and (N, C, H, W) for the others; the result has the shape of x.

        omega is not used. It is an argument so that ordinary and tunable norms are called alike.
        """
        return ops.scale_and_shift(ops.normalise(x, self.kind, self.eps), self.weight, self.bias, self.kind)

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the parameters by name, as ParameterSpec explains them."""
        return {"weight": ("one", 0), "bias": ("zero", 0)}


class LayerNorm(Norm):
    """A norm over the last axis, the channels: x (N, ..., C)."""

    kind = "layer_norm"


class LayerNorm2d(Norm):
    """A norm over the channels of every pixel: x (N, C, H, W)."""

    kind = "layer_norm2d"


class InstanceNorm2d(Norm):
    """A norm over the pixels of every channel: x (N, C, H, W). Statistics are always those of the sample."""

    kind = "instance_norm2d"


class BatchNorm2d(Norm):
    """A norm over batch and pixels of every channel: x (N, C, H, W).

    Statistics are always those of the batch, so it serves in training alone, in the discriminator.
    """

    kind = "batch_norm2d"


class TunableNorm(Tunable):
    """A normalisation whose scale and shift are set by omega.

    Parameters: weight (k, C), bias (k, C), phi.*. Use TunableLayerNorm, TunableLayerNorm2d or TunableInstanceNorm2d.

    Args:
        channels: C, the length of the axis of channels.
        num_objectives: p, at least 1.
        eps: what is added to the variance, above 0.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        anchor: omega* (p,), at which the layer is its base kernel; () where that is omega = 0.
        bump: whether each pair of objectives has a kernel, weighed by the product of the two.
        seed: seed of the starting weights; None draws one from the framework's generator.

    Raises:
        TunableError: for num_objectives below 1 or an unknown phi.
    """

    ordinary: type[Norm] = Norm

    def __init__(
        self,
        channels: int,
        *,
        num_objectives: int,
        eps: float = 1e-5,
        phi: str = DEFAULT_PHI,
        anchor: Sequence[float] = (),
        bump: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(num_objectives, Formulation(phi, anchor=anchor, bump=bump))
        self.channels = channels
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(self.num_kernels, channels))
        self.bias = nn.Parameter(torch.empty(self.num_kernels, channels))
        self.start(seed)

    def forward(self, x: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
        """Normalise x as the ordinary norm does; the result has the shape of x.

        omega is (p,), (N, p), or a map (N, p, *size) whose pixels are those of x.
        """
        (alpha, weight, bias), y = self.at(omega), ops.normalise(x, self.kind, self.eps)
        if alpha is not None and alpha.ndim > 2:
            weight, bias = ops.at_outputs(alpha, weight, x.ndim - 2), ops.at_outputs(alpha, bias, x.ndim - 2)
            if self.kind == "layer_norm":
                weight, bias = ops.channels_last(weight), ops.channels_last(bias)
            return y * weight + bias
        if alpha is not None:
            weight, bias = ops.aggregate(alpha, weight), ops.aggregate(alpha, bias)
        return ops.scale_and_shift(y, weight, bias, self.kind)

    def pixels(self, x: torch.Tensor) -> tuple[int, ...]:
        """Return the size of the maps for an input x: of all its axes but the first and that of the channels."""
        return tuple(x.shape[1:-1] if self.kind == "layer_norm" else x.shape[2:])

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the layer's parameters by local name, as ParameterSpec explains them."""
        return {"weight": ("one", 0), "bias": ("zero", 0)}

    def options(self) -> dict:
        """Return the keyword arguments with which the oracle computes this layer."""
        return {"eps": self.eps}

    def fold(self, omega: torch.Tensor) -> nn.Module:
        """Return the ordinary norm that equals this one at omega (p,); OmegaError for another shape."""
        return self.mixed_into(self.ordinary(self.channels, eps=self.eps), omega)


class TunableLayerNorm(TunableNorm):
    """LayerNorm with a scale and shift that omega sets: x (N, ..., C)."""

    kind = "layer_norm"
    ordinary = LayerNorm


class TunableLayerNorm2d(TunableNorm):
    """LayerNorm2d with a scale and shift that omega sets: x (N, C, H, W)."""

    kind = "layer_norm2d"
    ordinary = LayerNorm2d


class TunableInstanceNorm2d(TunableNorm):
    """InstanceNorm2d with a scale and shift that omega sets: x (N, C, H, W)."""

    kind = "instance_norm2d"
    ordinary = InstanceNorm2d
