"""What is restored is written as it was computed, in the form of the picture that was read: grey, tags, pages."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from tunable.errors import DataError
from tunable.evaluation import metrics
from tunable.images import pictures
from tunable.images.pictures import Picture, read, read_frames, read_picture, to_floats, write, write_frames
from tunable.images.tags import Tags
from tunable.weights import storage

COLOURS = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREYS = COLOURS[:16] + b"GRAY" + COLOURS[20:]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="a lake"/></x:xmpmeta>'


@pytest.fixture(autouse=True)
def said():
    pictures._say_once.cache_clear()


@pytest.fixture
def echo(weights_file, tmp_path):
    """A network that gives what it gets at omega 1,0; at 0,1 half of red, and green and blue as they are."""
    tensors, header = storage.load(weights_file)
    tensors = {name: np.zeros_like(value) for name, value in tensors.items()}
    for channel in range(3):  # phi `base`: kernels are the first and omega times the others; the long skip doubles
        tensors["head.weight"][:, channel, channel, 1, 1] = 1, 0, 0
        tensors["tail.weight"][:, channel, channel, 1, 1] = 0.5, 0, -0.25 * (channel == 0)
    storage.save(tmp_path / "echo.safetensors", tensors, header)
    return tmp_path / "echo.safetensors"


@pytest.fixture
def restore(echo, tunable, here):
    """restore(source, target, *words): tunable restore at omega 1,0; its messages, without "wrote"."""

    def call(source, target, *words, omega="1,0"):
        status, _, err = tunable("restore", echo, source, "-o", target, "--omega", omega, *words)
        lines = err.splitlines()
        assert status == 0 and lines[-1] == f"wrote {target}", err
        return lines[:-1]

    return call


def photograph(size=96):
    """uint8 (H, W, 3) with fine coloured detail, as JPEG's chroma at half resolution would lose it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    smooth = np.stack([x, y, (x + y) / 2], axis=2)
    return np.rint(255 * np.clip(smooth + 0.08 * rng.standard_normal((size, size, 3)), 0, 1)).astype(np.uint8)


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
    found = read_picture(f"out{suffix}")
    np.testing.assert_array_equal(found.levels, levels)
    if suffix not in (".bmp", ".ppm"):
        np.testing.assert_array_equal(found.alpha, alpha)


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
        with Image.open(f"out{suffix}") as found:
            assert found.layer[0][1:3] == (1, 1) and found.layer[1][1:3] == (1, 1)  # chroma in full resolution
            assert found.quantization[0][0] == 1  # of quality 98


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
    found = read_picture(f"out{suffix}")
    with Image.open(f"out{suffix}") as written:
        assert written.mode == ("I;16" if "deep" in source and suffix in (".png", ".tif") else "L")
    keeps = options and suffix in (".png", ".jpg", ".tif")
    assert found.grey and found.profile == (GREYS if keeps else None)
    full = 65535 if found.levels.dtype == np.uint16 else 255
    wanted = to_floats(before.levels).astype(np.float64).mean(axis=2) * (0.5 + 1 + 1) / 3  # red is halved
    np.testing.assert_allclose(found.levels[..., 0] / full, wanted, atol=1.5 / full if suffix != ".jpg" else 0.03)


def test_grey_with_alpha(restore):
    values = np.dstack([photograph(32)[..., 0], photograph(32)[..., 1]])
    Image.fromarray(values).save("in.png", icc_profile=GREYS)
    tifffile.imwrite("in.tif", values.astype(np.uint16) * 257, photometric="minisblack", planarconfig="contig",
                     extrasamples=["unassalpha"])  # fmt: skip
    for source in ("in.png", "in.tif"):
        for target in ("out.png", "out.tif"):
            restore(source, target)
            found = read_picture(target)
            assert found.grey and found.profile == (GREYS if source == "in.png" else None)
            scale = 1 if source == "in.png" else 257
            np.testing.assert_array_equal(found.levels[..., 0], values[..., 0].astype(int) * scale)
            np.testing.assert_array_equal(found.alpha, values[..., 1].astype(int) * scale)
    restore("in.png", "out.webp")  # has three channels
    found = read_picture("out.webp")
    assert not found.grey and found.profile is None
    np.testing.assert_array_equal(found.levels, values[..., :1].repeat(3, axis=2))


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
    with Image.open(f"out{into}") as found:
        found.load()
        tags = found.getexif()
        assert (
            tags[Base.Make] == "Makers" and tags[Base.Artist] == "A. N. Other" and tags[Base.Copyright] == "all rights"
        )
        assert tags.get(Base.Orientation, 1) == 1
        within, place = tags.get_ifd(IFD.Exif), tags.get_ifd(IFD.GPSInfo)
        assert within[36867] == "2024:05:06 07:08:09" and within[42036] == "50mm f/1.8"
        assert float(within[33434]) == pytest.approx(1 / 250)
        assert (within[40962], within[40963]) == found.size  # of the picture that is written
        assert place[GPS.GPSLatitudeRef] == "N" and tuple(map(float, place[GPS.GPSLatitude])) == (60.0, 10.0, 1.5)
        dpi = found.info["dpi"] if "dpi" in found.info else (tags[Base.XResolution], tags[Base.YResolution])
        assert tuple(map(float, dpi)) == pytest.approx((300, 200), abs=0.02)
        xmp = found.info["xmp"]
        assert b"a lake" in xmp and b'tiff:Orientation="1"' in xmp
        assert found.size == (20, 24)
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
    held = bytearray(first.tobytes(8))
    held[14:18] = struct.pack("<L", at)  # behind the one entry: where the next directory is
    tags = b"Exif\0\0II*\0\x08\0\0\0" + held + second.tobytes(at) + thumbnail.getvalue()
    Image.fromarray(photograph(24)).save("in.jpg", exif=bytes(tags))
    with Image.open("in.jpg") as found:
        assert found.getexif().get_ifd(IFD.IFD1)[514] == len(thumbnail.getvalue())
    restore("in.jpg", "out.jpg")
    assert Path("out.jpg").read_bytes().count(b"\xff\xd8\xff") == 1
    with Image.open("out.jpg") as found:
        assert not found.getexif().get_ifd(IFD.IFD1)


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
        with Image.open("out.tif") as found:
            found.load()


