"""The ordinary convolutions and linear layers, to which tunable ones fold."""

import mindspore as ms
from mindspore import nn

from mindspore_impl.ops.convolution import conv, conv_transpose, pad
from mindspore_impl.ops.parameters import parameter


def ordinary_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, ...],
    *,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    bias: bool,
    padding_mode: str = "zeros",
    output_padding: tuple[int, ...] | None = None,
) -> nn.Cell:
    """Make an ordinary convolution: the framework's own nn.Conv2d where it means the same, else OrdinaryConv.

    Tuples hold one number per dimension, of which there are one to three. The convolution is a transposed one where
    output_padding is given; its `padding` is cut off the output.
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
    """An ordinary convolution that none of MindSpore's own layers is.

    MindSpore's convolution of one dimension stores its kernel with an axis more, its transposed convolutions know no
    output padding, and none of its convolutions reflects or replicates its border. Arguments are those of
    `ordinary_conv`.

    Parameters as in PyTorch: weight (out, in / groups, *kernel size), transposed (in, out / groups, *kernel size).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        output_padding: tuple[int, ...] | None,
    ) -> None:
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

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """Convolve x (N, in, *size); returns (N, out, *size')."""
        if self.output_padding is not None:
            options = (self.stride, self.padding, self.output_padding, self.dilation, self.groups)
            return conv_transpose(x, None, self.weight, self.bias, *options, "shared")
        padding = self.padding
        if self.padding_mode != "zeros":
            x = pad(x, padding, self.padding_mode)
            padding = (0,) * len(padding)
        return conv(x, None, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, "shared")


# The ordinary layers with a weight and a bias that are started as kernels.
ORDINARY = (nn.Conv2d, nn.Dense, OrdinaryConv)
