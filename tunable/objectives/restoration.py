"""Objectives of image restoration: reconstruction, preservation of noise (Eq. 9) and of residues, sharpening."""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tunable.data.filters import gaussian_blur
from tunable.objectives.base import Objective
from tunable.objectives.distances import MS_SSIM_SIZE, distance_between, distance_slope

UNSHARP_SIZE, UNSHARP_SIGMA = 9, 2.5  # pixels: the Gaussian g of the unsharp mask (section 4.1.2)
# BT.601: Y = 0.299 R + 0.587 G + 0.114 B, U = 0.436 (B - Y) / (1 - 0.114), V = 0.615 (R - Y) / (1 - 0.299)
_Y = (0.299, 0.587, 0.114)
_U = tuple(0.436 * (blue - y) / (1 - _Y[2]) for blue, y in zip((0, 0, 1), _Y, strict=True))
_V = tuple(0.615 * (red - y) / (1 - _Y[0]) for red, y in zip((1, 0, 0), _Y, strict=True))
PARTS = {"luma": (_Y,), "chroma": (_U, _V)}  # of the colour space: rows of weights of R, G, B


class Distance(Objective):
    """An objective that measures a distance."""

    distance: Literal["l1", "l2", "charbonnier", "fft", "ms_ssim"] = "l1"

    @property
    def least(self) -> int:
        """Pixels along each side that the distance needs."""
        return MS_SSIM_SIZE if self.distance == "ms_ssim" else 1


class WithTarget(Distance):
    """The distance of the restored picture to a target that a kind builds (docs/method.md, "Objectives")."""

    def target(self, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray) -> np.ndarray:
        """Return the picture that the objective wants, (N, C, H, W); arguments are those of `value`."""
        raise NotImplementedError

    def value(
        self, restored: np.ndarray, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray
    ) -> np.ndarray:
        """Compute the distance to the target."""
        return self.apart(restored, self.target(sample, knob, *below))

    def gradient(
        self, restored: np.ndarray, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray
    ) -> np.ndarray:
        """Return the distance's gradient; the slope of abs at 0 is taken as 0."""
        return self.slope(restored, self.target(sample, knob, *below))

    def apart(self, restored: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Compute the distance of pictures in what the objective compares of them, (N,)."""
        return distance_between(self._seen(restored), self._seen(wanted), self.distance)

    def slope(self, restored: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Return the gradient of the sum of `apart` in `restored`."""
        slope = distance_slope(self._seen(restored), self._seen(wanted), self.distance)
        return np.einsum("kc,nkhw->nchw", self._rows(restored.shape[1]), slope)

    def _rows(self, channels: int) -> np.ndarray:
        """The weights of the colours in what is compared, (channels compared, channels)."""
        return np.eye(channels)

    def _seen(self, pictures: np.ndarray) -> np.ndarray:
        """What is compared of pictures (N, C, H, W)."""
        return np.einsum("kc,nchw->nkhw", self._rows(pictures.shape[1]), pictures)


class InSpace(WithTarget):
    """An objective that may compare a part of the colours alone."""

    space: Literal["rgb", "luma", "chroma"] = "rgb"  # the part of the colour space that is compared

    @model_validator(mode="after")
    def _has_means(self) -> Self:
        if self.distance == "ms_ssim" and self.space == "chroma":
            raise ValueError(
                "distance ms_ssim compares means, and chroma has means of about 0; it wants space rgb or luma"
            )
        return self

    def _rows(self, channels: int) -> np.ndarray:
        return np.eye(channels) if self.space == "rgb" else np.array(PARTS[self.space])


class Reconstruction(InSpace):
    """Distance of the restored picture to the clean one (docs/method.md, "Objectives", `rec`)."""

    kind: Literal["rec"]

    def target(self, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray) -> np.ndarray:
        """Return the clean picture y."""
        return sample["clean"]


class NoisePreservation(InSpace):
    """Distance to the clean picture with part of its noise left in (Eq. 9, `noise`)."""

    enlarges: ClassVar[bool] = False

    kind: Literal["noise"]
    nu: float = Field(default=0.9, ge=0, le=1)  # noise kept at most
    residual: Literal["keep", "remove", "full"] = "keep"  # more omega: keep more noise, or remove more; full: keep nu

    def target(self, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray) -> np.ndarray:
        """Return y + r nu (z - y): r is the knob (`keep`), one minus it (`remove`) or 1 (`full`)."""
        kept = {"keep": knob, "remove": 1 - knob, "full": np.ones_like(knob)}[self.residual]
        return sample["clean"] + _over(kept) * self.nu * (sample["degraded"] - sample["clean"])


class ResiduePreservation(InSpace):
    """Distance to the clean picture with part of what one degradation changed (docs/method.md, "Objectives")."""

    enlarges: ClassVar[bool] = False

    kind: Literal["residue"]
    of: Literal["gaussian_noise", "poisson_gaussian", "gaussian_blur", "jpeg"]  # the kind of the degradation
    nu: float = Field(default=0.9, ge=0, le=1)  # share of the residue that is kept

    def target(self, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray) -> np.ndarray:
        """Return y + nu d, d being the residue of that degradation."""
        return sample["clean"] + self.nu * sample[self.of]


class Sharpening(WithTarget):
    """Distance to the target of another objective, of kind `noise`, sharpened (section 4.1.2, `blur`)."""

    enlarges: ClassVar[bool] = False

    kind: Literal["blur"]
    noise_objective: str  # the name of that other one
    gamma: float = Field(default=8.0, ge=0, allow_inf_nan=False)  # strongest sharpening

    @property
    def least(self) -> int:
        """Pixels along each side: as far as the reflected borders go."""
        return max(super().least, UNSHARP_SIZE // 2 + 1)

    @property
    def builds_on(self) -> tuple[str, ...]:
        """The name of the objective whose target is sharpened."""
        return (self.noise_objective,)

    def target(self, sample: dict[str, np.ndarray], knob: np.ndarray, *below: np.ndarray) -> np.ndarray:
        """Return y_eta + omega gamma (y_eta - g * y_eta): y_eta is the target below, g a Gaussian.

        Borders are reflected.
        """
        (noisy,) = below
        return noisy + _over(knob) * self.gamma * (noisy - gaussian_blur(noisy, UNSHARP_SIGMA, UNSHARP_SIZE))


def _over(knob: np.ndarray) -> np.ndarray:
    """(N,) as (N, 1, 1, 1)."""
    return knob.reshape(-1, 1, 1, 1)
