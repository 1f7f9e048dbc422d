"""Batches of seeded patches, cut from the photographs of folders.

Samples are counted, not drawn: batch b of a run is a pure function of (seed, b). Crop, flip,
degradation and omega all come from a counter-based generator (Philox) whose counter holds b, so both
twins see the same batches, any number of workers gives the same run, and a resumed run is the same run.
Where several processes train together the counter holds the number of the process too, 0 of the first.
"""

import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tunable.data.degradations import degrade, degrade_by, margin_of, without_margin
from tunable.data.pairs import check_pair, partners
from tunable.data.workers import Workers
from tunable.errors import DataError, shorten
from tunable.images.folders import find, list_pictures
from tunable.images.pictures import read_levels, size_of, to_floats
from tunable.specs.reading import expand
from tunable.specs.recipe import BUNDLED, Data, Recipe
from tunable.specs.samplers import Condition

LARGE = 16_000_000  # pixels: larger pictures are decoded one at a time, for their memory
EXAMPLES = 4  # of pictures that cannot be used, in a message
log = logging.getLogger(__name__)
# Photographs (not drawings, textures or scientific images) that scikit-image's wheel carries.
BUNDLED_TRAIN = (
    "astronaut.png", "rocket.jpg", "motorcycle_left.png", "motorcycle_right.png", "camera.png", "coins.png",
    "brick.png", "grass.png", "gravel.png",
)  # fmt: skip
BUNDLED_TEST = ("chelsea.png", "coffee.png")


class Batch(NamedTuple):
    """One training batch.

    Attributes:
        index: its number in the run.
        sample: float32 pictures (N, C, H, W) by name, `clean`, `degraded`, and by its kind the residue of every
            degradation that the objectives want; where the degradations shrink, `clean` is larger than `degraded` by
            their scale.
        omega: (N, p), or (p,) where the recipe draws it once per batch.
    """

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]  # hides tuple.index, which no batch needs
    sample: dict[str, np.ndarray]
    omega: np.ndarray

    def parts(self, count: int) -> list["Batch"]:
        """Divide the batch into `count` equal parts, which must divide N."""
        if count == 1:
            return [self]
        size = len(self.sample["clean"]) // count
        rows = [slice(n * size, (n + 1) * size) for n in range(count)]
        return [
            Batch(
                self.index,
                {name: value[part] for name, value in self.sample.items()},
                self.omega if self.omega.ndim == 1 else self.omega[part],
            )
            for part in rows
        ]


def bundled(names: tuple[str, ...]) -> list[Path]:
    """Return paths of the named photographs inside the installed scikit-image."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"scikit-image at {folder} lacks {', '.join(missing)}; reinstall it from constraints.txt")
    return [folder / name for name in names]


def find_pictures(folders: list[str], recursive: bool = False) -> list[Path]:
    """Return all pictures of the folders in order; the word `bundled` stands for scikit-image's photographs."""
    pictures = []
    for folder in folders:
        pictures += bundled(BUNDLED_TRAIN) if folder == BUNDLED else list_pictures(expand(folder), recursive)
    return pictures


def say_what_is_used(what: str, folders: list[str], recursive: bool, more: str = "") -> None:
    """Log how many pictures each folder has and what of it is left out."""
    for folder in folders:
        if folder != BUNDLED:
            log.info("%s: %s%s", what, find(expand(folder), recursive).describe(), more)


def each(function: Callable[[Path], Any], paths: list[Path], what: str, every: float = 10) -> Iterator[Any]:
    """Call a function for every path, by a few threads.

    Args:
        function: what is called.
        paths: what it is called with.
        what: the words of a log line that says every `every` seconds how far the work is.
        every: seconds.

    Yields:
        The results, in the order of the paths.
    """
    spoken = time.monotonic()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="files") as pool:
        futures = [pool.submit(function, path) for path in paths]
        try:
            for count, future in enumerate(futures, 1):
                yield future.result()
                if time.monotonic() - spoken > every:
                    spoken = time.monotonic()
                    log.info("%s: %d of %d", what, count, len(paths))
        finally:
            for future in futures:
                future.cancel()


