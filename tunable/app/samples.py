"""Photographs to try the app on: those of an installed dependency, with noise."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from tunable.data.patches import BUNDLED_TEST, bundled
from tunable.images.pictures import read, write

SIGMA = 25 / 255  # of the noise


def samples(folder: Path) -> Mapping[str, Callable[[], Path]]:
    """Return the samples by name, each a function that writes it into a folder, once, and returns its file."""
    return {f"{path.stem}, noisy": partial(_noisy, path, folder) for path in bundled(BUNDLED_TEST)}


def _noisy(path: Path, folder: Path) -> Path:
    made = folder / f"{path.stem}.png"
    if not made.is_file():
        clean = read(path)
        noise = np.random.default_rng(0).standard_normal(clean.shape)
        write(made, np.clip(clean + SIGMA * noise, 0, 1).astype(np.float32))
    return made
