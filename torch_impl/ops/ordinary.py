"""The ordinary convolutions and linear layers, to which tunable ones fold."""

from typing import Any

from torch import nn

# The framework's own layers with a weight and a bias that are started as kernels.
ORDINARY = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


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
) -> nn.Module:
    """Make an ordinary convolution, the framework's own layer, with its starting weights.

    Tuples hold one number per dimension, of which there are one to three. The convolution is a transposed one where
    output_padding is given; its `padding` is cut off the output.
    """
    dims = len(kernel_size)
    options: dict[str, Any] = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "bias": bias,
    }
    if output_padding is None:
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
        options["padding_mode"] = padding_mode
    else:
        kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
        options["output_padding"] = output_padding
    return kind(in_channels, out_channels, **options)
