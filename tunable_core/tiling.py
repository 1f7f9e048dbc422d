"""Restoring a picture of any size in bounded memory, tile by tile.

Where a pixel depends on those within a reach, every tile is restored inside a piece with a margin (halo) as wide as
that, which is then cut off: interior pixels see exactly what they see in the whole picture, so tiled = whole. All
pieces have one size, because a framework that compiles does so for every size it meets.

Where every pixel depends on the whole picture (attention, global averages, instance norms) tiles change what is
restored. Asked for all the same, pieces overlap and are blended, each counting less towards its border: no seams.
"""

from collections.abc import Iterator

import numpy as np

from tunable_core.backends import Model
from tunable_core.errors import TunableError

DEFAULT_TILE = 1024  # pixels a side


def run_tiled(model: Model, degraded: np.ndarray, omega, tile: int | None = None) -> np.ndarray:
    """`model.run` on (1, C, H, W) in tiles of at most `tile` pixels a side (without their halo).

    tile  None: DEFAULT_TILE, but whole where a pixel depends on the whole picture; given, such a network's pieces of
          half a tile more along each side are blended

    Raises TunableError for a tile below 1 pixel.
    """
    if tile is not None and tile < 1:
        raise TunableError(f"a tile needs at least 1 pixel, not {tile}")
    height, width = degraded.shape[2:]
    halo, scale = model.header.network.halo, model.header.network.scale
    if max(height, width) <= (tile or DEFAULT_TILE) or (halo is None and tile is None):
        return model.run(degraded, omega)
    if halo is None:
        return _blended(model, degraded, omega, tile)
    tile = tile or DEFAULT_TILE
    restored = np.empty((len(degraded), degraded.shape[1], height * scale, width * scale), dtype=np.float32)
    for row, rows, inner_rows in _spans(height, tile, halo, scale):
        for column, columns, inner_columns in _spans(width, tile, halo, scale):
            piece = model.run(degraded[:, :, row, column], omega)
            restored[:, :, rows, columns] = piece[:, :, inner_rows, inner_columns]
    return restored


def _blended(model: Model, degraded: np.ndarray, omega, tile: int) -> np.ndarray:
    """Overlapping pieces of a network without a halo, weighted by their distance to the piece's border."""
    network, (height, width) = model.header.network, degraded.shape[2:]
    multiple = network.multiple_inside  # pieces begin at its multiples: windows lie as in the whole picture
    overlap = -(-max(tile // 4, 1) // multiple) * multiple
    shape = (height * network.scale, width * network.scale)
    total = np.zeros((*degraded.shape[:2], *shape), dtype=np.float32)
    weights = np.zeros(shape, dtype=np.float32)
    for row in _pieces(height, tile, overlap, multiple):
        for column in _pieces(width, tile, overlap, multiple):
            piece = model.run(degraded[:, :, row, column], omega)
            ramps = (_ramp(side, 2 * overlap * network.scale) for side in piece.shape[2:])
            weight = np.outer(*ramps)
            place = tuple(slice(s.start * network.scale, s.stop * network.scale) for s in (row, column))
            total[(..., *place)] += piece * weight
            weights[place] += weight
    total /= weights
    return total


def _pieces(length: int, tile: int, overlap: int, multiple: int) -> Iterator[slice]:
    """Pieces along one side: even tiles, with `overlap` more at both ends where there are pixels."""
    step = -(-length // -(-length // tile))
    step = -(-step // multiple) * multiple
    for start in range(0, length, step):
        yield slice(max(start - overlap, 0), min(start + step + overlap, length))


def _ramp(length: int, rise: int) -> np.ndarray:
    """Up from the first and down to the last of `length` pixels, in `rise` pixels each; never zero."""
    index = np.arange(length, dtype=np.float32) + 1
    return np.minimum(np.minimum(index, index[::-1]), rise) / rise


def _spans(length: int, tile: int, halo: int, scale: int) -> Iterator[tuple[slice, slice, slice]]:
    """Even tiles along one side: the piece to restore, the tile's place in the result, and its place in the piece."""
    step = -(-length // -(-length // tile))
    size = min(step + 2 * halo, length)
    for start in range(0, length, step):
        end = min(start + step, length)
        first = min(max(start - halo, 0), length - size)
        inner = slice((start - first) * scale, (end - first) * scale)
        yield slice(first, first + size), slice(start * scale, end * scale), inner
