"""Degradations that make training and test input from clean pictures: pipelines of steps, and the measuring protocol.

A recipe lists `Degradation`s, which are the steps of tunable.data.steps, or say when and in which order others apply:
`apply(pictures, rng) -> pictures`, float32 NCHW in 0..1 in and out, not clipped unless a step says so
(docs/method.md, "Measuring protocol").
"""

import math
from collections.abc import Container, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from tunable.data import bicubic
from tunable.data.filters import (
    demosaiced,
    gaussian_blur,
    light_to_srgb,
    noise_radius,
    smooth_noise,
    srgb_to_light,
)
from tunable.data.steps import (
    AnisotropicBlur,
    Bicubic,
    CorrelatedNoise,
    GaussianBlur,
    GaussianNoise,
    Jpeg,
    PoissonGaussian,
    Resample,
    Shares,
    Smoothness,
    Step,
    WebP,
)
from tunable.errors import TunableError, shown
from tunable.own import blamed, shared
from tunable.specs.own import Own, tagged

PROTOCOL_BLUR = 21  # pixels along each side
MOST_REACH = 512  # pixels, of a degradation of one's own


class Sometimes(Step):
    """Another step, applied to each picture with a probability."""

    kind: Literal["sometimes"]
    probability: float = Field(ge=0, le=1)
    step: "Inner"

    @property
    def reach(self) -> int:
        """That of the step."""
        return self.step.reach

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); which ones, and all that the step draws, is drawn from `rng`."""
        chosen = rng.uniform(size=len(pictures)) < self.probability
        if not chosen.any():
            return pictures
        degraded = pictures.copy()
        degraded[chosen] = self.step.apply(pictures[chosen], rng)
        return degraded


class Mixture(Step):
    """One of several steps for each picture, drawn with probabilities `weights` (normalised)."""

    kind: Literal["mixture"]
    weights: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(min_length=1, max_length=16)
    of: list["Inner"] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.weights) != len(self.of):
            raise ValueError(f"a mixture of {len(self.of)} steps needs as many weights, not {len(self.weights)}")
        return self

    @property
    def reach(self) -> int:
        """The largest of the steps'."""
        return max(step.reach for step in self.of)

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); which step, and all that it draws, is drawn from `rng`."""
        choice = rng.choice(len(self.of), size=len(pictures), p=np.asarray(self.weights) / np.sum(self.weights))
        degraded = np.empty_like(pictures)
        for place in np.unique(choice):
            degraded[choice == place] = self.of[place].apply(pictures[choice == place], rng)
        return degraded


class Shuffled(Step):
    """Several steps, in an order that is drawn for each picture."""

    kind: Literal["shuffled"]
    steps: list["Inner"] = Field(min_length=2, max_length=16)

    @property
    def reach(self) -> int:
        """That of all steps together."""
        return sum(step.reach for step in self.steps)

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); orders, and all that the steps draw, are drawn from `rng`."""
        degraded = []
        for picture in pictures:
            picture = picture[None]
            for place in rng.permutation(len(self.steps)):
                picture = self.steps[place].apply(picture, rng)
            degraded.append(picture)
        return np.concatenate(degraded)


class LinearLight(Step):
    """Other steps, applied to the light that the picture's numbers stand for: what happens in a camera happens there.

    The numbers of a photograph are a curve of the light, sRGB's here (IEC 61966-2-1). The light is cut off at 0 and at
    1, before and after the steps, as a sensor cuts it off.
    """

    kind: Literal["linear_light"]
    steps: list["Inner"] = Field(min_length=1, max_length=16)

    @property
    def reach(self) -> int:
        """That of all steps together."""
        return sum(step.reach for step in self.steps)

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); all that the steps draw is drawn from `rng`."""
        light = srgb_to_light(pictures)
        for step in self.steps:
            light = step.apply(light, rng)
        return light_to_srgb(light)


class Demosaiced(Step):
    """Another step's noise, as it looks after the camera has filled in the colours that its sensor did not see.

    A Bayer sensor sees one colour in every pixel: two greens for one red and one blue. What the step changes is seen
    through it, and the missing values are means of their nearest neighbours (bilinear demosaicing). The noise becomes
    smooth, red and blue more than green, while the picture underneath stays sharp.
    """

    kind: Literal["demosaiced"]
    step: "Inner"

    @property
    def reach(self) -> int:
        """That of the step, and one pixel."""
        return self.step.reach + 1

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, 3, H, W); where the pattern begins, and all that the step draws, is drawn from `rng`."""
        changed = self.step.apply(pictures, rng) - pictures
        starts = rng.integers(2, size=(len(pictures), 2))
        return pictures + np.stack([demosaiced(each, *start) for each, start in zip(changed, starts, strict=True)])


