"""Multiply-adds of a tunable network over its plain form's, from its specification alone.

With one omega the kernels are mixed once per call and the network then is an ordinary one, as it is when folded: 1.00.
With an omega per sample, or a map, kernels may run beside each other (form `basis` of tunable.forms), and that costs
what the kernels and points that stand beside the base kernel cost.
"""

import math
from collections.abc import Callable
from typing import Any

from tunable.parameters.layouts import count, layout
from tunable.specs.control import AdaFMSpec, CFSNetSpec, CResMDSpec, DyNetSpec, Strategy
from tunable.specs.networks import CompactSpec, NetworkSpec, OutputBlendSpec, UNetSpec
from tunable.specs.residual import ResNetSpec, shuffles

MOST = 2**40  # parameters, beyond what any file holds


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


def multiples(spec: NetworkSpec, num_objectives: int) -> dict[str, Any]:
    """Return what a network has and costs, as multiples of the plain network that it is compared with.

    A control strategy is compared with the plain residual network of as many blocks in all, others with their own plain
    form.

    Args:
        spec: of the network.
        num_objectives: p.

    Returns:
        `beside`, the plain network in words; `parameters`; `folded` parameters, None where it does not fold, without
        the zeros that stand for the biases that CFSNet's tuning branch lacks; `multiply_adds` with one omega, None
        where they are not known.
    """
    plain = spec.model_copy(update={"tunable": False})
    equal = spec.equal if isinstance(spec, Strategy | OutputBlendSpec) else plain
    whole = count(layout(equal, 0), MOST)
    zeros = spec.blocks * spec.channels if isinstance(spec, CFSNetSpec) else 0
    folded = None if spec.without_folding else (count(layout(plain, 0), MOST) - zeros) / whole
    shape = f" of {equal.blocks} blocks of {equal.channels} channels" if isinstance(equal, ResNetSpec) else ""
    known = equal.multiply_adds
    return {
        "beside": f"plain {equal.name}{shape}",
        "parameters": count(layout(spec, num_objectives), MOST) / whole,
        "folded": folded,
        "multiply_adds": spec.multiply_adds / known if known else None,
    }


def table() -> list[dict[str, Any]]:
    """Return the multiples of the tunable network and of every control strategy at the size of the paper's tables."""
    cases: dict[str, NetworkSpec] = {
        "dni": ResNetSpec(phi="identity"),
        "tunable, phi affine": ResNetSpec(phi="affine"),
        "tunable, phi base": ResNetSpec(),
        "dynet": DyNetSpec(),
        "dynet, 3 convolutions": DyNetSpec(tuning_depth=3),
        "cfsnet": CFSNetSpec(),
        "cresmd": CResMDSpec(),
        "adafm": AdaFMSpec(),
        "blend": OutputBlendSpec(of=ResNetSpec(tunable=False), ends=1, nu=0.9),
        "output blend, two networks": OutputBlendSpec(of=ResNetSpec(tunable=False)),
    }
    rows: list[dict[str, Any]] = []
    for case, spec in cases.items():
        values = multiples(spec, 2)
        folded = "-" if values["folded"] is None else f"{values['folded']:.4f}"
        columns = {"parameters": values["parameters"], "folded": folded, "multiply_adds": values["multiply_adds"]}
        rows.append({"network": case, **columns})
    return rows


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
