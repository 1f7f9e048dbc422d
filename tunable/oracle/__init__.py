"""The truth: Eqs. 1-7 in plain numpy float64, written to be read; what both twins answer to.

Everything is computed in float64 whatever comes in. omega is (p,), one setting for the whole batch, (N, p), one per
sample, or a map (N, p, *size), one for every pixel of a layer's output.
"""

from tunable.oracle.control import output_blend, strategy
from tunable.oracle.layers import LAYERS, aggregate, conv, conv_transpose, layer, linear, norm, parameter, phi
from tunable.oracle.losses import (
    discriminator_loss,
    multi_loss,
    multi_loss_gradient,
    objective,
    perceptual,
    style,
    style_grams,
    target,
)
from tunable.oracle.networks import compact, features, lpips, realness, unet

__all__ = [
    "LAYERS",
    "aggregate",
    "compact",
    "conv",
    "conv_transpose",
    "discriminator_loss",
    "features",
    "layer",
    "linear",
    "lpips",
    "multi_loss",
    "multi_loss_gradient",
    "norm",
    "objective",
    "output_blend",
    "parameter",
    "perceptual",
    "phi",
    "realness",
    "strategy",
    "style",
    "style_grams",
    "target",
    "unet",
]
