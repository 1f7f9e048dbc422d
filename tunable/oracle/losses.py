"""The objectives and the parametric multi-loss (Eq. 7; docs/method.md, "Objectives") in float64."""

from collections.abc import Sequence

import numpy as np

from tunable.data.styles import style_picture
from tunable.errors import TunableError
from tunable.objectives.adversarial import Perceptual
from tunable.objectives.base import NORMALISE_FLOOR, Objective
from tunable.objectives.distances import distance_between, mean_of
from tunable.objectives.features import CELLS, FLOOR, FeatureDistance
from tunable.objectives.restoration import WithTarget
from tunable.objectives.style import UV, Style
from tunable.oracle.layers import Tensors, float64, rows_of
from tunable.oracle.networks import features, realness
from tunable.parameters.starts import starting_weights
from tunable.specs.feature_network import UNITS
from tunable.specs.recipe import Recipe
from tunable.weights import vgg


def target(recipe: Recipe, index: int, sample: dict[str, np.ndarray], omega: np.ndarray) -> np.ndarray:
    """Compute what an objective pulls the restored picture to.

    It is the target of the objective's kind (`tunable.objectives`).

    With `loss.combine: targets` the objectives that share a mean have one target, t = y + sum_i s_i (t_i - y) of their
    own targets t_i, where s_i = omega_i lambda_i / max(sum_j omega_j lambda_j, 1e-3). It is y where no omega counts.

    Args:
        recipe: the recipe.
        index: the place of the objective.
        sample: `clean` y, `degraded` z and residues by the kind of their degradation, all (N, C, H, W).
        omega: (p,) or (N, p).

    Returns:
        (N, C, H, W).
    """
    together = next((places for places in recipe.shared_targets if index in places), None)
    if together is None:
        return _own_target(recipe.objectives, index, sample, omega)
    clean = float64(sample["clean"])
    weights = rows_of(omega, len(clean)) * np.array([spec.weight for spec in recipe.objectives])
    divisor = np.maximum(sum(weights[:, i] for i in together), NORMALISE_FLOOR)
    shares = ((weights[:, i] / divisor).reshape(-1, *[1] * (clean.ndim - 1)) for i in together)
    targets = (_own_target(recipe.objectives, i, sample, omega) for i in together)
    return clean + sum(share * (one - clean) for share, one in zip(shares, targets, strict=True))


def _own_target(specs: Sequence[Objective], index: int, sample: dict[str, np.ndarray], omega: np.ndarray) -> np.ndarray:
    """The target of an objective that shares none."""
    spec = specs[index]
    if not isinstance(spec, WithTarget):
        raise TunableError(f"objectives of kind {spec.kind!r} have no target; rec, noise, residue and blur have")
    return spec.target(*_given(specs, index, sample, omega))


def _given(specs: Sequence[Objective], index: int, sample: dict[str, np.ndarray], omega: np.ndarray) -> tuple:
    """What an objective is computed from: the sample, its own knob, and the targets that it builds on."""
    names = [spec.name for spec in specs]
    pictures = {name: float64(value) for name, value in sample.items()}
    below = (_own_target(specs, names.index(name), sample, omega) for name in specs[index].builds_on)
    return pictures, rows_of(omega, len(pictures["clean"]))[:, index], *below


def objective(
    recipe: Recipe,
    index: int,
    restored: np.ndarray,
    sample: dict[str, np.ndarray],
    omega: np.ndarray,
    discriminator: Tensors | None = None,
) -> np.ndarray:
    """Compute L_i of every sample, not yet times omega or lambda.

    For `gan` it is `perceptual`, for `style` it is `style`, for `features` it is `feature_distance`, and for all others
    the value of its kind (`tunable.objectives`), measured to `target` where it has one.

    Args:
        recipe: the recipe.
        index: the place of the objective.
        restored: (N, C, H, W).
        sample: pictures by name, of the same shape.
        omega: (p,) or (N, p).
        discriminator: the weights of the recipe's discriminator; None: those from which its training starts.

    Returns:
        (N,).
    """
    spec = recipe.objectives[index]
    if isinstance(spec, Perceptual):
        return perceptual(recipe, spec, restored, sample, discriminator)
    if isinstance(spec, Style):
        return style(recipe, spec, restored, sample)
    if isinstance(spec, FeatureDistance):
        return feature_distance(recipe, spec, restored, sample)
    if isinstance(spec, WithTarget):
        return spec.apart(float64(restored), target(recipe, index, sample, omega))
    return spec.value(float64(restored), *_given(recipe.objectives, index, sample, omega))


