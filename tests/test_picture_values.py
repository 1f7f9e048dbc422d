"""One picture in every type that a file can hold is one picture; nothing but the formats that are offered is decoded;
a file within the limit takes no more memory than its pixels ask for."""

import io
import logging
import os
import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from tunable.errors import DataError
from tunable.images import decoders
from tunable.images.pictures import SUFFIXES, read, read_levels, read_picture, size_of

GREY = np.linspace(0, 1, 20 * 24).reshape(20, 24)
COLOUR = np.stack([GREY, GREY[::-1], GREY**2], axis=2)
FULL = {np.uint8: 255, np.uint16: 65535, np.uint32: 2**32 - 1, np.int8: 127, np.int16: 32767, np.int32: 2**31 - 1}


def tif(path, values, **options):
    photometric = "rgb" if values.ndim == 3 and options.get("planarconfig") != "separate" else "minisblack"
    tifffile.imwrite(path, values, **{"photometric": photometric, "metadata": None, **options})
    return path


@pytest.mark.parametrize("truth", [GREY, COLOUR], ids=["grey", "rgb"])
@pytest.mark.parametrize(
    "dtype", [*FULL, np.uint64, np.float16, np.float32, np.float64], ids=lambda kind: kind.__name__
)
def test_a_type_is_read_by_its_own_range(dtype, truth, tmp_path, caplog):
    """0 is black and the type's largest number (1 of floats) white; neither warned of nor clipped."""
    full = FULL.get(dtype, 2**64 - 1025 if dtype is np.uint64 else 1)  # the largest float64 that a uint64 holds
    values = truth * full
    path = tif(tmp_path / "a.tif", (np.rint(values) if full > 1 else values).astype(dtype))
    step = 1 / min(full if full > 1 else 2048, 65535)  # the coarser of the type's and of a level; float16 has 11 bits
    np.testing.assert_allclose(read(path), truth if truth.ndim == 3 else truth[..., None].repeat(3, 2), atol=step)
    result = read_picture(path)
    assert result.grey == (truth.ndim == 2) and not caplog.records
    assert result.levels.dtype == (np.uint8 if dtype is np.uint8 else np.uint16)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw", "tile": (16, 16)},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 3},
    ],
    ids=str,
)
def test_forms_of_floats(options, tmp_path):
    """Strips, tiles, planes, alpha, byte orders: each as the plainest."""
    values = COLOUR.astype(np.float32)
    with_alpha = np.dstack([values, GREY.astype(np.float32)])
    for samples, extra in ((values, {}), (with_alpha, {"extrasamples": ["unassalpha"]})):
        result = read_picture(tif(tmp_path / "a.tif", samples, **extra, **options))
        np.testing.assert_array_equal(result.levels, np.rint(values.astype(np.float64) * 65535))
        assert (result.alpha is None) == (extra == {})
    np.testing.assert_array_equal(result.alpha, np.rint(with_alpha[..., 3].astype(np.float64) * 65535))
    if "tile" not in options:
        planes = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
        result = read_picture(tif(tmp_path / "b.tif", with_alpha.transpose(2, 0, 1).copy(), **planes, **options))
        np.testing.assert_array_equal(result.levels, np.rint(values.astype(np.float64) * 65535))
        np.testing.assert_array_equal(result.alpha, np.rint(with_alpha[..., 3].astype(np.float64) * 65535))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_highlight_leaves_the_rest_as_it_is(dtype, tmp_path, caplog):
    values = GREY.astype(dtype)
    values[3, 5] = 1.7
    result = read_picture(tif(tmp_path / "a.tif", values)).levels[..., 0]
    values[3, 5] = 1
    np.testing.assert_array_equal(result, np.rint(values.astype(np.float64) * 65535))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert all(
        part in record.getMessage() for part in ("a.tif", np.dtype(dtype).name, "1.7", "clipped to 0..1", "0.21 %")
    )


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        ((GREY * 255).astype(np.float32), ["float32", "255", "0 to 1"]),
        ((COLOUR * 65535).astype(np.float64), ["float64", "65535", "0 to 1"]),
        ((GREY * 255).astype(np.float16), ["float16", "255"]),
        (np.full((4, 4), -3, np.float32), ["float32", "-3"]),
        (np.array([[0.5, np.inf]], np.float32), ["not finite"]),
        (np.array([[0.5, np.nan]], np.float64), ["not finite"]),
        (np.ones((4, 4), np.complex64), ["complex64", "grey or RGB"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value.dtype),
)
def test_values_far_outside_are_one_line(values, fragments, tmp_path, refused):
    with refused(DataError, "a.tif", *fragments):
        read_levels(tif(tmp_path / "a.tif", values))


