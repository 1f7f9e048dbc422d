"""The perceptual-adversarial objective of super-resolution (section 4.1.3; docs/method.md, "Objectives", `gan`)."""

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from mindspore_impl.objectives.distances import distance_between, mean_distance
from mindspore_impl.objectives.features import grid, shrunk, unit_distance


def relativistic(high: ms.Tensor, low: ms.Tensor) -> ms.Tensor:
    """Return 1/2 [softplus(high_n - mean low) + softplus(-(low_n - mean high))], small where `low` is the higher.

    This is the relativistic average loss (Jolicoeur-Martineau, ICLR 2019). The generator minimises it with the scores
    of clean pictures as `high` and of restored ones as `low`; the discriminator minimises it with the two exchanged.

    Args:
        high: scores (N,) of one kind of pictures.
        low: scores (N,) of the other kind.

    Returns:
        The loss of every sample, (N,).
    """
    return (ops.softplus(high - low.mean()) + ops.softplus(high.mean() - low)) / 2


class Perceptual(nn.Cell):
    """The sum of rec, vgg, adv, grid and shrunk of every sample, each times its weight.

    It is called as objective(restored, sample, omega) -> (N,), pictures (N, 3, H, W) of at least 16 pixels a side, and
    32 with grid.

    Args:
        features: VGG at its last convolution, conv5_4 of VGG-19; vgg is the L1 distance of its features.
        discriminator: scores pictures; adv is its relativistic average loss, with means over the batch.
        distance: distance of rec: l1, l2, charbonnier, fft or ms_ssim.
        rec_weight: weight of the distance to the clean picture.
        vgg_weight: weight of vgg.
        adv_weight: weight of adv.
        grid_weight: weight of grid, as in FeatureDistance.
        shrunk_weight: weight of shrunk, as in FeatureDistance.
        period: of grid and shrunk, how many times the network enlarges.
        units: whether `features` returns several after the last ones, and vgg is the squared distance of these, of
            length one, as in FeatureDistance.
    """

    def __init__(
        self,
        *,
        features: nn.Cell,
        discriminator: nn.Cell,
        distance: str = "l1",
        rec_weight: float = 0.01,
        vgg_weight: float = 1.0,
        adv_weight: float = 0.005,
        grid_weight: float = 0.0,
        shrunk_weight: float = 0.0,
        period: int = 1,
        units: bool = False,
    ) -> None:
        super().__init__()
        self.features = features
        self.discriminator = discriminator
        self.distance = distance
        self.rec_weight = rec_weight
        self.vgg_weight = vgg_weight
        self.adv_weight = adv_weight
        self.grid_weight = grid_weight
        self.shrunk_weight = shrunk_weight
        self.period = period
        self.units = units

    def construct(self, restored: ms.Tensor, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the objective of every sample, (N,).

        Args:
            restored: the network's output, (N, 3, H, W).
            sample: pictures of the same shape by name, `clean` among them.
            omega: (N, k), the knob of this objective first.
        """
        clean = sample["clean"]
        rec = distance_between(restored, _ops.stop_gradient(clean), self.distance)
        seen, truth = self.features(restored), self.features(clean)
        vgg = (
            unit_distance(seen[1:], truth[1:]) if self.units else mean_distance(seen - _ops.stop_gradient(truth), "l1")
        )
        adv = relativistic(self.discriminator(_ops.stop_gradient(clean)), self.discriminator(restored))
        total = self.rec_weight * rec + self.vgg_weight * vgg + self.adv_weight * adv
        if self.grid_weight:
            total = total + self.grid_weight * grid(restored - _ops.stop_gradient(clean), self.period)
        if self.shrunk_weight:
            total = total + self.shrunk_weight * shrunk(restored - _ops.stop_gradient(clean), self.period)
        return total