class Correlated(Step):
    """Another step's noise, shared by neighbours and colours as a camera's processing leaves it.

    Attributes:
        step: which adds noise that is independent from pixel to pixel and from colour to colour, and may depend on the
            light.
        smooth: standard deviation in pixels of the Gaussian by which the noise is smoothed; 0: none.
        grey: correlation of the noise in different colours; 1: grey noise.
    """

    kind: Literal["correlated"]
    step: "Inner"
    smooth: Smoothness = (0.0, 1.0)
    grey: Shares = (0.0, 1.0)

    @property
    def reach(self) -> int:
        """That of the step, and of the widest Gaussian."""
        return self.step.reach + noise_radius(self.smooth[1])

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels, and all that the step draws, are drawn from `rng`."""
        n, channels = pictures.shape[:2]
        changed = self.step.apply(pictures, rng) - pictures
        noisy = np.empty_like(pictures)
        smooths, greys = (rng.uniform(*levels, n) for levels in (self.smooth, self.grey))
        for row, (noise, smooth, grey) in enumerate(zip(changed, smooths, greys, strict=True)):
            # The root of a matrix with 1 on the diagonal and `grey` elsewhere.
            together = np.full((channels, channels), 1 / channels)
            mix = np.sqrt(1 - grey) * (np.eye(channels) - together) + np.sqrt(1 + (channels - 1) * grey) * together
            noisy[row] = pictures[row] + np.tensordot(mix, smooth_noise(noise, smooth), 1)
        return noisy


class OwnStep(Own, Step):
    """A degradation of one's own (docs/own_parts.md), which leaves pictures as large as they are."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["import"]

    @property
    def reach(self) -> int:
        """What the object says: its attribute `reach`, 0 where it has none."""
        reach = getattr(self._made(), "reach", 0)
        if not isinstance(reach, int) or not 0 <= reach <= MOST_REACH:
            raise TunableError(
                f"degradation {self.reference}: reach must be 0 to {MOST_REACH} pixels, not {shown(reach)}"
            )
        return reach

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); all that the object draws is drawn from `rng`."""
        step = self._made()
        with blamed(self.reference, "degradation"):
            degraded = np.asarray(step.apply(pictures.copy(), rng))
        if degraded.shape != pictures.shape or degraded.dtype.kind != "f" or not np.isfinite(degraded).all():
            raise TunableError(
                f"degradation {self.reference} returned {degraded.dtype} of shape {degraded.shape}; finite floats of "
                f"shape {pictures.shape} are wanted"
            )
        return degraded.astype(np.float32, copy=False)

    def _made(self) -> Any:
        return shared(self.reference, self.options, "degradation", "apply")


Single = GaussianNoise | PoissonGaussian | CorrelatedNoise | GaussianBlur | AnisotropicBlur | Resample | Jpeg | WebP
_Tagged = BeforeValidator(tagged("kind"))
Wrapped = Sometimes | Mixture | Shuffled | LinearLight | Demosaiced | Correlated
Inner = Annotated[Single | Wrapped | OwnStep, Field(discriminator="kind"), _Tagged]  # no other size
for wrapper in Sometimes, Mixture, Shuffled, LinearLight, Demosaiced, Correlated:
    wrapper.model_rebuild()
Degradation = Annotated[Single | Bicubic | Wrapped | OwnStep, Field(discriminator="kind"), _Tagged]


def degrade(
    pictures: np.ndarray,
    pipeline: list[Degradation],
    rng: np.random.Generator,
    residues: Container[str] = (),
    margin: int = 0,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Apply degradations in order.

    Args:
        pictures: float32 (N, C, H, W) in 0..1.
        pipeline: the degradations.
        rng: which draws their levels and their noise.
        residues: kinds of degradations whose residue is wanted, each of which stands in the pipeline once.
        margin: pixels at each border of `pictures` that are there to be read alone (`margin_of`). They are cut off as
            soon as no later degradation reads them, so that none is spent on them.

    Returns:
        The degraded pictures without their margin, float32 (N, C, (H - 2 margin) / scale, (W - 2 margin) / scale), not
        clipped unless a degradation clips, and the residues by kind: what each of these degradations made of its input,
        less that input.
    """
    changed = {}
    for place, degradation in enumerate(pipeline):
        before, pictures = pictures, degradation.apply(pictures, rng)
        margin //= degradation.factor
        if residues and degradation.kind in residues:
            changed[degradation.kind] = without_margin(pictures, margin) - without_margin(before, margin)
        later = pipeline[place + 1 :]
        kept = min(margin, margin_of(later) * scale_of(later))
        pictures, margin = without_margin(pictures, margin - kept), kept
    return pictures, changed