def test_negative_numbers_are_black(tmp_path, caplog):
    values = np.array([[-32768, -5, 0, 16384, 32767]], np.int16)
    result = read_levels(tif(tmp_path / "a.tif", values))
    np.testing.assert_array_equal(result[0, :, 0], [0, 0, 0, round(16384 / 32767 * 65535), 65535])
    assert "int16 values from -32768 to 32767 were clipped to 0..32767: 40 %" in caplog.text


def test_numbers_that_use_nothing_of_their_range_are_said(tmp_path, caplog):
    read_levels(tif(tmp_path / "a.tif", (GREY * 65535).astype(np.uint32)))
    assert "nearly black" in caplog.text and "uint32" in caplog.text


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
@pytest.mark.parametrize("white", [False, True], ids=["black is 0", "white is 0"])
def test_bits(bits, white, tmp_path):
    """Packed bits, written by hand."""
    levels = np.arange(16 * 4).reshape(4, 16) % 2**bits
    levels[0, 0] = 2**bits - 1
    samples = 2**bits - 1 - levels if white else levels
    raw = b"".join(
        int("".join(f"{value:0{bits}b}" for value in row), 2).to_bytes(16 * bits // 8, "big")
        for row in samples.tolist()
    )
    entries = [(256, 16), (257, 4), (258, bits), (259, 1), (262, int(not white)), (273, 8), (277, 1), (278, 4)]
    entries.append((279, len(raw)))
    data = b"II*\0" + struct.pack("<I", 8 + len(raw)) + raw + struct.pack("<H", len(entries))
    data += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + b"\0\0\0\0"
    (tmp_path / "a.tif").write_bytes(data)
    result = read_picture(tmp_path / "a.tif")
    np.testing.assert_allclose(read(tmp_path / "a.tif")[..., 1], levels / (2**bits - 1), atol=0.5 / 65535)
    assert result.grey and result.levels.dtype == (np.uint8 if bits < 8 else np.uint16)


@pytest.mark.parametrize(
    ("maximum", "kind"), [(255, b"P5"), (1000, b"P5"), (4095, b"P5"), (65535, b"P5"), (4095, b"P6")]
)
def test_maximum_of_pnm(maximum, kind, tmp_path):
    truth = COLOUR if kind == b"P6" else GREY
    values = np.rint(truth * maximum)
    raw = values.astype(np.uint8 if maximum < 256 else ">u2").tobytes()
    (tmp_path / "a.pnm").write_bytes(kind + b" 24 20 %d " % maximum + raw)
    result = read(tmp_path / "a.pnm")
    step = 0.51 / (65535 if maximum > 255 else 255)
    np.testing.assert_allclose(result[..., 1], (values if truth is GREY else values[..., 1]) / maximum, atol=step)


def test_ink_and_lab(tmp_path, refused):
    """Colours come back, nearly: Lab by its definition, ink by Pillow's plain conversion."""
    smooth = np.tile(np.array([200, 120, 40], dtype=np.uint8), (16, 16, 1))
    source = Image.fromarray(smooth)
    source.convert("CMYK").save(tmp_path / "a.tif")
    assert np.abs(read_levels(tmp_path / "a.tif").astype(int) - smooth).max() <= 2
    lab = ImageCms.profileToProfile(
        source, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    lab.save(tmp_path / "b.tif")
    assert np.abs(read_levels(tmp_path / "b.tif").astype(int) - smooth).max() <= 4
    tif(tmp_path / "c.tif", np.zeros((4, 4, 4), np.float32), photometric="separated")
    with refused(DataError, "c.tif", "4 x float32, SEPARATED"):
        read_levels(tmp_path / "c.tif")
    tif(tmp_path / "d.tif", np.zeros((4, 4, 5), np.uint16), photometric="minisblack", planarconfig="contig")
    with refused(DataError, "d.tif", "5 x uint16, MINISBLACK"):
        read_levels(tmp_path / "d.tif")


def test_ink_by_its_profile(tmp_path, caplog):
    """A profile that is none of ink is said, and left."""
    smooth = np.tile(np.array([200, 120, 40], dtype=np.uint8), (16, 16, 1))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, embedded in (("a.jpg", profile), ("b.jpg", b"none")):
        Image.fromarray(smooth).convert("CMYK").save(tmp_path / name, quality=98, icc_profile=embedded)
        assert np.abs(read_levels(tmp_path / name).astype(int) - smooth).max() <= 4
        assert f"{name}: its colour profile is not one of CMYK" in caplog.text
    assert read_picture(tmp_path / "a.jpg").profile is None


def test_large_pictures_in_blocks(tmp_path, monkeypatch):
    """The same whatever the size of the blocks in which values are converted, palettes with transparency too."""
    levels = np.random.default_rng(0).integers(0, 256, (37, 24, 3), dtype=np.uint8)
    palette = Image.fromarray(levels).quantize(6)
    palette.save(tmp_path / "a.png", transparency=bytes([0, 128, 255, 255, 255, 255]))
    palette.save(tmp_path / "b.png", transparency=2)
    palette.save(tmp_path / "c.gif", transparency=3)
    Image.fromarray(levels[..., 0]).save(tmp_path / "d.png", transparency=7)
    Image.fromarray(levels).save(tmp_path / "e.png", transparency=tuple(int(value) for value in levels[3, 4]))
    for name in ("a.png", "b.png", "c.gif", "d.png", "e.png"):
        with Image.open(tmp_path / name) as picture:
            whole = np.asarray(picture.convert("RGBA"))
        monkeypatch.setattr(decoders, "_BLOCK", 24 * 5)
        result = read_picture(tmp_path / name)
        np.testing.assert_array_equal(np.dstack([result.levels, result.alpha]), whole)


# --- what is decoded at all

OTHERS = (
    "EPS",
    "TGA",
    "PCX",
    "SGI",
    "ICO",
    "JPEG2000",
    "DDS",
    "PDF",
    "IM",
    "QOI",
    "ICNS",
    "DIB",
    "SPIDER",
    "MSP",
    "XBM",
)


@pytest.mark.parametrize("format", OTHERS)
def test_other_formats_are_refused(format, tmp_path, refused, monkeypatch):
    """Under every name; PostScript's interpreter, first on the path, is never called."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    called = tmp_path / "called"
    for name in ("gs", "gswin32c", "gswin64c"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho called >> {called}\n")
        (tmp_path / name).chmod(0o755)
    mode = {"XBM": "1", "MSP": "1"}.get(format, "RGB")
    made = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 99, np.uint8)).convert(mode).save(made, format)
    for name in ("a.png", "a.eps", "a.jpg", "a.tif"):
        (tmp_path / name).write_bytes(made.getvalue())
        for look in (size_of, read_levels, read_picture):
            with refused(DataError, name, "cannot identify it as one of PNG, JPEG"):
                look(tmp_path / name)
    assert not called.exists()


def test_an_offered_format_under_another_name_is_read(tmp_path):
    levels = (COLOUR * 255).astype(np.uint8)
    made = io.BytesIO()
    Image.fromarray(levels).save(made, "PNG")
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix}").write_bytes(made.getvalue())
        np.testing.assert_array_equal(read_levels(tmp_path / f"a{suffix}"), levels)


# --- memory and the limit

SIDE = 3000
MEASURE = """
import re, sys
from tunable.images import pictures
from tunable.errors import DataError


def most(path="/proc/self/status"):
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open(path).read())[1]) * 1024


