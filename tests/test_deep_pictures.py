"""16 bits per channel: read and written without loss, whatever the file's form; damage is one line."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from tunable.errors import DataError
from tunable.images.pictures import MAX_PIXELS, read, read_bytes, read_picture, size_of, write

TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's colour types, by samples of a pixel
KINDS = pytest.mark.parametrize("count", [1, 2, 3, 4], ids=["grey", "grey+alpha", "rgb", "rgba"])
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def samples_of(count, shape=(20, 24)):
    """uint16 (H, W, count), every value another, the extremes among them; even."""
    values = np.random.default_rng(count).permutation(np.linspace(0, 32767, count * np.prod(shape)).astype(np.uint16))
    return 2 * values.reshape(*shape, count)


def colours_and_alpha(samples):
    """RGB and alpha of samples."""
    count = samples.shape[2]
    return np.repeat(samples[..., :1], 3, axis=2) if count < 3 else samples[..., :3], (
        samples[..., -1] if count in (2, 4) else None
    )


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples, *chunks, size=None):
    """A PNG written by hand, with more chunks before the values."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), 16, TYPES[samples.shape[2]], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(samples, **options):
    """A TIFF of 8 strips, or as `options` of tifffile say."""
    count, file = samples.shape[2], io.BytesIO()
    options = {
        "photometric": "minisblack" if count < 3 else "rgb",
        "extrasamples": ["unassalpha"] * (count in (2, 4)),
        "planarconfig": "contig" if count > 1 else None,
        "rowsperstrip": 3,
        "metadata": None,
        **options,
    }
    tifffile.imwrite(file, samples if count > 1 else samples[..., 0], **options)
    return file.getvalue()


def check(result, samples):
    colours, alpha = colours_and_alpha(samples)
    assert result.levels.dtype == np.uint16
    np.testing.assert_array_equal(result.levels, colours)
    if alpha is None:
        assert result.alpha is None
    else:
        np.testing.assert_array_equal(result.alpha, alpha)


# --- reading


@KINDS
@pytest.mark.parametrize("make", [png, tiff])
def test_read(make, count, tmp_path):
    samples, path = samples_of(count), tmp_path / "a.any"
    path.write_bytes(make(samples))
    check(read_picture(path), samples)
    assert size_of(path) == (24, 20)
    colours = colours_and_alpha(samples)[0]
    floats = read(path)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(np.rint(floats.astype(np.float64) * 65535), colours)
    np.testing.assert_array_equal(read_bytes(path), np.rint(colours / 257).astype(np.uint8))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"compression": "packbits"},
        {"byteorder": ">", "compression": "lzw", "predictor": True},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"tile": (16, 16), "rowsperstrip": None},
    ],
    ids=str,
)
@KINDS
def test_forms_of_tiff(count, options, tmp_path):
    samples = samples_of(count)
    (tmp_path / "a.tif").write_bytes(tiff(samples, **options))
    check(read_picture(tmp_path / "a.tif"), samples)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_planes(count, tmp_path):
    samples = samples_of(count)
    options = {"planarconfig": "separate", "extrasamples": ["unassalpha"] * (count != 3), "metadata": None}
    photometric = "rgb" if count > 2 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", samples.transpose(2, 0, 1), photometric=photometric, **options)
    check(read_picture(tmp_path / "a.tif"), samples)


def test_white_is_zero(tmp_path):
    samples = samples_of(1)
    (tmp_path / "a.tif").write_bytes(tiff(65535 - samples, photometric="miniswhite"))
    check(read_picture(tmp_path / "a.tif"), samples)


def test_colours_multiplied_by_alpha(tmp_path):
    samples = np.array([[[100, 200, 300, 32768], [7, 8, 9, 65535], [0, 0, 0, 0]]], np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(samples, extrasamples=["assocalpha"]))
    result = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(result.levels, [[[200, 400, 600], [7, 8, 9], [0, 0, 0]]])
    np.testing.assert_array_equal(result.alpha, samples[..., 3])


def test_a_sample_without_a_meaning_is_no_alpha(tmp_path):
    samples = samples_of(4)
    (tmp_path / "a.tif").write_bytes(tiff(samples, extrasamples=["unspecified"]))
    check(read_picture(tmp_path / "a.tif"), samples[..., :3])