def check_pictures(paths: list[Path], check: Callable[[Path], Any], where: str, max_pixels: int | None = None) -> None:
    """Check every picture.

    Args:
        paths: of the pictures.
        check: raises DataError for a picture that cannot be used.
        where: they are from, for the message.
        max_pixels: as `read_picture`.

    Raises:
        DataError: which counts the pictures that cannot be used, and says of the first ones why.
    """
    alone = threading.Lock()

    def fault(path: Path) -> str:
        try:
            width, height = size_of(path, max_pixels)
            with alone if width * height > LARGE else nullcontext():
                check(path)
        except DataError as error:
            return str(error)
        return ""

    faults = list(filter(None, each(fault, paths, f"checking the pictures of {where}")))
    if len(faults) == 1:
        raise DataError(faults[0])
    if faults:
        lines = [shorten(text, 300) for text in faults[:EXAMPLES]]
        lines += [f"and {len(faults) - EXAMPLES} more"] if len(faults) > EXAMPLES else []
        raise DataError(f"{len(faults)} of {len(paths)} pictures of {where} cannot be used: {'; '.join(lines)}")


class _Crop(NamedTuple):
    """Where a patch is cut, to which size it is shrunk, and whether it is flipped down, across and transposed."""

    path: Path
    top: int
    left: int
    size: int
    shrunk: int
    flips: tuple[int, ...]


