"""LPIPS and NIQE (docs/method.md, "LPIPS and NIQE"): what PSNR does not see, in numpy, whatever framework restores.

LPIPS (Zhang et al., CVPR 2018): how far the restored picture's features are from the clean one's. NIQE (Mittal et al.,
IEEE SPL 2013): how far a picture's statistics are from those of natural photographs; it needs no clean picture.
perceptual.safetensors beside this file holds LPIPS' linear heads and NIQE's model, perceptual.md where they come from.
"""

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from tunable.arrays import Tensors
from tunable.errors import RecipeError, TunableError
from tunable.evaluation import metrics
from tunable.specs.feature_network import MAKERS, VGG
from tunable.specs.networks import IMAGENET_MEAN, IMAGENET_STD
from tunable.weights import storage, vgg

NAMES = ("psnr", "ssim", "lpips", "niqe")  # what `tunable evaluate --metrics` takes; PSNR is measured always
VARIABLE = "VGG16"  # of the environment: the file of VGG-16's weights, where no option names one
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
FORMAT = "tunable-convolutions-perceptual/1"
FILE = Path(__file__).with_suffix(".safetensors")
_ROWS = 32  # of a picture that a convolution computes at once, which bounds its memory
_PATCH = 96  # pixels a side of the patches whose statistics NIQE takes
_SHAPES = np.arange(0.2, 10, 0.001)  # of generalised Gaussians, among which NIQE looks for the best
_WINDOW = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)  # of NIQE's local means


class Metric(Protocol):
    """A metric that is measured on request.

    Attributes:
        least: pixels that a picture needs along each side.
    """

    least: int

    def __call__(self, restored: np.ndarray, clean: np.ndarray) -> float:
        """Measure a picture (H, W, 3) in 0..1, as an 8-bit file would hold it, beside the clean one."""
        ...


def chosen(names: Iterable[str], features: str | Path | None = None) -> dict[str, Metric]:
    """Return those of LPIPS and NIQE that are asked for, by name.

    Args:
        names: of NAMES.
        features: the file of VGG-16's weights that tools/vgg16.py made; None: the one that the variable VGG16 names.

    Raises:
        TunableError: for another name, and where lpips is asked for and its weights cannot be had.
    """
    names = list(names)
    for name in names:
        if name not in NAMES:
            raise TunableError(f"no metric {name!r}; choose from {', '.join(NAMES)}")
    wanted: dict[str, Metric] = {}
    if "lpips" in names:
        wanted["lpips"] = _lpips(features or os.environ.get(VARIABLE))
    if "niqe" in names:
        wanted["niqe"] = NIQE()
    return wanted


class LPIPS:
    """The distance of two pictures' features, as people weighed them; 0 for equal pictures, less is nearer.

    With the published heads it is LPIPS only where the features are the published ones, too. Here they are VGG-16's,
    fine-tuned for edges: a substitute, to be compared within one table.

    Args:
        weights: of VGG-16 by name, as tunable.weights.vgg.weights gives them.
        heads: (C,) by the name of the layer, one for each of LAYERS.
    """

    least = 16

    def __init__(self, weights: Tensors, heads: Tensors) -> None:
        self.weights, self.heads = weights, heads
        self._known: tuple[np.ndarray, list[np.ndarray]] | None = None  # a clean picture, and its features

    def __call__(self, restored: np.ndarray, clean: np.ndarray) -> float:
        """Return the distance of pictures (H, W, 3) in 0..1."""
        if self._known is None or not np.array_equal(self._known[0], clean):
            self._known = clean, self._features(clean)
        total = 0.0
        for layer, ours, theirs in zip(LAYERS, self._features(restored), self._known[1], strict=True):
            squares = np.mean((ours - theirs) ** 2, axis=(1, 2), dtype=np.float64)
            total += float(squares @ self.heads[layer])
        return total

    def _features(self, picture: np.ndarray) -> list[np.ndarray]:
        """VGG-16's features (C, h, w) at every layer of LAYERS, of length one at every pixel."""
        x = ((np.asarray(picture, np.float32) - IMAGENET_MEAN) / IMAGENET_STD).astype(np.float32).transpose(2, 0, 1)
        found, before = [], ""
        for name in vgg.convs_up_to(LAYERS[-1], self.weights):
            if before and before[:5] != name[:5]:
                x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
                x = np.maximum(*(np.maximum(x[:, i::2, ::2], x[:, i::2, 1::2]) for i in (0, 1)))
            x = np.maximum(_conv(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]), 0)
            if name.replace("conv", "relu") in LAYERS:
                found.append(x / (np.sqrt(np.sum(x**2, axis=0)) + np.float32(1e-10)))
            before = name
        return found


