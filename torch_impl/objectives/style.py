"""The style objective (section 4.2; docs/method.md, "Objectives", `style`), after Johnson et al., ECCV 2016."""

from collections.abc import Sequence

import torch
from torch import nn

from torch_impl import ops
from torch_impl.objectives.distances import mean_distance
from tunable.objectives.style import UV


def gram(x: torch.Tensor) -> torch.Tensor:
    """Return the Gram matrices F F^T / (C H W) of features.

    Args:
        x: features (N, C, H, W).

    Returns:
        The matrices, (N, C, C).
    """
    n, c, height, width = x.shape
    rows = x.reshape(n, c, height * width)
    return ops.bmm(rows, rows.swapaxes(1, 2)) / (c * height * width)


class Style(nn.Module):
    """The sum gram_weight gram + vgg_weight vgg + tv_weight tv + uv_weight uv of every sample.

    It is called as objective(restored, sample, omega) -> (N,), pictures (N, 3, H, W) of at least 4 pixels a side.

    Args:
        features: VGG at relu3_3, which returns the features of the layers behind the Gram matrices after these.
        painted: Gram matrices of the style picture's features in these layers, (1, C, C) each.
        layer_weights: of the layers.
        gram_weight: weight of the sum of squared differences of the Gram matrices, weighted by layer.
        vgg_weight: weight of the mean squared difference between the features of both pictures.
        tv_weight: weight of the mean absolute difference of neighbours, down plus right.
        uv_weight: weight of the mean squared difference of BT.601's U and V between both pictures.
    """

    def __init__(
        self,
        *,
        features: nn.Module,
        painted: Sequence[torch.Tensor],
        layer_weights: Sequence[float] = (1.0,),
        gram_weight: float = 1.0,
        vgg_weight: float = 1.0,
        tv_weight: float = 1.0,
        uv_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.features = features
        self.painted = tuple(painted)
        self.layer_weights = tuple(layer_weights)
        self.gram_weight = gram_weight
        self.vgg_weight = vgg_weight
        self.tv_weight = tv_weight
        self.uv_weight = uv_weight

    def forward(self, restored: torch.Tensor, sample: dict[str, torch.Tensor], omega: torch.Tensor) -> torch.Tensor:
        """Return the objective of every sample, (N,).

        Args:
            restored: the network's output, (N, 3, H, W).
            sample: pictures of the same shape by name, `clean` among them.
            omega: (N, k), the knob of this objective first.
        """
        return self.weigh(*self.look(restored, sample))

    def look(self, restored: torch.Tensor, sample: dict[str, torch.Tensor]) -> tuple:
        """Return what no style picture changes: Gram matrices (N, C, C) by layer, and vgg, tv and uv of samples, (N,).

        Args:
            restored: the network's output, (N, 3, H, W).
            sample: pictures of the same shape by name, `clean` among them.
        """
        clean = sample["clean"].detach()
        features, content = self.features(restored), self.features(clean)
        vgg = mean_distance(features[0] - content[0], "l2")
        down, right = restored[:, :, 1:] - restored[:, :, :-1], restored[:, :, :, 1:] - restored[:, :, :, :-1]
        tv = mean_distance(down, "l1") + mean_distance(right, "l1")
        uv = mean_distance(ops.mix_colours(restored - clean, UV), "l2")
        return tuple([gram(layer) for layer in features[1:]]), vgg, tv, uv

    def weigh(
        self, grams: tuple[torch.Tensor, ...], vgg: torch.Tensor, tv: torch.Tensor, uv: torch.Tensor
    ) -> torch.Tensor:
        """Return the objective of every sample, (N,), of what `look` returned."""
        painted = 0.0
        for weight, seen, wanted in zip(self.layer_weights, grams, self.painted, strict=True):
            apart = seen - wanted
            painted = painted + weight * (apart * apart).sum((1, 2))
        return self.gram_weight * painted + self.vgg_weight * vgg + self.tv_weight * tv + self.uv_weight * uv


class Styles(nn.Module):
    """Several objectives of kind `style` that share one pass of their VGG through each picture: the pass is what costs.

    Args:
        styles: the objectives, whose `features` are one and the same.
    """

    def __init__(self, styles: list[Style]) -> None:
        super().__init__()
        self.styles = nn.ModuleList(styles)

    def forward(self, restored: torch.Tensor, sample: dict[str, torch.Tensor], omega: torch.Tensor) -> torch.Tensor:
        """Return the objectives of every sample, (N, number of styles); arguments as those of a style."""
        seen = self.styles[0].look(restored, sample)  # pyright: ignore[reportCallIssue]  a list of modules
        return torch.stack([one.weigh(*seen) for one in self.styles], 1)  # pyright: ignore[reportCallIssue]  likewise