def perceptual(
    recipe: Recipe,
    spec: Perceptual,
    restored: np.ndarray,
    sample: dict[str, np.ndarray],
    discriminator: Tensors | None = None,
) -> np.ndarray:
    """rec_weight rec + vgg_weight vgg + adv_weight adv + what `_enlarged` says of every sample, (N,) (section 4.1.3).

    vgg is the mean absolute difference of VGG's last convolution or the recipe's `vgg.layer`, or, where that is units,
    what it is in `feature_distance`; adv is the relativistic average loss of the generator.
    """
    restored, clean, tensors = float64(restored), float64(sample["clean"]), vgg.weights(recipe.features)
    if recipe.features.units:
        seen = _unit_distance(recipe, restored, clean)
    else:
        ours, theirs = (features(pictures, tensors, recipe.feature_layers["gan"]) for pictures in (restored, clean))
        seen = distance_between(ours, theirs, "l1")
    real, fake = _realness(recipe, clean, restored, discriminator)
    rec = distance_between(restored, clean, spec.distance)
    total = spec.rec_weight * rec + spec.vgg_weight * seen + spec.adv_weight * _relativistic(real, fake)
    return total + _enlarged(recipe, spec, restored - clean)


def feature_distance(
    recipe: Recipe, spec: FeatureDistance, restored: np.ndarray, sample: dict[str, np.ndarray]
) -> np.ndarray:
    """rec_weight rec + vgg_weight vgg + what `_enlarged` says of every sample, (N,).

    vgg is, summed over layers, the mean over pixels of the squared distance of features whose length is one.
    """
    restored, clean = float64(restored), float64(sample["clean"])
    seen = _unit_distance(recipe, restored, clean)
    total = spec.rec_weight * distance_between(restored, clean, spec.distance) + spec.vgg_weight * seen
    return total + _enlarged(recipe, spec, restored - clean)


