"""Objectives of image restoration: reconstruction, noise preservation (Eq. 9), deblurring and sharpening.

docs/method.md, "Objectives", has their formulas.

An objective is called as objective(restored, sample, omega) -> (N,). `sample` maps names to tensors (N, C, H, W). omega
is (N, k): the knob of the objective comes first, then the knobs of the objectives that it `builds_on`. An objective
knows nothing of the others, nor of its place among them; MultiLoss knows. Targets carry no gradient.
"""

import mindspore as ms
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops
from mindspore_impl.objectives.distances import distance_between
from tunable.data.filters import gaussian_taps
from tunable.errors import TunableError
from tunable.objectives.base import NORMALISE_FLOOR
from tunable.objectives.restoration import PARTS, UNSHARP_SIGMA, UNSHARP_SIZE

_TAPS = tuple(gaussian_taps(UNSHARP_SIGMA, UNSHARP_SIZE).tolist())


class Objective(nn.Cell):
    """The distance, per sample, of the restored picture to a target that a subclass builds.

    Args:
        distance: l1, l2, charbonnier, fft or ms_ssim (docs/method.md, "Objectives").
        space: rgb, luma or chroma: what of the pictures is compared (docs/method.md, "Objectives").
    """

    def __init__(self, *, distance: str = "l1", space: str = "rgb") -> None:
        super().__init__()
        self.distance = distance
        self.space = space

    def target(self, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
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

    def construct(self, restored: ms.Tensor, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the objective of every sample, (N,).

        Args:
            restored: the network's output, (N, 3, H, W).
            sample: pictures of the same shape by name, `clean` among them.
            omega: (N, k), the knob of this objective first.
        """
        wanted = _ops.stop_gradient(self.target(sample, omega))
        if self.space != "rgb":
            restored, wanted = ops.mix_colours(restored, PARTS[self.space]), ops.mix_colours(wanted, PARTS[self.space])
        return distance_between(restored, wanted, self.distance)


class Reconstruction(Objective):
    """Reconstruction (docs/method.md, "Objectives"): the target is the clean picture.

    Args:
        distance: l1, l2, charbonnier, fft or ms_ssim.
        space: rgb, luma or chroma.
    """

    def target(self, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the clean picture, (N, C, H, W)."""
        return sample["clean"]


class NoisePreservation(Objective):
    """Noise preservation (Eq. 9): the target is y + r nu (z - y), of the clean picture y and the degraded one z.

    Args:
        distance: l1, l2, charbonnier, fft or ms_ssim.
        space: rgb, luma or chroma.
        nu: part of the noise that the target keeps at most, 0 to 1.
        residual: keep: r is the objective's own omega; remove: r is one minus it; full: r is 1.
    """

    def __init__(self, *, distance: str = "l1", space: str = "rgb", nu: float = 0.9, residual: str = "keep") -> None:
        super().__init__(distance=distance, space=space)
        self.nu = nu
        self.residual = residual

    def target(self, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the clean picture with the noise that omega (N, 1) keeps, (N, C, H, W)."""
        knob = omega[:, 0].reshape(-1, 1, 1, 1)
        kept = 1 if self.residual == "full" else knob if self.residual == "keep" else 1 - knob
        return sample["clean"] + self.nu * kept * (sample["degraded"] - sample["clean"])


class ResiduePreservation(Objective):
    """Preservation of one degradation's residue (docs/method.md, "Objectives"): the target is y + nu d.

    y is the clean picture, and d is what that degradation made of its input, less that input.

    Args:
        of: the kind of the degradation, under which samples hold d.
        distance: l1, l2, charbonnier, fft or ms_ssim.
        space: rgb, luma or chroma.
        nu: part of the residue that the target keeps, 0 to 1.
    """

    def __init__(self, *, of: str, distance: str = "l1", space: str = "rgb", nu: float = 0.9) -> None:
        super().__init__(distance=distance, space=space)
        self.of = of
        self.nu = nu

    def target(self, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the clean picture with a share of the residue, (N, C, H, W); it is the same at every omega."""
        return sample["clean"] + self.nu * sample[self.of]


class Sharpening(Objective):
    """Sharpening (section 4.1.2): the target is y_eta + omega gamma (y_eta - g * y_eta), an unsharp mask of y_eta.

    g is a Gaussian of 9x9 pixels, sigma 2.5; borders are reflected, so pictures need 5 pixels along each side.

    Args:
        noise: the objective whose target y_eta is sharpened; it must be one of the same multi-loss.
        distance: l1, l2, charbonnier, fft or ms_ssim.
        gamma: strength of the mask where omega is 1, at least 0.
    """

    def __init__(self, *, noise: Objective, distance: str = "l1", gamma: float = 8.0) -> None:
        super().__init__(distance=distance)
        self.noise = noise
        self.gamma = gamma

    def builds_on(self) -> tuple[Objective, ...]:
        """Return the objective whose target is sharpened."""
        return (self.noise,)

    def target(self, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the sharpened target of `noise`, (N, C, H, W); omega (N, k) begins with the knob of this objective."""
        knob = omega[:, 0].reshape(-1, 1, 1, 1)
        noisy = self.noise.target(sample, omega[:, 1:])
        return noisy + self.gamma * knob * (noisy - _blurred(noisy))


class MeanTarget(Objective):
    """The distance to the weighted mean of the targets t_i of other objectives (`combine: targets`).

    The target is y + sum_i s_i (t_i - y), y being the clean picture and s_i = omega_i lambda_i over
    max(sum_j omega_j lambda_j, 1e-3): y itself where no omega counts.

    Args:
        objectives: whose targets are known, compared in one space by one distance.
        weights: the numbers lambda_i of these objectives.

    Raises:
        TunableError: for objectives that differ in distance or space, or have no target by their own knob alone.
    """

    def __init__(self, objectives: list[nn.Cell], *, weights: list[float]) -> None:
        alike = [one for one in objectives if isinstance(one, Objective) and not one.builds_on()]
        if len(alike) < len(objectives):
            other = next(type(one).__name__ for one in objectives if one not in alike)
            raise TunableError(f"a mean of targets wants objectives whose target needs no other knob, not {other}")
        kinds = sorted({(one.distance, one.space) for one in alike})
        if len(kinds) != 1:
            raise TunableError(f"a mean of targets wants objectives of one distance and one space, not of {kinds}")
        super().__init__(distance=kinds[0][0], space=kinds[0][1])
        self.objectives = nn.CellList(alike)
        self.weights = tuple(weights)

    def target(self, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the mean, (N, C, H, W). omega (N, k) holds the knobs of the k objectives in their order."""
        weighted = omega * ms.Tensor(self.weights, ms.float32)
        shares = weighted / _ops.maximum(weighted.sum(1, keepdims=True), NORMALISE_FLOOR)
        mean = sample["clean"]
        for i, objective in enumerate(self.objectives):
            own = objective.target(sample, omega[:, i : i + 1])
            mean = mean + shares[:, i].reshape(-1, 1, 1, 1) * (own - sample["clean"])
        return mean


def _blurred(x: ms.Tensor) -> ms.Tensor:
    """g * x; the Gaussian is separable."""
    radius = UNSHARP_SIZE // 2
    return ops.filtered(ops.pad(x, (radius, radius), "reflect"), _TAPS)
