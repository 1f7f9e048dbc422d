"""What is restored is written as it was computed, in the form of the picture that was read: grey, tags, pages."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from photographs import COLOURS, GREYS, photograph
from PIL import Image, PngImagePlugin
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from tunable.evaluation import metrics
from tunable.images.pictures import read, read_frames, read_picture, to_floats, write
from tunable.images.tags import Tags

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="a lake"/></x:xmpmeta>'


def psnr(path, levels):
    return metrics.psnr(read(path), to_floats(levels))


# --- what the encoder loses


@pytest.mark.parametrize("suffix", [".png", ".apng", ".bmp", ".tif", ".ppm", ".webp"])
def test_without_loss(suffix, restore):
    """Colours under full transparency too, where there is any."""
    levels = photograph()
    alpha = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (96, 1))
    Image.fromarray(np.dstack([levels, alpha])).save("in.png")
    restore("in.png", f"out{suffix}")
    result = read_picture(f"out{suffix}")
    np.testing.assert_array_equal(result.levels, levels)
    if suffix not in (".bmp", ".ppm"):
        np.testing.assert_array_equal(result.alpha, alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".avif"])
def test_lossy_formats_lose_little(suffix, restore):
    """Pillow's own 75 and half the chroma are far below; the knob sets what is wanted."""
    levels = photograph()
    Image.fromarray(levels).save("in.png")
    Image.fromarray(levels).save("pillow.jpg")
    restore("in.png", f"out{suffix}")
    assert psnr(f"out{suffix}", levels) > max(40, psnr("pillow.jpg", levels) + 15)
    sizes, values = [], []
    for quality in ("30", "80", "100"):
        restore("in.png", f"q{quality}{suffix}", "--quality", quality)
        values.append(psnr(f"q{quality}{suffix}", levels))
        sizes.append(Path(f"q{quality}{suffix}").stat().st_size)
    assert values == sorted(values) and sizes == sorted(sizes) and values[0] < psnr(f"out{suffix}", levels) < values[2]
    if suffix != ".avif":
        with Image.open(f"out{suffix}") as result:
            assert result.layer[0][1:3] == (1, 1) and result.layer[1][1:3] == (1, 1)  # chroma in full resolution
            assert result.quantization[0][0] == 1  # of quality 98


def test_webp_of_a_quality(restore):
    levels = photograph()
    Image.fromarray(levels).save("in.png")
    restore("in.png", "out.webp", "--quality", "60")
    assert 20 < psnr("out.webp", levels) < 40


def test_sheets_and_animations(echo, tunable, here):
    """As well as pictures: without loss in WebP, at 98 in JPEG, at any quality that is asked for."""
    Image.fromarray(photograph(64)).save("in.png")
    words = ("restore", echo, "in.png", "--sweep", "2")
    for target, more in (
        ("a.png", ()), ("a.webp", ()), ("a.jpg", ()), ("b.jpg", ("--quality", "20")),
        ("m.webp", ("--animate",)), ("n.webp", ("--animate", "--quality", "20")),
    ):  # fmt: skip
        assert tunable(*words, "-o", target, *more)[0] == 0
    sheet = read_picture("a.png").levels
    np.testing.assert_array_equal(read_picture("a.webp").levels, sheet)
    assert psnr("a.jpg", sheet) > 35 > psnr("b.jpg", sheet)
    exact, lossy = (list(read_frames(name)) for name in ("m.webp", "n.webp"))
    assert len(exact) == len(lossy) == 2 and exact[0].duration == 125 and exact[0].loop == 0
    shown = exact[0].levels  # omega 0,1 first: red is halved
    places = np.lib.stride_tricks.sliding_window_view(shown[..., 1], (64, 64))
    assert (places == photograph(64)[..., 1]).all(axis=(2, 3)).sum() == 1
    assert metrics.psnr(to_floats(lossy[0].levels), to_floats(shown)) < 40


@pytest.mark.parametrize("target", ["x.png", "x.tif", "out", "x.bmp"])
def test_a_quality_of_what_has_none(target, echo, tunable, here):
    Image.fromarray(photograph(16)).save("in.png")
    status, _, err = tunable("restore", echo, "in.png", "-o", target, "--omega", "1,0", "--quality", "90")
    assert status == 2 and "--quality is of JPEG, WebP and AVIF" in err and len(err.splitlines()) == 1
    for value in ("0", "101", "high"):
        status, _, err = tunable("restore", echo, "in.png", "-o", "x.jpg", "--omega", "1,0", "--quality", value)
        assert status == 2 and value in err and len(err.splitlines()) == 1


