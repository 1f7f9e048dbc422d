"""Framework-neutral starting weights: a pure function of a shape list, a seed and named options.

Ordinary kernels and biases start Kaiming-uniform (a = sqrt 5), that is U(-1/sqrt fan_in, 1/sqrt fan_in).
Tunable layers hold several kernels k_i and a map phi; where they start decides how fast training goes
(docs/results/starts has the measured comparison behind the defaults).

Every tensor is drawn from its own generator, keyed by the seed and the tensor's name, so that neither
the order of the list nor a change elsewhere in a network moves it.
"""

import zlib
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tunable.errors import TunableError
from tunable.parameters.specs import CONSTANTS, ROLES, ParameterSpec
from tunable.specs.formulations import FACTORS
from tunable.specs.schema import Place, Section


class Initial(Section):
    """How tunable layers start (`initial:` in a recipe).

    phi `base` has no map to start: its base kernel is ordinary, and its differences are independent kernels times
    `difference`. phi `identity` has no map either, and its k_i are independent. phi `se` starts with ordinary linear
    layers.

    Attributes:
        start: where kernels and phi start. `constant`: k_i independent, phi nearly constant in omega, its weight
            N(0, phi_scale^2), its bias 1/sqrt p. `identity`: k_i independent, phi the identity plus N(0, phi_scale^2).
            `equal`: k_i equal, phi's weight N(0, phi_scale^2), its bias 1/p. `paper`: kernels and phi N(0, 0.01^2),
            biases of layers 0, as in the reference implementation (for loading, not for training).
        phi_scale: the standard deviation above.
        difference: what the differences of phi `base` are multiplied by.
        weights: a weights file of the same network, from which a run starts instead (fine-tuning). A plain network's
            become the base kernels of a tunable one of phi `base`, whose differences start at zero, or with a factor
            at zero, so that it is the plain network at every omega.
        freeze: whether the base kernels, and all else that the plain network has, stay as `weights` gives them.
    """

    start: Literal["constant", "identity", "equal", "paper"] = "constant"
    phi_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    difference: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    weights: Place | None = None
    freeze: bool = False


def starting_weights(specs: list[ParameterSpec], seed: int, initial: Initial | None = None) -> dict[str, np.ndarray]:
    """Draw the starting value of every parameter.

    Args:
        specs: the parameters.
        seed: of the draws.
        initial: how tunable layers start; None: the default.

    Returns:
        float32 arrays by name.

    Raises:
        TunableError: for a parameter of an unknown role.
    """
    initial = initial or Initial()
    return {spec.name: _draw(spec, seed, initial).astype(np.float32) for spec in specs}


def frozen(specs: list[ParameterSpec]) -> dict[str, np.ndarray]:
    """What of every parameter moves where all that a plain network has stays as it is.

    Args:
        specs: of the parameters of a network of phi `base`.

    Returns:
        float32 factors of the gradients by name, to be broadcast, 1 for what moves and 0 for what does not: (k, 1, ...)
        for a base kernel with its differences, (1, 1, ...) for others.
    """
    factors = {}
    for spec in specs:
        axes = [1] * (len(spec.shape) - 1)
        if spec.phi:
            moves = np.ones((spec.shape[0], *axes), np.float32)
            moves[0] = 0
        else:
            moves = np.full((1, *axes), spec.name.rpartition(".")[2] in FACTORS, np.float32)
        factors[spec.name] = moves
    return factors


def _draw(spec: ParameterSpec, seed: int, initial: Initial) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
    if spec.role not in ROLES:
        raise TunableError(f"parameter {spec.name} has role {spec.role!r}; known: {', '.join(ROLES)}")
    if spec.role == "phi":
        return _phi(spec, rng, initial)
    if spec.role in CONSTANTS:
        return _free(spec, rng, initial)
    if spec.role in ("tenth", "condition"):
        value = rng.normal(0, 0.1 * np.sqrt(2 / spec.fan_in), spec.shape)
        if spec.role == "condition":
            value[0] = 0
        return value
    if initial.start == "paper" and spec.phi:
        return np.zeros(spec.shape) if spec.role == "bias" else rng.normal(0, 0.01, spec.shape)
    bound = 1 / np.sqrt(spec.fan_in)
    if spec.phi and spec.phi != "base" and initial.start == "equal":
        return np.broadcast_to(rng.uniform(-bound, bound, spec.shape[1:]), spec.shape)
    value = rng.uniform(-bound, bound, spec.shape)
    if spec.phi == "base":
        value[1:] *= initial.difference
    return value


def _phi(spec: ParameterSpec, rng: np.random.Generator, initial: Initial) -> np.ndarray:
    if spec.phi == "se":
        bound = 1 / np.sqrt(spec.fan_in)
        return rng.uniform(-bound, bound, spec.shape)
    p = spec.shape[-1]
    if initial.start == "paper":
        return rng.normal(0, 0.01, spec.shape)
    if len(spec.shape) == 1:
        return np.full(p, {"constant": 1 / np.sqrt(p), "identity": 0.0, "equal": 1 / p}[initial.start])
    noise = rng.normal(0, 1, spec.shape) * initial.phi_scale
    return noise + np.eye(p) if initial.start == "identity" else noise


def _free(spec: ParameterSpec, rng: np.random.Generator, initial: Initial) -> np.ndarray:
    """A norm's or a free parameter's start: constant, and the same for every omega."""
    value = np.full(spec.shape, CONSTANTS[spec.role])
    if spec.phi == "base":
        value[1:] = 0
    elif spec.phi == "affine" and initial.start == "constant":
        value /= np.sqrt(spec.shape[0])  # the aggregation weights 1/sqrt p then sum to one again
    return value
