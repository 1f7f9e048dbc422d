"""What a recipe may say of an objective, and constants that the objectives of both twins and of the oracle share."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from tunable.errors import TunableError, nearest
from tunable.specs.own import OfFramework, tagged
from tunable.specs.schema import Place, Section

CHARBONNIER_EPS = 1e-3  # sqrt(d^2 + eps^2), the usual value
NORMALISE_FLOOR = 1e-3  # `normalise: sum` divides by max(sum of omega, this) (docs/method.md, "Objectives")
# MS-SSIM (Wang, Simoncelli and Bovik, Asilomar 2003): an exponent per scale, the window, and (0.01, 0.03) squared for
# pictures whose range is 1. A mean below the floor counts as the floor: a power of a negative number is no number.
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SIMILARITY_SIZE, SIMILARITY_SIGMA, SIMILARITY_FLOOR = 11, 1.5, 1e-3
C1, C2 = 0.01**2, 0.03**2
MS_SSIM_SIZE = SIMILARITY_SIZE * 2 ** (len(SCALES) - 1)  # pixels of the least picture: one window at the last scale
UNSHARP_SIZE, UNSHARP_SIGMA = 9, 2.5  # pixels: the Gaussian g of the unsharp mask (section 4.1.2)
RELU3_3_SIZE, CONV5_SIZE = 4, 16  # pixels of a picture that leave one at this layer, or in this stage, of VGG
# BT.601: Y = 0.299 R + 0.587 G + 0.114 B, U = 0.436 (B - Y) / (1 - 0.114), V = 0.615 (R - Y) / (1 - 0.299)
# By it V's green is -0.514986. The 7e-6 between stay: networks of `style` have been trained with the number below.
UV = ((-0.147138, -0.288862, 0.436), (0.615, -0.514993, -0.100014))  # of `style`
_Y = (0.299, 0.587, 0.114)
_U = tuple(0.436 * (blue - y) / (1 - _Y[2]) for blue, y in zip((0, 0, 1), _Y, strict=True))
_V = tuple(0.615 * (red - y) / (1 - _Y[0]) for red, y in zip((1, 0, 0), _Y, strict=True))
PARTS = {"luma": (_Y,), "chroma": (_U, _V)}  # of the colour space: rows of weights of R, G, B

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Objective(Section):
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)
    weight: Weight = 1.0  # lambda_i of Eq. 7


class _Distance(_Objective):
    distance: Literal["l1", "l2", "charbonnier", "fft", "ms_ssim"] = "l1"


class _InSpace(_Distance):
    space: Literal["rgb", "luma", "chroma"] = "rgb"  # the part of the colour space that is compared

    @model_validator(mode="after")
    def _has_means(self) -> Self:
        if self.distance == "ms_ssim" and self.space == "chroma":
            raise ValueError(
                "distance ms_ssim compares means, and chroma has means of about 0; it wants space rgb or luma"
            )
        return self


class Reconstruction(_InSpace):
    """Distance of the restored picture to the clean one (docs/method.md, "Objectives", `rec`)."""

    kind: Literal["rec"]


class NoisePreservation(_InSpace):
    """Distance to the clean picture with part of its noise left in (Eq. 9, `noise`)."""

    kind: Literal["noise"]
    nu: float = Field(default=0.9, ge=0, le=1)  # noise kept at most
    residual: Literal["keep", "remove", "full"] = "keep"  # more omega: keep more noise, or remove more; full: keep nu


class ResiduePreservation(_InSpace):
    """Distance to the clean picture with part of what one degradation changed (docs/method.md, "Objectives")."""

    kind: Literal["residue"]
    of: Literal["gaussian_noise", "poisson_gaussian", "gaussian_blur", "jpeg"]  # the kind of the degradation
    nu: float = Field(default=0.9, ge=0, le=1)  # share of the residue that is kept


class Sharpening(_Distance):
    """Distance to the target of another objective, of kind `noise`, sharpened (section 4.1.2, `blur`)."""

    kind: Literal["blur"]
    noise_objective: str  # the name of that other one
    gamma: float = Field(default=8.0, ge=0, allow_inf_nan=False)  # strongest sharpening


class Perceptual(_Distance):
    """rec_weight rec + vgg_weight vgg + adv_weight adv (section 4.1.3, `gan`); `distance` is how `rec` measures.

    vgg is the L1 distance of the last convolution of VGG, adv says how much more real than the restored pictures the
    recipe's `discriminator` finds the clean ones.
    """

    kind: Literal["gan"]
    rec_weight: Weight = 0.01
    vgg_weight: Weight = 1.0
    adv_weight: Weight = 0.005


class Style(_Objective):
    """gram_weight gram + vgg_weight vgg + tv_weight tv + uv_weight uv (section 4.2, `style`).

    Attributes:
        image: a picture in the style, which is shrunk to at most `size` pixels along its longer side.
    """

    kind: Literal["style"]
    image: Place
    size: int = Field(default=512, ge=RELU3_3_SIZE, le=2**16)
    gram_weight: Weight = 1.0
    vgg_weight: Weight = 1.0
    tv_weight: Weight = 1.0
    uv_weight: Weight = 1.0


class OwnObjective(OfFramework, _Objective):
    """An objective of one's own (docs/own_parts.md)."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["import"]


