"""What a recipe may say of an objective, and constants that the objectives of both twins and of the oracle share."""

from typing import Annotated, Literal

from pydantic import Field

from tunable.errors import nearest
from tunable.specs.schema import Place, Section

CHARBONNIER_EPS = 1e-3  # sqrt(d^2 + eps^2), the usual value
NORMALISE_FLOOR = 1e-3  # `normalise: sum` divides by max(sum of omega, this) (docs/method.md, "Objectives")
UNSHARP_SIZE, UNSHARP_SIGMA = 9, 2.5  # pixels: the Gaussian g of the unsharp mask (section 4.1.2)
RELU3_3_SIZE, CONV5_4_SIZE = 4, 16  # pixels of a picture that leave one of these layers of VGG-19
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
    distance: Literal["l1", "l2", "charbonnier"] = "l1"


class _InSpace(_Distance):
    space: Literal["rgb", "luma", "chroma"] = "rgb"  # the part of the colour space that is compared


class Reconstruction(_InSpace):
    """Distance of the restored picture to the clean one (docs/method.md, "Objectives", `rec`)."""

    kind: Literal["rec"]


class NoisePreservation(_InSpace):
    """Distance to the clean picture with part of its noise left in (Eq. 9, `noise`)."""

    kind: Literal["noise"]
    nu: float = Field(default=0.9, ge=0, le=1)  # noise kept at most
    residual: Literal["keep", "remove"] = "keep"  # more omega: keep more noise, or remove more


class Sharpening(_Distance):
    """Distance to the target of another objective, of kind `noise`, sharpened (section 4.1.2, `blur`)."""

    kind: Literal["blur"]
    noise_objective: str  # the name of that other one
    gamma: float = Field(default=8.0, ge=0, allow_inf_nan=False)  # strongest sharpening


class Perceptual(_Distance):
    """rec_weight rec + vgg_weight vgg + adv_weight adv (section 4.1.3, `gan`); `distance` is how `rec` measures.

    vgg is the L1 distance of VGG-19's conv5_4, adv says how much more real than the restored pictures the recipe's
    `discriminator` finds the clean ones.
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


Objective = Annotated[Reconstruction | NoisePreservation | Sharpening | Perceptual | Style, Field(discriminator="kind")]


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
