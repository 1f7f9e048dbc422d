"""Networks in float64: U-Net, Compact, the feature network VGG and the discriminator (sections 4.1.3 and 4.2)."""

import numpy as np

from tunable.oracle.layers import Tensors, conv, float64, parameter, part
from tunable.specs.discriminator import Discriminator
from tunable.specs.networks import IMAGENET_MEAN, IMAGENET_STD, CompactSpec, UNetSpec
from tunable.weights import vgg

BATCH_NORM_EPS = 1e-5


def unet(pictures: np.ndarray, omega: np.ndarray, spec: UNetSpec, tensors: Tensors) -> np.ndarray:
    """Compute the tunable U-Net (docs/method.md, "Networks").

    Args:
        pictures: (N, 3, H, W).
        omega: (p,), (N, p), or a map (N, p, H, W).
        spec: the network's specification.
        tensors: its parameters by name.

    Returns:
        (N, 3, H, W).
    """

    def layer(x: np.ndarray, at: np.ndarray, name: str, **options) -> np.ndarray:
        return conv(x, at, part(tensors, name), spec.formulation, **options)

    def double(x: np.ndarray, at: np.ndarray, name: str) -> np.ndarray:
        for each in ("conv1", "conv2"):
            x = np.maximum(layer(x, at, f"{name}.{each}", padding=1), 0)
        return x

    height, width = pictures.shape[2:]
    outside = [(0, 0), (0, 0), *((0, -side % 2**spec.depth) for side in (height, width))]
    padded, omega = np.pad(float64(pictures), outside, "edge"), float64(omega)
    if omega.ndim == 4:
        omega = np.pad(omega, outside, "edge")
    y, skips, scales = padded, [], [omega]
    for scale in range(spec.depth):
        skips.append(double(y, scales[-1], f"encoders.{scale}"))
        scales.append(_halved_map(scales[-1]))
        y = layer(skips[-1], scales[-1], f"downs.{scale}", stride=2)
    y = double(y, scales[-1], "middle")
    for place, skip in enumerate(reversed(skips)):
        y = layer(_repeated(y, 2), _repeated(scales.pop(), 2), f"ups.{place}")
        y = double(np.concatenate([skip, y], axis=1), scales[-1], f"decoders.{place}")
    return (padded + layer(y, omega, "tail", padding=1))[:, :, :height, :width]


def compact(pictures: np.ndarray, omega: np.ndarray, spec: CompactSpec, tensors: Tensors) -> np.ndarray:
    """Compute the tunable Compact (docs/method.md, "Networks").

    Args:
        pictures: (N, 3, H, W).
        omega: (p,), (N, p), or a map (N, p, H, W).
        spec: the network's specification.
        tensors: its parameters by name.

    Returns:
        (N, 3, upscale H, upscale W).
    """
    y, factor = float64(pictures), spec.upscale
    for place in range(spec.blocks + 1):
        y = conv(y, omega, part(tensors, f"body.{2 * place}"), spec.formulation, padding=1)
        name = f"body.{2 * place + 1}.weight"
        slope = (
            parameter(omega, part(tensors, name), spec.formulation) if spec.tunable_slopes else float64(tensors[name])
        )
        slope = slope if slope.ndim == 4 else slope.reshape(-1, spec.channels, 1, 1)
        y = np.where(y > 0, y, slope * y)
    y = conv(y, omega, part(tensors, f"body.{2 * spec.blocks + 2}"), spec.formulation, padding=1)
    n, _, height, width = y.shape
    shuffled = y.reshape(n, 3, factor, factor, height, width).transpose(0, 1, 4, 2, 5, 3)
    enlarged = _repeated(float64(pictures), factor)
    return enlarged + shuffled.reshape(enlarged.shape)


def features(pictures: np.ndarray, tensors: Tensors, layer: str) -> np.ndarray:
    """VGG at reluI_J (after that ReLU) or convI_J (before it): pictures (N, 3, H, W) in 0..1 -> (N, C, h, w)."""
    x = (float64(pictures) - np.reshape(IMAGENET_MEAN, (3, 1, 1))) / np.reshape(IMAGENET_STD, (3, 1, 1))
    names = vgg.convs_up_to(layer, tensors)
    for before, name in zip(["", *names], names, strict=False):
        if before and before[:5] != name[:5]:
            x = _halved(x)
        x = _ordinary(x, tensors, name, padding=1)
        if name != layer:
            x = np.maximum(x, 0)
    return x


def lpips(x: np.ndarray, y: np.ndarray, tensors: Tensors, heads: Tensors) -> np.ndarray:
    """Compute LPIPS (Zhang et al., CVPR 2018; docs/method.md, "LPIPS and NIQE") of every sample.

    Args:
        x: pictures (N, 3, H, W) in 0..1, of 16 pixels a side at least.
        y: pictures alike.
        tensors: VGG-16's parameters by name.
        heads: (C,) by the layer's name, for example relu1_2.

    Returns:
        (N,).
    """

    def units(pictures: np.ndarray, layer: str) -> np.ndarray:
        seen = features(pictures, tensors, layer)
        return seen / (np.sqrt((seen**2).sum(axis=1, keepdims=True)) + 1e-10)

    distances = [
        np.einsum("nchw,c->nhw", (units(x, layer) - units(y, layer)) ** 2, float64(head)).mean(axis=(1, 2))
        for layer, head in heads.items()
    ]
    return np.sum(distances, axis=0)


def realness(pictures: np.ndarray, settings: Discriminator, tensors: Tensors) -> np.ndarray:
    """Score pictures as the discriminator does: (N, 3, H, W) -> (N,), higher where a picture looks clean."""
    x = float64(pictures)
    for index in range(2 * settings.scales):
        halve = index % 2
        x = _ordinary(x, tensors, f"blocks.{index}.conv", padding=1, stride=1 + halve)
        if index:
            x = _batch_norm(x, tensors[f"blocks.{index}.norm.weight"], tensors[f"blocks.{index}.norm.bias"])
        x = np.where(x > 0, x, 0.2 * x)
    hidden = x.mean(axis=(2, 3)) @ float64(tensors["hidden.weight"]).T + tensors["hidden.bias"]
    hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
    return (hidden @ float64(tensors["out.weight"]).T)[:, 0]


def _ordinary(x: np.ndarray, tensors: Tensors, name: str, **options) -> np.ndarray:
    """An ordinary convolution: the tunable one of one kernel, weighted by 1."""
    kernels = {part: tensors[f"{name}.{part}"][None] for part in ("weight", "bias") if f"{name}.{part}" in tensors}
    return conv(x, np.ones(1), kernels, "identity", **options)


def _repeated(x: np.ndarray, factor: int) -> np.ndarray:
    """Every pixel factor times down and across; an omega that is no map as it is."""
    return x.repeat(factor, axis=2).repeat(factor, axis=3) if x.ndim == 4 else x


def _halved_map(omega: np.ndarray) -> np.ndarray:
    """The means of every 2x2 pixels of a map; an omega that is no map as it is."""
    if omega.ndim < 4:
        return omega
    return np.mean([omega[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)


def _halved(x: np.ndarray) -> np.ndarray:
    """The largest of every 2x2 pixels; an odd last row or column is dropped."""
    n, c, height, width = x.shape
    x = x[:, :, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, c, height // 2, 2, width // 2, 2).max(axis=(3, 5))


def _batch_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Over batch and pixels of every channel, variance biased."""
    mean, variance = (f(x, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.var))
    return (x - mean) / np.sqrt(variance + BATCH_NORM_EPS) * weight.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