# --- pages and frames


def flags(count=3, size=24):
    return [np.full((size, size, 3), (80 * place, 40, 200 - 60 * place), np.uint8) for place in range(count)]


def animation(name, frames, durations=(40, 80, 120), loop=3):
    first, *rest = map(Image.fromarray, frames)
    extra = {"lossless": True} if name.endswith("webp") else {}
    first.save(name, save_all=True, append_images=rest, duration=list(durations), loop=loop, **extra)
    return name


@pytest.mark.parametrize("of", ["in.gif", "in.png", "in.webp"])
@pytest.mark.parametrize("into", ["out.png", "out.webp", "out.avif"])
def test_frames_stay_together(of, into, restore):
    assert restore(animation(of, flags()), into) == []
    found = list(read_frames(into))
    assert len(found) == 3 and [frame.duration for frame in found] == [40, 80, 120]
    if into != "out.avif":
        assert found[0].loop == 3
    for frame, wanted in zip(found, flags(), strict=True):
        assert np.abs(frame.levels.astype(int) - wanted).max() <= (3 if "avif" in into or "gif" in of else 0)


def test_a_gif_without_a_count_is_shown_once(restore):
    first, *rest = map(Image.fromarray, flags())
    first.save("in.gif", save_all=True, append_images=rest, duration=50)
    restore("in.gif", "out.png")
    assert read_picture("out.png").loop == 1


def test_transparent_frames(restore):
    frames = [np.dstack([frame, np.tile(np.arange(24, dtype=np.uint8) * 10, (24, 1))]) for frame in flags()]
    restore(animation("in.png", frames), "out.webp")
    for frame, wanted in zip(read_frames("out.webp"), frames, strict=True):
        np.testing.assert_array_equal(frame.alpha, wanted[..., 3])


