"""A network in two parts: what no omega changes, computed once, and the rest."""

from typing import Any

import mindspore as ms
from mindspore import nn

from mindspore_impl import ops
from tunable.omega import check_tensor


class Trunk(nn.Cell):
    """The stages of a network before the first one that is tunable.

    Args:
        network: a Network with a tunable end.
    """

    def __init__(self, network: Any) -> None:
        super().__init__(auto_prefix=False)  # the parameters keep their names
        self.network = network

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """Return the features of pictures x (N, 3, H, W) that no omega changes."""
        return self.network.trunk_of(x)


class Tail(nn.Cell):
    """The stages of a network from the first one that is tunable.

    Args:
        network: a Network with a tunable end.
    """

    def __init__(self, network: Any) -> None:
        super().__init__(auto_prefix=False)  # the parameters keep their names
        self.network = network

    def construct(self, x: ms.Tensor, omega: ms.Tensor, *features: ms.Tensor) -> ms.Tensor:
        """Restore pictures x (N, 3, H, W) from their features.

        Args:
            x: the pictures.
            omega: (p,), (N, p), or a map (N, p, H, W).
            features: what the trunk returned for x.

        Returns:
            (N, 3, upscale H, upscale W), not clipped.
        """
        return self.network.finish(x, features, omega)


class Prepared:
    """Pictures whose features are computed, as far as no omega changes them.

    Args:
        network: a Network with a tunable end.
        x: pictures (N, 3, H, W), 0 to 1.
    """

    def __init__(self, network: Any, x: ms.Tensor) -> None:
        """Compute the features."""
        self.network = network
        self.x = x
        trunk, self.tail = network.parts()
        with ops.alone():
            self.features: tuple[ms.Tensor, ...] = trunk(x)

    def at(self, omega: ms.Tensor) -> ms.Tensor:
        """Restore the pictures.

        Args:
            omega: (p,) for all pictures, (N, p) for one each, or a map (N, p, H, W) for one per pixel.

        Returns:
            (N, 3, upscale H, upscale W), not clipped: what the network returns.

        Raises:
            OmegaError: for an omega of another shape.
        """
        network, x = self.network, self.x
        check_tensor(
            omega,
            network.num_objectives,
            len(x),
            size=network.pixels(x),
            without_maps=network.specification.without_maps,
        )
        with ops.alone():
            return self.tail(self.x, omega, *self.features)