class NIQE:
    """How unnatural a picture's Y is, as scikit-video 1.1.11 computes it; less is more natural."""

    least = 2 * _PATCH + 2

    def __call__(self, restored: np.ndarray, clean: np.ndarray) -> float:
        """Return the score of a restored picture (H, W, 3) in 0..1; the clean one does not matter."""
        return niqe(255 * metrics.luma(restored)[..., 0])


def niqe(y: np.ndarray) -> float:
    """Return the naturalness of a grey picture (H, W) of levels 0 to 255, of at least 194 pixels a side.

    Raises:
        TunableError: for a smaller picture.
    """
    from PIL import Image

    if min(y.shape) < NIQE.least:
        raise TunableError(f"NIQE needs {NIQE.least}x{NIQE.least} pixels, not {y.shape[1]}x{y.shape[0]}")
    height, width = (side // _PATCH * _PATCH for side in y.shape)
    y = np.asarray(y[:height, :width], np.float32)
    half = np.asarray(Image.fromarray(y).resize((width // 2, height // 2), Image.Resampling.BICUBIC))
    features = np.hstack([_statistics(y, _PATCH), _statistics(half, _PATCH // 2)])
    model = _model()
    offset = features.mean(axis=0) - model["niqe.mean"]
    spread = (np.cov(features.T) + model["niqe.covariance"]) / 2
    return float(np.sqrt(offset @ np.linalg.solve(spread, offset)))


def _statistics(y: np.ndarray, side: int) -> np.ndarray:
    """16 numbers for every patch of side x side pixels, (patches, 16): how brightness and neighbours' products spread.

    The diagonals' products come with the left scale alone, as the model does.
    """
    from scipy.ndimage import correlate1d

    def blurred(x: np.ndarray) -> np.ndarray:
        window = _WINDOW / _WINDOW.sum()
        return correlate1d(correlate1d(x, window, 0, mode="constant"), window, 1, mode="constant")

    y = np.asarray(y, np.float64)
    mean = blurred(y)
    normalised = (y - mean) / (np.sqrt(np.abs(blurred(y**2) - mean**2)) + 1)
    rows, columns = y.shape[0] // side, y.shape[1] // side
    patches = normalised.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
    shape, _, left, right = _asymmetric(patches)
    numbers = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        spread = _asymmetric(patches * np.roll(patches, (down, across), (1, 2)))
        numbers += spread[: 3 if down and across else 4]
    return np.stack(numbers, axis=1)


def _asymmetric(patches: np.ndarray) -> tuple[np.ndarray, ...]:
    """Fit an asymmetric generalised Gaussian to the values of every patch (n, s, s): shape, mean, left, right, (n,)."""
    from scipy.special import gamma

    ratios = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))
    values = patches.reshape(len(patches), -1)
    squares, negative = values**2, values < 0
    left, right = (
        np.sqrt(np.sum(squares * side, axis=1) / np.maximum(side.sum(axis=1), 1)) for side in (negative, ~negative)
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # a flat patch
        over = left / right
        ratio = np.mean(np.abs(values), axis=1) ** 2 / squares.mean(axis=1)
        ratio *= (over**3 + 1) * (over + 1) / (over**2 + 1) ** 2
    shape = _SHAPES[np.argmin((ratios - ratio[:, None]) ** 2, axis=1)]
    one, two, three = (gamma(i / shape) for i in (1, 2, 3))
    left, right = (np.sqrt(one / three) * side for side in (left, right))
    return shape, (right - left) * two / one, left, right


def _conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3x3, padded by zeros: (C, H, W) -> (O, H, W) in float32, by matrix products of a few rows at a time."""
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (1, 3, 3))[:, :, :, 0].transpose(0, 3, 4, 1, 2)
    kernel, out = weight.reshape(len(weight), -1), np.empty((len(weight), *x.shape[1:]), np.float32)
    for top in range(0, x.shape[1], _ROWS):
        rows = windows[:, :, :, top : top + _ROWS]
        product = kernel @ rows.reshape(kernel.shape[1], -1)
        out[:, top : top + _ROWS] = product.reshape(len(kernel), *rows.shape[3:])
    return out + bias[:, None, None]


def _lpips(features: str | Path | None) -> LPIPS:
    wants = f"lpips needs VGG-16's weights, --features FILE or the variable {VARIABLE}"
    if features is None:
        raise TunableError(f"{wants}; make the file once: {MAKERS['vgg16']}")
    try:
        weights = vgg.weights(VGG(network="vgg16", weights=str(features)))
    except RecipeError as error:
        raise TunableError(f"{wants}: {str(error).removeprefix('vgg.weights: ')}") from None
    return LPIPS(weights, {layer: _model()[f"lpips.{layer}"] for layer in LAYERS})


@lru_cache(maxsize=1)
def _model() -> Tensors:
    return storage.load_tensors(FILE)[0]
