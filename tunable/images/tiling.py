"""Restoring a picture of any size in bounded memory, tile by tile.

A picture's levels are made floats piece by piece, and a restored piece levels again: no float copy of the whole.

Where a pixel depends on those within a reach, every tile is restored inside a piece with a margin (halo) as wide as
that, which is then cut off: interior pixels see exactly what they see in the whole picture, so tiled = whole. All
pieces have one size, because a framework that compiles does so for every size it meets. A network that halves the
picture wants them to begin at multiples of its smallest pixel: margins and tiles are rounded up to these.

Where every pixel depends on the whole picture (attention, global averages, instance norms) tiles change what is
restored: a picture up to WHOLE is restored whole. Of larger ones, or where tiles are asked for all the same, pieces
overlap and are blended, each counting less towards its border: no seams.

A map of omega is cut with the picture, whose further channels it is for that.

An exported file of one size gets pieces of that size, of a picture that is padded by reflection where it must be.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tunable.backends.heads import Heads, anchor_of, check_heads
from tunable.backends.model import Model
from tunable.errors import DataError, TunableError
from tunable.images.pictures import to_floats, to_levels
from tunable.omega import axes_of

DEFAULT_TILE = 512  # pixels a side
# Where a pixel depends on the whole picture, whose memory attention multiplies:
WHOLE = 2**19  # pixels of the largest picture that is restored whole, unless tiles are asked for
BLENDED_TILE = 256  # pixels a side, of larger ones
_Run = Callable[[np.ndarray], np.ndarray]  # of a piece, floats or levels, to floats


def default_tile(model: Model, lengths: Sequence[int], whole: float | None = None) -> int:
    """Choose the side of a picture's tiles, in pixels, where nobody asks for another.

    Args:
        model: of any framework.
        lengths: height and width of the picture.
        whole: pixels up to which a picture is not cut where every pixel depends on all of it; None: WHOLE.
    """
    halo = model.header.network.halo
    if halo is not None:
        return max(DEFAULT_TILE, 8 * halo)  # of a piece's pixels less than half are margin
    return BLENDED_TILE if math.prod(lengths) > (WHOLE if whole is None else whole) else max(lengths)


def run_tiled(
    model: Model,
    degraded: np.ndarray,
    omega: ArrayLike | None,
    tile: int | None = None,
    *,
    whole: float | None = None,
) -> np.ndarray:
    """Run a model in tiles, which bounds the memory.

    Args:
        model: of any framework.
        degraded: (N, C, H, W), floats in 0..1, or levels, uint8 or uint16.
        omega: (p,), (N, p), or a map (N, p, H, W); None for a plain network.
        tile: pixels along a tile's side, without its halo; None: `default_tile`. Where a pixel depends on the whole
            picture, tiles overlap by half a tile and are blended.
        whole: as `default_tile`.

    Returns:
        (N, C, scale H, scale W): float32 for floats; for levels the same type, clipped and rounded.

    Raises:
        TunableError: for a tile below 1 pixel, for any where the model has a size, and for a size that is too small
            for tiles.
        OmegaError: as `Model.run`.
        DataError: where levels become values that are not finite.
    """
    if omega is not None and axes_of(omega) == 4:
        omega = model.checked_omega(omega, len(degraded), (degraded.shape[2], degraded.shape[3]))
        planes, colours = np.concatenate([_floats(degraded), omega], 1), degraded.shape[1]

        def at_map(piece: np.ndarray) -> np.ndarray:
            return model.run(piece[:, :colours], piece[:, colours:])

        return as_given(degraded, _tiled(model, planes, at_map, tile, whole, colours))
    return _tiled(model, degraded, lambda piece: model.run(_floats(piece), omega), tile, whole)


def run_at_each(
    model: Model, degraded: np.ndarray, omegas: Iterable[ArrayLike | None], tile: int | None = None
) -> Iterator[np.ndarray]:
    """Run a model in tiles at several omegas: where pictures are affine in omega, by one inference for them all.

    Args:
        model: of any framework.
        degraded: as `run_tiled`.
        omegas: each as `run_tiled`.
        tile: as `run_tiled`.

    Yields:
        What `run_tiled` returns, to rounding, for one omega after the other.

    Raises:
        TunableError: as `run_tiled`.
    """
    omegas = list(omegas)
    heads = heads_tiled(model, degraded, tile) if len(omegas) > 1 and model.has_heads else None
    for omega in omegas:
        if heads and omega is not None:
            yield as_given(degraded, heads.at(omega))
        else:
            yield run_tiled(model, degraded, omega, tile)


class PreparedTiles:
    """A picture of whose tiles is computed what no omega changes: the memory for a large picture is not bounded.

    `PreparedTiles(model, degraded).at(omega)` is `run_tiled(model, degraded, omega)`.

    Args:
        model: of any framework, with a tunable end.
        degraded: as `run_tiled`.
        tile: as `run_tiled`.

    Raises:
        TunableError: as `run_tiled`, and as `Model.prepare`.
    """

    def __init__(self, model: Model, degraded: np.ndarray, tile: int | None = None) -> None:
        """Prepare every tile; the class says what is raised."""
        self._model, self._degraded, self._tile, self._pieces = model, degraded, tile, []

        def prepared(piece: np.ndarray) -> np.ndarray:
            self._pieces.append(model.prepare(_floats(piece)))
            scale = model.header.network.scale
            return np.zeros((*piece.shape[:2], scale * piece.shape[2], scale * piece.shape[3]), np.float32)

        _tiled(model, degraded, prepared, tile)

    def at(self, omega: ArrayLike) -> np.ndarray:
        """Restore the picture.

        Args:
            omega: (p,), or (N, p).

        Returns:
            As `run_tiled`.

        Raises:
            OmegaError: as `Model.run`.
            DataError: as `run_tiled`.
        """
        pieces = iter(self._pieces)
        return _tiled(self._model, self._degraded, lambda piece: next(pieces).at(omega), self._tile)


def heads_tiled(model: Model, degraded: np.ndarray, tile: int | None = None) -> Heads:
    """Compute base and differences of a picture in tiles, one inference for all omega.

    Args:
        model: of any framework, whose last layer alone is tunable.
        degraded: as `run_tiled`.
        tile: as `run_tiled`.

    Returns:
        The heads, float32: at any omega they are what `run_tiled` returns, to rounding and not clipped.

    Raises:
        TunableError: as `run_tiled`, and as `Model.heads`.
    """
    spec, objectives = model.header.network, model.objectives
    check_heads(spec, len(objectives))
    count = 1 + spec.formulation.num_differences(len(objectives))

    def heads(piece: np.ndarray) -> np.ndarray:
        made = model.heads(piece)
        return np.concatenate([made.base, *made.differences.swapaxes(0, 1)], 1)

    made = _tiled(model, _floats(degraded), heads, tile, channels=count * degraded.shape[1])
    made = np.ascontiguousarray(made).reshape(len(made), count, degraded.shape[1], *made.shape[2:])
    return Heads(made[:, 0], made[:, 1:], objectives, anchor_of(spec.formulation, len(objectives)))


def _tiled(
    model: Model,
    degraded: np.ndarray,
    run: _Run,
    tile: int | None = None,
    whole: float | None = None,
    channels: int | None = None,
) -> np.ndarray:
    """What `run` makes of the pieces of a picture, joined; `channels` of it, None: as many as the picture has."""
    if tile is not None and tile < 1:
        raise TunableError(f"a tile needs at least 1 pixel, not {tile}")
    lengths, network = degraded.shape[2:], model.header.network
    channels = channels or degraded.shape[1]
    if model.header.size:
        if tile is not None:
            raise TunableError("a file exported for one size has tiles of that size; it takes no other")
        if lengths != model.header.size:
            return _of_one_size(model, degraded, run, channels)
        return as_given(degraded, run(degraded))
    tile = tile or default_tile(model, lengths, whole)
    if max(lengths) <= tile:
        return as_given(degraded, run(degraded))
    if network.halo is not None:
        return _cut(model, degraded, run, channels, _sides(model, lengths, tile))
    overlap = _overlap(model, tile)
    spans = [_even(length, tile, overlap, network.padding_multiple) for length in lengths]
    return as_given(degraded, _blended(model, degraded, run, channels, spans, 2 * overlap))


def borders(model: Model, lengths: Sequence[int], tile: int) -> tuple[list[int], list[int]]:
    """Say where tiles meet, or where one begins or ends that is blended with others, in what `run_tiled` returns.

    Args:
        model: of any framework, without a size of its own.
        lengths: height and width of the picture.
        tile: as `run_tiled`.

    Returns:
        The first row of pixels behind each border, and the first column; both empty where nothing is cut.
    """
    network = model.header.network
    scale, multiple = network.scale, network.padding_multiple
    if max(lengths) <= tile:
        return [], []
    if network.halo is not None:
        facts = network.halo, scale, multiple
        sides = zip(lengths, _sides(model, lengths, tile), strict=True)
        rows, columns = ([place.start for _, place, _ in _spans(*each, *facts)][1:] for each in sides)
        return rows, columns
    spans = (_even(length, tile, _overlap(model, tile), multiple) for length in lengths)
    rows, columns = (
        sorted({scale * edge for span in axis for edge in span} - {0, scale * length})
        for axis, length in zip(spans, lengths, strict=True)
    )
    return rows, columns


def _sides(model: Model, lengths: Sequence[int], tile: int) -> list[int]:
    """Height and width of the pieces of tiles that have a halo; they begin at multiples, as in the whole picture."""
    network = model.header.network
    multiple, margin = network.padding_multiple, _rounded_up(network.halo or 0, network.padding_multiple)
    return [_rounded_up(-(-length // -(-length // tile)), multiple) + 2 * margin for length in lengths]


def _overlap(model: Model, tile: int) -> int:
    """How many pixels tiles that are blended reach beyond their own."""
    return _rounded_up(max(tile // 4, 1), model.header.network.padding_multiple)


def _of_one_size(model: Model, degraded: np.ndarray, run: _Run, channels: int) -> np.ndarray:
    """Pieces of the model's own size: with its halo, or overlapping by a quarter and blended."""
    network, size, lengths = model.header.network, model.header.size, degraded.shape[2:]
    multiple = network.padding_multiple
    assert size is not None, "only a model with a size has pieces of it"
    margin = min(size) // 4 if network.halo is None else 2 * _rounded_up(network.halo, multiple)
    steps, ends = [], []
    for length, side in zip(lengths, size, strict=True):
        step = side if length <= side else (side - margin) // multiple * multiple
        if step < 1:
            raise TunableError(
                f"this file was exported for pictures of {size[0]}x{size[1]} pixels: too small for tiles of larger ones"
            )
        steps.append(step)
        turns = -(-max(length - side, 0) // step)
        ends.append(side + turns * step if network.halo is None else max(length, side))
    after = ((0, end - length) for end, length in zip(ends, lengths, strict=True))
    extended = np.pad(degraded, ((0, 0), (0, 0), *after), "reflect")
    if network.halo is None:
        spans = [
            [(start, start + side) for start in range(0, end - side + 1, step)]
            for side, step, end in zip(size, steps, ends, strict=True)
        ]
        restored = as_given(degraded, _blended(model, extended, run, channels, spans, max(margin, 1)))
    else:
        restored = _cut(model, extended, run, channels, list(size))
    return restored[:, :, : lengths[0] * network.scale, : lengths[1] * network.scale]


def _cut(model: Model, degraded: np.ndarray, run: _Run, channels: int, sides: list[int]) -> np.ndarray:
    """Pieces of so many pixels down and across, each restored and its halo cut off.

    A piece that ends below or beside the picture is padded there as networks pad it whose tiles are exact.
    """
    network = model.header.network
    count, _, height, width = degraded.shape
    made = np.empty((count, height * network.scale, width * network.scale, channels), dtype=_type(degraded))
    restored = made.transpose(0, 3, 1, 2)  # in memory as files hold pictures
    assert network.halo is not None, "pieces are cut where a pixel depends on so many beside it, and no more"
    facts = network.halo, network.scale, network.padding_multiple
    for row, rows, inner_rows in _spans(height, sides[0], *facts):
        for column, columns, inner_columns in _spans(width, sides[1], *facts):
            outside = ((0, max(row.stop - height, 0)), (0, max(column.stop - width, 0)))
            piece = np.pad(degraded[:, :, row, column], ((0, 0), (0, 0), *outside), "edge")
            restored[:, :, rows, columns] = as_given(degraded, run(piece)[:, :, inner_rows, inner_columns])
    return restored


def _floats(piece: np.ndarray) -> np.ndarray:
    return to_floats(piece) if piece.dtype.kind == "u" else piece


def as_given(degraded: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Return floats as they are where `degraded` are floats; where it is levels, the levels of its type.

    Raises:
        DataError: where levels become values that are not finite.
    """
    if degraded.dtype.kind != "u":
        return restored
    if not np.isfinite(restored).all():
        raise DataError("the restored picture has values that are not finite")
    return to_levels(restored, degraded.dtype)


def _type(degraded: np.ndarray) -> DTypeLike:
    return degraded.dtype if degraded.dtype.kind == "u" else np.float32


def _blended(
    model: Model, degraded: np.ndarray, run: _Run, channels: int, spans: list[list[tuple[int, int]]], rise: int
) -> np.ndarray:
    """Overlapping pieces, weighted by their distance to the piece's border up to `rise` pixels.

    spans  (first, past the last) of the pieces, down and across
    """
    scale, (height, width) = model.header.network.scale, degraded.shape[2:]
    down, across = (_weighted(axis, rise, scale) for axis in spans)
    restored = np.zeros((len(degraded), channels, height * scale, width * scale), dtype=np.float32)
    for row, rows, above in down:
        for column, columns, beside in across:
            restored[:, :, rows, columns] += run(degraded[:, :, row, column]) * np.outer(above, beside)
    return restored


def _even(length: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """Even tiles along one side, with `overlap` more at both ends where there are pixels."""
    step = -(-length // -(-length // tile))
    step = _rounded_up(step, multiple)
    return [(max(start - overlap, 0), min(start + step + overlap, length)) for start in range(0, length, step)]


def _weighted(spans: list[tuple[int, int]], rise: int, scale: int) -> list[tuple[slice, slice, np.ndarray]]:
    """Every piece along one side, its place in the result, and its weights there; a pixel's weights add up to one."""
    places = [slice(start * scale, stop * scale) for start, stop in spans]
    ramps = [_ramp(place.stop - place.start, rise * scale) for place in places]
    total = np.zeros(max(place.stop for place in places), dtype=np.float32)
    for place, ramp in zip(places, ramps, strict=True):
        total[place] += ramp
    weights = [ramp / total[place] for place, ramp in zip(places, ramps, strict=True)]
    return [(slice(*span), place, weight) for span, place, weight in zip(spans, places, weights, strict=True)]


def _ramp(length: int, rise: int) -> np.ndarray:
    """Up from the first and down to the last of `length` pixels, in `rise` pixels each; never zero."""
    index = np.arange(length, dtype=np.float32) + 1
    return np.minimum(np.minimum(index, index[::-1]), rise) / rise


def _spans(length: int, side: int, halo: int, scale: int, multiple: int) -> Iterator[tuple[slice, slice, slice]]:
    """Tiles along one side: the piece to restore, the tile's place in the result, and its place in the piece.

    Pieces have `side` pixels, or the picture's where these are fewer. They begin at multiples, so that the last of them
    may end outside the picture.
    """
    size = min(side, length)
    margin = _rounded_up(halo, multiple)
    step = length if size == length else (side - 2 * margin) // multiple * multiple
    for start in range(0, length, step):
        end = min(start + step, length)
        first = min(max(start - margin, 0), _rounded_up(length - size, multiple))
        inner = slice((start - first) * scale, (end - first) * scale)
        yield slice(first, first + size), slice(start * scale, end * scale), inner


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
