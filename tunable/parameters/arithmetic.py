"""Multiply-adds of a tunable network over its plain form's, from its specification alone.

With one omega the kernels are mixed once per call and the network then is an ordinary one, as it is when folded: 1.00.
With an omega per sample, or a map, kernels may run beside each other (form `basis` of tunable.forms), and that costs
what the kernels and points that stand beside the base kernel cost.
"""

import math
from collections.abc import Callable
from typing import Any

from tunable.parameters.layouts import layout
from tunable.specs.networks import CompactSpec, NetworkSpec, ResNetSpec, UNetSpec, shuffles


def beside(spec: NetworkSpec, num_objectives: int) -> float | None:
    """Return how many times a plain network's multiply-adds it costs to run all kernels beside each other.

    Args:
        spec: of the network.
        num_objectives: p.

    Returns:
        For example 1.14 for the 16 x 64 `resnet` of rank 4 with p = 2, and 3.0 with full differences; None for networks
        of which it is not known how large the layers' outputs are.
    """
    pixels = _PIXELS.get(spec.name)
    if pixels is None:
        return None
    total = 0.0
    for name, shape in layout(spec, num_objectives):
        layer, _, local = name.rpartition(".")
        if len(shape) >= 4 or local == "up":  # the others are a number per channel, or phi's
            total += pixels(spec, layer.split(".")) * math.prod(shape)
    return total / spec.multiply_adds


# Of a layer, by the parts of its name, the pixels of its output per pixel of the picture.


def _resnet(spec: ResNetSpec, name: list[str]) -> float:
    enlarged = shuffles(spec.upscale)
    before = {"upsample": enlarged[: int(name[-1])] if name[0] == "upsample" else [], "tail": enlarged}
    return math.prod(factor**2 for factor in before.get(name[0], []))


def _unet(spec: UNetSpec, name: list[str]) -> float:
    place = int(name[1]) if name[1:] and name[1].isdigit() else 0
    halved = {"encoders": place, "downs": place + 1, "middle": spec.depth, "tail": 0}
    halved |= {"ups": spec.depth - place, "decoders": spec.depth - place - 1}
    return 0.25 ** halved[name[0]]


def _compact(spec: CompactSpec, name: list[str]) -> float:
    return 1


_PIXELS: dict[str, Callable[[Any, list[str]], float]] = {"resnet": _resnet, "unet": _unet, "compact": _compact}