def _unit_distance(recipe: Recipe, restored: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """(N, C, H, W) twice -> (N,): of features of length one, summed over the layers."""
    tensors, total = vgg.weights(recipe.features), np.zeros(len(restored))
    for layer in UNITS:
        ours, theirs = (features(pictures, tensors, layer) for pictures in (restored, clean))
        ours, theirs = (x / np.sqrt((x**2).sum(axis=1, keepdims=True) + FLOOR) for x in (ours, theirs))
        total = total + ((ours - theirs) ** 2).sum(axis=1).mean(axis=(1, 2))
    return total


def _enlarged(recipe: Recipe, spec: Perceptual | FeatureDistance, difference: np.ndarray) -> np.ndarray:
    """grid_weight grid + shrunk_weight shrunk, (N, C, H, W) -> (N,).

    A cell has as many pixels a side as the network enlarges times. shrunk is the mean absolute value of the cells' own
    means; grid that of what is the same in all 4x4 cells of a window of the difference, less its own mean. What the
    last cells or windows lack at the right or below is left out.
    """
    period, (height, width) = recipe.network.scale, difference.shape[2:]
    total = np.zeros(len(difference))
    if spec.shrunk_weight:
        means = [difference[:, :, top : top + period, left : left + period].mean(axis=(2, 3))
                 for top in range(0, height - period + 1, period)
                 for left in range(0, width - period + 1, period)]  # fmt: skip
        total += spec.shrunk_weight * np.abs(means).mean(axis=(0, 2))
    if spec.grid_weight:
        total += spec.grid_weight * _grid(difference, period)
    return total


def _grid(difference: np.ndarray, period: int) -> np.ndarray:
    """(N, C, H, W) -> (N,): window by window, as it is defined."""
    side, values, (height, width) = CELLS * period, [], difference.shape[2:]
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            window = difference[:, :, top : top + side, left : left + side]
            cell = np.mean([window[:, :, i::period, j::period].mean(axis=(2, 3))
                            for i in range(period) for j in range(period)], axis=0)  # fmt: skip
            phases = [window[:, :, i::period, j::period].mean(axis=(2, 3)) - cell
                      for i in range(period) for j in range(period)]  # fmt: skip
            values.append(np.abs(phases).mean(axis=(0, 2)))
    return np.mean(values, axis=0)


def discriminator_loss(
    recipe: Recipe, restored: np.ndarray, sample: dict[str, np.ndarray], discriminator: Tensors | None = None
) -> float:
    """Compute what the discriminator is trained on: the mirror image of adv, not weighted by omega (section 4.1.3)."""
    real, fake = _realness(recipe, sample["clean"], restored, discriminator)
    return float(_relativistic(fake, real).mean())


def _realness(
    recipe: Recipe, clean: np.ndarray, restored: np.ndarray, discriminator: Tensors | None
) -> tuple[np.ndarray, ...]:
    """How real the discriminator takes the clean and the restored pictures to be, (N,) each."""
    settings = recipe.discriminator
    tensors = starting_weights(settings.specs(), recipe.seed) if discriminator is None else discriminator
    return tuple(realness(pictures, settings, tensors) for pictures in (clean, restored))


def _relativistic(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """1/2 [softplus(high_n - mean low) + softplus(-(low_n - mean high))]: small where `low` is the higher."""
    return (np.logaddexp(0, high - low.mean()) + np.logaddexp(0, high.mean() - low)) / 2


def style(recipe: Recipe, spec: Style, restored: np.ndarray, sample: dict[str, np.ndarray]) -> np.ndarray:
    """Compute gram_weight gram + vgg_weight vgg + tv_weight tv + uv_weight uv of every sample, (N,) (section 4.2).

    gram is the sum of squared differences to the Gram matrix F F^T / (C H W) of the style picture, F being VGG's
    relu3_3, or the sum over the recipe's `vgg.gram` of a layer's weight times that; vgg the mean squared difference of
    relu3_3 to the clean picture's; tv the mean absolute difference of neighbours, down plus right; uv the mean squared
    difference of BT.601's U and V to the clean picture's.
    """
    restored, clean, tensors = float64(restored), float64(sample["clean"]), vgg.weights(recipe.features)
    styled, content = (features(x, tensors, recipe.feature_layers["style"]) for x in (restored, clean))
    gram = sum(
        weight * np.square(_gram(features(restored, tensors, layer)) - wanted).sum(axis=(1, 2))
        for (layer, weight), wanted in zip(recipe.features.gram_weights.items(), style_grams(recipe, spec), strict=True)
    )
    down, right = (mean_of(np.abs(np.diff(restored, axis=axis))) for axis in (2, 3))
    uv = np.einsum("uc,nchw->nuhw", UV, restored - clean)
    parts = (gram, distance_between(styled, content, "l2"), down + right, mean_of(np.square(uv)))
    weights = (spec.gram_weight, spec.vgg_weight, spec.tv_weight, spec.uv_weight)
    return np.sum([weight * part for weight, part in zip(weights, parts, strict=True)], axis=0)


def style_grams(recipe: Recipe, spec: Style) -> list[np.ndarray]:
    """Compute the style picture's Gram matrix, (1, C, C), in every layer that styles compare."""
    picture, tensors = float64(style_picture(spec)), vgg.weights(recipe.features)
    return [_gram(features(picture, tensors, layer)) for layer in recipe.features.gram_weights]


def _gram(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, C, C)."""
    rows = x.reshape(*x.shape[:2], -1)
    return rows @ rows.swapaxes(1, 2) / x[0].size


def multi_loss(
    recipe: Recipe,
    restored: np.ndarray,
    sample: dict[str, np.ndarray],
    omega: np.ndarray,
    discriminator: Tensors | None = None,
) -> tuple[float, np.ndarray]:
    """L = mean_n sum_i omega_ni lambda_i L_i(n) (Eq. 7), and the batch means of the L_i, (p,).

    With `loss.normalise: sum` each sample's sum is divided by max(sum_i omega_ni, 1e-3). discriminator: as `objective`.
    """
    terms = [objective(recipe, i, restored, sample, omega, discriminator) for i in range(recipe.num_objectives)]
    terms = np.stack(terms, axis=1)
    losses = (_factors(recipe, omega, len(terms)) * terms).sum(axis=1)
    return float(losses.mean()), terms.mean(axis=0)


def multi_loss_gradient(
    recipe: Recipe, restored: np.ndarray, sample: dict[str, np.ndarray], omega: np.ndarray
) -> np.ndarray:
    """dL / d restored, (N, C, H, W), for all kinds but gan, features and style."""
    restored = float64(restored)
    factors, gradient = _factors(recipe, omega, len(restored)) / len(restored), np.zeros_like(restored)
    for i, spec in enumerate(recipe.objectives):
        assert not isinstance(spec, Perceptual | FeatureDistance | Style), "their gradients are not known here"
        if isinstance(spec, WithTarget):
            slope = spec.slope(restored, target(recipe, i, sample, omega))
        else:
            slope = spec.gradient(restored, *_given(recipe.objectives, i, sample, omega))
        gradient += factors[:, i].reshape(-1, *[1] * (restored.ndim - 1)) * slope
    return gradient


def _factors(recipe: Recipe, omega: np.ndarray, n: int) -> np.ndarray:
    """What multiplies L_i of sample n in the loss: omega_ni lambda_i, normalised if the recipe says so; (N, p)."""
    rows = rows_of(omega, n)
    factors = rows * np.array([spec.weight for spec in recipe.objectives])
    if recipe.loss.normalise == "sum":
        factors = factors / np.maximum(rows.sum(axis=1, keepdims=True), NORMALISE_FLOOR)
    return factors