def test_a_transparent_colour(tmp_path):
    samples = samples_of(3)
    (tmp_path / "a.png").write_bytes(png(samples, chunk(b"tRNS", samples[3, 5].astype(">u2").tobytes())))
    alpha = np.full((20, 24, 1), 65535, np.uint16)
    alpha[3, 5] = 0
    check(read_picture(tmp_path / "a.png"), np.concatenate([samples, alpha], axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_as_for_8_bits(orientation, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    samples = samples_of(4)
    Image.fromarray((samples >> 8).astype(np.uint8)).save(tmp_path / "8.png", exif=exif)
    (tmp_path / "16.png").write_bytes(png(samples, chunk(b"eXIf", exif.tobytes()[6:])))
    (tmp_path / "16.tif").write_bytes(tiff(samples, extratags=[(274, 3, 1, orientation, True)]))
    shallow = read_picture(tmp_path / "8.png")
    for name in ("16.png", "16.tif"):
        deep = read_picture(tmp_path / name)
        np.testing.assert_array_equal(deep.levels >> 8, shallow.levels)
        np.testing.assert_array_equal(deep.alpha >> 8, shallow.alpha)


def test_grey_of_other_formats(tmp_path):
    samples = samples_of(1)
    (tmp_path / "a.pgm").write_bytes(b"P5 24 20 65535 " + samples.astype(">u2").tobytes())
    top = 2**31 - 1
    Image.fromarray(np.rint(samples[..., 0] * (top / 65535)).astype(np.int32)).save(tmp_path / "32.tif")
    Image.fromarray(samples[..., 0].astype(np.float32) / 65535).save(tmp_path / "float.tif")
    for name in ("a.pgm", "32.tif", "float.tif"):
        check(read_picture(tmp_path / name), samples)


# --- what is no picture


@pytest.mark.parametrize(
    "make", [png, tiff, lambda samples: tiff(samples, compression="zlib"), lambda s: tiff(s, compression="lzw")],
    ids=["png", "tiff", "zlib", "lzw"],
)  # fmt: skip
@KINDS
def test_cut_files(make, count, tmp_path, refused):
    """Wherever a file ends early: refused, unless all of its values are there."""
    samples, path = samples_of(count), tmp_path / "a.any"
    whole = make(samples)
    end = len(whole) - 12  # of a PNG's values
    for length in [*range(0, 40), *range(40, end - 20, 97), *range(end - 20, end)]:
        path.write_bytes(whole[:length])
        with refused(DataError, str(path)):
            read_picture(path)
    for length in range(end, len(whole)):
        path.write_bytes(whole[:length])
        if make is png:  # only what marks its end is cut
            check(read_picture(path), samples)
        else:
            with refused(DataError, str(path)):
                read_picture(path)


@pytest.mark.parametrize("make", [png, tiff, lambda samples: tiff(samples, compression="lzw")])
def test_changed_files(make, tmp_path, rng, caplog):
    """A changed byte: a picture, or one line; no library logs anything."""
    whole, path, failed = make(samples_of(4)), tmp_path / "a.any", 0
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.integers(len(whole) if rng.integers(2) else 300)] = rng.integers(256)
        path.write_bytes(changed)
        try:
            result = read_picture(path)
        except DataError as error:
            failed += 1
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert result.levels.dtype in (np.uint8, np.uint16) and result.levels.shape[2] == 3
    assert failed > 20 and {record.name for record in caplog.records} <= {"tunable.images.pictures"}


def test_too_many_pixels(tmp_path, refused):
    """Found in the header, before anything is decoded."""
    side = 10_001
    assert side**2 > MAX_PIXELS
    (tmp_path / "a.png").write_bytes(png(samples_of(3), size=(side, side)))
    content = tiff(samples_of(3), rowsperstrip=20)
    for tag, value in ((256, 24), (257, 20)):
        entry = struct.pack("<HHII", tag, 4, 1, value)
        assert content.count(entry) == 1
        content = content.replace(entry, struct.pack("<HHII", tag, 4, 1, side))
    (tmp_path / "a.tif").write_bytes(content)
    for name in ("a.png", "a.tif"):
        for look in (read_picture, size_of):
            with refused(DataError, name, "10001x10001 pixels", f"limit is {MAX_PIXELS}"):
                look(tmp_path / name)


# --- writing


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff"])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_round_trip_is_exact(suffix, with_alpha, tmp_path):
    """By other readers too: Pillow, which sees the high bytes, and the libraries themselves."""
    samples, path = samples_of(4 if with_alpha else 3), tmp_path / f"a{suffix}"
    write(path, *colours_and_alpha(samples), PROFILE)
    check(read_picture(path), samples)
    assert read_picture(path).profile == PROFILE
    raw = path.read_bytes()
    again = imagecodecs.png_decode(raw) if suffix.lower() == ".png" else tifffile.imread(path)
    np.testing.assert_array_equal(again, samples)
    with Image.open(path) as picture:
        assert picture.info["icc_profile"] == PROFILE
        np.testing.assert_array_equal(np.asarray(picture), samples >> 8)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".webp", ".jpg"])
