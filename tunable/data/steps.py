"""Single steps of a degradation: noise, blur, other sizes, compression (numpy, seeded).

Each is a small pydantic model, so that a recipe can hold it, with one method: `apply(pictures, rng) -> pictures`,
float32 NCHW in 0..1 in and out, not clipped unless it says so. A level may be a number or a range [low, high], from
which it is drawn uniformly, per picture.
"""

import io
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Field

from tunable.data import bicubic
from tunable.data.filters import gaussian_blur, noise_radius, smooth_noise
from tunable.errors import TunableError
from tunable.images.pictures import to_levels
from tunable.specs.schema import Section


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
_Share = Annotated[float, Field(ge=0, le=1)]
_Ratio = Annotated[float, Field(gt=0, le=1)]
_Scale = Annotated[float, Field(ge=0.1, le=8)]
_Enlarged = Annotated[float, Field(ge=0, le=8)]
_Smooth = Annotated[float, Field(ge=0, le=16)]
Ratios = Annotated[tuple[_Ratio, _Ratio], BeforeValidator(_number_or_range), AfterValidator(_ordered)]
Shares = Annotated[tuple[_Share, _Share], BeforeValidator(_number_or_range), AfterValidator(_ordered)]
Scales = Annotated[tuple[_Scale, _Scale], BeforeValidator(_number_or_range), AfterValidator(_ordered)]
Enlargements = Annotated[tuple[_Enlarged, _Enlarged], BeforeValidator(_number_or_range), AfterValidator(_ordered)]
Smoothness = Annotated[tuple[_Smooth, _Smooth], BeforeValidator(_number_or_range), AfterValidator(_ordered)]
Qualities = Annotated[tuple[_Quality, _Quality], BeforeValidator(_number_or_range), AfterValidator(_ordered)]


BLOCK = 16  # pixels along each side, of brightness and of colours at half the size


class Step(Section):
    """What every step has."""

    @property
    def factor(self) -> int:
        """Input pixels per output pixel along each side."""
        return 1

    @property
    def reach(self) -> int:
        """How many input pixels beyond its own place an output pixel depends on."""
        return 0


class GaussianNoise(Step):
    """White Gaussian noise of standard deviation `sigma`, in units of 1/255."""

    kind: Literal["gaussian_noise"]
    sigma: Levels

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels and noise are drawn from `rng`."""
        sigma = rng.uniform(*self.sigma, size=(len(pictures), 1, 1, 1)) / 255
        noisy = rng.standard_normal(pictures.shape, dtype=np.float32)
        np.multiply(sigma, noisy, out=noisy, dtype=np.float64, casting="same_kind")  # in place: memory costs time
        noisy += pictures
        return noisy


class PoissonGaussian(Step):
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


class GaussianBlur(Step):
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
        sigmas, blurred = rng.uniform(*self.sigma, size=len(pictures)), np.empty_like(pictures)
        for row, (picture, sigma) in enumerate(zip(pictures, sigmas, strict=True)):
            gaussian_blur(picture, sigma, self.size, out=blurred[row])
        return blurred


class Bicubic(Step):
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


class AnisotropicBlur(Step):
    """A Gaussian blur that is wider along one direction, as of a camera that moved; borders reflected.

    Attributes:
        sigma: standard deviation in pixels along the direction, which is drawn uniformly from all.
        ratio: of the standard deviation across the direction to the one along it; 1: a round Gaussian.
        size: pixels along each side, where the Gaussian is cut off; odd.
    """

    kind: Literal["anisotropic_blur"]
    sigma: Levels
    ratio: Ratios = (0.25, 1.0)
    size: Annotated[int, Field(ge=1, le=255), AfterValidator(_odd)] = 21

    @property
    def reach(self) -> int:
        """Half the side of the Gaussian."""
        return self.size // 2

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels and directions are drawn from `rng`."""
        from scipy import ndimage  # here: its import takes longer than most commands need for all their work

        n = len(pictures)
        sigmas, ratios, angles = rng.uniform(*self.sigma, n), rng.uniform(*self.ratio, n), rng.uniform(0, np.pi, n)
        kernels = map(self._kernel, sigmas, ratios, angles)
        blurred = [
            ndimage.correlate(x, kernel[None], mode="mirror") for x, kernel in zip(pictures, kernels, strict=True)
        ]
        return np.stack(blurred)

    def _kernel(self, sigma: float, ratio: float, angle: float) -> np.ndarray:
        place = np.arange(self.size) - self.size // 2
        along = place * np.cos(angle) + place[:, None] * np.sin(angle)
        across = place[:, None] * np.cos(angle) - place * np.sin(angle)
        least = 0.05  # pixels: narrower ones are a single pixel
        wide, narrow = max(sigma, least), max(sigma * ratio, least)
        weights = np.exp(-0.5 * ((along / wide) ** 2 + (across / narrow) ** 2))
        return weights / weights.sum()


