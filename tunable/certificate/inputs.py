"""What a certificate feeds to every program: pictures, omega, and weights and gradients for the optimizer alone."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tunable.data.degradations import protocol_degraded, protocol_shrunk
from tunable.data.patches import BUNDLED_TEST, Batch, bundled
from tunable.images.pictures import read, to_network
from tunable.omega import format_omega, grid
from tunable.specs.optimizers import Optimizer

SIZE, PICTURES = 24, 4
STEPS = 10
LEARNING_RATE = 1e-4
SIGMA = 25.0
OPTIMIZER_STEPS = 5
AWAY = 0.5  # a tenth of it remains in the target that keeps 90 % of the noise: far beyond what a network misses it by


class Inputs(NamedTuple):
    """What every program is given, the same for all.

    Attributes:
        degraded: pictures, (N, 3, H, W).
        clean: what the loss compares with, (N, 3, scale H, scale W).
        omegas: one omega for the whole batch each, (M, p).
        mixed: one omega for each picture, (N, p).
        steps: one omega for each picture of each training step, (S, N, p).
    """

    degraded: np.ndarray
    clean: np.ndarray
    omegas: np.ndarray
    mixed: np.ndarray
    steps: np.ndarray

    def settings(self) -> Iterator[tuple[np.ndarray, str]]:
        """Go through every omega of the grid with its label, then the mix in which each sample has its own.

        Yields:
            omega, (p,) or (N, p), and how rows name it.
        """
        for omega in self.omegas:
            yield omega, format_omega(omega)
        yield self.mixed, "per sample"

    def batch(self, omega: np.ndarray, index: int = 0, residues: Iterable[str] = ()) -> Batch:
        """Return the pictures as a batch at omega (p,) or (N, p), number `index` of a training.

        The residues of these kinds, where objectives want any, are parts of what was degraded, each another one.
        """
        sample = {"clean": self.clean, "degraded": self.degraded}
        for place, kind in enumerate(sorted(residues)):
            sample[kind] = np.roll(self.degraded - self.clean, place, axis=0)
        return Batch(index, sample, omega)


def make_inputs(p: int, points: int, scale: int = 1) -> Inputs:
    """Make the inputs for a network.

    Args:
        p: the number of objectives.
        points: of the grid along each axis of omega.
        scale: how many times the network enlarges.
    """
    omegas = grid(p, points)
    rng = np.random.default_rng(11)
    mixed, steps = (rng.uniform(size=size).astype(np.float32) for size in ((PICTURES, p), (STEPS, PICTURES, p)))
    return Inputs(**pictures(SIZE, PICTURES, scale), omegas=omegas, mixed=mixed, steps=steps)


def pictures(size: int, batch: int, scale: int = 1) -> dict[str, np.ndarray]:
    """Return noisy crops of bundled photographs, and as `clean` their truth moved by AWAY, pixel by pixel.

    A well-trained network meets its truth to within rounding in a pixel or two. There the derivative of an L1 distance
    is either of +-1, and as the derivatives of most other pixels cancel, one such pixel moved the gradient by a
    hundredth.

    Args:
        size: height and width of `degraded`.
        batch: how many pictures.
        scale: how many times `clean` is larger; above 1 the crops are shrunk instead of noisy.

    Returns:
        `degraded` (N, 3, size, size) and `clean` (N, 3, scale size, scale size), float32.
    """
    photographs = _photographs()
    rng = np.random.default_rng(7)
    clean, degraded = [], []
    for row in range(batch):
        picture = photographs[row % len(photographs)]
        top, left = (int(rng.integers(side - size * scale + 1)) for side in picture.shape[:2])
        crop = picture[top : top + size * scale, left : left + size * scale]
        moved = np.where(rng.integers(2, size=crop.shape), AWAY, -AWAY).astype(np.float32)
        clean.append(to_network(crop + moved)[0])
        shown = protocol_degraded(crop, SIGMA, row) if scale == 1 else protocol_shrunk(crop, scale)[1]
        degraded.append(to_network(shown)[0])
    return {"clean": np.stack(clean), "degraded": np.stack(degraded)}


class OptimizerInputs(NamedTuple):
    """The weights to begin with, the gradient in each for every step, and the learning rate."""

    weights: dict[str, np.ndarray]
    gradients: list[dict[str, np.ndarray]]
    learning_rate: float


def optimizer_inputs(shapes: dict[str, tuple[int, ...]], settings: Optimizer) -> OptimizerInputs:
    """Draw weights and gradients for an optimizer's steps, equal for every program.

    Gradients reach from 1e-8 to 1e-2, so that Adam's eps counts, and an eighth of the weights has none. Where a recipe
    shortens gradients, every other step is longer than its `clip_norm`, and the others are not. A weight keeps the sign
    of its gradients and is about as large as what it moves by, so that nothing, not even a decaying weight beside its
    gradient, is the small difference of large numbers, and float32 keeps seven digits of all.

    Args:
        shapes: the shapes of a network's parameters, by name.
        settings: the optimizer's section of the recipe.
    """
    rng = np.random.default_rng(13)
    signs, typical = {}, {}
    for name, shape in shapes.items():
        signs[name] = rng.choice([-1.0, 1.0], size=shape)
        typical[name] = (rng.uniform(size=shape) > 1 / 8) * signs[name] * 10.0 ** rng.uniform(-8, -2, size=shape)
    gradients = []
    for step in range(OPTIMIZER_STEPS):
        values = {name: value * rng.uniform(0.5, 1.5, size=value.shape) for name, value in typical.items()}
        norm = np.sqrt(sum(np.sum(value**2) for value in values.values()))
        factor = 1.0 if settings.clip_norm is None else settings.clip_norm * (0.5 if step % 2 else 2.0) / norm
        gradients.append({name: (factor * value).astype(np.float32) for name, value in values.items()})
    adaptive = settings.kind != "sgd"  # which moves every weight by about the learning rate
    weights = {}
    for name, sign in signs.items():
        size = rng.uniform(3, 5, size=sign.shape) * (0.1 if adaptive else abs(gradients[0][name]))
        weights[name] = (sign * size).astype(np.float32)
    return OptimizerInputs(weights, gradients, 0.05 if adaptive else 0.1)


@lru_cache(maxsize=1)
def _photographs() -> list[np.ndarray]:
    return [read(path) for path in bundled(BUNDLED_TEST)]