@pytest.mark.parametrize("deep", [False, True])
def test_pages_stay_together(deep, restore):
    """Each in its own form: size, depth, channels, profile and resolution."""
    scale = 257 if deep else 1
    colour, grey = photograph(24).astype(np.uint16 if deep else np.uint8) * scale, photograph(20)[..., 0]
    with tifffile.TiffWriter("in.tif") as file:
        file.write(
            colour, photometric="rgb", iccprofile=COLOURS, metadata=None, resolution=(300, 200), resolutionunit=2
        )
        file.write(grey, photometric="minisblack", iccprofile=GREYS, metadata=None)
        file.write(grey[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)  # the second, smaller
        file.write(colour[::-1], photometric="rgb", compression="zlib", metadata=None)
    assert restore("in.tif", "out.tif") == []
    first, second, third = read_frames("out.tif")
    np.testing.assert_array_equal(first.levels, colour)
    np.testing.assert_array_equal(second.levels[..., 0], grey)
    np.testing.assert_array_equal(third.levels, colour[::-1])
    assert first.profile == COLOURS and second.profile == GREYS and third.profile is None
    assert second.grey and not first.grey and first.tags.dpi == (300, 200)
    with tifffile.TiffFile("out.tif") as file:  # by another reader
        np.testing.assert_array_equal(file.pages[0].asarray(), colour)
        np.testing.assert_array_equal(file.pages[1].asarray(), grey)
        assert len(file.pages) == 3


@pytest.mark.parametrize("of, into, line", [
    ("in.gif", "out.jpg", "out.jpg shows the first of the 3 frames of in.gif: -o NAME.png or NAME.webp or NAME.avif"),
    ("in.webp", "out.tif", "out.tif shows the first of the 3 frames of in.webp"),
    ("in.tif", "out.png", "out.png shows the first of the 3 pages of in.tif: -o NAME.tiff holds all"),
])  # fmt: skip
def test_what_is_left_out_is_said(of, into, line, restore):
    animation(of, flags()) if of != "in.tif" else tifffile.imwrite(of, np.stack(flags()), photometric="rgb")
    (found,) = restore(of, into)
    assert found.startswith(line)
    np.testing.assert_allclose(read_picture(into).levels, flags()[0], atol=3)
    assert read_picture(into).frames == 1


def test_a_sheet_shows_the_first_frame(echo, tunable, here):
    animation("in.webp", flags())
    status, _, err = tunable("restore", echo, "in.webp", "--sweep", "2", "-o", "x.png")
    assert status == 0 and err.splitlines()[0] == "x.png shows the first of the 3 frames of in.webp"


def test_frames_of_too_many_pixels_together(echo, tunable, here):
    animation("in.webp", flags(3, 600))
    tifffile.imwrite("in.tif", np.stack(flags(3, 600)), photometric="rgb")
    for name in ("in.webp", "in.tif"):
        words = ("restore", echo, name, "--omega", "1,0", "-o", f"out.{name[3:]}", "--max-megapixels")
        status, _, err = tunable(*words, "1")
        assert status == 2 and "3 " in err and "limit is 1000000 pixels" in err and len(err.splitlines()) == 1
        assert tunable(*words, "2")[0] == 0


def test_other_readers_say_that_there_is_more(caplog, tmp_path):
    read(animation(str(tmp_path / "a.webp"), flags()))
    read(tmp_path / "a.webp")
    assert caplog.text.count("a.webp holds 3 pictures: the first is taken") == 1


def test_what_a_camera_adds_is_no_page(restore):
    """A JPEG with a second picture in it, as telephones write them."""
    first, second = (Image.fromarray(frame) for frame in flags(2))
    first.save("in.jpg", "MPO", save_all=True, append_images=[second])
    (line,) = restore("in.jpg", "out.tif")
    assert line == "in.jpg holds 1 more, as cameras add previews and maps: the first picture is taken"
    assert read_picture("out.tif").frames == 1


def test_descriptions_of_arrays_are_dropped(restore):
    """They would say another shape than the file has."""
    tifffile.imwrite("in.tif", photograph(24), photometric="rgb")
    tifffile.imwrite("j.tif", photograph(24)[..., 0], imagej=True)
    for name in ("in.tif", "j.tif"):
        restore(name, "out.tif")
        with tifffile.TiffFile("out.tif") as file:
            assert not file.pages[0].description and file.asarray().shape[:2] == (24, 24)


def test_pictures_that_do_not_fit_together(tmp_path, refused):
    frames = [Picture(frame) for frame in flags()]
    with refused(DataError, "a.png", "3 pictures"):
        write_frames(tmp_path / "a.png", frames)


# --- names and the limit


def test_an_unknown_suffix_is_no_folder(echo, tunable, here):
    Image.fromarray(photograph(16)).save("in.png")
    words = ("restore", echo, "in.png", "--omega", "1,0", "-o")
    for name in ("x.heic", "x.HEIF", "x.jxl", "x.gif", "x.v2", "x.psd"):
        status, _, err = tunable(*words, name)
        assert status == 2 and f"cannot write {name}: the suffix must be one of .png" in err and f"{name}/" in err
        assert len(err.splitlines()) == 1 and not Path(name).exists()
    for name in ("x.heic/", "omega_0.7", "plain"):
        assert tunable(*words, name)[0] == 0 and Path(name, "in_restored.png").is_file()
    assert tunable(*words, "x.heic")[0] == 0  # now that it is a folder
    Image.fromarray(photograph(16)).save("second.png")
    assert tunable("restore", echo, "in.png", "second.png", "--omega", "1,0", "-o", "run.v2")[0] == 0
    status, _, err = tunable("restore", echo, "in.png", "second.png", "--omega", "1,0", "-o", "y.heic")
    assert status == 2 and "names one picture" in err


@pytest.mark.parametrize("verb", ["restore", "evaluate", "train"])
def test_the_limit_of_pixels(verb, echo, tunable, here):
    Path("in").mkdir()
    Image.new("RGB", (1100, 1000), "grey").save("in/a.png")
    Path("recipe.yaml").write_text(
        "task: denoise\nnetwork: {name: resnet, channels: 4, blocks: 1}\nsteps: 1\ncheckpoint: {every: 1}\n"
        "objectives: [{name: fidelity, kind: rec}, {name: noise, kind: noise, nu: 0.9}]\n"
        "data: {train: in, validate: in, patch: 16, batch: 1, degradation: [{kind: gaussian_noise, sigma: [5, 30]}]}\n"
    )
    words = {
        "restore": (echo, "in/a.png", "--omega", "1,0", "-o", "out.png"),
        "evaluate": (echo, "--data", "in", "--omega", "1,0", "--sigma", "5", "--no-ssim"),
        "train": ("recipe.yaml", "--out", "run", "--backend", "torch"),
    }[verb]
    status, _, err = tunable(verb, *words, "--max-megapixels", "1")
    *above, last = err.splitlines()  # before the refusal, which folder was looked into
    assert status == 2 and "1100x1000 pixels" in last and "--max-megapixels" in last
    assert all("in: 1 picture" in line for line in above)
    assert tunable(verb, *words, "--max-megapixels", "2")[0] == 0
