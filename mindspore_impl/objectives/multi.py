"""The parametric multi-loss (Eq. 7)."""

import mindspore as ms
from mindspore import nn, ops

from mindspore_impl.objectives.restoration import NoisePreservation, Reconstruction
from tunable_core.errors import TunableError
from tunable_core.objectives import NORMALISE_FLOOR

OBJECTIVES = {"rec": Reconstruction, "noise": NoisePreservation}


class MultiLoss(nn.Cell):
    """L = sum_i omega_i lambda_i L_i, exact per sample, then averaged over the batch (Eq. 7).

    objectives  p objectives, in omega's order
    weights     the lambda_i
    normalise   `none`, or `sum`: divide a sample's loss by max(sum_i omega_i, 1e-3)
    """

    def __init__(self, objectives: list[nn.Cell], *, weights: list[float], normalise: str = "none"):
        super().__init__()
        if len(objectives) != len(weights):
            raise TunableError(f"{len(objectives)} objectives need as many weights, not {len(weights)}")
        self.objectives = nn.CellList(objectives)
        self.weights = tuple(weights)
        self.normalise = normalise

    def construct(
        self, restored: ms.Tensor, sample: dict[str, ms.Tensor], omega: ms.Tensor
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """restored (N, C, H, W), omega (p,) or (N, p) -> the loss () and the batch means of the L_i (p,)."""
        rows = ops.broadcast_to(omega, (restored.shape[0], omega.shape[-1]))
        terms = []
        for objective in self.objectives:
            terms.append(objective(restored, sample, rows))
        terms = ops.stack(terms, 1)
        losses = (rows * terms * ms.Tensor(self.weights, ms.float32)).sum(1)
        if self.normalise == "sum":
            losses = losses / ops.maximum(rows.sum(1), NORMALISE_FLOOR)
        return losses.mean(), terms.mean(0)


def make_loss(recipe) -> MultiLoss:
    """The multi-loss of a recipe."""
    objectives = []
    for index, spec in enumerate(recipe.objectives):
        arguments = spec.model_dump(exclude={"name", "kind", "weight"})
        objectives.append(OBJECTIVES[spec.kind](index, **arguments))
    weights = [spec.weight for spec in recipe.objectives]
    return MultiLoss(objectives, weights=weights, normalise=recipe.loss.normalise)
