"""VGG-19 or VGG-16 as the feature network (Simonyan and Zisserman, ICLR 2015): its layers, and its weights.

Only the convolutional part. It is frozen, and never part of a weights file of this project.
"""

import zlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from tunable.errors import CheckpointError, RecipeError
from tunable.parameters.specs import ParameterSpec
from tunable.specs.feature_network import CONVS, MAKERS, VGG, WIDTH, conv_names
from tunable.specs.reading import expand
from tunable.weights import storage

FACTORS = (1, 2, 4, 8, 8)  # channels of a stage over the first one's; the picture is halved between stages


def file_format(network: str) -> str:
    """Return what a file of this network's weights names as its format."""
    return f"tunable-convolutions-{network}/1"


def convs_up_to(layer: str, names: Iterable[str]) -> list[str]:
    """Return the names of the convolutions in order up to a layer.

    Args:
        layer: convI_J or reluI_J, for example relu3_3.
        names: of the network's parameters, such as conv1_1.weight, in any order.
    """
    convs = sorted({name.partition(".")[0] for name in names})  # no number of theirs has two digits
    return convs[: convs.index(layer.replace("relu", "conv")) + 1]


def specs(network: str, width: int = WIDTH) -> list[ParameterSpec]:
    """Return the specs of every parameter: `conv1_1.weight` (out, in, 3, 3), `conv1_1.bias` (out,), and so on.

    Args:
        network: vgg19 or vgg16.
        width: channels of the first stage.
    """
    parameters, before = [], 3
    for name in conv_names(network):
        channels = FACTORS[_stage(name)] * width
        parameters.append(ParameterSpec(f"{name}.weight", (channels, before, 3, 3), "kernel", 9 * before))
        parameters.append(ParameterSpec(f"{name}.bias", (channels,), "bias", 9 * before))
        before = channels
    return parameters


def specs_up_to(layer: str, settings: VGG) -> list[ParameterSpec]:
    """Return the specs of the parameters up to a layer of the network that a recipe's `vgg` names."""
    every = specs(settings.network, settings.width)
    return every[: 2 * len(convs_up_to(layer, (spec.name for spec in every)))]


def multiply_adds(layer: str, settings: VGG) -> float:
    """Count the multiply-adds per pixel of the picture, up to a layer of the network that a recipe's `vgg` names."""
    kernels = [spec for spec in specs_up_to(layer, settings) if spec.role == "kernel"]
    return sum(np.prod(spec.shape) / 4 ** _stage(spec.name) for spec in kernels)


def weights(settings: VGG) -> dict[str, np.ndarray]:
    """Return the weights that a recipe's `vgg` names, from a file or a seed.

    Raises:
        RecipeError: where there is no such file, or it is not that network in this project's format.
        CheckpointError: where its tensors do not fit.
    """
    if settings.weights is None:
        return _drawn(settings.network, settings.seed, settings.width)
    network = settings.network
    how = f"make it once: {MAKERS[network]}"
    try:
        path = expand(settings.weights)
        tensors, metadata = storage.load_tensors(path)
    except (RecipeError, CheckpointError) as error:
        raise RecipeError(f"vgg.weights: {error}; {how}") from None
    if metadata.get("format") != file_format(network):
        other = next((one for one in CONVS if metadata.get("format") == file_format(one)), None)
        hint = f"it holds {other}: set vgg.network to {other}" if other else how
        raise RecipeError(f"vgg.weights: {path} is not {network} in format {file_format(network)!r}; {hint}")
    storage.check_tensors(tensors, specs(network), path)
    return tensors


@lru_cache(maxsize=2)
def _drawn(network: str, seed: int, width: int) -> dict[str, np.ndarray]:
    """Normal with variance 2 / fan_in, which keeps the size of what passes ReLUs; biases 0."""
    tensors = {}
    for spec in specs(network, width):
        rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
        deviation = np.sqrt(2 / spec.fan_in) if spec.role == "kernel" else 0.0
        tensors[spec.name] = (deviation * rng.standard_normal(spec.shape)).astype(np.float32)
    return tensors


def _stage(name: str) -> int:
    """conv3_2 or conv3_2.weight -> 2, the stages from 0 on."""
    return int(name[4]) - 1
