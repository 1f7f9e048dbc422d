"""The objectives and the parametric multi-loss (Eq. 7; docs/method.md, "Objectives") in float64."""

from collections.abc import Callable

import numpy as np

from tunable.data.filters import gaussian_blur
from tunable.data.styles import style_picture
from tunable.errors import TunableError
from tunable.oracle.layers import Tensors, float64, rows_of
from tunable.oracle.networks import features, realness
from tunable.parameters.starts import starting_weights
from tunable.specs.objectives import (
    CHARBONNIER_EPS,
    NORMALISE_FLOOR,
    PARTS,
    UNSHARP_SIGMA,
    UNSHARP_SIZE,
    UV,
    Objective,
    Perceptual,
    Style,
    noise_place,
)
from tunable.specs.recipe import Recipe
from tunable.weights import vgg


def target(specs: list[Objective], index: int, sample: dict[str, np.ndarray], omega: np.ndarray) -> np.ndarray:
    """Compute what an objective pulls the restored picture to.

    For `rec` it is y. For `noise` it is y_eta = y + r nu (z - y) (Eq. 9), r being the objective's own omega (`keep`) or
    one minus it (`remove`). For `blur` it is y_eta + omega gamma (y_eta - g * y_eta) (4.1.2), y_eta being the target of
    the objective that `noise_objective` names, and g a Gaussian with reflected borders.

    Args:
        specs: the objectives of the recipe.
        index: the place of this one.
        sample: `clean` y and `degraded` z, both (N, C, H, W).
        omega: (p,) or (N, p).

    Returns:
        (N, C, H, W).
    """
    spec, clean = specs[index], float64(sample["clean"])
    if spec.kind == "rec":
        return clean
    strength = rows_of(omega, len(clean))[:, index].reshape(-1, *[1] * (clean.ndim - 1))
    if spec.kind == "noise":
        kept = strength if spec.residual == "keep" else 1 - strength
        return clean + kept * spec.nu * (float64(sample["degraded"]) - clean)
    if spec.kind == "blur":
        noisy = target(specs, noise_place(specs, spec), sample, omega)
        return noisy + strength * spec.gamma * (noisy - gaussian_blur(noisy, UNSHARP_SIGMA, UNSHARP_SIZE))
    raise TunableError(f"objectives of kind {spec.kind!r} have no target; rec, noise and blur have")


def objective(
    recipe: Recipe,
    index: int,
    restored: np.ndarray,
    sample: dict[str, np.ndarray],
    omega: np.ndarray,
    discriminator: Tensors | None = None,
) -> np.ndarray:
    """Compute L_i of every sample, not yet times omega or lambda.

    For `rec`, `noise` and `blur` it is the mean distance to `target`, for `rec` and `noise` in the part of the colour
    space that they name; for `gan` it is `perceptual`, for `style` it is `style`.

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
    if spec.kind == "gan":
        return perceptual(recipe, spec, restored, sample, discriminator)
    if spec.kind == "style":
        return style(recipe, spec, restored, sample)
    difference = float64(restored) - target(recipe.objectives, index, sample, omega)
    return _distance(_rows(spec, difference) @ difference.reshape(*difference.shape[:2], -1), spec.distance)


def _rows(spec: Objective, pictures: np.ndarray) -> np.ndarray:
    """The weights of the colours in what an objective compares, (channels compared, C)."""
    space = getattr(spec, "space", "rgb")
    return np.eye(pictures.shape[1]) if space == "rgb" else np.array(PARTS[space])


def perceptual(
    recipe: Recipe,
    spec: Perceptual,
    restored: np.ndarray,
    sample: dict[str, np.ndarray],
    discriminator: Tensors | None = None,
) -> np.ndarray:
    """rec_weight rec + vgg_weight vgg + adv_weight adv of every sample, (N,) (section 4.1.3).

    vgg is the mean absolute difference of VGG-19's conv5_4, adv the relativistic average loss of the generator.
    """
    clean, tensors = sample["clean"], vgg.weights(recipe.features)
    seen, truth = (features(pictures, tensors, vgg.CONV5_4) for pictures in (restored, clean))
    real, fake = _realness(recipe, clean, restored, discriminator)
    rec, seen = _distance(float64(restored) - clean, spec.distance), _distance(seen - truth, "l1")
    return spec.rec_weight * rec + spec.vgg_weight * seen + spec.adv_weight * _relativistic(real, fake)


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

    gram is the sum of squared differences to the Gram matrix F F^T / (C H W) of the style picture, F being VGG-19's
    relu3_3; vgg the mean squared difference of relu3_3 to the clean picture's; tv the mean absolute difference of
    neighbours, down plus right; uv the mean squared difference of BT.601's U and V to the clean picture's.
    """
    restored, clean, tensors = float64(restored), float64(sample["clean"]), vgg.weights(recipe.features)
    styled, content = (features(x, tensors, vgg.RELU3_3) for x in (restored, clean))
    gram = np.square(_gram(styled) - style_gram(recipe, spec)).sum(axis=(1, 2))
    down, right = (_distance(np.diff(restored, axis=axis), "l1") for axis in (2, 3))
    uv = np.einsum("uc,nchw->nuhw", UV, restored - clean)
    parts = (gram, _distance(styled - content, "l2"), down + right, _distance(uv, "l2"))
    weights = (spec.gram_weight, spec.vgg_weight, spec.tv_weight, spec.uv_weight)
    return np.sum([weight * part for weight, part in zip(weights, parts, strict=True)], axis=0)


