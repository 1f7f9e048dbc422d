"""Degradations that make training and test input from clean pictures (numpy, seeded).

Each is a small pydantic model, so that a recipe can hold it, with one method:
`apply(pictures, rng) -> pictures`, float32 NCHW in 0..1 in and out, never clipped (SPEC 7).
Levels may be a number or a range [low, high], drawn per picture.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from tunable_core.schema import Section


class GaussianNoise(Section):
    """White Gaussian noise of standard deviation `sigma`, in units of 1/255."""

    kind: Literal["gaussian_noise"]
    sigma: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], Annotated[float, Field(ge=0, allow_inf_nan=False)]]

    @field_validator("sigma", mode="before")
    @classmethod
    def _number_or_range(cls, value):
        return (value, value) if isinstance(value, int | float) else value

    @field_validator("sigma")
    @classmethod
    def _ordered(cls, value):
        if value[0] > value[1]:
            raise ValueError(f"a range is [low, high], not {list(value)}")
        return value

    def apply(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sigma = rng.uniform(*self.sigma, size=(len(pictures), 1, 1, 1)) / 255
        noise = rng.standard_normal(pictures.shape, dtype=np.float32)
        return pictures + (sigma * noise).astype(np.float32)


Degradation = GaussianNoise  # one kind so far; with a second, a union told apart by `kind`


def degrade(pictures: np.ndarray, pipeline: list[Degradation], rng: np.random.Generator) -> np.ndarray:
    """Apply the degradations in order. pictures: float32 (N, C, H, W) in 0..1."""
    for degradation in pipeline:
        pictures = degradation.apply(pictures, rng)
    return pictures


def protocol_noise(height: int, width: int, index: int) -> np.ndarray:
    """The unit noise of the measuring protocol (SPEC 7): float64 (H, W, 3), one draw per picture.

    `index` is the picture's place in sorted file order; the same draw serves every sigma.
    """
    return np.random.default_rng(index).standard_normal((height, width, 3))


def protocol_degraded(clean: np.ndarray, sigma: float, index: int) -> np.ndarray:
    """Clean (H, W, 3) in 0..1 plus protocol noise of `sigma`/255; summed in float64, then float32, not clipped."""
    noise = protocol_noise(*clean.shape[:2], index)
    return (clean.astype(np.float64) + noise * sigma / 255).astype(np.float32)
