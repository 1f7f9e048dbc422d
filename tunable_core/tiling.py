"""Restoring a picture of any size in bounded memory, tile by tile.

Every tile is restored with a margin (halo) as wide as the network's receptive field reaches, which is then
cut off: interior pixels see exactly what they see in the whole picture, so tiled = whole.
"""

import numpy as np

from tunable_core.backends import Model
from tunable_core.errors import TunableError


def run_tiled(model: Model, degraded: np.ndarray, omega, tile: int) -> np.ndarray:
    """`model.run` on (1, C, H, W) in tiles of at most `tile` pixels a side (without their halo)."""
    if tile < 1:
        raise TunableError(f"a tile needs at least 1 pixel, not {tile}")
    height, width = degraded.shape[2:]
    if height <= tile and width <= tile:
        return model.run(degraded, omega)
    halo, scale = model.header.network.halo, model.header.network.scale
    restored = np.empty((len(degraded), degraded.shape[1], height * scale, width * scale), dtype=np.float32)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            y, x = max(top - halo, 0), max(left - halo, 0)
            piece = model.run(degraded[:, :, y : bottom + halo, x : right + halo], omega)
            piece = piece[:, :, (top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale]
            restored[:, :, top * scale : bottom * scale, left * scale : right * scale] = piece
    return restored