def style_gram(recipe: Recipe, spec: Style) -> np.ndarray:
    """Compute the style picture's Gram matrix, (1, C, C)."""
    return _gram(features(float64(style_picture(spec)), vgg.weights(recipe.features), vgg.RELU3_3))


def _gram(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, C, C)."""
    rows = x.reshape(*x.shape[:2], -1)
    return rows @ rows.swapaxes(1, 2) / x[0].size


def _distance(difference: np.ndarray, kind: str) -> np.ndarray:
    """Mean over all but the first axis, (N,)."""
    return _DISTANCES[kind][0](difference).reshape(len(difference), -1).mean(axis=1)


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
    """dL / d restored, (N, C, H, W), for the kinds rec, noise and blur; the slope of abs at 0 is taken as 0."""
    restored = float64(restored)
    factors = _factors(recipe, omega, len(restored)) / restored.size  # means over elements and over the batch
    gradient = np.zeros_like(restored)
    specs = recipe.objectives
    for i, spec in enumerate(specs):
        assert spec.kind != "style", "a style's gradient is not known here"
        rows, pixels = _rows(spec, restored), restored.reshape(*restored.shape[:2], -1)
        slope = _DISTANCES[spec.distance][1](rows @ (pixels - target(specs, i, sample, omega).reshape(pixels.shape)))
        slope = (rows.T @ slope).reshape(restored.shape) * len(rows.T) / len(rows)  # a mean over fewer channels
        gradient += factors[:, i].reshape(-1, *[1] * (restored.ndim - 1)) * slope
    return gradient


# distance -> (value, derivative) of a difference, element by element
_DISTANCES: dict[str, tuple[Callable, Callable]] = {
    "l1": (np.abs, np.sign),
    "l2": (np.square, lambda d: 2 * d),
    "charbonnier": (
        lambda d: np.sqrt(d**2 + CHARBONNIER_EPS**2),
        lambda d: d / np.sqrt(d**2 + CHARBONNIER_EPS**2),
    ),
}


def _factors(recipe: Recipe, omega: np.ndarray, n: int) -> np.ndarray:
    """What multiplies L_i of sample n in the loss: omega_ni lambda_i, normalised if the recipe says so; (N, p)."""
    rows = rows_of(omega, n)
    factors = rows * np.array([spec.weight for spec in recipe.objectives])
    if recipe.loss.normalise == "sum":
        factors = factors / np.maximum(rows.sum(axis=1, keepdims=True), NORMALISE_FLOOR)
    return factors
