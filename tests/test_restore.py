"""`tunable restore`: pictures of every kind, to every place, in tiles and sweeps, good ones beside bad ones."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from prepared import answer

from tunable.commands import restore
from tunable.images import tiling
from tunable.images.pictures import from_network, read, read_bytes, to_network, write
from tunable.weights import storage

pytestmark = pytest.mark.usefixtures("here")


def restored(model, path, omega):
    return np.round(np.clip(from_network(model.run(to_network(read(path)), omega)), 0, 1) * 255)


def test_restore(tunable, weights_file, model, folder):
    """One picture: beside it, to a file of another kind, into a folder."""
    words = ["restore", weights_file, folder / "a.png", "--omega", "1,0"]
    for more, name in (
        ([], folder / "a_restored.png"),
        (["-o", "x.bmp"], "x.bmp"),
        (["-o", "new/x.PNG"], "new/x.PNG"),
        (["-o", "place.v2/"], "place.v2/a_restored.png"),
        (["--tile", "16", "-o", "tiled.png"], "tiled.png"),
    ):
        status, out, err = tunable(*words, *more)
        assert (status, out, err) == (0, "", f"wrote {name}\n")
        np.testing.assert_allclose(read_bytes(name), restored(model, folder / "a.png", [1, 0]), atol=1)
    assert np.abs(read_bytes("x.bmp") - restored(model, folder / "a.png", [0, 1])).max() > 2


def test_a_large_picture_where_pixels_depend_on_all(tunable, weights_file, model, folder, monkeypatch):
    """In tiles, which is said; whole if it is asked for."""
    monkeypatch.setattr(type(model.header.network), "halo", None)
    for module in (tiling, restore):
        monkeypatch.setattr(module, "WHOLE", 20 * 16 - 1)
    monkeypatch.setattr(tiling, "BLENDED_TILE", 16)
    path = folder / "a.png"
    write(path, read_bytes(path)[:16, :20])
    words = ("restore", weights_file, path, "--omega", "1,0", "-o")
    said = f"{path} has more than 319 pixels: blended tiles of 16, each with its own averages; --tile 20: whole\n"
    for name, more, line in (("a", (), said), ("b", ("--tile", "16"), ""), ("c", ("--tile", "20"), "")):
        assert tunable(*words, f"{name}.png", *more) == (0, "", f"{line}wrote {name}.png\n")
    tiled, asked, whole = (read_bytes(f"{name}.png").astype(int) for name in "abc")
    np.testing.assert_array_equal(tiled, asked)
    assert np.abs(tiled - whole).max() > 2
    np.testing.assert_allclose(whole, restored(model, path, [1, 0]), atol=1)


def test_restore_a_folder(tunable, weights_file, model, folder):
    result = answer(tunable("restore", weights_file, folder, "--omega", "0,1", "-o", "out", "--json"))
    assert result == {
        "written": [{"picture": str(folder / f"{x}.png"), "restored": f"out/{x}_restored.png"} for x in "ab"],
        "failed": [],
    }
    for name in "ab":
        np.testing.assert_allclose(
            read_bytes(f"out/{name}_restored.png"), restored(model, folder / f"{name}.png", [0, 1]), atol=1
        )


@pytest.mark.parametrize("launcher", ["torchrun", "msrun"])
def test_processes_share_a_folder(launcher, tunable, weights_file, folder, backend, monkeypatch):
    """Each picture is one process's, whoever comes first; going on keeps that. msrun's scheduler restores none."""
    words = ("restore", weights_file, folder, "--omega", "0,1", "-o", "out", "--backend", backend.name, "--resume")
    workers = [{"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": 2, "RANK_ID": rank, "DEVICE_ID": rank} for rank in (1, 0)]
    if launcher == "torchrun":
        named = ("RANK", "LOCAL_RANK")
        both = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
        workers = [both | dict.fromkeys(named, rank) for rank in (1, 0)]
    else:
        workers.append({"MS_ROLE": "MS_SCHED", "MS_WORKER_NUM": 2})
    made = []
    for environment in workers:
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        status, _, err = tunable(*words)
        assert status == 0
        made.append(re.findall(r"wrote (\S+)", err))
        status, _, err = tunable(*words)
        assert status == 0 and "wrote" not in err
    assert made == [["out/b_restored.png"], ["out/a_restored.png"], []][: len(workers)]


def test_resume_goes_on_with_a_folder(tunable, weights_file, folder):
    words = ("restore", weights_file, folder, "--omega", "0,1", "-o", "out")
    assert tunable(*words)[0] == 0
    kept = os.stat("out/a_restored.png").st_mtime_ns
    os.remove("out/b_restored.png")
    status, _, err = tunable(*words, "--resume")
    assert status == 0 and "resume: 1 of 2 pictures are restored already" in err and "wrote out/b_restored.png" in err
    assert os.stat("out/a_restored.png").st_mtime_ns == kept
    status, out, err = tunable(*words, "--resume")
    assert (status, out, err) == (0, "", f"{folder}: 2 pictures\nresume: 2 of 2 pictures are restored already\n")


def test_resume_serves_nothing_of_other_settings(tunable, weights_file, folder):
    """Another omega, model or option, and a picture that is another one by now; and back to what was there."""
    shutil.copy(weights_file, "model.safetensors")
    words = ["restore", "model.safetensors", folder, "-o", "out", "--resume", "--omega"]

    def made_again(*options):
        """How many of the two pictures a call makes."""
        status, _, err = tunable(*words, *options)
        assert status == 0, err
        return sum(line.startswith("wrote") for line in err.splitlines())

    assert made_again("0,1") == 2 and made_again("0,1") == 0
    zero = Path("out/a_restored.png").read_bytes()
    assert made_again("0.5,1") == 2
    assert made_again("0.5,1", "--tile", "16") == 2 and made_again("0.5,1", "--tile", "16") == 0
    assert made_again("0,1") == 2 and Path("out/a_restored.png").read_bytes() == zero
    tensors, header = storage.load("model.safetensors")
    storage.save("model.safetensors", {name: value / 2 for name, value in tensors.items()}, header)
    assert made_again("0,1") == 2
    kept = (folder / "a.png").stat()
    Image.open(folder / "a.png").rotate(180).save(folder / "a.png")
    os.utime(folder / "a.png", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert made_again("0,1") == 1
    os.utime(folder / "a.png")  # only touched
    assert made_again("0,1") == 0


def test_resume_after_a_kill_between_a_picture_and_its_record(tunable, weights_file, folder):
    words = ["restore", weights_file, folder, "-o", "out", "--resume", "--omega"]
    record = Path("out/.restored.jsonl")
    assert tunable(*words, "0,1")[0] == 0
    zero = record.read_text()
    assert tunable(*words, "1,0")[0] == 0
    record.write_text(zero[:-20])  # the pictures of (1, 0), and the record of (0, 1), whose last line was cut
    status, _, err = tunable(*words, "0,1")
    assert status == 0 and "resume: 0 of 2" in err and "2 made by other settings or of another picture" in err
    assert tunable(*words, "0,1")[2].endswith("resume: 2 of 2 pictures are restored already\n")


def test_answers_beside_their_pictures_are_no_pictures(tunable, weights_file, folder):
    """With the folder itself as -o, a second call and --resume restore what they restored before, and only that."""
    words = ["restore", weights_file, folder, "-o", folder, "--omega"]
    assert tunable(*words, "0,1")[0] == 0
    names = sorted(path.name for path in folder.iterdir())
    first = f"{folder}: 2 pictures; left out: 2 restored here before (a_restored.png, b_restored.png)\n"
    status, out, err = tunable(*words, "0,1", "--resume")
    assert (status, out, err) == (0, "", first + "resume: 2 of 2 pictures are restored already\n")
    status, _, err = tunable(*words, "1,0", "--recursive")
    assert status == 0 and err.startswith(first) and err.count("wrote") == 2
    assert sorted(path.name for path in folder.iterdir()) == names
    status, _, err = tunable("restore", weights_file, folder, "-o", "elsewhere", "--omega", "1,0")
    assert status == 0 and f"{folder}: 4 pictures\n" in err


@pytest.mark.parametrize(("alpha", "said"), [(255, False), (254, True)])
def test_only_transparency_that_there_is_is_missed(alpha, said, tunable, weights_file, folder):
    """Animated WebP and screenshots have an alpha that is opaque everywhere."""
    picture = Image.open(folder / "a.png").convert("RGBA")
    picture.putpixel((0, 0), (9, 9, 9, alpha))
    picture.save(folder / "a.png")
    status, _, err = tunable("restore", weights_file, folder / "a.png", "--omega", "1,0", "-o", "a.jpg")
    assert status == 0 and ("without the transparency" in err) == said


def test_resume_wants_a_folder(tunable, weights_file, folder):
    status, out, err = tunable("restore", weights_file, folder / "a.png", "--omega", "1,0", "--resume")
    assert (status, out, err.count("\n")) == (2, "", 1) and "--resume goes on with a folder" in err


def test_names_that_would_be_one(tunable, weights_file, folder):
    """Equal but for the suffix, for case, for the form of an accent, or for their folder; and one named twice."""
    picture, other = Image.open(folder / "a.png"), folder.parent / "other"
    other.mkdir()
    names = ["a.bmp", "B.png", "\u00e9.png", "e\u0301.png", "c.png"]
    for path in [*(folder / name for name in names), other / "a.png", other / "c.png"]:
        picture.save(path)
    status, _, err = tunable("restore", weights_file, folder, other, folder / "b.png", "--omega", "1,0", "-o", "out")
    assert status == 0 and "pictures would share their names with others: theirs keep the suffix (" in err
    assert sorted(path.name for path in Path("out").glob("*.png")) == sorted([
        "a.bmp_restored.png", "a.png_restored.png", "a.png-2_restored.png", "B.png_restored.png",
        "b.png-2_restored.png", "c.png_restored.png", "c.png-2_restored.png",
        "e\u0301.png_restored.png", "\u00e9.png-2_restored.png",
    ])  # fmt: skip


def test_folders_in_a_folder(tunable, weights_file, folder):
    """Their tree is kept, and what lies in it already is not restored again as a picture of its own."""
    (folder / "one").mkdir()
    os.rename(folder / "b.png", folder / "one" / "b.png")
    words = ["restore", weights_file, folder, "--omega", "1,0", "-o", folder / "out"]
    status, _, err = tunable(*words)
    assert status == 0 and f"{folder}: 1 picture; left out: 1 in sub-folders (one/b.png); --recursive restores" in err
    for _ in range(2):
        status, _, err = tunable(*words, "--recursive")
        assert status == 0 and f"{folder}: 2 pictures\n" in err
    paths = sorted(path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*.png"))
    assert paths == ["a_restored.png", "one/b_restored.png"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_transparency_and_colour_profile_are_kept(suffix, tunable, weights_file, rng):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    values = rng.integers(0, 256, (20, 24, 4), dtype=np.uint8)
    Image.fromarray(values).save("in.png", icc_profile=profile)
    status, _, err = tunable("restore", weights_file, "in.png", "--omega", "1,0", "-o", f"out{suffix}")
    with Image.open(f"out{suffix}") as picture:
        assert status == 0 and picture.info["icc_profile"] == profile
        if suffix == ".jpg":
            assert picture.mode == "RGB" and "out.jpg is without the transparency of in.png: its format has none" in err
        else:
            assert np.array_equal(np.asarray(picture)[:, :, 3], values[:, :, 3])


def test_a_profile_of_other_colours_is_left_behind(tunable, weights_file, rng):
    """Grey values with a profile become RGB values, which it does not describe."""
    Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save("grey.png", icc_profile=b"of grey")
    assert tunable("restore", weights_file, "grey.png", "--omega", "1,0", "-o", "out.png")[0] == 0
    with Image.open("out.png") as picture:
        assert "icc_profile" not in picture.info


def test_restore_a_sweep(tunable, weights_file, model, folder):
    assert tunable("restore", weights_file, folder / "a.png", "--sweep", "3", "-o", "out")[0] == 0
    sheet = read_bytes("out/a_sweep.png")
    shown = [
        read_bytes(folder / "a.png"),
        *(restored(model, folder / "a.png", w) for w in ([0, 1], [0.5, 0.5], [1, 0])),
    ]
    bottom, column = sheet.shape[0] - 6, (sheet.shape[1] - 6) // 4 - 6
    for place, picture in enumerate(shown):
        left = 6 + place * (column + 6) + (column - 24) // 2
        np.testing.assert_allclose(sheet[bottom - 20 : bottom, left : left + 24], picture, atol=1)


def test_restore_a_square_and_an_animation(tunable, weights_file, folder):
    words = ("restore", weights_file, folder / "a.png")
    assert tunable(*words, "--sweep", "3x3", "-o", "square.png")[0] == 0
    line = read_bytes("square.png")
    with Image.open(folder / "a.png") as picture:
        width, height = picture.size
    assert line.shape[0] > 4 * height and line.shape[1] > 3 * width
    assert tunable(*words, "--sweep", "3", "--animate")[0] == 0
    with Image.open(folder / "a_sweep.webp") as animation:
        assert animation.n_frames == 4
    for more, message in (
        (("--sweep", "3x3", "--animate"), "--animate wants --sweep N, not NxN"),
        (("--animate", "--omega", "1,0"), "--animate wants --sweep N"),
        (("--sweep", "3", "--animate", "-o", "x.png"), "an animation is a .webp, not x.png"),
        (("--sweep", "3x4"), "must be N or NxN, not '3x4'"),
    ):
        status, _, err = tunable(*words, *more)
        assert status == 2 and message in err and len(err.splitlines()) == 1


def test_a_network_that_overflows(tunable, weights_file, folder):
    tensors, header = storage.load(weights_file)
    storage.save("huge.safetensors", {name: value * np.float32(1e30) for name, value in tensors.items()}, header)
    words = ("restore", "huge.safetensors", folder / "a.png", "--omega", "1,0", "-o", "x.png")
    for more in ((), ("--tile", "16")):
        status, _, err = tunable(*words, *more)
        message = f"tunable restore: {folder / 'a.png'}: the restored picture has values that are not finite\n"
        assert (status, err) == (2, message) and not os.path.exists("x.png")


def test_one_bad_picture_of_several(tunable, weights_file, folder):
    (folder / "aa.png").write_bytes((folder / "a.png").read_bytes()[:100])
    words = ["restore", weights_file, folder, "absent.png", "--omega", "1,0", "-o", "out", "--json"]
    status, out, err = tunable(*words)
    assert status == 1 and sorted(path.name for path in Path("out").glob("*.png")) == [
        "a_restored.png",
        "b_restored.png",
    ]
    lines = [line for line in err.splitlines() if line.startswith("tunable restore: ")]
    assert len(lines) == 3 and "aa.png" in lines[0] and "no such picture: absent.png" in lines[1]
    assert lines[2] == "tunable restore: 2 of 4 pictures failed"
    result = json.loads(out)
    assert [one["picture"] for one in result["failed"]] == [str(folder / "aa.png"), "absent.png"]
    assert [one["restored"] for one in result["written"]] == ["out/a_restored.png", "out/b_restored.png"]
    status, _, err = tunable("restore", weights_file, "x.png", "y.png", "--omega", "1,0", "-o", "out")
    assert status == 2 and err.splitlines()[-1] == "tunable restore: 2 of 2 pictures failed"


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("L", "a.png"),
        ("RGBA", "a.png"),
        ("I;16", "a.png"),
        ("CMYK", "a.jpg"),
        ("P", "a.png"),
        ("1", "a.png"),
        ("LA", "a.png"),
    ],
)
def test_pictures_of_every_kind_are_used(mode, name, tunable, weights_file):
    values = np.tile(np.linspace(0, 255, 20), (16, 1)).astype(np.uint8)
    if mode == "I;16":
        Image.fromarray(values.astype(np.uint16) * 257).save(name)
    else:
        Image.fromarray(values).convert("RGB" if mode == "CMYK" else "L").convert(mode).save(name)
    status, _, err = tunable("restore", weights_file, name, "--omega", "1,0", "-o", "out.png")
    assert status == 0, err
    assert read_bytes("out.png").shape == (16, 20, 3)
