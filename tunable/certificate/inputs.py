"""What a certificate feeds to every program: pictures, a grid of omega, and the omega of a few training steps."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tunable.data.degradations import protocol_degraded, protocol_shrunk
from tunable.data.patches import BUNDLED_TEST, Batch, bundled
from tunable.images.pictures import read, to_network
from tunable.omega import format_omega, grid

SIZE, PICTURES = 24, 4
STEPS = 10
LEARNING_RATE = 1e-4
SIGMA = 25.0
AWAY = 0.5  # a tenth of it remains in the target that keeps 90 % of the noise: far beyond what a network misses it by


class Inputs(NamedTuple):
    """The questions, equal for every program.

    degraded, clean  (N, 3, H, W), and (N, 3, scale H, scale W)
    omegas           (M, p): one for the whole batch each
    mixed            (N, p): one per sample
    steps            (S, N, p): per sample, for each training step
    """

    degraded: np.ndarray
    clean: np.ndarray
    omegas: np.ndarray
    mixed: np.ndarray
    steps: np.ndarray

    def settings(self) -> Iterator[tuple[np.ndarray, str]]:
        """Every omega of the grid with its label, then the mix in which each sample has its own."""
        for omega in self.omegas:
            yield omega, format_omega(omega)
        yield self.mixed, "per sample"

    def batch(self, omega: np.ndarray, index: int = 0) -> Batch:
        return Batch(index, {"clean": self.clean, "degraded": self.degraded}, omega)


def make_inputs(p: int, points: int, scale: int = 1) -> Inputs:
    """The inputs for a network of p objectives that enlarges by `scale`, over a grid of `points` per omega axis."""
    omegas = grid(p, points)
    rng = np.random.default_rng(11)
    mixed, steps = (rng.uniform(size=size).astype(np.float32) for size in ((PICTURES, p), (STEPS, PICTURES, p)))
    return Inputs(**pictures(SIZE, PICTURES, scale), omegas=omegas, mixed=mixed, steps=steps)


def pictures(size: int, batch: int, scale: int = 1) -> dict[str, np.ndarray]:
    """Noisy crops of bundled photographs, and as `clean` not their truth but that moved by AWAY, pixel by pixel.

    With a scale above 1 the crops are shrunk instead of noisy: `degraded` keeps `size`, `clean` is larger.

    A well-trained network meets its truth to within rounding in a pixel or two; there the derivative of an L1 distance
    is either of +-1, and as most of the others cancel, one such pixel moved the gradient by a hundredth.
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


@lru_cache(maxsize=1)
def _photographs() -> list[np.ndarray]:
    return [read(path) for path in bundled(BUNDLED_TEST)]
