"""Restoring a picture of any size in bounded memory, tile by tile.

A picture's levels are made floats piece by piece, and a restored piece levels again: no float copy of the whole.

Where a pixel depends on those within a reach, every tile is restored inside a piece with a margin (halo) as wide as
that, which is then cut off: interior pixels see exactly what they see in the whole picture, so tiled = whole. All
pieces have one size, because a framework that compiles does so for every size it meets.

Where every pixel depends on the whole picture (attention, global averages, instance norms) tiles change what is
restored. Asked for all the same, pieces overlap and are blended, each counting less towards its border: no seams.
"""

from collections.abc import Iterator

import numpy as np

from tunable_core.backends import Model
from tunable_core.errors import DataError, TunableError
from tunable_core.pictures import to_floats, to_levels

DEFAULT_TILE = 512  # pixels a side


def run_tiled(model: Model, degraded: np.ndarray, omega, tile: int | None = None) -> np.ndarray:
    """`model.run` on (N, C, H, W) in tiles of at most `tile` pixels a side (without their halo).

    degraded  floats in 0..1 -> float32; or levels, uint8 or uint16 -> the same, clipped and rounded
    tile      None: DEFAULT_TILE, but whole where a pixel depends on the whole picture; given, such a network's pieces
              of half a tile more along each side are blended

    Raises TunableError for a tile below 1 pixel, DataError where levels become values that are not finite.
    """
    if tile is not None and tile < 1:
        raise TunableError(f"a tile needs at least 1 pixel, not {tile}")
    height, width = degraded.shape[2:]
    halo, scale = model.header.network.halo, model.header.network.scale
    if max(height, width) <= (tile or DEFAULT_TILE) or (halo is None and tile is None):
        return _as(degraded, _run(model, degraded, omega))
    if halo is None:
        return _as(degraded, _blended(model, degraded, omega, tile))
    tile = tile or DEFAULT_TILE
    count, channels = degraded.shape[:2]
    made = np.empty((count, height * scale, width * scale, channels), dtype=_type(degraded))  # as files hold pictures
    restored = made.transpose(0, 3, 1, 2)
    for row, rows, inner_rows in _spans(height, tile, halo, scale):
        for column, columns, inner_columns in _spans(width, tile, halo, scale):
            piece = _run(model, degraded[:, :, row, column], omega)
            restored[:, :, rows, columns] = _as(degraded, piece[:, :, inner_rows, inner_columns])
    return restored


def _run(model: Model, piece: np.ndarray, omega) -> np.ndarray:
    return model.run(to_floats(piece) if piece.dtype.kind == "u" else piece, omega)


def _as(degraded: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Floats as floats, or as the levels that were restored."""
    if degraded.dtype.kind != "u":
        return restored
    if not np.isfinite(restored).all():
        raise DataError("the restored picture has values that are not finite")
    return to_levels(restored, degraded.dtype)


def _type(degraded: np.ndarray):
    return degraded.dtype if degraded.dtype.kind == "u" else np.float32


def _blended(model: Model, degraded: np.ndarray, omega, tile: int) -> np.ndarray:
    """Overlapping pieces of a network without a halo, weighted by their distance to the piece's border."""
    network, (height, width) = model.header.network, degraded.shape[2:]
    multiple = network.multiple_inside  # pieces begin at its multiples: windows lie as in the whole picture
    overlap = -(-max(tile // 4, 1) // multiple) * multiple
    columns = _pieces(width, tile, overlap, multiple, network.scale)
    restored = np.zeros((*degraded.shape[:2], height * network.scale, width * network.scale), dtype=np.float32)
    for row, rows, down in _pieces(height, tile, overlap, multiple, network.scale):
        for column, columns_, across in columns:
            piece = _run(model, degraded[:, :, row, column], omega)
            restored[:, :, rows, columns_] += piece * np.outer(down, across)
    return restored


def _pieces(length: int, tile: int, overlap: int, multiple: int, scale: int) -> list[tuple[slice, slice, np.ndarray]]:
    """Pieces along one side: even tiles, with `overlap` more at both ends where there are pixels.

    Each as the piece to restore, its place in the result, and its weights there; a pixel's weights add up to one.
    """
    step = -(-length // -(-length // tile))
    step = -(-step // multiple) * multiple
    spans = [(max(start - overlap, 0), min(start + step + overlap, length)) for start in range(0, length, step)]
    places = [slice(start * scale, stop * scale) for start, stop in spans]
    ramps = [_ramp(place.stop - place.start, 2 * overlap * scale) for place in places]
    total = np.zeros(length * scale, dtype=np.float32)
    for place, ramp in zip(places, ramps, strict=True):
        total[place] += ramp
    weights = [ramp / total[place] for place, ramp in zip(places, ramps, strict=True)]
    return [(slice(*span), place, weight) for span, place, weight in zip(spans, places, weights, strict=True)]


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
