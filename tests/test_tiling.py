"""Tiles: what they give is what the whole picture gives, and no piece is larger than was asked for."""

import dataclasses
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from tunable.backends.model import WeightsModel
from tunable.errors import DataError, TunableError
from tunable.images.pictures import from_network, to_floats, to_levels, to_network
from tunable.images.tiling import borders, run_tiled
from tunable.specs.networks import ResNetSpec
from tunable.tolerances import relative_error

ROUNDING = 2e-6  # a convolution of another size may sum in another order
OMEGA = np.float32([0.7, 0.6])
HALO = 4  # of the tiny network: head, two in its one block, tail


def fake(run, scale=1, multiple=1, halo=None):
    """A network that is a function."""
    network = SimpleNamespace(halo=halo, scale=scale, padding_multiple=multiple)
    return SimpleNamespace(header=SimpleNamespace(network=network, size=None), run=run)


def noise(height, width):
    return np.random.default_rng(height * 1000 + width).uniform(size=(1, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("height", "width", "tile"),
    [
        (32, 32, 32),  # one tile
        (33, 32, 32),  # a last tile of one pixel
        (20, 50, 16),
        (50, 20, 16),
        (47, 61, 20),
        (40, 40, 7),  # tiles near the size of the halo
        (12, 9, 3),  # and below it
        (5, 5, 1),
        (1, 30, 8),
        (30, 1, 8),
    ],
)
def test_tiled_is_whole(height, width, tile, model):
    picture = noise(height, width)
    whole = model.run(picture, OMEGA)
    tiled = run_tiled(model, picture, OMEGA, tile)
    assert tiled.shape == whole.shape and tiled.dtype == np.float32
    assert relative_error(tiled, whole) < ROUNDING


@pytest.mark.parametrize("halo", [0, HALO - 1])
def test_a_smaller_halo_shows(halo, model, monkeypatch):
    picture = noise(47, 61)
    assert model.header.network.halo == HALO
    monkeypatch.setattr(ResNetSpec, "halo", halo)
    assert relative_error(run_tiled(model, picture, OMEGA, 20), model.run(picture, OMEGA)) > 50 * ROUNDING


def test_pieces_are_bounded_and_of_one_size(model, monkeypatch):
    sizes, run = [], model.backend.run

    def noted(network, x, omega):
        sizes.append(x.shape[2:])
        return run(network, x, omega)

    monkeypatch.setattr(model.backend, "run", noted)
    run_tiled(model, noise(50, 70), OMEGA, 16)
    assert sizes == [(13 + 2 * HALO, 14 + 2 * HALO)] * (4 * 5)  # 50 in 4 tiles of 13, 70 in 5 of 14


def test_a_batch(model):
    pictures = np.concatenate([noise(20, 24), noise(20, 24)[..., ::-1]])
    omega = np.float32([[1, 0], [0, 1]])
    assert relative_error(run_tiled(model, pictures, omega, 16), model.run(pictures, omega)) < ROUNDING


def test_scale():
    """A network that doubles the picture."""
    model = fake(lambda x, omega: x.repeat(2, axis=2).repeat(2, axis=3), scale=2, halo=2)
    picture = noise(11, 13)
    np.testing.assert_array_equal(run_tiled(model, picture, None, 4), model.run(picture, None))


@pytest.mark.parametrize("size", [None, (20, 26)])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_halo_is_as_wide_as_the_reach(scale, size):
    """Sums of a cross of two pixels around, enlarged: to the bit, but not where the network reaches one further."""

    def reaching(reach):
        def run(x, omega):
            inside, padded = (slice(reach, -reach),) * 2, np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
            shifts = [(by, axis) for by in range(-reach, reach + 1) for axis in (2, 3)]
            y = sum(np.roll(padded, by, axis)[:, :, *inside] for by, axis in shifts)
            return y.repeat(scale, axis=2).repeat(scale, axis=3)

        return run

    picture, tile = noise(41, 50), None if size else 9
    for reach in (2, 3):
        network = fake(reaching(reach), scale, halo=2)
        network.header.size = size
        rows, columns = (scale * (side - 2) for side in picture.shape[2:])  # a size continues the picture
        result, expected = (
            one[:, :, :rows, :columns] for one in (run_tiled(network, picture, None, tile), network.run(picture, None))
        )
        assert np.array_equal(result, expected) == (reach == 2)


@pytest.mark.parametrize("size", [None, (32, 36)])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_halo_of_cells(scale, size):
    """Sums of a cell of 4x4 pixels and those beside it, to the bit: pieces begin where cells do."""

    def run(x, omega):
        n, c, height, width = x.shape
        x = np.pad(x, ((0, 0), (0, 0), (0, -height % 4), (0, -width % 4)), "edge")
        cells = x.reshape(n, c, x.shape[2] // 4, 4, x.shape[3] // 4, 4).sum((3, 5))
        padded = np.pad(cells, ((0, 0), (0, 0), (1, 1), (1, 1)))
        cells = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1] + padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
        x = cells.repeat(4, axis=2).repeat(4, axis=3)[:, :, :height, :width]
        return x.repeat(scale, axis=2).repeat(scale, axis=3)

    picture = np.random.default_rng(5).integers(0, 99, (1, 3, 41, 50)).astype(np.float32)  # sums without rounding
    for halo in (7, 0):  # a cell and what lies before the pixel in its own; none
        network = fake(run, scale, multiple=4, halo=halo)
        network.header.size = size
        for tile in (None,) if size else (8, 9, 20):
            restored = run_tiled(network, picture, None, tile)
            assert np.array_equal(restored, network.run(picture, None)) == (halo == 7)


def test_a_network_with_global_reach_is_run_whole(model, monkeypatch):
    """Up to a limit, and unless smaller tiles are asked for; above it in tiles of a size of its own."""
    monkeypatch.setattr(type(model.header.network), "halo", None)
    monkeypatch.setattr("tunable.images.tiling.DEFAULT_TILE", 8)
    monkeypatch.setattr("tunable.images.tiling.BLENDED_TILE", 16)
    picture = noise(20, 30)
    whole, blended = model.run(picture, OMEGA), run_tiled(model, picture, OMEGA, 16)
    assert relative_error(blended, whole) > 50 * ROUNDING
    for options in ({}, {"whole": 600}, {"tile": 32, "whole": 599}):
        np.testing.assert_array_equal(run_tiled(model, picture, OMEGA, **options), whole)
    np.testing.assert_array_equal(run_tiled(model, picture, OMEGA, whole=599), blended)


@pytest.mark.parametrize(
    ("height", "width", "tile"), [(64, 90, 32), (33, 47, 16), (40, 9, 12), (30, 1, 8), (23, 21, 3)]
)
@pytest.mark.parametrize("scale", [1, 2])
def test_blended_pieces_lie_where_they_belong(height, width, tile, scale):
    sizes = []

    def run(x, omega):
        sizes.append(max(x.shape[2:]))
        return x.repeat(scale, axis=2).repeat(scale, axis=3)

    picture = noise(height, width)
    assert relative_error(run_tiled(fake(run, scale), picture, None, tile), run(picture, None)) <= 1e-6
    assert max(sizes[:-1]) <= tile + 2 * max(tile // 4, 1) and len(sizes) > 2


@pytest.mark.parametrize(("tile", "size", "shared"), [(32, None, 16), (None, (32, 48), 8)])
@pytest.mark.parametrize("scale", [1, 4])
def test_blending_leaves_no_seams(scale, tile, size, shared):
    """A network that adds something else to every piece: one gives way to the next evenly, pixel by pixel.

    Over the pixels that they share, however many an enlarging network makes of them.
    """
    shades = iter(np.tile([0.0, 1.0], 100))
    flat = np.zeros((1, 3, 64, 96), np.float32)

    def run(x, omega):
        return x.repeat(scale, axis=2).repeat(scale, axis=3) + np.float32(next(shades))

    network = fake(run, scale)
    network.header.size = size
    result = run_tiled(network, flat, None, tile)
    steps = max(np.abs(np.diff(result, axis=axis)).max() for axis in (2, 3))
    assert np.ptp(result) > 0.9 and 0.8 / (shared * scale) < steps <= 1 / (shared * scale)


def test_windows_lie_as_in_the_whole_picture():
    begins = []

    def run(x, omega):
        begins.append((x[0, 0, 0, 0] // 1000, x[0, 0, 0, 0] % 1000))
        return x

    places = 1000 * np.arange(50)[:, None] + np.arange(70)
    run_tiled(fake(run, multiple=8), np.broadcast_to(places, (1, 3, 50, 70)).astype(np.float32), None, 20)
    assert len(begins) > 4 and all(row % 8 == column % 8 == 0 for row, column in begins)


@pytest.mark.parametrize(
    ("height", "width", "tile"), [(64, 90, 32), (47, 61, 20), (20, 50, 16), (12, 9, 3), (32, 32, 32)]
)
@pytest.mark.parametrize(("scale", "halo"), [(1, 4), (2, 4), (1, None), (3, None)])
def test_borders(height, width, tile, scale, halo):
    """Where pieces begin and end, in what is returned: of tiles with a halo, where the piece changes."""
    seen = []

    def run(x, omega):
        seen.append([(int(x[0, c, 0, 0]), int(x[0, c, -1, -1]) + 1) for c in (0, 1)])
        return np.full_like(x, len(seen)).repeat(scale, axis=2).repeat(scale, axis=3)

    places = np.stack(np.broadcast_arrays(np.arange(height)[:, None], np.arange(width), 0))[None].astype(np.float32)
    network = fake(run, scale, halo=halo)
    result = run_tiled(network, places, None, tile)
    if halo is None:
        ends = [{scale * edge for piece in seen for edge in piece[axis]} for axis in (0, 1)]
        expected = [sorted(edges - {0, scale * length}) for edges, length in zip(ends, (height, width), strict=True)]
    else:
        expected = [(np.flatnonzero(np.diff(line)) + 1).tolist() for line in (result[0, 0, :, 0], result[0, 0, 0])]
    assert list(borders(network, (height, width), tile)) == expected
    assert any(expected) == (len(seen) > 1)


# --- files exported for one size


def of_size(model, size):
    """The model as a file exported for one size has it: it takes pictures of that size, and no other."""
    return WeightsModel(model.backend, model.network, dataclasses.replace(model.header, size=size))


@pytest.mark.parametrize(("height", "width"), [(50, 70), (33, 32), (32, 33), (32, 48), (100, 20)])
def test_a_size_with_a_halo(model, height, width, monkeypatch):
    """What lies within a picture larger than the size is as whole; what is smaller is continued by reflection."""
    picture, size = noise(height, width), (32, 48)
    if (height, width) != size:
        with pytest.raises(TunableError, match="exported for pictures of 32x48"):
            of_size(model, size).run(picture, OMEGA)
    monkeypatch.setattr("tunable.images.tiling.DEFAULT_TILE", 20)  # the size may be larger
    restored, whole = run_tiled(of_size(model, size), picture, OMEGA), model.run(picture, OMEGA)
    assert restored.shape == whole.shape
    rows, columns = height - HALO * (height < 32), width - HALO * (width < 48)
    assert relative_error(restored[:, :, :rows, :columns], whole[:, :, :rows, :columns]) < ROUNDING


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(50, 70), (33, 32), (20, 9), (1, 64), (97, 97)])
def test_a_size_blended(height, width, scale, multiple):
    """Pieces lie where they belong, begin at multiples, and have the one size."""
    seen = []

    def run(x, omega):
        seen.append((x.shape[2:], x[0, 0, 0, 0], x[0, 1, 0, 0]))
        return x.repeat(scale, axis=2).repeat(scale, axis=3)

    network, size = fake(run, scale, multiple), (32, 40)
    network.header.size = size
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")).astype(np.float32)[None]
    assert relative_error(run_tiled(network, places, None), places.repeat(scale, 2).repeat(scale, 3)) <= 1e-6
    assert all(shape == size and row % multiple == column % multiple == 0 for shape, row, column in seen)
    assert len(seen) == (1 if height <= 32 and width <= 40 else len({one[1:] for one in seen})) and seen


def test_sizes_that_do_not_fit(model, refused):
    with refused(TunableError, "too small for tiles", f"{2 * HALO}x40"):
        run_tiled(of_size(model, (2 * HALO, 40)), noise(2 * HALO + 1, 40), OMEGA)
    with refused(TunableError, "exported for one size"):
        run_tiled(of_size(model, (32, 40)), noise(50, 50), OMEGA, 16)
    with refused(TunableError, "exported for one size"):
        run_tiled(of_size(model, (32, 40)), noise(32, 40), OMEGA, 16)


# --- levels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tile", [None, 16, 7])
@pytest.mark.parametrize("halo", [HALO, None])
def test_levels_are_restored_as_levels(halo, tile, dtype, rng):
    network = fake(lambda x, omega: x * np.float32(1.7) - np.float32(0.4), halo=halo)
    levels = rng.integers(0, np.iinfo(dtype).max, (33, 47, 3), dtype=dtype, endpoint=True)
    restored = run_tiled(network, to_network(levels), None, tile)
    expected = run_tiled(network, to_network(to_floats(levels)), None, tile)
    assert restored.dtype == dtype and expected.dtype == np.float32
    assert expected.min() < 0 and expected.max() > 1  # there was something to clip
    np.testing.assert_array_equal(restored, to_levels(expected, dtype))


def test_tiles_need_no_float_copy_of_the_picture(rng):
    """Beside what is given and what is made, a few pieces."""
    network = fake(lambda x, omega: x, halo=2)
    levels = rng.integers(0, 256, (1200, 1000, 3), dtype=np.uint8)
    tracemalloc.start()
    restored = from_network(run_tiled(network, to_network(levels), None, 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * levels.nbytes
    assert restored.flags.c_contiguous  # as it is written
    np.testing.assert_array_equal(restored, levels)


def test_values_that_are_no_levels(refused):
    levels = np.zeros((1, 3, 20, 20), np.uint8)
    for run in (fake(lambda x, omega: x / 0, halo=0), fake(lambda x, omega: x + np.inf, halo=0)):
        for tile in (None, 16):
            with np.errstate(invalid="ignore"), refused(DataError, "not finite"):
                run_tiled(run, levels, None, tile)


@pytest.mark.parametrize("tile", [0, -3])
def test_a_tile_has_a_size(tile, model, refused):
    with refused(TunableError, "at least 1 pixel", str(tile)):
        run_tiled(model, noise(8, 8), OMEGA, tile)
