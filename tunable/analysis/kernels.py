"""The tuned kernels of a file: every tensor that omega sets, as a function of omega, in float64.

Biases are left out, as the paper speaks of kernels alone.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunable.arrays import Tensors
from tunable.backends.registry import backend_for
from tunable.errors import CheckpointError, TunableError, shown
from tunable.oracle.layers import aggregate, difference, part, phi
from tunable.parameters.layouts import names_of_layers
from tunable.parameters.strategies import folded
from tunable.specs.control import Strategy
from tunable.specs.formulations import Formulation
from tunable.trained import describe
from tunable.weights import retrofitted, storage

Kernel = Callable[[np.ndarray], np.ndarray]  # omegas (n, p) -> (n, *shape)


@dataclass(frozen=True)
class Kernels:
    """What a file says of its tuned kernels.

    Attributes:
        objectives: the names of the p knobs.
        ranges: (low, high) of each knob.
        trained: where omega was in training, in words; "" where that is unknown.
        tuned: the kernels that omega sets, from the input of the network to its output, by the names of their layers.
        fixed: the names of layers that have kernels, and that no omega changes.
    """

    objectives: tuple[str, ...]
    ranges: tuple[tuple[float, float], ...]
    trained: str
    tuned: dict[str, Kernel]
    fixed: tuple[str, ...]


def read(path: str | Path) -> Kernels:
    """Read the tuned kernels of a weights file, a checkpoint of a run, or a file that `make_tunable` wrote.

    Raises:
        CheckpointError: for a file that is missing, damaged, or none of this project.
        TunableError: for a file that holds no kernels that follow omega: an exported file, a plain network, a network
            of one's own, differences without their base, and strategies that mix pictures or do not fold.
    """
    if backend_for(path):
        raise TunableError(f"{path} is an exported model: to analyze it, give the weights that it was made from")
    if storage.load_tensors(path)[1].get("format") == retrofitted.FORMAT:
        return _made_tunable(path)
    tensors, header = storage.load(path)
    storage.check_network(tensors, header, path)
    spec, p = header.network, header.num_objectives
    if not p:
        raise TunableError(f"{path} holds a plain network: omega sets none of its kernels")
    if spec.name == "import" and spec.plan:
        return dataclasses.replace(_made_tunable(path), objectives=header.objectives, ranges=header.omega_range)
    if spec.name == "import":
        raise TunableError(f"{path} holds a network of one's own ({spec.title}): only its class knows its layers")
    if isinstance(spec, Strategy) or spec.strategy:
        if spec.without_folding or not isinstance(spec, Strategy):
            raise TunableError(f"{path} holds {spec.title}, whose kernels do not follow omega: {spec.without_folding}")
        tuned, fixed = _of_strategy(spec, tensors, header.omega_range)
    else:
        tuned = {name: _tuned(part(tensors, name), spec.formulation) for name in names_of_layers(spec, p)}
        fixed = _others(tensors, tuned)
    trained = describe(header.trained) if header.trained else ""
    return Kernels(header.objectives, header.omega_range, trained, tuned, fixed)


def corners(ranges: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return the settings between which kernels are followed.

    Args:
        ranges: (low, high) of each of the p knobs; one without width is taken as (0, 1).

    Returns:
        float64 (p, p): in row i knob i is at its high end, and the others are at their low ends; of a single knob
        (2, 1), both ends.
    """
    low, high = np.array([(low, high) if low < high else (0.0, 1.0) for low, high in ranges], np.float64).T
    if len(low) == 1:
        return np.stack([low, high])
    return np.where(np.eye(len(low), dtype=bool), high, low)


def _tuned(local: Tensors, formulation: Formulation) -> Kernel:
    """The kernel of a layer whose parameters are `local`, by their local names (Eqs. 3 and 6)."""
    weight = local["weight"]
    if "gain" in local or "up" in local:
        groups = local["down"].shape[1] // local["up"].shape[2] if "up" in local else 1
        count = len(local["gain"] if "gain" in local else local["up"])
        weight = np.stack([weight[0], *(difference(local, j, groups) for j in range(count))])
    return lambda omegas: aggregate(phi(formulation, omegas, local), weight)


def _of_strategy(
    spec: Strategy, tensors: Tensors, ranges: Sequence[tuple[float, float]]
) -> tuple[dict[str, Kernel], tuple[str, ...]]:
    """The kernels of the ordinary network that a strategy is at each omega; those that differ at the corners move."""

    @functools.lru_cache(maxsize=64)
    def at(omega: tuple[float, ...]) -> Tensors:
        return folded(spec, tensors, np.array(omega))

    def kernel(name: str) -> Kernel:
        return lambda omegas: np.stack([at(tuple(omega))[name].astype(np.float64) for omega in omegas.tolist()])

    ends = corners(ranges)
    kernels = {name: kernel(name) for name in at(tuple(ends[0])) if not name.endswith("bias")}
    moving = {name for name, each in kernels.items() if np.ptp(each(ends), axis=0).any()}
    tuned = {name.removesuffix(".weight"): each for name, each in kernels.items() if name in moving}
    return tuned, tuple(name.removesuffix(".weight") for name in kernels if name not in moving)


def _made_tunable(path: str | Path) -> Kernels:
    tensors, plan, base = retrofitted.load(path)
    if base:
        raise TunableError(f"{path} holds differences alone: save the network with train='all' to analyze its kernels")
    formulation, ranges = Formulation(plan.phi, "full", 0, plan.anchor, plan.bump), ((0.0, 1.0),) * plan.num_objectives
    tuned: dict[str, Kernel] = {}
    for name in plan.tensors.values():
        layer, _, local = name.rpartition(".")
        if local.endswith("bias"):
            continue
        maps = {key: value for key, value in part(tensors, layer).items() if key.startswith("phi.")}
        try:
            tuned[name.removesuffix(".weight")] = kernel = _tuned({**maps, "weight": tensors[name]}, formulation)
            if not np.isfinite(kernel(corners(ranges))).all():
                raise ValueError("it holds values that are not finite")
        except (KeyError, ValueError, TunableError) as error:
            raise CheckpointError(f"{path} has a damaged plan: tensor {shown(name)}: {error}") from None
    names = tuple(f"omega_{number + 1}" for number in range(plan.num_objectives))
    return Kernels(names, ranges, "", tuned, _others(tensors, tuned))


def _others(tensors: Tensors, tuned: dict[str, Kernel]) -> tuple[str, ...]:
    """The layers with kernels of two axes and more that are not tuned, once each."""
    layers = {name.removesuffix(".weight"): value for name, value in tensors.items() if not name.endswith("bias")}
    parts = tuple(f"{name}." for name in tuned)
    return tuple(
        name for name, value in layers.items() if name not in tuned and not name.startswith(parts) and value.ndim > 1
    )
