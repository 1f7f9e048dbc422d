"""Degradations that make training and test input from clean pictures (numpy, seeded).

Each is a small pydantic model, so that a recipe can hold it, with one method:
`apply(pictures, rng) -> pictures`, float32 NCHW in 0..1 in and out, not clipped unless it says so
(docs/method.md, "Measuring protocol").
A level may be a number or a range [low, high], from which it is drawn uniformly, per picture.
"""

import io
import math
from collections.abc import Container
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Field

from tunable.data import bicubic
from tunable.data.filters import gaussian_blur
from tunable.errors import TunableError
from tunable.images.pictures import to_levels
from tunable.specs.schema import Section

PROTOCOL_BLUR = 21  # pixels along each side


def _number_or_range(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"a range is [low, high], not {list(value)}")
    return value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"wants an odd number of pixels, not {value}")
    return value


_Level = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Quality = Annotated[int, Field(ge=1, le=100)]
Levels = Annotated[tuple[_Level, _Level], BeforeValidator(_number_or_range), AfterValidator(_ordered)]
Qualities = Annotated[tuple[_Quality, _Quality], BeforeValidator(_number_or_range), AfterValidator(_ordered)]


class _Degradation(Section):
    @property
    def factor(self) -> int:
        """Input pixels per output pixel along each side."""
        return 1

    @property
    def reach(self) -> int:
        """How many input pixels beyond its own place an output pixel depends on."""
        return 0


class GaussianNoise(_Degradation):
    """White Gaussian noise of standard deviation `sigma`, in units of 1/255."""

    kind: Literal["gaussian_noise"]
    sigma: Levels

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels and noise are drawn from `rng`."""
        sigma = rng.uniform(*self.sigma, size=(len(pictures), 1, 1, 1)) / 255
        noise = rng.standard_normal(pictures.shape, dtype=np.float32)
        return pictures + (sigma * noise).astype(np.float32)


class PoissonGaussian(_Degradation):
    """The noise of a linear sensor: shot noise of photons, then Gaussian noise of reading them (Foi et al. 2008).

    Values below 0, which an earlier noise may leave, get no shot noise.

    Attributes:
        gain: units of 1/255 per photon: a value v, in these units, is v / gain photons on average, and gets a variance
            of gain v. 0: no shot noise.
        sigma: standard deviation of the reading, in units of 1/255.
    """

    kind: Literal["poisson_gaussian"]
    gain: Levels
    sigma: Levels

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels and noise are drawn from `rng`."""
        gains, sigmas = (rng.uniform(*levels, size=len(pictures)) / 255 for levels in (self.gain, self.sigma))
        noisy = np.empty(pictures.shape, dtype=np.float32)
        for row, (picture, gain, sigma) in enumerate(zip(pictures.astype(np.float64), gains, sigmas, strict=True)):
            if gain > 1e-12:  # below, numpy would have to count beyond its integers
                light = np.maximum(picture, 0)
                picture = picture - light + gain * rng.poisson(light / gain)
            noisy[row] = picture + sigma * rng.standard_normal(picture.shape)
        return noisy


class GaussianBlur(_Degradation):
    """Gaussian blur of standard deviation `sigma` pixels, cut off at `size` x `size`; borders reflected."""

    kind: Literal["gaussian_blur"]
    sigma: Levels
    size: Annotated[int, Field(ge=1, le=1023), AfterValidator(_odd)] = 21

    @property
    def reach(self) -> int:
        """Half the side of the Gaussian."""
        return self.size // 2

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels and noise are drawn from `rng`."""
        sigmas = rng.uniform(*self.sigma, size=len(pictures))
        blurred = [gaussian_blur(picture, sigma, self.size) for picture, sigma in zip(pictures, sigmas, strict=True)]
        return np.stack(blurred)


class Bicubic(_Degradation):
    """Antialiased bicubic shrinking by a whole number, to MATLAB's bits: `tunable.data.bicubic.shrink`.

    The defaults round to 8 bits and clip, as the usual low-resolution sets were made; `rounding: none` with
    `border: mirror` is newer MATLAB on floats.
    """

    kind: Literal["bicubic"]
    scale: int = Field(ge=2, le=16)
    rounding: bicubic.Rounding = "passes"
    border: bicubic.Border = "replicate"

    @property
    def factor(self) -> int:
        """The scale."""
        return self.scale

    @property
    def reach(self) -> int:
        """How far the cubic kernel reaches, widened by the scale."""
        return 2 * self.scale

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels and noise are drawn from `rng`."""
        return bicubic.shrink(pictures, self.scale, rounding=self.rounding, border=self.border)


class Jpeg(_Degradation):
    """JPEG compression at `quality` 1..100 (whole numbers), by Pillow; rounds to 8 bits and clips, as the format does.

    Raises:
        TunableError: when it is applied to pictures of neither one nor three channels.
    """

    kind: Literal["jpeg"]
    quality: Qualities
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"  # of colour

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels and noise are drawn from `rng`."""
        if pictures.shape[1] not in (1, 3):
            raise TunableError(f"JPEG holds pictures of 1 or 3 channels, not {pictures.shape[1]}")
        low, high = self.quality
        qualities = rng.integers(low, high + 1, size=len(pictures))
        return np.stack([self._compressed(*each) for each in zip(pictures, qualities, strict=True)])

    def _compressed(self, picture: np.ndarray, quality: int) -> np.ndarray:
        values, file = to_levels(picture.transpose(1, 2, 0)), io.BytesIO()
        Image.fromarray(values.squeeze(2) if values.shape[2] == 1 else values).save(
            file, "JPEG", quality=int(quality), subsampling=self.subsampling
        )
        decoded = np.asarray(Image.open(file, formats=("JPEG",)), dtype=np.float32) / np.float32(255)
        return decoded.reshape(values.shape).transpose(2, 0, 1)


Degradation = Annotated[GaussianNoise | PoissonGaussian | GaussianBlur | Bicubic | Jpeg, Field(discriminator="kind")]


def degrade(
    pictures: np.ndarray, pipeline: list[Degradation], rng: np.random.Generator, residues: Container[str] = ()
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Apply degradations in order.

    Args:
        pictures: float32 (N, C, H, W) in 0..1.
        pipeline: the degradations.
        rng: which draws their levels and their noise.
        residues: kinds of degradations whose residue is wanted, each of which stands in the pipeline once.

    Returns:
        The degraded pictures, float32 (N, C, H / scale, W / scale), not clipped unless a degradation clips, and the
        residues by kind: what each of these degradations made of its input, less that input.
    """
    changed = {}
    for degradation in pipeline:
        before, pictures = pictures, degradation.apply(pictures, rng)
        if residues and degradation.kind in residues:
            changed[degradation.kind] = pictures - before
    return pictures, changed


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
    residues = protocol_residues(clean, sigma, index, rho).values()
    return (clean.astype(np.float64) + sum(residues)).astype(np.float32)


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
