"""Everything peculiar to MindSpore, and nothing else of the project."""

from mindspore_impl.ops import startup  # noqa: F401  before all else: it prepares the process

# isort: split

from mindspore_impl.ops.arithmetic import for_export
from mindspore_impl.ops.attention import (
    Softmax,
    bmm,
    from_windows,
    relative_bias,
    roll,
    shift_mask,
    softmax,
    split,
    to_windows,
)
from mindspore_impl.ops.convolution import ORDINARY, OrdinaryConv, conv, conv_transpose, linear, ordinary_conv, pad
from mindspore_impl.ops.device import alone, device_in_use, device_of, facts, full_precision, running
from mindspore_impl.ops.kernels import affine, aggregate, cast_like, displaced, low_rank
from mindspore_impl.ops.memory import MOST_PIXELS, MOST_SIZES, Sizes, forget_graphs, make_room
from mindspore_impl.ops.norms import global_mean, normalise, per_sample_mean, scale_and_shift
from mindspore_impl.ops.parameters import assign, freeze, fresh_seed, parameter
from mindspore_impl.ops.pixels import (
    channels_first,
    channels_last,
    erf_replaced,
    gate,
    gelu,
    leaky_relu,
    max_pool_x2,
    mix_colours,
    nearest,
    pad_to_multiple,
    pixel_shuffle,
    prelu,
    scale_colours,
    shift_colours,
    softplus,
)

__all__ = [
    "MOST_PIXELS",
    "MOST_SIZES",
    "ORDINARY",
    "OrdinaryConv",
    "Sizes",
    "Softmax",
    "affine",
    "aggregate",
    "alone",
    "assign",
    "bmm",
    "cast_like",
    "channels_first",
    "channels_last",
    "conv",
    "conv_transpose",
    "device_in_use",
    "device_of",
    "displaced",
    "erf_replaced",
    "pad_to_multiple",
    "facts",
    "for_export",
    "forget_graphs",
    "freeze",
    "fresh_seed",
    "from_windows",
    "full_precision",
    "gate",
    "gelu",
    "global_mean",
    "leaky_relu",
    "linear",
    "low_rank",
    "make_room",
    "max_pool_x2",
    "mix_colours",
    "nearest",
    "normalise",
    "ordinary_conv",
    "pad",
    "parameter",
    "per_sample_mean",
    "pixel_shuffle",
    "prelu",
    "relative_bias",
    "roll",
    "running",
    "scale_and_shift",
    "scale_colours",
    "shift_colours",
    "shift_mask",
    "softmax",
    "softplus",
    "split",
    "to_windows",
]
