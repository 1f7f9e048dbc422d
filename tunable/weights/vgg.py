"""VGG-19 as the feature network (Simonyan and Zisserman, ICLR 2015): its layers, and its weights from a file or a seed.

Only the convolutional part, up to conv5_4. It is frozen, and never part of a weights file of this project.
"""

import zlib
from functools import lru_cache

import numpy as np

from tunable.errors import CheckpointError, RecipeError
from tunable.parameters.specs import ParameterSpec
from tunable.specs.feature_network import HOW, VGG, WIDTH
from tunable.specs.reading import expand
from tunable.weights import storage

FORMAT = "tunable-convolutions-vgg19/1"
# (channels over the first stage's, convolutions); the picture is halved between stages
STAGES = ((1, 2), (2, 2), (4, 4), (8, 4), (8, 4))
RELU3_3, CONV5_4 = "relu3_3", "conv5_4"
DEPTH = {RELU3_3: 7, CONV5_4: 16}  # convs up to there
LAYERS = {"gan": CONV5_4, "style": RELU3_3}  # which layer an objective reads


def conv_names() -> list[str]:
    """Return the names of the convolutions in order, conv1_1 to conv5_4."""
    return [f"conv{stage}_{i}" for stage, (_, convs) in enumerate(STAGES, 1) for i in range(1, convs + 1)]


def specs(width: int = WIDTH) -> list[ParameterSpec]:
    """Return the specs of every parameter: `conv1_1.weight` (out, in, 3, 3), `conv1_1.bias` (out,), and so on.

    Args:
        width: channels of the first stage.
    """
    parameters, before, names = [], 3, iter(conv_names())
    for factor, convs in STAGES:
        for name in (next(names) for _ in range(convs)):
            channels = factor * width
            parameters.append(ParameterSpec(f"{name}.weight", (channels, before, 3, 3), "kernel", 9 * before))
            parameters.append(ParameterSpec(f"{name}.bias", (channels,), "bias", 9 * before))
            before = channels
    return parameters


def multiply_adds(width: int, layer: str) -> float:
    """Count the multiply-adds per pixel of the picture, up to a layer of DEPTH; `width` as in `specs`."""
    kernels = [spec for spec in specs(width) if spec.role == "kernel"][: DEPTH[layer]]
    stages = [stage for stage, (_, convs) in enumerate(STAGES) for _ in range(convs)]
    return sum(np.prod(spec.shape) / 4**stage for spec, stage in zip(kernels, stages, strict=False))


def weights(settings: VGG) -> dict[str, np.ndarray]:
    """Return the weights that a recipe's `vgg` names, from a file or a seed.

    Raises:
        RecipeError: where there is no such file, or it is not VGG-19 in this project's format.
        CheckpointError: where its tensors do not fit.
    """
    if settings.weights is None:
        return _drawn(settings.seed, settings.width)
    try:
        path = expand(settings.weights)
        tensors, metadata = storage.load_tensors(path)
    except (RecipeError, CheckpointError) as error:
        raise RecipeError(f"vgg.weights: {error}; {HOW}") from None
    if metadata.get("format") != FORMAT:
        raise RecipeError(f"vgg.weights: {path} is not VGG-19 in format {FORMAT!r}; {HOW}")
    storage.check_tensors(tensors, specs(), path)
    return tensors


@lru_cache(maxsize=2)
def _drawn(seed: int, width: int) -> dict[str, np.ndarray]:
    """Normal with variance 2 / fan_in, which keeps the size of what passes ReLUs; biases 0."""
    tensors = {}
    for spec in specs(width):
        rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
        deviation = np.sqrt(2 / spec.fan_in) if spec.role == "kernel" else 0.0
        tensors[spec.name] = (deviation * rng.standard_normal(spec.shape)).astype(np.float32)
    return tensors