for path in sys.argv[1:]:
    open("/proc/self/clear_refs", "w").write("5")  # the most from here on
    before, refusal = most(), ""
    try:
        pictures.read_picture(path)
    except DataError as error:
        refusal = str(error)
    print(most() - before, refusal, sep="\\t")
"""
ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def memory(paths):
    """Bytes by which a process grows that reads a picture, and the refusal, of each."""
    words = [sys.executable, "-c", MEASURE, *map(str, paths)]
    returned = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=returned)
    return [(int(grown), refusal) for grown, refusal in (line.split("\t") for line in done.stdout.splitlines())]


def bomb(kind):
    """A small file of 9 megapixels."""
    made = io.BytesIO()
    if kind == "float":
        tifffile.imwrite(made, np.zeros((SIDE, SIDE, 3), np.float32), photometric="rgb", compression="zlib")
    elif kind == "deep":
        made.write(imagecodecs.png_encode(np.zeros((SIDE, SIDE, 3), np.uint16), level=1))
    else:
        mode = {"palette": "P", "grey": "L", "rgba": "RGBA"}.get(kind, "RGB")
        format = {"jpeg": "JPEG", "webp": "WEBP", "tiff": "TIFF"}.get(kind, "PNG")
        options = {"webp": {"lossless": True, "method": 0, "quality": 0}, "tiff": {"compression": "tiff_deflate"}}
        picture = Image.new(mode, (SIDE, SIDE))
        if mode == "P":
            picture.putpalette([9, 8, 7])
        picture.save(made, format, **options.get(kind, {}))
    return made.getvalue()


@pytest.mark.thorough
@ON_LINUX
def test_memory_of_reading(tmp_path):
    """At most three times the levels (and alpha) that come out, twice for 16 bits: what a decoder holds beside them."""
    kinds = {"rgb": 3, "palette": 3, "grey": 3, "rgba": 4, "jpeg": 3, "webp": 3, "tiff": 3, "float": 6, "deep": 6}
    for kind in kinds:
        (tmp_path / kind).write_bytes(bomb(kind))
        assert os.path.getsize(tmp_path / kind) < 2**20
    for (kind, count), (grown, refusal) in zip(kinds.items(), memory(tmp_path / kind for kind in kinds), strict=True):
        samples = SIDE**2 * count
        assert not refusal and 0.9 * samples <= grown < (3 if count < 6 else 2) * samples, kind


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def promising(kind):
    """A file whose header promises 99 megapixels that it does not hold."""
    width, height = 11_000, 9_000
    if kind == "png":
        head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**5))) + b"\0" * 99
    if kind == "pgm":
        return b"P5 %d %d 255 " % (width, height) + bytes(10**5)
    made = io.BytesIO()
    if kind == "jpeg":
        Image.new("L", (16, 16)).save(made, "JPEG")
        return made.getvalue().replace(struct.pack(">HH", 16, 16), struct.pack(">HH", height, width), 1)
    dtype = {"tiff": np.uint16, "float": np.float32, "bytes": np.uint8}[kind]
    tifffile.imwrite(made, np.zeros((16, 16, 3), dtype), photometric="rgb", compression="zlib", rowsperstrip=16)
    data = made.getvalue()
    for tag, value in ((256, width), (257, height), (278, height)):
        for form, code in (("<HHIHH", 3), ("<HHII", 4)):
            old = struct.pack(form, tag, code, 1, 16, *([0] if code == 3 else []))
            data = data.replace(old, struct.pack("<HHII", tag, 4, 1, value))
    assert struct.pack("<HHII", 256, 4, 1, width) in data
    return data


@ON_LINUX
def test_more_pixels_than_a_file_can_hold(tmp_path):
    """Refused from the header, next to no memory taken."""
    kinds = ("png", "pgm", "jpeg", "tiff", "float", "bytes")
    for kind in kinds:
        (tmp_path / kind).write_bytes(promising(kind))
    for kind, (grown, refusal) in zip(kinds, memory(tmp_path / kind for kind in kinds), strict=True):
        assert "truncated" in refusal and grown < 2**24, kind


def test_the_limit_is_an_argument(tmp_path, refused):
    Image.new("L", (1001, 1000)).save(tmp_path / "a.png")
    Image.new("F", (1001, 1000)).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        for look in (read_picture, read_levels, read, size_of):
            with refused(DataError, name, "1001x1000 pixels", "limit is 1000000 pixels", "--max-megapixels"):
                look(tmp_path / name, max_pixels=10**6)
            look(tmp_path / name, max_pixels=1001 * 1000)


def test_a_larger_limit_than_pillows(tmp_path, monkeypatch):
    """Neither a warning nor a refusal of Pillow's own."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    levels = np.full((50, 60, 3), 77, np.uint8)
    monkeypatch.setattr(decoders, "_BLOCK", 500)
    for name in ("a.png", "a.tif", "a.gif", "a.webp", "a.jpg", "a.bmp", "a.ppm"):
        Image.fromarray(levels).save(tmp_path / name)
        assert read_levels(tmp_path / name).shape == (50, 60, 3)