def test_a_format_that_holds_no_such_size(echo, tunable, here):
    Image.new("L", (17_000, 20)).save("in.png")
    status, _, err = tunable("restore", echo, "in.png", "-o", "x.webp", "--omega", "1,0")
    assert status == 2 and "17000x20 pixels" in err and "16383" in err and len(err.splitlines()) == 1


# --- grey


@pytest.mark.parametrize("source", ["grey.png", "grey.jpg", "grey.tif", "grey.pgm", "deep.png", "deep.tif", "bits.png"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".pgm"])
def test_grey_stays_grey(source, suffix, restore):
    """One channel, its profile and its precision, whatever the network makes of three equal ones."""
    deep = np.tile(np.linspace(0, 65535, 40).astype(np.uint16), (32, 1))
    grey = (deep >> 8).astype(np.uint8)
    image = Image.fromarray(deep if "deep" in source else grey)
    image = image.convert("1") if "bits" in source else image
    options = {} if source.endswith("pgm") else {"icc_profile": GREYS}
    image.save(source, **options)
    before = read_picture(source)
    assert restore(source, f"out{suffix}", omega="0,1") == []
    result = read_picture(f"out{suffix}")
    with Image.open(f"out{suffix}") as written:
        assert written.mode == ("I;16" if "deep" in source and suffix in (".png", ".tif") else "L")
    keeps = options and suffix in (".png", ".jpg", ".tif")
    assert result.grey and result.profile == (GREYS if keeps else None)
    full = 65535 if result.levels.dtype == np.uint16 else 255
    expected = to_floats(before.levels).astype(np.float64).mean(axis=2) * (0.5 + 1 + 1) / 3  # red is halved
    np.testing.assert_allclose(result.levels[..., 0] / full, expected, atol=1.5 / full if suffix != ".jpg" else 0.03)


def test_grey_with_alpha(restore):
    values = np.dstack([photograph(32)[..., 0], photograph(32)[..., 1]])
    Image.fromarray(values).save("in.png", icc_profile=GREYS)
    tifffile.imwrite("in.tif", values.astype(np.uint16) * 257, photometric="minisblack", planarconfig="contig",
                     extrasamples=["unassalpha"])  # fmt: skip
    for source in ("in.png", "in.tif"):
        for target in ("out.png", "out.tif"):
            restore(source, target)
            result = read_picture(target)
            assert result.grey and result.profile == (GREYS if source == "in.png" else None)
            scale = 1 if source == "in.png" else 257
            np.testing.assert_array_equal(result.levels[..., 0], values[..., 0].astype(int) * scale)
            np.testing.assert_array_equal(result.alpha, values[..., 1].astype(int) * scale)
    restore("in.png", "out.webp")  # has three channels
    result = read_picture("out.webp")
    assert not result.grey and result.profile is None
    np.testing.assert_array_equal(result.levels, values[..., :1].repeat(3, axis=2))


def test_what_counts_as_grey(tmp_path):
    """One channel, or a palette of nothing but greys; not three equal channels."""
    grey = Image.fromarray(photograph(32)[..., 0])
    grey.convert("P").save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").grey
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").levels[..., 0], np.asarray(grey))
    grey.save(tmp_path / "b.gif")
    assert read_picture(tmp_path / "b.gif").grey
    for name, image in (("c.png", grey.convert("RGB")), ("d.png", Image.fromarray(photograph(32)).quantize(8))):
        image.save(tmp_path / name)
        assert not read_picture(tmp_path / name).grey


def test_a_profile_of_another_space_is_left_behind(tmp_path):
    Image.fromarray(photograph(16)[..., 0]).save(tmp_path / "a.png", icc_profile=COLOURS)
    Image.fromarray(photograph(16)).save(tmp_path / "b.png", icc_profile=GREYS)
    for name in ("a.png", "b.png"):
        assert read_picture(tmp_path / name).profile is None


# --- tags


def exif():
    made = Image.Exif()
    made[Base.Make], made[Base.Artist], made[Base.Copyright] = "Makers", "A. N. Other", "all rights"
    made[Base.Orientation] = 6
    made[IFD.Exif] = {36867: "2024:05:06 07:08:09", 33434: IFDRational(1, 250), 42036: "50mm f/1.8"}
    made[IFD.Exif] |= {40962: 24, 40963: 20}
    made[IFD.GPSInfo] = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (60.0, 10.0, 1.5)}
    return made