Objective = Annotated[
    Reconstruction | NoisePreservation | ResiduePreservation | Sharpening | Perceptual | Style | OwnObjective,
    Field(discriminator="kind"),
    BeforeValidator(tagged("kind")),
]


def noise_place(objectives: list[Objective], spec: Sharpening) -> int:
    """Return the place of the objective that `spec.noise_objective` names; ValueError unless its kind is `noise`."""
    places = {objective.name: i for i, objective in enumerate(objectives) if objective.kind == "noise"}
    if spec.noise_objective not in places:
        known = ", ".join(places) or "there is none"
        raise ValueError(
            f"objective {spec.name}: noise_objective must name one of kind noise ({known}), not "
            f"{spec.noise_objective!r}{nearest(spec.noise_objective, places)}"
        )
    return places[spec.noise_objective]


def shared_targets(objectives: list[Objective]) -> tuple[tuple[int, ...], ...]:
    """Find which objectives train one distance to the mean of their targets (`loss.combine: targets`).

    Args:
        objectives: of a recipe, in omega's order.

    Returns:
        The places of those of kind rec, noise and residue, a tuple for each part of the colour space that is compared.

    Raises:
        ValueError: where the targets have no one mean, or no one distance.
    """
    spaces: dict[str, dict[int, _InSpace]] = {}
    for i, spec in enumerate(objectives):
        if spec.kind == "blur":
            raise ValueError(
                f"loss.combine: targets takes no objective of kind blur ({spec.name}): its target moves with two knobs"
            )
        if spec.kind == "noise" and spec.residual != "full":
            raise ValueError(
                f"loss.combine: targets weighs targets at their full end: objective {spec.name} wants residual: full, "
                f"not {spec.residual}"
            )
        if isinstance(spec, _InSpace):
            spaces.setdefault(spec.space, {})[i] = spec
    if "rgb" in spaces and len(spaces) > 1:
        named = ", ".join(f"{spec.name} {space}" for space, alike in spaces.items() for spec in alike.values())
        raise ValueError(f"loss.combine: targets wants space rgb everywhere or nowhere, not {named}")
    if not spaces:
        raise ValueError("loss.combine: targets wants an objective of kind rec, noise or residue, which have targets")
    for alike in spaces.values():
        if len({spec.distance for spec in alike.values()}) > 1:
            named = ", ".join(f"{spec.name} {spec.distance}" for spec in alike.values())
            raise ValueError(f"loss.combine: targets trains one distance to the mean of targets, not {named}")
    return tuple(tuple(alike) for alike in spaces.values())


def check_size(distance: str, height: int, width: int) -> None:
    """Raise TunableError for pictures that are too small for a distance."""
    if distance == "ms_ssim" and min(height, width) < MS_SSIM_SIZE:
        raise TunableError(
            f"distance ms_ssim needs pictures of at least {MS_SSIM_SIZE} pixels a side, not {width}x{height}"
        )
