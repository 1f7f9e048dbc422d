"""What the strategies between two objectives share: of omega they know one number, a."""

from typing import Any

import torch

from torch_impl import ops
from torch_impl.networks.resnet import ResNet
from tunable.specs.control import LEAST_SUM


def share(omega: torch.Tensor) -> torch.Tensor:
    """Return a = omega_2 / max(omega_1 + omega_2, 1e-3), the second objective's share.

    Args:
        omega: (2,), (N, 2), or a map (N, 2, H, W).

    Returns:
        (1, 1, 1, 1), (N, 1, 1, 1), or (N, 1, H, W).
    """
    rows = omega if omega.ndim == 4 else omega.reshape(-1, 2, 1, 1)
    first, second = rows[:, :1], rows[:, 1:]
    return second / (first + second).clamp(min=LEAST_SUM)


def finer(setting: torch.Tensor, factor: int) -> torch.Tensor:
    """Return what features have that are a factor finer: of a map (N, C, H, W) each pixel repeated; (N, C, 1, 1)."""
    return setting if factor == 1 or tuple(setting.shape[2:]) == (1, 1) else ops.nearest(setting, factor)


class Controlled(ResNet):
    """Base of the strategies between two objectives, which are built of the residual network."""

    def mixed_at(self, omega: torch.Tensor | None) -> Any:
        """Return what the stages take in omega's place: a, (1 or N, 1, 1, 1) or a map (N, 1, H, W); None when plain."""
        return None if omega is None else share(omega)

    def _before_tunable(self) -> int:
        """How many stages come before the first that omega changes: the first convolution, or all when plain."""
        return 1 if self.num_objectives else len(self.stages)
