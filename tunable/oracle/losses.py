"""The objectives and the parametric multi-loss (Eq. 7; docs/method.md, "Objectives") in float64."""

from collections.abc import Callable

import numpy as np

from tunable.data.filters import gaussian_blur
from tunable.data.styles import style_picture
from tunable.errors import TunableError
from tunable.oracle.layers import Tensors, float64, rows_of
from tunable.oracle.networks import features, realness
from tunable.oracle.similarity import ms_ssim, ms_ssim_slope
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


def target(recipe: Recipe, index: int, sample: dict[str, np.ndarray], omega: np.ndarray) -> np.ndarray:
    """Compute what an objective pulls the restored picture to.

    For `rec` it is y. For `noise` it is y_eta = y + r nu (z - y) (Eq. 9), r being the objective's own omega (`keep`),
    one minus it (`remove`) or 1 (`full`). For `residue` it is y + nu d, d being the residue of one degradation. For
    `blur` it is y_eta + omega gamma (y_eta - g * y_eta) (4.1.2), y_eta being the target of the objective that
    `noise_objective` names, and g a Gaussian with reflected borders.

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


def _own_target(specs: list[Objective], index: int, sample: dict[str, np.ndarray], omega: np.ndarray) -> np.ndarray:
    """The target of an objective that shares none."""
    spec, clean = specs[index], float64(sample["clean"])
    if spec.kind == "rec":
        return clean
    strength = rows_of(omega, len(clean))[:, index].reshape(-1, *[1] * (clean.ndim - 1))
    if spec.kind == "noise":
        kept = {"keep": strength, "remove": 1 - strength, "full": 1.0}[spec.residual]
        return clean + kept * spec.nu * (float64(sample["degraded"]) - clean)
    if spec.kind == "residue":
        return clean + spec.nu * float64(sample[spec.of])
    if spec.kind == "blur":
        noisy = _own_target(specs, noise_place(specs, spec), sample, omega)
        return noisy + strength * spec.gamma * (noisy - gaussian_blur(noisy, UNSHARP_SIGMA, UNSHARP_SIZE))
    raise TunableError(f"objectives of kind {spec.kind!r} have no target; rec, noise, residue and blur have")


def objective(
    recipe: Recipe,
    index: int,
    restored: np.ndarray,
    sample: dict[str, np.ndarray],
    omega: np.ndarray,
    discriminator: Tensors | None = None,
) -> np.ndarray:
    """Compute L_i of every sample, not yet times omega or lambda.

    For `rec`, `noise` and `blur` it is the distance to `target`, for `rec` and `noise` in the part of the colour
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
    if spec.kind == "import":
        raise TunableError(f"objective {spec.name} is {spec.named}, which the oracle does not know")
    wanted = _seen(spec, target(recipe, index, sample, omega))
    return _distance(_seen(spec, float64(restored)), wanted, spec.distance)


def _rows(spec: Objective, channels: int) -> np.ndarray:
    """The weights of the colours in what an objective compares, (channels compared, channels)."""
    space = getattr(spec, "space", "rgb")
    return np.eye(channels) if space == "rgb" else np.array(PARTS[space])


def _seen(spec: Objective, pictures: np.ndarray) -> np.ndarray:
    """What an objective compares of pictures (N, C, H, W)."""
    return np.einsum("kc,nchw->nkhw", _rows(spec, pictures.shape[1]), pictures)


def perceptual(
    recipe: Recipe,
    spec: Perceptual,
    restored: np.ndarray,
    sample: dict[str, np.ndarray],
    discriminator: Tensors | None = None,
) -> np.ndarray:
    """rec_weight rec + vgg_weight vgg + adv_weight adv of every sample, (N,) (section 4.1.3).

    vgg is the mean absolute difference of VGG's last convolution, adv the relativistic average loss of the generator.
    """
    clean, tensors = sample["clean"], vgg.weights(recipe.features)
    seen, truth = (features(pictures, tensors, recipe.feature_layers["gan"]) for pictures in (restored, clean))
    real, fake = _realness(recipe, clean, restored, discriminator)
    rec, seen = _distance(float64(restored), float64(clean), spec.distance), _distance(seen, truth, "l1")
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
    down, right = (_mean(np.abs(np.diff(restored, axis=axis))) for axis in (2, 3))
    uv = np.einsum("uc,nchw->nuhw", UV, restored - clean)
    parts = (gram, _distance(styled, content, "l2"), down + right, _mean(np.square(uv)))
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


def _distance(restored: np.ndarray, wanted: np.ndarray, kind: str) -> np.ndarray:
    """The distance of every sample, (N,).

    l1, l2, charbonnier  the mean over all but the first axis
    fft                  the mean absolute value of real and imaginary parts of the orthonormal rfft2 of the difference
    ms_ssim              1 - MS-SSIM (tunable.oracle.similarity)
    """
    if kind == "ms_ssim":
        return 1 - ms_ssim(restored, wanted)
    if kind == "fft":
        seen = np.fft.rfft2(restored - wanted, norm="ortho")
        return (_mean(np.abs(seen.real)) + _mean(np.abs(seen.imag))) / 2
    return _mean(_DISTANCES[kind][0](restored - wanted))


def _slope(restored: np.ndarray, wanted: np.ndarray, kind: str) -> np.ndarray:
    """The gradient of the sum of `_distance` in `restored`; the slope of abs at 0 is taken as 0."""
    if kind == "ms_ssim":
        return -ms_ssim_slope(restored, wanted)
    if kind == "fft":
        seen = np.fft.rfft2(restored - wanted, norm="ortho")
        signs = np.zeros(restored.shape, dtype=complex)  # the frequencies that rfft2 leaves out have no weight
        signs[..., : seen.shape[-1]] = np.sign(seen.real) + 1j * np.sign(seen.imag)
        return np.fft.ifft2(signs, norm="ortho").real / (2 * seen[0].size)
    return _DISTANCES[kind][1](restored - wanted) / restored[0].size


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over all but the first axis, (N,)."""
    return values.reshape(len(values), -1).mean(axis=1)


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
    factors, gradient = _factors(recipe, omega, len(restored)) / len(restored), np.zeros_like(restored)
    for i, spec in enumerate(recipe.objectives):
        assert spec.kind != "style" and spec.kind != "import", "their gradients are not known here"
        slope = _slope(_seen(spec, restored), _seen(spec, target(recipe, i, sample, omega)), spec.distance)
        slope = np.einsum("kc,nkhw->nchw", _rows(spec, restored.shape[1]), slope)
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
