"""Objectives of image restoration: reconstruction, noise preservation (Eq. 9), deblurring and sharpening.

docs/method.md, "Objectives", has their formulas.

An objective is called as objective(restored, sample, omega) -> (N,). `sample` maps names to tensors (N, C, H, W). omega
is (N, k): the knob of the objective comes first, then the knobs of the objectives that it `builds_on`. An objective
knows nothing of the others, nor of its place among them; MultiLoss knows. Targets carry no gradient.
"""

import torch
from torch import nn

from torch_impl import ops
from tunable.data.filters import gaussian_taps
from tunable.errors import TunableError
from tunable.specs.objectives import CHARBONNIER_EPS, PARTS, UNSHARP_SIGMA, UNSHARP_SIZE

_TAPS = tuple(gaussian_taps(UNSHARP_SIGMA, UNSHARP_SIZE).tolist())


def mean_distance(difference: torch.Tensor, distance: str) -> torch.Tensor:
    """Return the mean distance from zero over all but the first axis, (N,).

    Args:
        difference: (N, ...).
        distance: l1, the absolute value; l2, the square; or charbonnier, sqrt(d^2 + 1e-6).
    """
    if distance == "l1":
        return ops.per_sample_mean(difference.abs())
    if distance == "l2":
        return ops.per_sample_mean(difference * difference)
    return ops.per_sample_mean(torch.sqrt(difference * difference + CHARBONNIER_EPS**2))


class Objective(nn.Module):
    """The mean distance, per sample, of the restored picture to a target that a subclass builds.

    Args:
        distance: l1, l2 or charbonnier.
        space: rgb, luma or chroma: what of the pictures is compared (docs/method.md, "Objectives").
    """

    def __init__(self, *, distance: str = "l1", space: str = "rgb") -> None:
        super().__init__()
        self.distance = distance
        self.space = space

    def target(self, sample: dict[str, torch.Tensor], omega: torch.Tensor) -> torch.Tensor:
        """Return the picture that the objective wants, (N, C, H, W).

        Args:
            sample: pictures (N, C, H, W) by name, `clean` and `degraded` among them.
            omega: (N, k), the knob of this objective first, then the knobs of those that it builds on.

        Raises:
            TunableError: in this base, which has no target.
        """
        raise TunableError(f"{type(self).__name__} does not say what its target is")

    def builds_on(self) -> tuple["Objective", ...]:
        """Return the objectives whose knobs the target needs beside its own; none, unless a subclass says so."""
        return ()

    def forward(self, restored: torch.Tensor, sample: dict[str, torch.Tensor], omega: torch.Tensor) -> torch.Tensor:
        """Return the objective of every sample, (N,).

        Args:
            restored: the network's output, (N, 3, H, W).
            sample: pictures of the same shape by name, `clean` among them.
            omega: (N, k), the knob of this objective first.
        """
        difference = restored - self.target(sample, omega).detach()
        if self.space != "rgb":
            difference = ops.mix_colours(difference, PARTS[self.space])
        return mean_distance(difference, self.distance)


class Reconstruction(Objective):
    """Reconstruction (docs/method.md, "Objectives"): the target is the clean picture.

    Args:
        distance: l1, l2 or charbonnier.
        space: rgb, luma or chroma.
    """

    def target(self, sample: dict[str, torch.Tensor], omega: torch.Tensor) -> torch.Tensor:
        """Return the clean picture, (N, C, H, W)."""
        return sample["clean"]


class NoisePreservation(Objective):
    """Noise preservation (Eq. 9): the target is y + r nu (z - y), of the clean picture y and the degraded one z.

    Args:
        distance: l1, l2 or charbonnier.
        space: rgb, luma or chroma.
        nu: part of the noise that the target keeps at most, 0 to 1.
        residual: keep: r is the objective's own omega; remove: r is one minus it.
    """

    def __init__(self, *, distance: str = "l1", space: str = "rgb", nu: float = 0.9, residual: str = "keep") -> None:
        super().__init__(distance=distance, space=space)
        self.nu = nu
        self.residual = residual

    def target(self, sample: dict[str, torch.Tensor], omega: torch.Tensor) -> torch.Tensor:
        """Return the clean picture with the noise that omega (N, 1) keeps, (N, C, H, W)."""
        knob = omega[:, 0].reshape(-1, 1, 1, 1)
        kept = knob if self.residual == "keep" else 1 - knob
        return sample["clean"] + self.nu * kept * (sample["degraded"] - sample["clean"])


class Sharpening(Objective):
    """Sharpening (section 4.1.2): the target is y_eta + omega gamma (y_eta - g * y_eta), an unsharp mask of y_eta.

    g is a Gaussian of 9x9 pixels, sigma 2.5; borders are reflected, so pictures need 5 pixels along each side.

    Args:
        noise: the objective whose target y_eta is sharpened; it must be one of the same multi-loss.
        distance: l1, l2 or charbonnier.
        gamma: strength of the mask where omega is 1, at least 0.
    """

    def __init__(self, *, noise: Objective, distance: str = "l1", gamma: float = 8.0) -> None:
        super().__init__(distance=distance)
        self.noise = noise
        self.gamma = gamma

    def builds_on(self) -> tuple[Objective, ...]:
        """Return the objective whose target is sharpened."""
        return (self.noise,)

    def target(self, sample: dict[str, torch.Tensor], omega: torch.Tensor) -> torch.Tensor:
        """Return the sharpened target of `noise`, (N, C, H, W); omega (N, k) begins with the knob of this objective."""
        knob = omega[:, 0].reshape(-1, 1, 1, 1)
        noisy = self.noise.target(sample, omega[:, 1:])
        return noisy + self.gamma * knob * (noisy - _blurred(noisy))


def _blurred(x: torch.Tensor) -> torch.Tensor:
    """g * x, along one axis after the other, because the Gaussian is separable."""
    height, width, radius = x.shape[2], x.shape[3], UNSHARP_SIZE // 2
    x = ops.pad(x, (radius, radius), "reflect")
    rows = _TAPS[0] * x[:, :, :height]
    for i in range(1, UNSHARP_SIZE):
        rows = rows + _TAPS[i] * x[:, :, i : i + height]
    y = _TAPS[0] * rows[:, :, :, :width]
    for i in range(1, UNSHARP_SIZE):
        y = y + _TAPS[i] * rows[:, :, :, i : i + width]
    return y
