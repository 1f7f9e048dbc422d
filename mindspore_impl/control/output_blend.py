"""Output blend: whole plain networks, whose pictures omega mixes; or one, mixed with its input."""

from typing import Any

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl.layers.maps import enlarged
from mindspore_impl.networks import NETWORKS
from mindspore_impl.networks.network import Network
from tunable.specs.control import LEAST_SUM
from tunable.specs.networks import OutputBlendSpec


class OutputBlend(Network, spec=OutputBlendSpec):
    """Plain networks y_1 ... y_p, whose pictures omega mixes: sum_i omega_i y_i / sum_i omega_i.

    With nu it is one network blended with its input z: y_1 + omega_2 nu (z - y_1). Another omega of the same pictures
    runs no network: `prepare(x)` computes all pictures, and `at(omega)` mixes them.
    """

    def build(self, spec: OutputBlendSpec) -> None:
        """Make the networks that the specification asks for; OutputBlendSpec says what each field means."""
        kind, arguments = NETWORKS[spec.of.name], spec.of.arguments()
        self.nu = spec.nu
        self.upscale = spec.scale
        self.ends = nn.CellList([kind(num_objectives=0, **arguments) for _ in range(spec.ends)])
        self.stages = [["ends"], ["mix"]]

    def mixed_at(self, omega: ms.Tensor | None) -> Any:
        """Return omega itself: there are no kernels to mix."""
        return omega

    def begin(self, x: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """Return the input."""
        return (x,)

    def stage(self, place: int, features: tuple[ms.Tensor, ...], omega: Any) -> tuple[ms.Tensor, ...]:
        """Return the input and the pictures of all networks; then what omega makes of them."""
        x = features[0]
        if place == 0:
            ends: Any = self.ends
            return (x, *[end.finish(x, end.trunk_of(x), None) for end in ends])
        rows = omega if omega.ndim == 4 else omega.reshape(-1, omega.shape[-1], 1, 1)
        rows = enlarged(rows, self.upscale) if omega.ndim == 4 else rows
        first = features[1]
        if self.nu > 0:
            return (first + rows[:, 1:2] * self.nu * (x - first),)
        total = _ops.maximum(rows.sum(1, keepdims=True), LEAST_SUM)
        mixed = first
        for other in range(1, len(self.ends)):
            mixed = mixed + rows[:, other : other + 1] / total * (features[1 + other] - first)
        return (mixed,)

    def end(self, x: ms.Tensor, features: tuple[ms.Tensor, ...]) -> ms.Tensor:
        """Return (N, 3, scale H, scale W)."""
        return features[0]

    def _before_tunable(self) -> int:
        """How many stages come before the first that omega changes: that of the networks."""
        return 1
