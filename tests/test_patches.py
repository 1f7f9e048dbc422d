"""Batches: pure functions of (seed, index), whatever the order, the workers and the cache."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from tunable.data import patches
from tunable.data import workers as pools
from tunable.data.bicubic import shrink
from tunable.data.filters import gaussian_blur
from tunable.data.patches import (
    BUNDLED_TEST,
    BUNDLED_TRAIN,
    Batch,
    Batches,
    PictureCache,
    bundled,
    check_pictures,
    each,
    find_pictures,
)
from tunable.errors import DataError, RecipeError
from tunable.images.pictures import read_bytes, write
from tunable.specs.networks import ResNetSpec

FIDELITY = [{"name": "l1", "kind": "rec"}, {"name": "l2", "kind": "rec", "distance": "l2"}]  # of any size


def maker(make_recipe, folder):
    """make(seed=1, omega={...}, patch=4, ...): top-level keys of a recipe, others belong to `data`."""

    def make(rank=0, **options):
        sections = {key: options.pop(key) for key in ("seed", "omega", "objectives") if key in options}
        settings = {"train": str(folder), "patch": 8, "batch": 3, **options}
        settings.setdefault("degradation", [{"kind": "gaussian_noise", "sigma": [5, 30]}])
        return Batches(make_recipe(data=settings, **sections), rank=rank, processes=rank + 1)

    return make


@pytest.fixture
def batches(make_recipe, folder):
    return maker(make_recipe, folder)


def assert_equal(first, second):
    assert first.index == second.index and first.sample.keys() == second.sample.keys()
    for name in first.sample:
        np.testing.assert_array_equal(first.sample[name], second.sample[name])
    np.testing.assert_array_equal(first.omega, second.omega)


def test_shapes_and_ranges(batches):
    batch = batches()[4]
    assert batch.index == 4 and set(batch.sample) == {"clean", "degraded"}
    for picture in batch.sample.values():
        assert picture.shape == (3, 3, 8, 8) and picture.dtype == np.float32
    clean = batch.sample["clean"]
    assert clean.min() >= 0 and clean.max() <= 1
    np.testing.assert_array_equal(clean, np.round(clean * 255).astype(np.float32) / np.float32(255))
    assert batch.omega.shape == (3, 2) and batch.omega.dtype == np.float32
    assert len(np.unique(batch.omega)) == 6


def test_a_batch_is_a_function_of_seed_and_index(batches):
    one, other = batches(), batches()
    for index in (7, 0, 3):
        other[index + 1]  # whatever was asked before
        assert_equal(one[index], other[index])
    for differing in (one[8], batches(seed=1)[7]):
        assert not np.array_equal(differing.sample["clean"], one[7].sample["clean"])
        assert not np.array_equal(differing.omega, one[7].omega)
        noise = differing.sample["degraded"] - differing.sample["clean"]
        assert not np.array_equal(noise, one[7].sample["degraded"] - one[7].sample["clean"])


def test_batches_share_no_random_numbers(batches):
    """Nor shifted: batches, seeds and processes beside each other, the samples of one batch."""
    noise = [{"kind": "gaussian_noise", "sigma": 25}]  # one level: equal draws are equal noise
    options = {"patch": 16, "batch": 4, "degradation": noise}
    runs = [batches(**options, seed=seed, rank=rank) for seed, rank in ((0, 0), (1, 0), (0, 1))]
    made = [run[index] for run in runs for index in range(4)]
    drawn = np.concatenate([(batch.sample["degraded"] - batch.sample["clean"]).ravel() for batch in made])
    assert len(np.unique(drawn)) > 0.99 * drawn.size  # float32: a few are equal by chance
    omegas = np.concatenate([run[index].omega for run in runs for index in range(20)])
    assert len(np.unique(omegas)) == omegas.size


@pytest.mark.parametrize(("workers", "processes"), [(1, False), (3, False), (2, True)])
def test_stream_equals_direct(workers, processes, batches):
    direct, streamed = batches(), list(batches(workers=workers, processes=processes).stream(2, 12))
    assert [batch.index for batch in streamed] == list(range(2, 12))
    for batch in streamed:
        assert_equal(batch, direct[batch.index])
    assert list(batches(workers=workers, processes=processes).stream(3, 3)) == []


def test_waiting_is_measured(batches, monkeypatch):
    """Without the first batch, for which whoever begins has to wait."""
    made = batches()
    monkeypatch.setattr(type(made), "__getitem__", lambda self, index: time.sleep(0.05) or Batch(index, {}, None))
    assert len(list(made.stream(3, 6))) == 3
    assert made.waited >= 0.06  # of 0.1 s, less what the loop above takes itself


def test_a_stream_can_be_left(batches):
    stream = batches(workers=2).stream(0, 10**6)
    assert next(stream).index == 0
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_leaving_a_stream_drops_what_was_queued(make_recipe, folder, monkeypatch):
    made, started, release = [], threading.Event(), threading.Event()

    class Slow(Batches):
        def __getitem__(self, index):
            made.append(index)
            if index:
                started.set()
                release.wait()
            return index

    class Pool(pools.ThreadPoolExecutor):
        def shutdown(self, **options):  # drops what is queued, if told to, before the batch in work is ready
            super().shutdown(wait=False, **options)
            release.set()
            super().shutdown()

    batches = Slow(make_recipe(data={"train": str(folder), "patch": 8}))
    monkeypatch.setattr(pools, "ThreadPoolExecutor", Pool)
    stream = batches.stream(0, 10)
    assert next(stream) == 0 and started.wait(60)  # batch 1 is being made, batch 2 waits
    stream.close()
    assert made == [0, 1]


def test_each_file_in_order_and_how_far(tmp_path, caplog):
    caplog.set_level("INFO")
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    assert list(each(lambda path: path.stem, paths, "reading", every=-1)) == [str(i) for i in range(20)]
    assert "reading: 7 of 20" in caplog.text
    caplog.clear()
    assert list(each(lambda path: path.stem, paths[:2], "reading")) == ["0", "1"] and not caplog.text


def test_large_pictures_are_decoded_one_at_a_time(folder, monkeypatch):
    """However many threads there are: several at once would take as many times the memory."""
    inside, most = [], []

    def check(path):
        inside.append(path)
        most.append(len(inside))
        time.sleep(0.02)
        inside.remove(path)

    paths = 4 * sorted(folder.iterdir())
    monkeypatch.setattr(patches, "LARGE", 20 * 24 - 1)
    check_pictures(paths, check, "here")
    assert max(most) == 1 and len(most) == 8


def test_samples_of_a_batch_differ(batches):
    clean = batches(batch=8)[0].sample["clean"]
    assert len({sample.tobytes() for sample in clean}) > 6


# --- patches


def place_of(patch, pictures):
    """The picture, place and symmetry (0..7) that a patch (3, n, n) came from, by exact comparison."""
    values = np.round(patch.transpose(1, 2, 0) * 255).astype(np.uint8)
    for symmetry in range(8):
        turned = np.rot90(values, symmetry % 4)
        turned = turned[:, ::-1] if symmetry >= 4 else turned
        for number, picture in enumerate(pictures):
            for top, left in np.argwhere((picture == turned[0, 0]).all(-1)):
                crop = picture[top : top + len(turned), left : left + len(turned)]
                if np.array_equal(crop, turned):
                    return number, int(top), int(left), symmetry
    raise AssertionError("the patch is in no picture")


def test_patches_are_turned_crops_of_the_pictures(batches, folder):
    pictures = [read_bytes(path) for path in find_pictures([str(folder)])]
    made = batches(batch=32)
    places = [place_of(patch, pictures) for index in range(8) for patch in made[index].sample["clean"]]
    numbers, tops, lefts, symmetries = zip(*places, strict=True)
    assert set(numbers) == {0, 1} and set(symmetries) == set(range(8))
    assert set(tops) == set(range(13)) and set(lefts) == set(range(17))  # 20x24 less 8, both ends included
    assert min(symmetries.count(symmetry) for symmetry in range(8)) > 12  # of 32 expected


def test_without_flips_patches_are_crops(batches, folder):
    pictures = [read_bytes(path) for path in find_pictures([str(folder)])]
    for patch in batches(flip=False, batch=16)[0].sample["clean"]:
        assert place_of(patch, pictures)[3] == 0


def test_a_patch_may_be_the_whole_picture(batches, folder):
    for path in folder.iterdir():
        Image.open(path).crop((0, 0, 8, 8)).save(path)
    pictures = [read_bytes(path) for path in find_pictures([str(folder)])]
    assert {place_of(patch, pictures)[1:3] for patch in batches()[0].sample["clean"]} == {(0, 0)}


def test_patch_larger_than_a_picture(batches, refused):
    with refused(DataError, ".png is 24x20", "patch of 21x21"):
        batches(patch=21)
    assert batches(patch=20)[0].sample["clean"].shape == (3, 3, 20, 20)


@pytest.fixture
def enlarging(monkeypatch):
    """Make the networks of recipes enlarge by 2."""
    monkeypatch.setattr(ResNetSpec, "scale", property(lambda self: 2))


def test_a_patch_is_counted_in_degraded_pixels(batches, folder, enlarging):
    """Shrunk: `clean` is a crop, twice as large, `degraded` what the picture shrunk holds there, turned alike."""
    pictures = [read_bytes(path) for path in find_pictures([str(folder)])]
    made = batches(patch=4, batch=16, degradation=[{"kind": "bicubic", "scale": 2}], objectives=FIDELITY)
    for index in range(3):
        sample = made[index].sample
        assert sample["clean"].shape == (16, 3, 8, 8) and sample["degraded"].shape == (16, 3, 4, 4)
        assert all(value.flags.c_contiguous for value in sample.values())
        for clean, degraded in zip(sample["clean"], sample["degraded"], strict=True):
            number, top, left, symmetry = place_of(clean, pictures)
            around = pictures[number].transpose(2, 0, 1)[:, top % 2 :, left % 2 :]  # its grid of two
            whole = shrink(around.astype(np.float32) / np.float32(255), 2)[:, top // 2 :, left // 2 :][:, :4, :4]
            turned = np.rot90(degraded, symmetry % 4, (1, 2))
            turned = turned[:, :, ::-1] if symmetry >= 4 else turned
            # where height and width have changed places, so have the two passes that round
            np.testing.assert_allclose(turned, whole, rtol=0, atol=1.01 / 255 if symmetry % 2 else 0)


def test_a_patch_is_blurred_with_what_is_around_it(batches, folder):
    pictures = [read_bytes(path) for path in find_pictures([str(folder)])]
    made = batches(patch=6, batch=12, degradation=[{"kind": "gaussian_blur", "sigma": 3, "size": 7}])
    for clean, degraded in zip(*made[0].sample.values(), strict=True):
        number, top, left, symmetry = place_of(clean, pictures)
        whole = gaussian_blur(pictures[number].transpose(2, 0, 1).astype(np.float32) / np.float32(255), 3, 7)
        turned = np.rot90(degraded, symmetry % 4, (1, 2))
        turned = turned[:, :, ::-1] if symmetry >= 4 else turned
        np.testing.assert_allclose(turned, whole[:, top : top + 6, left : left + 6], atol=1e-6)


def test_every_degradation_is_a_function_of_seed_and_index(batches, enlarging):
    pipeline = [
        {"kind": "gaussian_blur", "sigma": [0, 2], "size": 5},
        {"kind": "bicubic", "scale": 2},
        {"kind": "poisson_gaussian", "gain": [0.1, 2], "sigma": [0, 5]},
        {"kind": "jpeg", "quality": [30, 90]},
    ]
    one, other = (batches(patch=4, degradation=pipeline, objectives=FIDELITY) for _ in range(2))
    for index in (3, 1):
        other[index + 1]
        assert_equal(one[index], other[index])
    assert not np.array_equal(one[2].sample["degraded"], one[1].sample["degraded"])


def test_a_picture_too_small_for_what_degrades_it(batches, refused):
    with refused(DataError, ".png is 24x20", "the 28x28 pixels from which the degradations make a patch of 8x8"):
        batches(patch=8, degradation=[{"kind": "gaussian_blur", "sigma": 1}])


# --- degradation and omega


def test_degradation(batches):
    clean, degraded = batches(degradation=[])[0].sample.values()
    np.testing.assert_array_equal(clean, degraded)
    sample = batches(degradation=[{"kind": "gaussian_noise", "sigma": 25}], batch=64)[0].sample
    noise = (sample["degraded"] - sample["clean"]) * 255
    assert noise.std() == pytest.approx(25, rel=0.03)
    assert sample["degraded"].min() < 0 < 1 < sample["degraded"].max()


def test_degradations_follow_the_recipes_order(batches):
    blur, noise = {"kind": "gaussian_blur", "sigma": 3, "size": 7}, {"kind": "gaussian_noise", "sigma": 50}
    made = [batches(patch=6, degradation=order)[0].sample["degraded"] for order in ([noise, blur], [blur, noise])]
    smooth, rough = (np.abs(np.diff(degraded)).mean() for degraded in made)
    assert smooth < rough / 3


def test_omega_once_per_batch(batches):
    made = batches(omega={"sampler": "uniform", "per": "batch"})
    assert made[0].omega.shape == (2,) and not np.array_equal(made[0].omega, made[1].omega)


def test_omega_follows_the_sampler_and_p(batches):
    three = [{"name": f"o{i}", "kind": "rec"} for i in range(3)]
    omega = batches(omega={"sampler": "corners"}, objectives=three, batch=20)[0].omega
    assert omega.shape == (20, 3) and {tuple(row) for row in omega} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    fixed = batches(omega={"sampler": {"kind": "fixed", "value": [0.25, 1]}})[5].omega
    np.testing.assert_array_equal(fixed, [[0.25, 1]] * 3)


def test_an_annealed_sampler_knows_its_batch(batches):
    """Neither the generator nor the order of the batches decides: batch 3 of batches of 3 holds samples 9 to 11."""
    made = batches(omega={"sampler": {"kind": "annealed", "divisions": 4, "over": 8}})
    stride, grid = 3, np.array([0, 0.25, 0.5, 0.75, 1])  # of the five points
    for index in (3, 0, 20):
        places = (index * 3 + np.arange(3)) * stride % 5
        expected = 0.5 + min(1, (index + 1) / 8) * (grid[places] - 0.5)
        np.testing.assert_allclose(made[index].omega[:, 0], expected, atol=1e-6)


# --- pictures


@pytest.mark.parametrize(("limit", "reads"), [(2, "abc" + "b"), (3, "abc"), (0, "abacab"), (1, "abacab")])
def test_cache_limit(limit, reads, monkeypatch):
    """Room for `limit` pictures; the least recently used goes first. `reads` are the pictures decoded."""
    decoded = []

    def decode(path, _):
        decoded.append(path)
        return np.full((4, 5, 3), ord(path), dtype=np.uint8)

    monkeypatch.setattr(patches, "read_levels", decode)
    cache = PictureCache(limit * 60)
    for path in "abacab":
        assert cache.read(path)[0, 0, 0] == ord(path)
    assert "".join(decoded) == reads


def test_the_cache_does_not_change_batches(batches):
    assert_equal(batches(cache_gib=0)[3], batches(cache_gib=2)[3])


def test_batches_do_not_share_memory_with_the_cache(batches):
    made = batches()
    expected = made[0].sample["clean"].copy()
    made[0].sample["clean"][:] = 0
    np.testing.assert_array_equal(made[0].sample["clean"], expected)


def test_pictures_of_16_bits_are_trained_on_with_16(batches, tmp_path, rng):
    levels = rng.integers(0, 65536, (30, 40, 3), dtype=np.uint16)
    write(tmp_path / "deep.png", levels)
    patches = batches(train=str(tmp_path))[0].sample["clean"].astype(np.float64) * 65535
    known = {tuple(pixel) for pixel in levels.reshape(-1, 3).tolist()}
    drawn = np.rint(patches).astype(int).transpose(0, 2, 3, 1).reshape(-1, 3)
    np.testing.assert_allclose(patches, np.rint(patches), atol=0.01)
    assert all(tuple(pixel) in known for pixel in drawn.tolist())


def test_find_pictures(folder, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "z.png").write_bytes(b"")
    monkeypatch.setenv("PLACE", str(tmp_path))
    paths = find_pictures(["${PLACE}/other", "bundled", str(folder)])
    assert [path.name for path in paths] == ["z.png", *BUNDLED_TRAIN, "a.png", "b.png"]


def test_missing_pictures(batches, tmp_path, monkeypatch, refused):
    with refused(DataError, "no such folder", "absent"):
        batches(train=str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with refused(DataError, "no pictures in", "empty"):
        batches(train=["bundled", str(tmp_path / "empty")])
    monkeypatch.delenv("NOWHERE", raising=False)
    with refused(RecipeError, "NOWHERE", "not set"):
        batches(train="${NOWHERE}/pictures")
    with refused(DataError, "lacks nothing.png", "scikit-image"):
        bundled(("chelsea.png", "nothing.png"))


def test_bundled_pictures():
    assert not set(BUNDLED_TEST) & set(BUNDLED_TRAIN)
    for path in bundled(BUNDLED_TRAIN + BUNDLED_TEST):
        picture = read_bytes(path)
        assert min(picture.shape[:2]) >= 256 and picture.std() > 20


def test_parts_of_a_batch():
    """In order, each with its own omega; one omega is that of every part."""
    clean, omega = np.arange(6.0).reshape(6, 1, 1, 1), np.arange(12.0).reshape(6, 2)
    parts = Batch(7, {"clean": clean, "degraded": -clean}, omega).parts(3)
    assert [part.index for part in parts] == [7, 7, 7]
    assert [part.sample["clean"].ravel().tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert [part.sample["degraded"].ravel().tolist() for part in parts] == [[0, -1], [-2, -3], [-4, -5]]
    assert [part.omega.tolist() for part in parts] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]
    assert [part.omega.tolist() for part in Batch(0, {"clean": clean}, omega[0]).parts(2)] == [[0, 1]] * 2