class PictureCache:
    """Decoded pictures, for several threads.

    Args:
        limit: bytes; beyond it the picture that was used least recently is dropped.
        max_pixels: as `read_picture`.
    """

    def __init__(self, limit: float, max_pixels: int | None = None) -> None:
        self._limit, self._max_pixels = limit, max_pixels
        self._held: OrderedDict[Path, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """What a process of its own gets: no pictures, which it decodes itself."""
        return {"limit": self._limit, "max_pixels": self._max_pixels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def read(self, path: Path) -> np.ndarray:
        """Return the levels of a picture, RGB (H, W, 3), uint8, or uint16 where the file has more bits."""
        with self._lock:
            if path in self._held:
                self._held.move_to_end(path)
                return self._held[path]
        picture = read_levels(path, self._max_pixels)
        with self._lock:
            if path not in self._held:
                self._held[path] = picture
                self._bytes += picture.nbytes
            while self._bytes > self._limit and self._held:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
        return picture


class Batches:
    """The batches of a recipe: `batches[b]` for any b >= 0, or `stream(first, last)` prepared ahead.

    A patch is degraded with the pixels around it, which are then cut off: it is what the whole picture, degraded,
    would hold there, not what the patch's own borders make of it. The grids of resampling and compression alone begin
    where the crop does. Where the recipe gives degraded pictures, patches are cut from both of a pair at one place.

    Args:
        recipe: whose `data`, `omega` and `seed` say all of a batch.
        max_pixels: as `read_picture`.
        rank: the number of the process among those that train together: no two make the same samples.

    Raises:
        DataError: when a folder cannot be used, pictures are smaller than the patch or pairs do not fit. A picture
            that is damaged behind its header raises it in `check`, or when its turn comes.
    """

    def __init__(self, recipe: Recipe, max_pixels: int | None = None, rank: int = 0, processes: int = 1) -> None:
        self._recipe, self.max_pixels, self._rank, self._processes = recipe, max_pixels, rank, processes
        self.waited = 0.0  # seconds that who reads a stream has waited for a batch, without the first
        self._data: Data = recipe.data
        data, self._partners = recipe.data, {}
        self._scale, self._margin = recipe.network.scale, margin_of(recipe.data.degradation)
        if data.degraded:
            self._partners = partners(data.train, data.degraded, self._scale, data.recursive)
        self._paths = [*self._partners] or find_pictures(data.train, data.recursive)
        recipe.omega.sampler.draw(np.random.default_rng(0), 1, recipe.num_objectives)  # one's own is tried now
        patch = recipe.data.patch
        self._size = (patch + 2 * self._margin) * self._scale  # clean pixels of a crop
        check_pictures(self._paths, self._check_size, "data.train", max_pixels)  # now, not when one is drawn
        self._cache = PictureCache(recipe.data.cache_gib * 2**30, max_pixels)

    def check(self) -> None:
        """Decode every picture, so that a damaged one stops a run before its first step. Raises DataError."""
        check_pictures(self._paths, self._cache.read, "data.train", self.max_pixels)
        if self._partners:
            check_pictures([*self._partners.values()], self._cache.read, "data.degraded", self.max_pixels)

    def _check_size(self, path: Path) -> None:
        size, patch = self._size, self._data.patch
        width, height = size_of(path, self.max_pixels)
        if min(width, height) < size:
            needed = f"the patch of {patch}x{patch}"
            if self._partners:
                needed = f"the clean patch of {size}x{size}"
            elif size != patch:
                needed = f"the {size}x{size} pixels from which the degradations make a patch of {patch}x{patch}"
            raise DataError(f"{path} is {width}x{height}, smaller than {needed}")
        if path in self._partners:
            check_pair(path, self._partners[path], self._scale, self.max_pixels)

    def __getitem__(self, index: int) -> Batch:
        recipe, data = self._recipe, self._data
        rng = np.random.Generator(np.random.Philox(key=recipe.seed, counter=[0, 0, self._rank, index]))
        crops = [self._crop(rng) for _ in range(data.batch)]
        clean = self._patches(crops, [crop.path for crop in crops], self._scale)
        conditions, margin = None, self._margin * self._scale
        if self._partners:
            degraded = self._patches(crops, [self._partners[crop.path] for crop in crops], 1)
            sample = {"clean": clean, "degraded": degraded}
        else:
            if isinstance(recipe.omega.sampler, Condition):
                conditions = self._draw(rng, index)
                degraded, residues = degrade_by(clean, data.degradation, rng, conditions, margin), {}
            else:
                degraded, residues = degrade(clean, data.degradation, rng, recipe.residues, margin)
            sample = {"clean": without_margin(clean, margin), "degraded": degraded, **residues}
        omega = self._draw(rng, index) if conditions is None else conditions
        return Batch(index, sample, omega if recipe.omega.per == "sample" else omega[0])

    def _draw(self, rng: np.random.Generator, index: int) -> np.ndarray:
        """The omega of the samples of this process, (N, p), or (1, p) where the batch has one."""
        recipe = self._recipe
        samples = self._data.batch if recipe.omega.per == "sample" else 1
        drawn = recipe.omega.sampler.draw(rng, samples * self._processes, recipe.num_objectives, index)
        omega = drawn[self._rank * samples :][:samples]  # a sampler that counts counts the samples of all processes
        if (fixed := recipe.omega_at(index)) is not None:
            omega = np.tile(np.array(fixed, np.float32), (samples, 1))
        return omega

    def _crop(self, rng: np.random.Generator) -> "_Crop":
        """A random crop, flipped and transposed at random, in pixels of the degraded picture where pairs are given."""
        step = self._scale if self._partners else 1
        path = self._paths[rng.integers(len(self._paths))]
        height, width = self._cache.read(path).shape[:2]
        ranges = self._data.enlarge, self._data.shrink
        times, smaller = (1 if most <= 1 else max(1, rng.uniform(least, most)) for least, most in ranges)
        shrunk = max(1, round(self._size / times))
        size = min(max(shrunk, round(shrunk * smaller)), height, width)  # a small picture is shrunk by less
        top, left = (int(rng.integers((side - size) // step + 1)) for side in (height, width))
        flips = rng.integers(2, size=3) if self._data.flip else np.zeros(3, int)
        return _Crop(path, top, left, size, shrunk, tuple(flips.tolist()))

    def _patches(self, crops: list["_Crop"], paths: list[Path], scale: int) -> np.ndarray:
        """What crops cut from pictures, float32 (N, 3, size, size); `scale` pixels for each of the degraded picture."""
        wanted = self._size // self._scale * scale
        patches = np.empty((len(crops), 3, wanted, wanted), np.float32)
        for patch, crop, path in zip(patches, crops, paths, strict=True):
            size = wanted if self._partners else crop.size
            top, left = (place * scale if self._partners else place for place in (crop.top, crop.left))
            levels = self._cache.read(path)[top : top + size, left : left + size].transpose(2, 0, 1)
            if crop.flips[0]:
                levels = levels[:, ::-1]
            if crop.flips[1]:
                levels = levels[:, :, ::-1]
            if crop.flips[2]:
                levels = levels.swapaxes(1, 2)
            if self._partners or wanted == crop.shrunk == size:
                to_floats(levels, out=patch)
            else:
                patch[...] = _resized(_resized(to_floats(levels), crop.shrunk), wanted)
        return patches

    def stream(self, first: int, last: int) -> Iterator[Batch]:
        """Yield the batches `first` .. `last` - 1 in order, prepared ahead by `data.workers` threads or processes."""
        count = self._data.workers
        with Workers(self.__getitem__, count, self._data.processes) as workers:
            ahead: deque = deque()
            following = first
            for place in range(first, last):
                while following < last and len(ahead) < 2 * count + 1:
                    ahead.append(workers.call(following))
                    following += 1
                began = time.perf_counter()
                batch = workers.result(ahead.popleft())
                self.waited += time.perf_counter() - began if place > first else 0
                yield batch


def _resized(patch: np.ndarray, size: int) -> np.ndarray:
    """(C, h, h) at size x size, by Pillow's bicubic filter, antialiased where it shrinks, cut off at 0 and 1."""
    if patch.shape[1] == size:
        return patch
    bicubic = Image.Resampling.BICUBIC
    other = [np.asarray(Image.fromarray(colour).resize((size, size), bicubic)) for colour in patch.astype(np.float32)]
    return np.stack(other).clip(0, 1)