def degrade_by(
    pictures: np.ndarray, pipeline: list[Degradation], rng: np.random.Generator, parts: np.ndarray, margin: int = 0
) -> np.ndarray:
    """Apply degradations in order, each picture's at a given part of their largest levels.

    Args:
        pictures: float32 (N, C, H, W) in 0..1.
        pipeline: gaussian_noise and gaussian_blur, p in all.
        rng: which draws their noise.
        parts: (N, p), 0 to 1: a level is so much of the upper end of `sigma`.
        margin: as of `degrade`.

    Returns:
        The degraded pictures without their margin, float32 (N, C, H - 2 margin, W - 2 margin).
    """
    degraded = []
    for picture, row in zip(pictures, parts.tolist(), strict=True):
        steps = []
        for step, part in zip(pipeline, row, strict=True):
            assert isinstance(step, GaussianNoise | GaussianBlur), "the recipe allows no other"
            level = part * step.sigma[1]
            steps.append(step.model_copy(update={"sigma": (level, level)}))
        degraded.append(degrade(picture[None], steps, rng, margin=margin)[0])
    return np.concatenate(degraded)


def without_margin(pictures: np.ndarray, margin: int) -> np.ndarray:
    """(N, C, H, W) less `margin` pixels at every border, in memory of its own."""
    return np.ascontiguousarray(pictures[..., margin:-margin, margin:-margin]) if margin else pictures


def scale_of(pipeline: list[Degradation]) -> int:
    """Return how many clean pixels there are per degraded pixel along each side."""
    return math.prod(degradation.factor for degradation in pipeline)


def margin_of(pipeline: list[Degradation]) -> int:
    """Return how many degraded pixels to cut off each side of a crop, so that the rest is as in the whole picture."""
    margin = 0  # in the pixels that a step reads
    for degradation in reversed(pipeline):
        margin = margin * degradation.factor + degradation.reach
    return -(-margin // scale_of(pipeline))


def protocol_noise(height: int, width: int, index: int) -> np.ndarray:
    """Draw the unit noise of the measuring protocol (docs/method.md); the same draw serves every sigma.

    Args:
        height: of the picture.
        width: of the picture.
        index: the picture's place in sorted file order.

    Returns:
        float64 (H, W, 3).
    """
    return np.random.default_rng(index).standard_normal((height, width, 3))


def protocol_degraded(clean: np.ndarray, sigma: float, index: int, rho: float = 0.0) -> np.ndarray:
    """Degrade a picture by the measuring protocol: blur, then noise, in float64; nothing is clipped.

    Args:
        clean: (H, W, 3) in 0..1.
        sigma: of the noise, in units of 1/255.
        index: the picture's place in sorted file order, which seeds the noise.
        rho: standard deviation in pixels of a 21x21 Gaussian blur, borders reflected; 0: none.

    Returns:
        float32 (H, W, 3).
    """
    return with_residues(clean, protocol_residues(clean, sigma, index, rho))


def with_residues(clean: np.ndarray, residues: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what residues (H, W, 3) make of a clean picture (H, W, 3), summed in float64: float32 (H, W, 3)."""
    return (clean.astype(np.float64) + sum(residues.values())).astype(np.float32)


def protocol_residues(clean: np.ndarray, sigma: float, index: int, rho: float = 0.0) -> dict[str, np.ndarray]:
    """What each step of the measuring protocol changes; arguments as `protocol_degraded`.

    Returns:
        float64 (H, W, 3) by the kind of the degradation: gaussian_blur, gaussian_noise.
    """
    blur = np.zeros(clean.shape)
    if rho:
        sharp = clean.astype(np.float64)
        blur = gaussian_blur(sharp.transpose(2, 0, 1), rho, PROTOCOL_BLUR).transpose(1, 2, 0) - sharp
    noise = protocol_noise(clean.shape[0], clean.shape[1], index) * sigma / 255
    return {"gaussian_blur": blur, "gaussian_noise": noise}


def protocol_shrunk(clean: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Shrink a picture as the usual test sets of super-resolution are: MATLAB's bicubic, 8 bits after both passes.

    Args:
        clean: (H, W, 3) in 0..1.
        scale: clean pixels per shrunk pixel along each side.

    Returns:
        The clean picture, cut at the bottom and on the right to multiples of `scale`, and the shrunk picture.

    Raises:
        TunableError: for a picture smaller than `scale`.
    """
    height, width = (side // scale * scale for side in clean.shape[:2])
    if not height or not width:
        raise TunableError(f"a picture of {clean.shape[1]}x{clean.shape[0]} cannot be shrunk by {scale}")
    clean = clean[:height, :width]
    return clean, bicubic.shrink(clean.transpose(2, 0, 1), scale).transpose(1, 2, 0)
