"""Restoring a picture of any size in bounded memory, tile by tile.

Every tile is restored inside a piece with a margin (halo) as wide as the network's receptive field reaches, which
is then cut off: interior pixels see exactly what they see in the whole picture, so tiled = whole. All pieces
have one size, because a framework that compiles does so for every size it meets.
"""

from collections.abc import Iterator

import numpy as np

from tunable_core.backends import Model
from tunable_core.errors import TunableError

DEFAULT_TILE = 1024  # pixels a side


def run_tiled(model: Model, degraded: np.ndarray, omega, tile: int | None = None) -> np.ndarray:
    """`model.run` on (1, C, H, W) in tiles of at most `tile` pixels a side (without their halo).

    tile  None: DEFAULT_TILE, but whole where a pixel depends on the whole picture

    Raises TunableError for a tile below 1 pixel, and where tiles are asked for that would change the picture.
    """
    if tile is not None and tile < 1:
        raise TunableError(f"a tile needs at least 1 pixel, not {tile}")
    height, width = degraded.shape[2:]
    halo, scale = model.header.network.halo, model.header.network.scale
    if max(height, width) <= (tile or DEFAULT_TILE) or (halo is None and tile is None):
        return model.run(degraded, omega)
    if halo is None:
        raise TunableError(
            f"a {width}x{height} picture cannot be restored in tiles of {tile} by {model.header.network.name}: every "
            "pixel depends on the whole picture; leave the tile out"
        )
    tile = tile or DEFAULT_TILE
    restored = np.empty((len(degraded), degraded.shape[1], height * scale, width * scale), dtype=np.float32)
    for row, rows, inner_rows in _spans(height, tile, halo, scale):
        for column, columns, inner_columns in _spans(width, tile, halo, scale):
            piece = model.run(degraded[:, :, row, column], omega)
            restored[:, :, rows, columns] = piece[:, :, inner_rows, inner_columns]
    return restored


def _spans(length: int, tile: int, halo: int, scale: int) -> Iterator[tuple[slice, slice, slice]]:
    """Even tiles along one side: the piece to restore, the tile's place in the result, and its place in the piece."""
    step = -(-length // -(-length // tile))
    size = min(step + 2 * halo, length)
    for start in range(0, length, step):
        end = min(start + step, length)
        first = min(max(start - halo, 0), length - size)
        inner = slice((start - first) * scale, (end - first) * scale)
        yield slice(first, first + size), slice(start * scale, end * scale), inner
