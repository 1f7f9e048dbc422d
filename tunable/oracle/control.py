"""The control strategies in float64 (tunable.specs.control): DyNet, CFSNet, CResMD and AdaFM, as their papers say."""

from typing import Any

import numpy as np

from tunable.oracle.layers import Tensors, conv, float64, parameter, part
from tunable.specs.control import LEAST_SUM, AdaFMSpec, CFSNetSpec, CResMDSpec, DyNetSpec, Strategy
from tunable.specs.residual import shuffles


def strategy(pictures: np.ndarray, omega: np.ndarray, spec: Strategy, tensors: Tensors) -> np.ndarray:
    """Compute a control strategy.

    Args:
        pictures: (N, 3, H, W).
        omega: (p,), (N, p), or a map (N, p, H, W).
        spec: its specification.
        tensors: its parameters by name.

    Returns:
        (N, 3, upscale H, upscale W).
    """
    network = _NETWORKS[type(spec)](spec, tensors, float64(omega))
    x = float64(pictures)
    first = network.conv("head", x)
    y = first
    for block in range(spec.blocks):
        y = network.block(block, y)
    y = network.enlarge(y if spec.global_residual else y + first)
    y = network.conv("tail", y)
    return network.end(x, y)


def output_blend(ends: list[np.ndarray], degraded: np.ndarray, omega: np.ndarray, nu: float) -> np.ndarray:
    """Mix pictures of several networks by omega, or those of one with its input.

    Args:
        ends: what the networks make, each (N, 3, H, W).
        degraded: the input (N, 3, H, W).
        omega: (p,), (N, p), or a map (N, p, H, W) of the output's pixels.
        nu: of a blend with the input; 0 for several networks.

    Returns:
        sum_i omega_i y_i / sum_i omega_i, or y_1 + omega_2 nu (z - y_1); (N, 3, H, W).
    """
    rows = float64(omega)
    rows = rows if rows.ndim == 4 else rows.reshape(-1, rows.shape[-1], 1, 1)
    if nu:
        return ends[0] + rows[:, 1:] * nu * (degraded - ends[0])
    total = rows.sum(1, keepdims=True)
    return sum(rows[:, i : i + 1] * end for i, end in enumerate(ends)) / total


class _Residual:
    """A plain residual network; the strategies change a part of it."""

    def __init__(self, spec: Any, tensors: Tensors, omega: np.ndarray) -> None:
        self.spec, self.tensors, self.omega = spec, tensors, omega
        first, second = (omega[..., i] if omega.ndim < 3 else omega[:, i] for i in (0, -1))
        a = second / np.maximum(first + second, LEAST_SUM)
        self.a = a[:, None] if omega.ndim == 4 else a.reshape(-1, 1, 1, 1)

    def plain(self, name: str, x: np.ndarray, groups: int = 1) -> np.ndarray:
        tensors = {local: value[None] for local, value in part(self.tensors, name).items()}
        padding = tensors["weight"].shape[-1] // 2
        return conv(x, np.ones(1), tensors, "identity", padding=padding, groups=groups)

    def conv(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.plain(name, x)

    def inside(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.conv(f"{name}.conv2", np.maximum(self.conv(f"{name}.conv1", x), 0))

    def block(self, place: int, x: np.ndarray) -> np.ndarray:
        return x + self.inside(f"body.{place}", x)

    def upsampled(self, name: str, x: np.ndarray) -> np.ndarray:
        for place, factor in enumerate(shuffles(self.spec.upscale)):
            x = _shuffled(self.conv(f"{name}.{place}", x), factor)
        return x

    def enlarge(self, x: np.ndarray) -> np.ndarray:
        return self.upsampled("upsample", x)

    def end(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return y

    def setting(self, a: np.ndarray, like: np.ndarray) -> np.ndarray:
        """A map for features that are finer; what is no map as it is."""
        return a.repeat(like.shape[2] // a.shape[2], 2).repeat(like.shape[3] // a.shape[3], 3)


class _DyNet(_Residual):
    """u = x + a T(x) behind every block, T with reflected borders."""

    def block(self, place: int, x: np.ndarray) -> np.ndarray:
        x = super().block(place, x)
        y = x
        for index in range(self.spec.tuning_depth):
            tensors = part(self.tensors, f"tuning.{place}.conv{index + 1}")
            stacked = {local: value[None] for local, value in tensors.items()}
            y = np.pad(np.maximum(y, 0) if index else y, [(0, 0), (0, 0), (1, 1), (1, 1)], "reflect")
            y = conv(y, np.ones(1), stacked, "identity")
        return x + self.a * y


class _CFSNet(_Residual):
    """(1 - A) B(x) + A T(x), A of every channel linear in a."""

    def part(self, place: int) -> np.ndarray:
        given = self.a[:, None] * np.ones(512)[:, None, None, None]  # (N or 1, 512, 1, h, w)
        given = np.moveaxis(given, 1, -1)
        for name in ("control.0", "control.1", "control.2", f"couplings.{place}.0", f"couplings.{place}.1"):
            given = given @ float64(self.tensors[f"{name}.weight"]).T
        return np.moveaxis(given[:, 0], -1, 1)

    def block(self, place: int, x: np.ndarray) -> np.ndarray:
        share = self.part(place)
        return (1 - share) * super().block(place, x) + share * self.inside(f"tuning.{place}", x)

    def enlarge(self, x: np.ndarray) -> np.ndarray:
        if self.spec.upscale == 1:
            return x
        main = self.upsampled("upsample", x)
        share = self.setting(self.part(self.spec.blocks), main)
        return (1 - share) * main + share * self.upsampled("tuning_upsample", x)


class _CResMD(_Residual):
    """x + (W c + b) C2(ReLU(C1(x))), and z + (W c + b) net(z)."""

    def scale(self, name: str) -> np.ndarray:
        value = parameter(self.omega, part(self.tensors, name), "base")
        return value if value.ndim == 4 else value[None]

    def block(self, place: int, x: np.ndarray) -> np.ndarray:
        return x + self.scale(f"body.{place}.scale") * self.inside(f"body.{place}", x)

    def end(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        factor = self.spec.upscale
        return x.repeat(factor, 2).repeat(factor, 3) + self.setting(self.scale("scale_tail"), y) * y


class _AdaFM(_Residual):
    """x + a DW(x) behind every convolution."""

    def conv(self, name: str, x: np.ndarray) -> np.ndarray:
        y = self.plain(name, x)
        behind = name.replace("conv", "modulate") if "conv" in name else f"modulate_{name}"
        return y + self.setting(self.a, y) * self.plain(behind, y, groups=y.shape[1])


_NETWORKS = {DyNetSpec: _DyNet, CFSNetSpec: _CFSNet, CResMDSpec: _CResMD, AdaFMSpec: _AdaFM}


def _shuffled(x: np.ndarray, factor: int) -> np.ndarray:
    n, channels, height, width = x.shape
    out = channels // factor**2
    x = x.reshape(n, out, factor, factor, height, width).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, out, height * factor, width * factor)
