"""The parametric multi-loss (Eq. 7)."""

import mindspore as ms
from mindspore import nn, ops

from mindspore_impl.objectives.restoration import NoisePreservation, Reconstruction, Sharpening
from tunable_core.errors import TunableError
from tunable_core.objectives import NORMALISE_FLOOR
from tunable_core.recipe import noise_place

OBJECTIVES = {"rec": Reconstruction, "noise": NoisePreservation, "blur": Sharpening}


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
    specs = recipe.objectives
    objectives = [_make(specs, index) for index in range(len(specs))]
    return MultiLoss(objectives, weights=[spec.weight for spec in specs], normalise=recipe.loss.normalise)


def _make(specs, index: int) -> nn.Cell:
    """The objective at place `index`, with another one of its own where its target builds on that."""
    arguments = specs[index].model_dump(exclude={"name", "kind", "weight", "noise_objective"})
    if specs[index].kind == "blur":
        arguments["noise"] = _make(specs, noise_place(specs, specs[index]))
    return OBJECTIVES[specs[index].kind](index, **arguments)
