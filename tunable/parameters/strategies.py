"""Folding a control strategy: the tensors of the ordinary network that it is at one omega, in numpy for both twins."""

import numpy as np

from tunable.arrays import Tensors
from tunable.errors import TunableError
from tunable.specs.control import LEAST_SUM, AdaFMSpec, CFSNetSpec, CResMDSpec, Strategy
from tunable.specs.residual import shuffles


def share(omega: np.ndarray) -> float:
    """Return a of an omega (2,): the second objective's share of both, omega_2 / max(omega_1 + omega_2, 1e-3)."""
    first, second = np.asarray(omega, np.float64).tolist()
    return second / max(first + second, LEAST_SUM)


def folded(spec: Strategy, tensors: Tensors, omega: np.ndarray) -> Tensors:
    """Compute what the plain form of a strategy holds, so that it equals the strategy at omega.

    Args:
        spec: of the strategy.
        tensors: its parameters by name.
        omega: (p,).

    Returns:
        The parameters of the plain form by name, of the type of those given.

    Raises:
        TunableError: for a strategy that has no such form.
    """
    if spec.without_folding:
        raise TunableError(f"{spec.title} does not fold: {spec.without_folding}")
    kind = next(iter(tensors.values())).dtype
    exact = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    if isinstance(spec, CResMDSpec):
        plain = _cresmd(spec, exact, np.asarray(omega, np.float64))
    elif isinstance(spec, CFSNetSpec):
        plain = _cfsnet(spec, exact, share(omega))
    else:
        assert isinstance(spec, AdaFMSpec), "dynet has no such form"
        plain = _adafm(spec, exact, share(omega))
    return {name: np.ascontiguousarray(value, kind) for name, value in plain.items()}


def _cresmd(spec: CResMDSpec, tensors: Tensors, omega: np.ndarray) -> Tensors:
    """Every scale goes into the convolution before it, its bias too."""
    plain = {name: value for name, value in tensors.items() if ".scale." not in name and "scale_tail" not in name}
    scaled = {f"body.{block}.conv2": f"body.{block}.scale" for block in range(spec.blocks)} | {"tail": "scale_tail"}
    for conv, scale in scaled.items():
        factors = np.tensordot(np.append(1, omega), tensors[f"{scale}.weight"], 1).reshape(-1)
        plain[f"{conv}.weight"] = factors[:, None, None, None] * tensors[f"{conv}.weight"]
        plain[f"{conv}.bias"] = factors * tensors[f"{conv}.bias"]
    return plain


def coupling(tensors: Tensors, block: int) -> np.ndarray:
    """Return v (C,) of a block of CFSNet, whose tuning has the part a v: all control is linear and has no bias."""
    value = np.ones(tensors["control.0.weight"].shape[1])
    for name in ("control.0", "control.1", "control.2", f"couplings.{block}.0", f"couplings.{block}.1"):
        value = tensors[f"{name}.weight"] @ value
    return value


def _cfsnet(spec: CFSNetSpec, tensors: Tensors, a: float) -> Tensors:
    """Both convolutions of a block stand side by side: 2 C channels between them, and a skip that is scaled."""
    plain = {name: tensors[name] for part in ("head", "tail") for name in (f"{part}.weight", f"{part}.bias")}
    for block in range(spec.blocks):
        part, body, tuning = a * coupling(tensors, block), f"body.{block}", f"tuning.{block}"
        plain[f"{body}.conv1.weight"] = np.concatenate([tensors[f"{each}.conv1.weight"] for each in (body, tuning)])
        bias = tensors[f"{body}.conv1.bias"]
        plain[f"{body}.conv1.bias"] = np.concatenate([bias, np.zeros_like(bias)])
        plain |= _mixed(f"{body}.conv2", 1 - part, tensors, f"{tuning}.conv2")
        plain[f"{body}.skip"] = (1 - part).reshape(-1, 1, 1)
    factors = shuffles(spec.upscale)
    for place, factor in enumerate(factors):
        name, tuning, last = f"upsample.{place}", f"tuning_upsample.{place}", place == len(factors) - 1
        if last:
            keeps = (1 - a * coupling(tensors, spec.blocks)).repeat(factor**2)
            plain |= _mixed(name, keeps, tensors, tuning, beside=place > 0)
        else:  # two branches without anything between their convolutions: the first one is as in a block
            bias = tensors[f"{name}.bias"]
            plain[f"{name}.weight"] = np.concatenate([tensors[f"{each}.weight"] for each in (name, tuning)])
            plain[f"{name}.bias"] = np.concatenate([bias, np.zeros_like(bias)])
    return plain


def _mixed(name: str, keeps: np.ndarray, tensors: Tensors, tuning: str, beside: bool = True) -> Tensors:
    """A convolution weighed by `keeps` (out,), and that of tuning by the rest, of inputs side by side or the same."""
    weights = keeps[:, None, None, None] * tensors[f"{name}.weight"]
    others = (1 - keeps)[:, None, None, None] * tensors[f"{tuning}.weight"]
    both = np.concatenate([weights, others], 1) if beside else weights + others
    return {f"{name}.weight": both, f"{name}.bias": keeps * tensors[f"{name}.bias"]}


def _adafm(spec: AdaFMSpec, tensors: Tensors, a: float) -> Tensors:
    """x + a (g x + b) is a convolution of its own; of one tap it goes into the convolution before it."""
    plain = {name: value for name, value in tensors.items() if "modulate" not in name}
    for name in [name.removesuffix(".weight") for name in tensors if "modulate" in name and name.endswith(".weight")]:
        weight, bias = a * tensors[f"{name}.weight"], a * tensors[f"{name}.bias"]
        middle = spec.kernel // 2
        weight[:, 0, middle, middle] += 1
        if spec.kernel > 1:
            plain |= {f"{name}.weight": weight, f"{name}.bias": bias}
            continue
        conv = name.replace("modulate_", "").replace("modulate", "conv")
        factors = weight[:, 0, 0, 0]
        plain[f"{conv}.weight"] = factors[:, None, None, None] * tensors[f"{conv}.weight"]
        plain[f"{conv}.bias"] = factors * tensors[f"{conv}.bias"] + bias
    return plain