def test_formats_of_8_bits_are_rounded_to(suffix, tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 65535, 40).astype(np.uint16)[None, :, None], (32, 40, 3))
    write(tmp_path / f"a{suffix}", smooth, np.full((32, 40), 65535, np.uint16))
    result = read_picture(tmp_path / f"a{suffix}").levels
    assert result.dtype == np.uint8
    nearest = np.rint(smooth / 257)
    assert np.abs(result - nearest).max() <= {".bmp": 0, ".ppm": 0}.get(suffix, 8)


def test_alpha_of_another_size(tmp_path):
    """The alpha of a picture that was enlarged."""
    alpha = np.tile(np.linspace(1000, 60001, 12).astype(np.uint16), (10, 1))
    for levels in (samples_of(3), (samples_of(3) >> 8).astype(np.uint8)):
        write(tmp_path / "a.png", levels, alpha)
        result = read_picture(tmp_path / "a.png").alpha
        assert result.dtype == levels.dtype and result.shape == (20, 24)
        scale = 1 if result.dtype == np.uint16 else 257
        middle = result[:, 4:-4].astype(float) * scale
        steps = np.diff(middle, axis=1)
        assert np.abs(steps - (60001 - 1000) / 11 / 2).max() <= 2 * scale  # as even as before
        assert np.abs(result[:, ::23].astype(float) * scale - [1000, 60001]).max() < 1500


# --- through `tunable restore`


@pytest.fixture
def echo(make_echo):
    """A network that gives what it gets at omega 1,0, and half of it at 0,1."""
    return make_echo(range(3))


@KINDS
@pytest.mark.parametrize("source", ["png", "tiff"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_restore_keeps_16_bits(source, suffix, count, echo, tunable, here):
    """Values, alpha, profile and orientation; whole, in tiles and changed."""
    samples = samples_of(count)
    make = {
        "png": lambda: png(
            samples,
            chunk(b"iCCP", b"x\0\0" + zlib.compress(PROFILE)),
            chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
        ),
        "tiff": lambda: tiff(samples, iccprofile=PROFILE, extratags=[(274, 3, 1, 6, True)]),
    }[source]
    with open("in.any", "wb") as file:
        file.write(make())
    turned = np.rot90(samples, -1)
    colours, alpha = colours_and_alpha(turned)
    halved = [colours // 2] if alpha is None else [colours // 2, alpha[..., None]]
    for words, expected in (
        (("--omega", "1,0"), turned),
        (("--omega", "1,0", "--tile", "16"), turned),
        (("--omega", "0,1"), np.concatenate(halved, axis=2)),
    ):
        status, _, err = tunable("restore", echo, "in.any", "-o", f"out{suffix}", *words)
        assert (status, err) == (0, f"wrote out{suffix}\n")
        result = read_picture(f"out{suffix}")
        check(result, expected)
        assert result.profile == (PROFILE if count >= 3 else None)


def test_8_bits_stay_8(echo, tunable, here):
    values = np.random.default_rng(0).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    Image.fromarray(values).save("in.png")
    for name in ("out.png", "out.tif"):
        assert tunable("restore", echo, "in.png", "-o", name, "--omega", "1,0")[0] == 0
        with Image.open(name) as result:
            np.testing.assert_array_equal(np.asarray(result), values)
        assert read_picture(name).levels.dtype == np.uint8


def test_a_sheet_has_8_bits(echo, tunable, here):
    samples = samples_of(3)
    with open("in.png", "wb") as file:
        file.write(png(samples))
    assert tunable("restore", echo, "in.png", "-o", "out.png", "--sweep", "2")[0] == 0
    result = read_picture("out.png").levels
    assert result.dtype == np.uint8
    for levels in (samples, samples // 2):  # the input and omega 1,0; omega 0,1
        shown = np.rint(levels / 257).astype(np.uint8)
        places = np.lib.stride_tricks.sliding_window_view(result, shown.shape)[:, :, 0]
        assert (places == shown).all(axis=(2, 3, 4)).sum() == (2 if levels is samples else 1)


@pytest.mark.parametrize("make", [png, tiff])
def test_a_cut_file_is_one_line(make, echo, tunable, here):
    with open("in.any", "wb") as file:
        file.write(make(samples_of(3))[:-200])
    status, out, err = tunable("restore", echo, "in.any", "-o", "out.png", "--omega", "1,0")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("tunable restore: cannot read in.any as a picture: ")