def source(suffix, deep):
    """A file of 24x20 pixels, to be turned upright, with all tags that its format holds."""
    levels = photograph(24)[:20]
    name = f"in{suffix}"
    if deep and suffix == ".png":
        write(name, levels.astype(np.uint16) * 257, tags=Tags(dict(exif()), XMP, (300.0, 200.0)))
        assert Path(name).read_bytes().count(b"Makers") == 1
        return name
    if suffix == ".tif":
        tags = exif()
        tags[700] = XMP
        Image.fromarray(levels).save(name, exif=tags.tobytes(), dpi=(300, 200))
        return name
    options = {"exif": exif(), "dpi": (300, 200)}
    if suffix == ".png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    else:
        options["xmp"] = XMP
    if suffix == ".webp":
        options["exif"][Base.XResolution], options["exif"][Base.YResolution] = 300.0, 200.0
    Image.fromarray(levels).save(name, **options)
    return name


@pytest.mark.parametrize("into", [".png", ".jpg", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("of", [".png", ".jpg", ".webp", ".tif", "16 bits"])
def test_tags_are_kept(of, into, restore):
    """The camera, times, place and rights, title and resolution; the pixels are upright, so the orientation says so."""
    deep = of == "16 bits"
    name = source(".png" if deep else of, deep)
    assert restore(name, f"out{into}") == []
    with Image.open(f"out{into}") as result:
        result.load()
        tags = result.getexif()
        assert (
            tags[Base.Make] == "Makers" and tags[Base.Artist] == "A. N. Other" and tags[Base.Copyright] == "all rights"
        )
        assert tags.get(Base.Orientation, 1) == 1
        within, place = tags.get_ifd(IFD.Exif), tags.get_ifd(IFD.GPSInfo)
        assert within[36867] == "2024:05:06 07:08:09" and within[42036] == "50mm f/1.8"
        assert float(within[33434]) == pytest.approx(1 / 250)
        assert (within[40962], within[40963]) == result.size  # of the picture that is written
        assert place[GPS.GPSLatitudeRef] == "N" and tuple(map(float, place[GPS.GPSLatitude])) == (60.0, 10.0, 1.5)
        dpi = result.info["dpi"] if "dpi" in result.info else (tags[Base.XResolution], tags[Base.YResolution])
        assert tuple(map(float, dpi)) == pytest.approx((300, 200), abs=0.02)
        xmp = result.info["xmp"]
        assert b"a lake" in xmp and b'tiff:Orientation="1"' in xmp
        assert result.size == (20, 24)
    if deep and into in (".png", ".tif"):
        assert read_picture(f"out{into}").levels.dtype == np.uint16


def test_a_thumbnail_is_dropped(restore):
    """It shows the picture as it was."""
    thumbnail = io.BytesIO()
    Image.fromarray(photograph(16)).save(thumbnail, "JPEG")
    first, second = ImageFileDirectory_v2(), ImageFileDirectory_v2()
    first[Base.Make] = "Makers"
    second[259], second[513], second[514] = 6, 0, len(thumbnail.getvalue())
    at = 8 + len(first.tobytes(8))
    second[513] = at + len(second.tobytes(at))
    exif = bytearray(first.tobytes(8))
    exif[14:18] = struct.pack("<L", at)  # behind the one entry: where the next directory is
    tags = b"Exif\0\0II*\0\x08\0\0\0" + exif + second.tobytes(at) + thumbnail.getvalue()
    Image.fromarray(photograph(24)).save("in.jpg", exif=bytes(tags))
    with Image.open("in.jpg") as picture:
        assert picture.getexif().get_ifd(IFD.IFD1)[514] == len(thumbnail.getvalue())
    restore("in.jpg", "out.jpg")
    assert Path("out.jpg").read_bytes().count(b"\xff\xd8\xff") == 1
    with Image.open("out.jpg") as picture:
        assert not picture.getexif().get_ifd(IFD.IFD1)


def test_what_a_format_does_not_hold_is_said(restore):
    name = source(".jpg", False)
    assert restore(name, "out.bmp") == ["out.bmp is without the EXIF tags and XMP of the picture: its format has no "
                                        "room for them"]  # fmt: skip
    tags = exif()
    tags[Base.ImageDescription] = "long " * 20_000
    Image.fromarray(photograph(24)).save("long.png", exif=tags)
    (line,) = restore("long.png", "long.jpg")
    assert "long.jpg is without the EXIF tags" in line


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL.TiffImagePlugin")
def test_damaged_tags_do_not_stop_a_picture(restore):
    data = Path(source(".jpg", False)).read_bytes()
    start = data.index(b"Exif\0\0")
    length = int.from_bytes(data[start - 2 : start], "big")
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(data)
        for place in start + 6 + rng.integers(0, length - 8, 8):
            changed[place] = rng.integers(256)
        Path("in.jpg").write_bytes(changed)
        lines = restore("in.jpg", "out.tif")
        assert all("EXIF" in line for line in lines)
        with Image.open("out.tif") as result:
            result.load()
