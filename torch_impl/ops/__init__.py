"""Everything peculiar to PyTorch, and nothing else of the project."""

from torch_impl.ops import startup  # noqa: F401  before all else: it prepares the process

# isort: split

from torch_impl.ops.attention import bmm, from_windows, relative_bias, roll, shift_mask, softmax, split, to_windows
from torch_impl.ops.compiling import compile_every_shape, is_backward, is_transformed, never_a_graph_of_its_own
from torch_impl.ops.convolution import (
    conv,
    conv_transpose,
    form_of,
    linear,
    pad,
    with_bias,
    with_low_rank_outputs,
    with_scaled_outputs,
)
from torch_impl.ops.device import device_of, facts, full_precision
from torch_impl.ops.kernels import (
    aggregate,
    displaced,
    low_rank,
    no_autocast,
    stacked,
    with_low_rank,
    with_scale,
)
from torch_impl.ops.norms import global_mean, normalise, per_sample_mean, scale_and_shift
from torch_impl.ops.ordinary import ORDINARY, ordinary_conv
from torch_impl.ops.parameters import freeze, fresh_seed, put
from torch_impl.ops.pixels import (
    channels_first,
    channels_last,
    filtered,
    gate,
    gelu,
    leaky_relu,
    max_pool_x2,
    mean_pool_x2,
    mix_colours,
    nearest,
    pad_to_multiple,
    pixel_shuffle,
    prelu,
    scale_colours,
    shift_colours,
    softplus,
    spectrum,
)

__all__ = [
    "ORDINARY",
    "aggregate",
    "bmm",
    "channels_first",
    "channels_last",
    "compile_every_shape",
    "conv",
    "conv_transpose",
    "device_of",
    "displaced",
    "pad_to_multiple",
    "facts",
    "filtered",
    "form_of",
    "freeze",
    "fresh_seed",
    "from_windows",
    "full_precision",
    "gate",
    "gelu",
    "global_mean",
    "is_backward",
    "is_transformed",
    "leaky_relu",
    "linear",
    "low_rank",
    "max_pool_x2",
    "mean_pool_x2",
    "mix_colours",
    "nearest",
    "never_a_graph_of_its_own",
    "no_autocast",
    "normalise",
    "ordinary_conv",
    "pad",
    "per_sample_mean",
    "pixel_shuffle",
    "prelu",
    "put",
    "relative_bias",
    "roll",
    "scale_and_shift",
    "scale_colours",
    "shift_colours",
    "shift_mask",
    "softmax",
    "softplus",
    "spectrum",
    "split",
    "stacked",
    "to_windows",
    "with_bias",
    "with_low_rank",
    "with_low_rank_outputs",
    "with_scale",
    "with_scaled_outputs",
]
