"""Objectives of image restoration: reconstruction and noise preservation (SPEC 3; Eq. 9).

An objective is called as objective(restored, sample, omega) -> (N,): `sample` maps names to tensors
(N, C, H, W), omega is (N, p). Targets are built inside and carry no gradient.
"""

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from tunable_core.objectives import CHARBONNIER_EPS


class Objective(nn.Cell):
    """Distance of the restored picture to a target that a subclass builds: l1, l2 or charbonnier, mean per sample.

    index  the objective's own place in omega
    """

    def __init__(self, index: int, *, distance: str = "l1"):
        super().__init__()
        self.index = index
        self.distance = distance

    def construct(self, restored: ms.Tensor, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        difference = restored - _ops.stop_gradient(self.target(sample, omega))
        if self.distance == "l1":
            return ops.per_sample_mean(_ops.abs(difference))
        if self.distance == "l2":
            return ops.per_sample_mean(difference * difference)
        return ops.per_sample_mean(_ops.sqrt(difference * difference + CHARBONNIER_EPS**2))


class Reconstruction(Objective):
    """Target: the clean picture."""

    def target(self, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        return sample["clean"]


class NoisePreservation(Objective):
    """Target: y + r nu (z - y) (Eq. 9), r = the objective's own omega (`keep`) or one minus it (`remove`)."""

    def __init__(self, index: int, *, distance: str = "l1", nu: float = 0.9, residual: str = "keep"):
        super().__init__(index, distance=distance)
        self.nu = nu
        self.residual = residual

    def target(self, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        own = omega[:, self.index].reshape(-1, 1, 1, 1)
        kept = own if self.residual == "keep" else 1 - own
        return sample["clean"] + self.nu * kept * (sample["degraded"] - sample["clean"])
