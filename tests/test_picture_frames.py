"""Pictures of several frames or pages: they stay together, or what is left out is said."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from photographs import COLOURS, GREYS, photograph
from PIL import Image

from tunable.errors import DataError
from tunable.images.pictures import Picture, read, read_frames, read_picture, write_frames

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
    result = list(read_frames(into))
    assert len(result) == 3 and [frame.duration for frame in result] == [40, 80, 120]
    if into != "out.avif":
        assert result[0].loop == 3
    for frame, expected in zip(result, flags(), strict=True):
        assert np.abs(frame.levels.astype(int) - expected).max() <= (3 if "avif" in into or "gif" in of else 0)


def test_a_gif_without_a_count_is_shown_once(restore):
    first, *rest = map(Image.fromarray, flags())
    first.save("in.gif", save_all=True, append_images=rest, duration=50)
    restore("in.gif", "out.png")
    assert read_picture("out.png").loop == 1


def test_transparent_frames(restore):
    frames = [np.dstack([frame, np.tile(np.arange(24, dtype=np.uint8) * 10, (24, 1))]) for frame in flags()]
    restore(animation("in.png", frames), "out.webp")
    for frame, expected in zip(read_frames("out.webp"), frames, strict=True):
        np.testing.assert_array_equal(frame.alpha, expected[..., 3])


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
    (message,) = restore(of, into)
    assert message.startswith(line)
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
