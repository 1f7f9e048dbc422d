"""Seams: what tiles add to a picture at their borders."""

import numpy as np

from tunable.backends.model import Model
from tunable.evaluation.samples import central
from tunable.images.pictures import to_network
from tunable.images.tiling import BLENDED_TILE, DEFAULT_TILE, borders, run_tiled


def largest_seam(model: Model, degraded: np.ndarray, omega: np.ndarray) -> float | None:
    """Restore the middle of a picture whole and in two by two tiles, and compare.

    Args:
        model: of any framework.
        degraded: (H, W, 3), floats in 0..1.
        omega: (p,).

    Returns:
        The largest step of the difference tiled - whole between the pixels on both sides of a border, in 1/255; None
        where nothing is cut: in a file of one size, and in a picture hardly larger than the margin of a tile.
    """
    if model.header.size:
        return None
    halo = model.header.network.halo
    most = BLENDED_TILE if halo is None else max(DEFAULT_TILE, 8 * halo)
    picture = to_network(central(degraded, 2 * most))
    tile = -(-max(picture.shape[2:]) // 2)
    rows, columns = borders(model, picture.shape[2:], tile)
    if not rows and not columns:
        return None
    difference = run_tiled(model, picture, omega, tile).astype(np.float64) - model.run(picture, omega)
    steps = [np.abs(np.diff(difference, axis=axis)) for axis in (2, 3)]
    found = [steps[0][:, :, row - 1] for row in rows] + [steps[1][:, :, :, column - 1] for column in columns]
    return 255 * float(max(each.max() for each in found))
