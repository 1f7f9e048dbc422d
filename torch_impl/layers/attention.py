"""Attention built from tunable layers: inside windows (Swin), and over channels."""

import math
from collections.abc import Sequence

import torch

from torch_impl import ops
from torch_impl.layers.composite import Composite, call, conv2d, linear, parameter, value_at
from torch_impl.layers.maps import pooled
from tunable.errors import TunableError
from tunable.specs.formulations import DEFAULT_PHI, Formulation


class WindowAttention(Composite):
    """Multi-head self-attention inside the windows of a feature map, with relative-position bias (Swin).

    Parts: qkv, relative_position_bias_table ((2 window - 1)^2, heads), proj.

    Args:
        channels: channels of the map, a multiple of heads.
        num_objectives: p, or 0 for the plain form.
        heads: attention heads, at least 1.
        window: side of a window in pixels, at least 1.
        shift: pixels by which the windows are shifted down and right, cyclically, less than the window. Where it is
            above 0, pixels from opposite borders do not see each other.
        bias: whether qkv has a bias.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        differences: what stands beside the base kernels: full, low_rank or scale (docs/method.md, "Formulations").
        rank: of low_rank differences, at least 1; 0 for the others.
        anchor: omega* (p,), at which every layer is its base kernel; () where that is omega = 0.
        bump: whether each pair of objectives has kernels, weighed by the product of the two.

    Raises:
        TunableError: where the numbers do not fit each other, or (when called) the map is no multiple of the window.
    """

    kind = "window_attention"

    def __init__(
        self,
        channels: int,
        *,
        num_objectives: int,
        heads: int,
        window: int,
        shift: int = 0,
        bias: bool = True,
        phi: str = DEFAULT_PHI,
        differences: str = "full",
        rank: int = 0,
        anchor: Sequence[float] = (),
        bump: bool = False,
    ) -> None:
        super().__init__(num_objectives)
        if heads < 1 or channels % heads:
            raise TunableError(f"channels {channels} must be a multiple of heads {heads}")
        if window < 1 or not 0 <= shift < window:
            raise TunableError(f"shift {shift} must lie in [0, window) for a window of {window}")
        self.heads = heads
        self.window = window
        self.shift = shift
        formulation = Formulation(phi, differences, rank, anchor, bump)
        options = {"num_objectives": num_objectives, "formulation": formulation}
        self.qkv = linear(channels, 3 * channels, bias=bias, **options)
        self.relative_position_bias_table = parameter(((2 * window - 1) ** 2, heads), **options)
        self.proj = linear(channels, channels, **options)

    def forward(
        self, x: torch.Tensor, omega: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Let the pixels of every window attend to each other; returns the shape of x.

        Args:
            x: (N, H, W, C), H and W multiples of the window.
            omega: (p,) or (N, p), None when plain.
            mask: ops.shift_mask(x, window, shift), where the caller has it already for several layers.
        """
        height, width, channels = x.shape[1:]
        if self.shift:
            x = ops.roll(x, -self.shift)
            mask = ops.shift_mask(x, self.window, self.shift) if mask is None else mask
        else:
            mask = None
        windows = ops.to_windows(x, self.window)
        count, pixels, size = windows.shape[1], self.window**2, channels // self.heads
        qkv = call(self.qkv, windows, omega).reshape(-1, count, pixels, 3 * self.heads, size).swapaxes(2, 3)
        q, k, v = (part.reshape(-1, pixels, size) for part in ops.split(qkv, 3, 2))
        weights = ops.bmm(q / math.sqrt(size), k.swapaxes(1, 2)).reshape(-1, count, self.heads, pixels, pixels)
        bias = ops.relative_bias(value_at(self.relative_position_bias_table, omega), self.window)
        weights = weights + bias
        if mask is not None:
            weights = weights + mask
        mixed = ops.bmm(ops.softmax(weights).reshape(-1, pixels, pixels), v)
        mixed = mixed.reshape(-1, count, self.heads, pixels, size).swapaxes(2, 3).reshape(-1, count, pixels, channels)
        y = ops.from_windows(call(self.proj, mixed, omega), self.window, height, width)
        return ops.roll(y, self.shift) if self.shift else y

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the table when plain, as ParameterSpec explains them."""
        return {"relative_position_bias_table": ("zero", 0)}

    def options(self) -> dict:
        """Return the keyword arguments with which the oracle computes this layer."""
        return {"heads": self.heads, "window": self.window, "shift": self.shift}


class ChannelAttention(Composite):
    """Squeeze and excitation: every channel is multiplied by a number in (0, 1), computed from all channels' means.

    The output is x sigmoid(expand(relu(reduce(mean of x over the pixels)))).

    Parts: reduce (C -> hidden), expand (hidden -> C).

    Args:
        channels: C, the channels of the map.
        hidden: channels between the two parts.
        num_objectives: p, or 0 for the plain form.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        differences: what stands beside the base kernels: full, low_rank or scale (docs/method.md, "Formulations").
        rank: of low_rank differences, at least 1; 0 for the others.
        anchor: omega* (p,), at which every layer is its base kernel; () where that is omega = 0.
        bump: whether each pair of objectives has kernels, weighed by the product of the two.
    """

    kind = "channel_attention"

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        num_objectives: int,
        phi: str = DEFAULT_PHI,
        differences: str = "full",
        rank: int = 0,
        anchor: Sequence[float] = (),
        bump: bool = False,
    ) -> None:
        super().__init__(num_objectives)
        formulation = Formulation(phi, differences, rank, anchor, bump)
        options = {"num_objectives": num_objectives, "formulation": formulation}
        self.reduce = conv2d(channels, hidden, 1, **options)
        self.expand = conv2d(hidden, channels, 1, **options)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the part's output, of the shape of x (N, C, H, W); omega is None when plain.

        omega is (p,) or (N, p); of a map (N, p, H, W) the mean is taken, for the part mixes the whole picture.
        """
        omega = pooled(omega)
        hidden = torch.relu(call(self.reduce, ops.global_mean(x), omega))
        return x * torch.sigmoid(call(self.expand, hidden, omega))

    def options(self) -> dict:
        """Return the keyword arguments with which the oracle computes this layer."""
        return {}


class SimplifiedChannelAttention(Composite):
    """NAFNet's channel attention, x conv(mean of x over the pixels). Part: conv (C -> C, one pixel).

    Args:
        channels: C, the channels of the map.
        num_objectives: p, or 0 for the plain form.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        differences: what stands beside the base kernels: full, low_rank or scale (docs/method.md, "Formulations").
        rank: of low_rank differences, at least 1; 0 for the others.
        anchor: omega* (p,), at which every layer is its base kernel; () where that is omega = 0.
        bump: whether each pair of objectives has kernels, weighed by the product of the two.
    """

    kind = "simplified_channel_attention"

    def __init__(
        self,
        channels: int,
        *,
        num_objectives: int,
        phi: str = DEFAULT_PHI,
        differences: str = "full",
        rank: int = 0,
        anchor: Sequence[float] = (),
        bump: bool = False,
    ) -> None:
        super().__init__(num_objectives)
        formulation = Formulation(phi, differences, rank, anchor, bump)
        options = {"num_objectives": num_objectives, "formulation": formulation}
        self.conv = conv2d(channels, channels, 1, **options)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the part's output, of the shape of x (N, C, H, W); omega is None when plain.

        omega is (p,) or (N, p); of a map (N, p, H, W) the mean is taken, for the part mixes the whole picture.
        """
        return x * call(self.conv, ops.global_mean(x), pooled(omega))

    def options(self) -> dict:
        """Return the keyword arguments with which the oracle computes this layer."""
        return {}