class CorrelatedNoise(Step):
    """Gaussian noise that neighbours and colours share, as demosaicing and a camera's own denoising leave it.

    Attributes:
        sigma: standard deviation in every pixel, in units of 1/255.
        smooth: standard deviation in pixels of the Gaussian by which white noise is smoothed first; 0: none.
        grey: correlation of the noise in different colours; 1: grey noise.
    """

    kind: Literal["correlated_noise"]
    sigma: Levels
    smooth: Smoothness = (0.0, 1.0)
    grey: Shares = (0.0, 1.0)

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels and noise are drawn from `rng`."""
        n = len(pictures)
        sigmas, smooths, greys = (rng.uniform(*levels, n) for levels in (self.sigma, self.smooth, self.grey))
        noisy = np.empty(pictures.shape, dtype=np.float32)
        for row, (picture, sigma, smooth, grey) in enumerate(zip(pictures, sigmas, smooths, greys, strict=True)):
            radius = noise_radius(smooth)
            channels, *size = picture.shape
            around = [side + 2 * radius for side in size]  # so that no border is reflected into the noise
            own, shared = rng.standard_normal((channels, *around)), rng.standard_normal((1, *around))
            noise = np.sqrt(1 - grey) * own + np.sqrt(grey) * shared
            inside = (slice(radius, radius + side) for side in size)
            noisy[row] = picture + sigma / 255 * smooth_noise(noise, smooth)[(slice(None), *inside)]
        return noisy


class Resample(Step):
    """Another size and back, each with a filter drawn from three: what sending a picture through programs does to it.

    Attributes:
        scale: how many times as long the sides are in between; below 1 the picture loses detail.
    """

    kind: Literal["resample"]
    scale: Scales

    @property
    def reach(self) -> int:
        """The support of the cubic filter at the smallest size, twice."""
        return int(np.ceil(4 / min(1, self.scale[0])))

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); scales and filters are drawn from `rng`."""
        filters = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
        scales = rng.uniform(*self.scale, len(pictures))
        chosen = rng.integers(len(filters), size=(len(pictures), 2))
        height, width = pictures.shape[2:]
        resized = np.empty(pictures.shape, dtype=np.float32)
        for row, (scale, (there, back)) in enumerate(zip(scales, chosen, strict=True)):
            size = (max(1, round(scale * width)), max(1, round(scale * height)))
            for channel, values in enumerate(pictures[row].astype(np.float32)):
                other = Image.fromarray(values).resize(size, filters[there])
                resized[row, channel] = np.asarray(other.resize((width, height), filters[back]))
        return resized


class _Compression(Step):
    """A file format that loses something; rounds to 8 bits and clips. `format` is Pillow's name of it.

    Attributes:
        quality: 1..100.
        shift: whether the grid of blocks begins anywhere, as in a part of a larger photograph, or at the corner.

    Raises:
        TunableError: when it is applied to pictures of neither one nor three channels.
    """

    format: ClassVar[str]
    quality: Qualities
    shift: bool = False

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade pictures (N, C, H, W); levels are drawn from `rng`."""
        if pictures.shape[1] not in (1, 3):
            raise TunableError(f"{self.format} holds pictures of 1 or 3 channels, not {pictures.shape[1]}")
        low, high = self.quality
        qualities = rng.integers(low, high + 1, size=len(pictures))
        starts = rng.integers(BLOCK, size=(len(pictures), 2)) if self.shift else np.zeros((len(pictures), 2), int)
        return np.stack([self._compressed(*each) for each in zip(pictures, qualities, starts, strict=True)])

    def options(self) -> dict[str, Any]:
        """What Pillow is told besides the quality."""
        return {}

    def _compressed(self, picture: np.ndarray, quality: int, start: np.ndarray) -> np.ndarray:
        top, left = start
        picture = np.pad(picture, ((0, 0), (top, 0), (left, 0)), "edge")
        values, file = to_levels(picture.transpose(1, 2, 0)), io.BytesIO()
        shown = Image.fromarray(values.squeeze(2) if values.shape[2] == 1 else values)
        shown.save(file, self.format, quality=int(quality), **self.options())
        decoded = np.asarray(Image.open(file, formats=(self.format,)).convert(shown.mode), dtype=np.float32)
        return (decoded / np.float32(255)).reshape(values.shape).transpose(2, 0, 1)[:, top:, left:]


class Jpeg(_Compression):
    """JPEG compression at `quality` 1..100 (whole numbers), by Pillow."""

    format = "JPEG"
    kind: Literal["jpeg"]
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"  # of colour

    def options(self) -> dict[str, Any]:
        """The subsampling of colour."""
        return {"subsampling": self.subsampling}


class WebP(_Compression):
    """Lossy WebP compression at `quality` 1..100 (whole numbers), by Pillow."""

    format = "WEBP"
    kind: Literal["webp"]
