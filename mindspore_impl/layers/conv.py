"""Tunable convolutions (Eqs. 3, 5, 6)."""

import mindspore as ms
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.layers.tunable import Tunable
from tunable_core.errors import TunableError, nearest
from tunable_core.networks import DEFAULT_PHI


class TunableConv2d(Tunable):
    """A 2-D convolution whose kernel and bias are set by omega: y = x * k(omega) + b(omega).

    Parameters: weight (k, out, in / groups, kh, kw), bias (k, out), phi.*; k is the number of
    kernels, p or (phi `base`) p + 1.

    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
                     as in an ordinary convolution; zeros are padded; integers or pairs
    num_objectives   p
    phi              affine, identity, se or base
    form             how per-sample omega is computed: auto, grouped, basis, loop
    seed             of the starting weights; None draws one from the framework's generator

    Raises TunableError for groups that do not divide the channels, or an unknown phi or form.
    """

    kind = "conv2d"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        num_objectives: int,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        phi: str = DEFAULT_PHI,
        form: str = "auto",
        seed: int | None = None,
    ):
        super().__init__(num_objectives, phi)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise TunableError(f"groups {groups} must divide in_channels {in_channels} and out_channels {out_channels}")
        if form not in ops.FORMS:
            raise TunableError(f"unknown form {form!r}{nearest(form, ops.FORMS)}; known: {', '.join(ops.FORMS)}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.dilation = _pair(dilation)
        self.groups = groups
        self.form = form
        shape = (self.num_kernels, out_channels, in_channels // groups, *self.kernel_size)
        self.weight = ops.parameter(shape)
        self.bias = ops.parameter(shape[:2]) if bias else None
        self.start(seed)

    def construct(self, x: ms.Tensor, omega: ms.Tensor) -> ms.Tensor:
        """x (N, in, H, W), omega (p,) or (N, p) -> (N, out, H', W')."""
        return ops.conv2d(
            x,
            self.phi(omega),
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.form,
        )

    def roles(self) -> dict[str, tuple[str, int]]:
        fan_in = self.in_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]
        return {"weight": ("kernel", fan_in), "bias": ("bias", fan_in)}

    def options(self) -> dict:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def fold(self, omega: ms.Tensor) -> nn.Conv2d:
        """The ordinary convolution equal to this one at omega (p,)."""
        folded = ops.ordinary_conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.bias is not None,
        )
        alpha = self.phi(omega)
        ops.assign(folded.weight, ops.aggregate(alpha, self.weight).asnumpy())
        if self.bias is not None:
            ops.assign(folded.bias, ops.aggregate(alpha, self.bias).asnumpy())
        return folded


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
