"""The objective that compares features as LPIPS does (docs/method.md, "Objectives", `features`)."""

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from mindspore_impl.objectives.distances import distance_between, mean_distance
from tunable.objectives.features import CELLS, FLOOR


def grid(difference: ms.Tensor, period: int) -> ms.Tensor:
    """Return how much of a pattern of a period a difference of pictures holds, (N,).

    A window has 4 x 4 cells of period x period pixels. The cells' mean is a cell too, less its own mean; of that the
    mean absolute value, over windows and colours. What a window lacks at the right or below is left out.

    Args:
        difference: (N, C, H, W), at least 4 periods a side.
        period: in pixels.
    """
    n, c, height, width = difference.shape
    side = CELLS * period
    rows, columns = height // side, width // side
    whole = difference[:, :, : rows * side, : columns * side]
    cells = whole.reshape(n * c * rows, CELLS, period, columns, CELLS, period).mean((1, 4))
    return ops.per_sample_mean((cells - cells.mean((1, 3), keep_dims=True)).reshape(n, -1).abs())


def shrunk(difference: ms.Tensor, period: int) -> ms.Tensor:
    """Return the mean absolute value of a difference of pictures (N, C, H, W) shrunk by a factor `period`, (N,)."""
    return mean_distance(ops.mean_pool(difference, period), "l1")


def unit(features: ms.Tensor) -> ms.Tensor:
    """Return features (N, C, H, W) whose length is one at every pixel, or less where it was below 0.1 or so."""
    return features / _ops.sqrt((features * features).sum(1, keepdims=True) + FLOOR)


def unit_distance(seen: tuple[ms.Tensor, ...], truth: tuple[ms.Tensor, ...]) -> ms.Tensor:
    """Return the sum over layers of the mean over pixels of the squared distance of unit features, (N,).

    Args:
        seen: features (N, C, H, W) of restored pictures, of each layer.
        truth: those of clean pictures.
    """
    parts = []
    for ours, theirs in zip(seen, truth):  # noqa: B905  a graph knows no strict
        difference = unit(ours) - unit(_ops.stop_gradient(theirs))
        parts.append(ops.per_sample_mean((difference * difference).sum(1)))
    return _ops.stack(parts).sum(0)


class FeatureDistance(nn.Cell):
    """The sum rec_weight rec + vgg_weight vgg + grid_weight grid + shrunk_weight shrunk of every sample.

    It is called as objective(restored, sample, omega) -> (N,), pictures (N, 3, H, W) of at least 4 pixels a side, and
    32 with grid.

    Args:
        features: VGG at relu3_3, which returns the features that are compared after these.
        period: of the grid, how many times the network enlarges, and by which shrunk pictures are shrunk.
        distance: distance of rec: l1, l2, charbonnier, fft or ms_ssim.
        rec_weight: weight of the distance to the clean picture.
        vgg_weight: weight of the sum over layers of the mean over pixels of the squared distance of unit features.
        grid_weight: weight of the pattern of that period in the difference to the clean picture.
        shrunk_weight: weight of the L1 distance of both pictures when they are shrunk to the size of the small one.
    """

    def __init__(
        self,
        *,
        features: nn.Cell,
        period: int = 1,
        distance: str = "l1",
        rec_weight: float = 1.0,
        vgg_weight: float = 1.0,
        grid_weight: float = 0.0,
        shrunk_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = features
        self.period = period
        self.distance = distance
        self.rec_weight = rec_weight
        self.vgg_weight = vgg_weight
        self.grid_weight = grid_weight
        self.shrunk_weight = shrunk_weight

    def construct(self, restored: ms.Tensor, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the objective of every sample, (N,).

        Args:
            restored: the network's output, (N, 3, H, W).
            sample: pictures of the same shape by name, `clean` among them.
            omega: (N, k), the knob of this objective first.
        """
        clean = _ops.stop_gradient(sample["clean"])
        total = self.rec_weight * distance_between(restored, clean, self.distance)
        seen, truth = self.features(restored), self.features(clean)
        total = total + self.vgg_weight * unit_distance(seen[1:], truth[1:])
        if self.grid_weight:
            total = total + self.grid_weight * grid(restored - clean, self.period)
        if self.shrunk_weight:
            total = total + self.shrunk_weight * shrunk(restored - clean, self.period)
        return total
