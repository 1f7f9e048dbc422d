"""Reading every kind of picture as RGB, refusing what is none, and writing atomically."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tunable.errors import DataError, TunableError
from tunable.images.pictures import from_network, read, read_bytes, to_floats, to_levels, to_network, write

RGB = np.array([[[255, 0, 0], [0, 255, 0], [9, 8, 7]], [[0, 0, 255], [10, 20, 30], [1, 2, 3]]], dtype=np.uint8)
GREY = np.array([[0, 100, 17], [200, 255, 3]], dtype=np.uint8)
GREY_RGB = np.repeat(GREY[..., None], 3, axis=-1)


def alpha_grey():
    return Image.fromarray(np.stack([GREY, 255 - GREY], axis=-1))


def alpha_colour():
    return Image.fromarray(np.concatenate([RGB, GREY[..., None]], axis=-1))


def palette():
    return Image.fromarray(RGB).quantize(6)


@pytest.mark.parametrize(
    ("picture", "options", "expected"),
    [
        (lambda: Image.fromarray(RGB), {}, RGB),
        (lambda: Image.fromarray(GREY), {}, GREY_RGB),
        (alpha_grey, {}, GREY_RGB),
        (alpha_colour, {}, RGB),
        (palette, {}, RGB),
        (palette, {"transparency": bytes([0, 128, 255, 255, 255, 255])}, RGB),
        (palette, {"transparency": 2}, RGB),
        (lambda: Image.fromarray(GREY > 50), {}, np.where(GREY_RGB > 50, 255, 0)),
    ],
    ids=["rgb", "grey", "grey+alpha", "rgba", "palette", "palette+alpha", "palette+transparent", "bilevel"],
)
def test_modes(picture, options, expected, tmp_path):
    picture().save(tmp_path / "a.png", **options)
    result = read_bytes(tmp_path / "a.png")
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_grey_is_scaled_not_clipped(suffix, tmp_path):
    Image.fromarray(np.array([[0, 25700], [32896, 65535]], dtype=np.uint16)).save(tmp_path / f"a{suffix}")
    result = read_bytes(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(result, np.repeat([[[0], [100]], [[128], [255]]], 3, axis=-1))


def test_float_grey(tmp_path, refused):
    Image.fromarray(np.array([[0, 0.2], [1, 0.6]], dtype=np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_bytes(tmp_path / "a.tif")[..., 1], [[0, 51], [255, 153]])
    Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)).save(tmp_path / "nan.tif")
    with refused(DataError, "nan.tif", "not finite"):
        read_bytes(tmp_path / "nan.tif")


def test_cmyk_jpeg(tmp_path):
    smooth = np.tile(np.array([200, 120, 40], dtype=np.uint8), (16, 16, 1))
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.mode == "CMYK"
    assert np.abs(read_bytes(tmp_path / "a.jpg").astype(int) - smooth).max() <= 4


@pytest.mark.parametrize(("orientation", "turned"), [(1, RGB), (3, RGB[::-1, ::-1]), (6, np.rot90(RGB, -1))])
def test_exif_orientation(orientation, turned, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_bytes(tmp_path / "a.png"), turned)


def test_read_is_float32_in_0_1(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    result = read(tmp_path / "a.png")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, RGB.astype(np.float32) / np.float32(255))


# --- what is no picture


def header_only(width, height):
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (b"", ["cannot identify"]),
        (b"hello, this is text", ["cannot identify"]),
        (header_only(64, 64), ["truncated"]),
        (header_only(100_000, 100_000), ["100000x100000 pixels"]),  # refused by Pillow too
        (header_only(12_000, 9_000), ["12000x9000 pixels", "limit is 100000000", "--max-megapixels"]),
        (header_only(9_500, 9_500), ["truncated", "cannot hold"]),  # under the limit
    ],
    ids=["empty", "text", "truncated", "enormous", "large", "just allowed"],
)
def test_damaged(content, fragments, tmp_path, refused):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with refused(DataError, str(path), *fragments):
        read_bytes(path)


def test_truncated_jpeg(tmp_path, rng, refused):
    path = tmp_path / "a.jpg"
    Image.fromarray(rng.integers(256, size=(64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with refused(DataError, str(path), "truncated"):
        read(path)


def test_missing_and_folder(tmp_path, refused):
    with refused(DataError, "no such picture", "absent.png"):
        read(tmp_path / "absent.png")
    with refused(DataError, "cannot read", str(tmp_path)):
        read(tmp_path)


# --- writing


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".tiff", ".ppm"])
def test_round_trip_is_exact(suffix, tmp_path):
    path = tmp_path / "deep" / f"a{suffix}"
    write(path, RGB / 255)
    np.testing.assert_array_equal(read_bytes(path), RGB)
    write(path, read(path)[:, ::-1])  # replaces
    np.testing.assert_array_equal(read_bytes(path), RGB[:, ::-1])
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_round_trip_is_close(suffix, tmp_path):
    smooth = np.linspace(0, 1, 32 * 32 * 3).reshape(32, 32, 3)
    write(tmp_path / f"a{suffix}", smooth)
    assert np.abs(read(tmp_path / f"a{suffix}") - smooth).mean() < 0.02


def test_rounding_and_clipping():
    values = [-0.3, 0, 0.4 / 255, 0.6 / 255, 127.4 / 255, 1, 1.7]
    np.testing.assert_array_equal(to_levels(np.array(values)), [0, 0, 0, 1, 127, 255, 255])
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_levels(every.astype(np.float32) / np.float32(255)), every)


def test_levels():
    """Floats, 8 and 16 bits, each as the others: there and back without loss, and to the nearest."""
    bits = {8: np.arange(256, dtype=np.uint8), 16: np.arange(65536, dtype=np.uint16)}
    for levels in bits.values():
        floats = to_floats(levels)
        assert floats.dtype == np.float32 and floats[0] == 0 and floats[-1] == 1
        assert to_levels(levels, levels.dtype) is levels
        np.testing.assert_array_equal(to_levels(floats, levels.dtype), levels)
    np.testing.assert_array_equal(to_levels(bits[8], np.uint16), np.arange(256) * 257)
    np.testing.assert_array_equal(to_levels(bits[16]), np.rint(np.arange(65536) / 257))


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt", ".png"])
def test_the_suffix_names_the_format(name, tmp_path, refused):
    with refused(DataError, name, ".png, .jpg"):
        write(tmp_path / name, RGB / 255)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 4), (0, 3, 3), (1, 2, 3, 3)])
def test_shapes_that_cannot_be_written(shape, tmp_path, refused):
    with refused(DataError, "(H, W, 3)", str(shape)):
        write(tmp_path / "a.png", np.zeros(shape))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, refused):
    path = tmp_path / "a.png"
    write(path, RGB / 255)
    with refused(DataError, str(path), "not finite"):
        write(path, RGB / 255 + np.nan)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with refused(TunableError, str(path), "No space left"):
        write(path, 1 - RGB / 255)
    np.testing.assert_array_equal(read_bytes(path), RGB)
    assert os.listdir(tmp_path) == ["a.png"]


# --- layouts and folders


def test_layouts(rng):
    picture = rng.uniform(size=(4, 5, 3))
    pictures = to_network(picture)
    assert pictures.shape == (1, 3, 4, 5) and pictures.dtype == np.float32 and pictures.flags.c_contiguous
    assert pictures[0, 2, 1, 4] == np.float32(picture[1, 4, 2])
    np.testing.assert_array_equal(from_network(pictures), picture.astype(np.float32))
