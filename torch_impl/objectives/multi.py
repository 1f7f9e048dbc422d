"""The parametric multi-loss (Eq. 7)."""

import torch
from torch import nn

from torch_impl.networks import VGG
from torch_impl.objectives.restoration import MeanTarget
from torch_impl.objectives.style import Style, Styles, gram
from torch_impl.own import OwnObjective
from tunable.data.styles import style_picture
from tunable.errors import TunableError
from tunable.objectives import counterpart, own, style
from tunable.objectives.base import NORMALISE_FLOOR
from tunable.objectives.distances import check_size
from tunable.objectives.restoration import Sharpening
from tunable.objectives.targets import noise_place
from tunable.omega import check_tensor
from tunable.specs.recipe import Recipe
from tunable.weights.vgg import weights

_ELSEWHERE = {"name", "kind", "weight", "noise_objective", "image", "size"}  # of a recipe; no constructor takes these


class MultiLoss(nn.Module):
    """The multi-loss L = sum_i omega_i lambda_i L_i, exact per sample, then averaged over the batch (Eq. 7).

    Args:
        objectives: p objectives in omega's order: the first goes with omega_1, whatever its kind.
        weights: the p numbers lambda_i.
        normalise: none, or sum: a sample's loss is divided by max(sum_i omega_i, 1e-3).
        shared: places of objectives whose L_i is one distance to the mean of their targets, a tuple for each mean
            (`combine: targets`; MeanTarget).

    Raises:
        TunableError: for another number of weights, an objective that builds on one that is missing, or objectives
            that cannot share a mean.
    """

    def __init__(
        self,
        objectives: list[nn.Module],
        *,
        weights: list[float],
        normalise: str = "none",
        shared: tuple[tuple[int, ...], ...] = (),
    ) -> None:
        super().__init__()
        if len(objectives) != len(weights):
            raise TunableError(f"{len(objectives)} objectives need as many weights, not {len(weights)}")
        named = [i for places in shared for i in places]
        if len({*named} & {*range(len(objectives))}) < len(named):
            raise TunableError(f"shared wants places of {len(objectives)} objectives, each once, not {shared}")
        means = [MeanTarget([objectives[i] for i in places], weights=[weights[i] for i in places]) for places in shared]
        styles = styles_by_features(objectives)
        alone = [i for i in range(len(objectives)) if i not in named and not isinstance(objectives[i], Style)]
        columns, together = columns_of(objectives), [Styles([*kin.values()]) for kin in styles]
        self.objectives = nn.ModuleList([*(objectives[i] for i in alone), *together, *means])
        self.columns = (*(columns[i] for i in alone), *(tuple(kin) for kin in styles), *shared)
        # Of the terms in a row, styles have one each, and objectives that share a mean have one together.
        groups = [*((i,) for i in (*alone, *(i for kin in styles for i in kin))), *shared]
        self.places = tuple(next(k for k, group in enumerate(groups) if i in group) for i in range(len(objectives)))
        self.weights = tuple(weights)
        self.normalise = normalise

    def __call__(
        self, restored: torch.Tensor, sample: dict[str, torch.Tensor], omega: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the loss as `forward` says.

        Raises:
            OmegaError: for an omega of another shape.
            TunableError: for pictures too small for a distance.
        """
        if not torch.compiler.is_compiling():
            check_tensor(omega, len(self.weights), len(restored))
            for objective in self.objectives:
                check_size(getattr(objective, "distance", "l1"), *restored.shape[2:])
        return super().__call__(restored, sample, omega)

    def forward(
        self, restored: torch.Tensor, sample: dict[str, torch.Tensor], omega: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the loss of a batch.

        Args:
            restored: the network's output, (N, C, H, W).
            sample: pictures of the same shape by name, `clean` and `degraded` among them.
            omega: (p,) for the batch, or (N, p).

        Returns:
            The loss, (), and the batch means of the L_i, (p,).
        """
        rows = omega.expand(len(restored), omega.shape[-1])
        parts = [
            objective(restored, sample, torch.cat([rows[:, i : i + 1] for i in columns], 1))
            for objective, columns in zip(self.objectives, self.columns, strict=True)
        ]
        columns = torch.cat([part.reshape(len(restored), -1) for part in parts], 1)
        terms = torch.stack([columns[:, place] for place in self.places], 1)
        losses = (rows * terms * terms.new_tensor(self.weights)).sum(1)
        if self.normalise == "sum":
            losses = losses / rows.sum(1).clamp(min=NORMALISE_FLOOR)
        return losses.mean(), terms.mean(0)


def styles_by_features(objectives: list[nn.Module]) -> list[dict[int, Style]]:
    """Find the objectives of kind `style` that look through one VGG.

    Args:
        objectives: the objectives in omega's order.

    Returns:
        For each VGG, those objectives by their places.
    """
    found: dict[int, dict[int, Style]] = {}
    for i, objective in enumerate(objectives):
        if isinstance(objective, Style):
            found.setdefault(id(objective.features), {})[i] = objective
    return [*found.values()]


def columns_of(objectives: list[nn.Module]) -> tuple[tuple[int, ...], ...]:
    """Find the places in omega that each objective is given.

    Args:
        objectives: the objectives in omega's order.

    Returns:
        For each of them its own place, then the places of the objectives it builds on.

    Raises:
        TunableError: where an objective builds on one that is not among `objectives`.
    """
    places = {id(objective): i for i, objective in enumerate(objectives)}
    columns = []
    for i, objective in enumerate(objectives):
        builds_on = getattr(objective, "builds_on", None)
        below = builds_on() if builds_on else ()
        missing = [type(other).__name__ for other in below if id(other) not in places]
        if missing:
            raise TunableError(
                f"{type(objective).__name__}, objective {i + 1}, builds on a {missing[0]} that is none of these "
                f"{len(objectives)} objectives: its knob is not known"
            )
        columns.append((i, *(places[id(other)] for other in below)))
    return tuple(columns)


def make_loss(recipe: Recipe, like: torch.Tensor, discriminator: nn.Module | None = None) -> MultiLoss:
    """Make the multi-loss of a recipe.

    Args:
        recipe: the recipe.
        like: a parameter of the network that is trained: the loss stands on its device, in its dtype.
        discriminator: the network with which objectives of kind `gan` score pictures.

    Returns:
        The multi-loss as the recipe's `objectives` and `loss` say.

    Raises:
        RecipeError: where VGG's weights cannot be had.
        DataError: where a style's picture cannot be had.
    """
    specs = recipe.objectives
    layers = recipe.feature_layers
    features = {
        kind: VGG(weights(recipe.features), layer, like=like, taps=recipe.features.taps(kind))
        for kind, layer in layers.items()
    }
    made: dict[int, nn.Module] = {}
    for index in sorted(range(len(specs)), key=lambda index: bool(specs[index].builds_on)):  # what they build on first
        made[index] = _make(recipe, index, made, features, discriminator, like)
    objectives = [made[index] for index in range(len(specs))]
    return MultiLoss(
        objectives,
        weights=[spec.weight for spec in specs],
        normalise=recipe.loss.normalise,
        shared=recipe.shared_targets,
    )


def _make(
    recipe: Recipe,
    index: int,
    made: dict[int, nn.Module],
    features: dict[str, VGG],
    discriminator: nn.Module | None,
    like: torch.Tensor,
) -> nn.Module:
    """The objective at place `index`, with its feature network, or with the objective on which its target builds."""
    spec = recipe.objectives[index]
    if isinstance(spec, own.OwnObjective):
        return OwnObjective(spec, like)
    kind, arguments = spec.kind, spec.model_dump(exclude=_ELSEWHERE)
    if isinstance(spec, Sharpening):
        arguments["noise"] = made[noise_place(recipe.objectives, spec)]
    if kind in features:
        arguments["features"] = features[kind]
    if kind == "gan":
        arguments["discriminator"], arguments["units"] = discriminator, recipe.features.units
    if kind in ("gan", "features"):
        arguments["period"] = recipe.network.scale
    if isinstance(spec, style.Style):
        with torch.no_grad():
            picture = torch.from_numpy(style_picture(spec)).to(like.device, like.dtype)
            arguments["painted"] = [gram(layer) for layer in features["style"](picture)[1:]]
        arguments["layer_weights"] = [*recipe.features.gram_weights.values()]
    return counterpart(spec, "torch_impl.objectives")(**arguments)
