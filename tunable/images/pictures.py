"""Reading and writing pictures with Pillow, and the layouts that the project uses.

In files and metrics a picture is (H, W, 3); networks take (N, 3, H, W). Values are floats in 0..1, or the levels of a
file, uint8 or uint16, which stand for 0..1 too.
"""

import functools
import logging
import math
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile
from PIL.MpoImagePlugin import MpoImageFile

from tunable.errors import DataError, shorten
from tunable.files import atomic
from tunable.images import decoders, deep_pictures, encoders
from tunable.images.deep_pictures import Tiff
from tunable.images.encoders import Sheet, Timing
from tunable.images.tags import NO_TAGS, Tags, tags_of

WRITTEN = tuple(encoders.FORMATS)  # the suffixes of what is written
SUFFIXES = (*WRITTEN, ".pbm", ".pnm", ".gif")  # and of what is read
_READ = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "GIF")  # Pillow's decoders of these: no other is called
MAX_PIXELS = 100_000_000
_PIXELS_PER_BYTE = {"PPM": 8, "JPEG": 1032, "BMP": 1032}  # that a file can hold, at the most
_SPACES = {True: b"GRAY", False: b"RGB "}  # what the profile of a grey and of a colour picture says at bytes 16 to 19

log = logging.getLogger(__name__)


class Picture(NamedTuple):
    """A picture as a file holds it, EXIF orientation applied.

    Attributes:
        levels: RGB (H, W, 3), uint8, or uint16 where the file has more than 8 bits per channel.
        alpha: (H, W) of the same type, None without transparency.
        profile: the ICC colour profile of the values, of grey values where `grey`; None when the file has none.
        grey: whether the file has one channel, which the three of `levels` repeat.
        tags: EXIF, XMP and resolution.
        frames: how many pictures the file holds.
        animated: whether they are an animation; else they are pages.
        duration: milliseconds of this frame of an animation.
        loop: how often the animation is played; 0: for ever.
    """

    levels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    grey: bool = False
    tags: Tags = NO_TAGS
    frames: int = 1
    animated: bool = False
    duration: float = 0.0
    loop: int = 0


def read_picture(path: str | Path, max_pixels: int | None = None) -> Picture:
    """Read a picture, the first of its file, with all that it has, in the precision of its file.

    The content, not the name, says which of the formats of `SUFFIXES` it is; nothing else is decoded. Grey, palette,
    CMYK and Lab pictures become RGB; EXIF orientation is applied. 16 bits stay 16 in PNG and PNM, and in grey
    and RGB TIFF; other kinds have 8. Whole numbers span their type's range, signed ones 0 to its largest, floats 0..1;
    signed numbers and floats a little outside are clipped, which is logged (`deep_pictures.Tiff.read`).

    Args:
        path: the file.
        max_pixels: larger pictures are refused before anything is decoded; None: `MAX_PIXELS`.

    Raises:
        DataError: for what is no picture, is truncated, has values far outside its range or too many pixels.
    """
    return _read(path, 0, max_pixels, tags=True)


def read_frames(path: str | Path, max_pixels: int | None = None) -> Iterator[Picture]:
    """Yield the pages or frames of a file one after the other, as `read_picture`; `max_pixels` bounds them together.

    Frames of an animation have 8 bits per channel.
    """
    limit = _limit(max_pixels)
    with _opened(path, 0, max_pixels) as (picture, tiff, places):
        total, frames = math.prod(picture.size), len(places)
    if not tiff and total * frames > limit:
        raise DataError(_too_many(path, f"{frames} frames of {total} pixels", limit))
    first = read_picture(path, max_pixels)
    yield first
    for frame in range(1, first.frames):
        width, height = _size(path, frame, max_pixels)
        total += width * height
        if total > limit:
            raise DataError(_too_many(path, f"{frame + 1} pages or more, with {total} pixels", limit))
        yield _read(path, frame, max_pixels, tags=True)


def read_levels(path: str | Path, max_pixels: int | None = None) -> np.ndarray:
    """Read the RGB levels (H, W, 3) of a picture, uint8 or uint16; arguments and errors as `read_picture`.

    That further frames or pages are left out is logged.
    """
    picture = _read(path, 0, max_pixels, tags=False)
    if picture.frames > 1:
        _say_once(f"{path} holds {picture.frames} pictures: the first is taken")
    return picture.levels


def read(path: str | Path, max_pixels: int | None = None) -> np.ndarray:
    """Read a picture as float32 RGB (H, W, 3) in 0..1, in the precision of its file; else as `read_levels`."""
    return to_floats(read_levels(path, max_pixels))


def read_bytes(path: str | Path, max_pixels: int | None = None) -> np.ndarray:
    """Read a picture as uint8 RGB (H, W, 3), 16 bits rounded; alpha is dropped, else as `read_levels`."""
    return to_levels(read_levels(path, max_pixels))


def size_of(path: str | Path, max_pixels: int | None = None) -> tuple[int, int]:
    """Return width and height by the file's header, before EXIF orientation; errors as `read_picture`."""
    return _size(path, 0, max_pixels)


def _size(path: str | Path, frame: int, max_pixels: int | None) -> tuple[int, int]:
    with _opened(path, frame, max_pixels) as (picture, _, _):
        return picture.size


def _read(path: str | Path, frame: int, max_pixels: int | None, *, tags: bool) -> Picture:
    with _opened(path, frame, max_pixels) as (source, tiff, places):
        if isinstance(source, Tiff):
            samples, said = source.read(8 * _limit(max_pixels))
            picture = _of_samples(samples, source.orientation, source.profile)._replace(frames=len(places))
            exif, info = source.tags, {}
        else:  # of a TIFF's later pages Pillow's `info` still says what the first ones said
            profile = tiff.profile if tiff else source.info.get("icc_profile")
            picture, said = _of_pillow(path, source, places, profile)
            exif, info = (tiff.tags, {}) if tiff else (source.getexif, source.info)
        if said:
            _say_once(f"{path}: {said}")
        if tags:
            if isinstance(source, MpoImageFile):
                added = source.n_frames - 1
                _say_once(f"{path} holds {added} more, as cameras add previews and maps: the first picture is taken")
            described, said = tags_of(exif, info)
            picture = picture._replace(tags=described)
            if said:
                _say_once(f"{path}: {said}")
        return picture


@functools.lru_cache(maxsize=4096)
def _say_once(line: str) -> None:
    log.warning("%s", line)


def _limit(max_pixels: int | None) -> int:
    return MAX_PIXELS if max_pixels is None else max_pixels


def _too_many(path: str | Path, what: str, limit: int) -> str:
    return (
        f"{path} has {what}; the limit is {limit} pixels (--max-megapixels sets another; in Python the argument "
        "max_pixels)"
    )


@contextmanager
def _opened(
    path: str | Path, frame: int, max_pixels: int | None
) -> Iterator[tuple[ImageFile.ImageFile | Tiff, Tiff | None, Sequence[int]]]:
    """A page or frame within the size limit, and the places of all; whatever goes wrong with it is a DataError.

    The first is the `Tiff` that reads it, else Pillow's picture; the second is the page of a TIFF in both cases.
    """
    limit = _limit(max_pixels)
    try:
        with deep_pictures.opened_tiff(path, frame) as (tiff, places), open(path, "rb") as file:
            if tiff:
                _check_size(path, tiff.size, limit)
                tiff.check()
            picture = None if tiff and not tiff.is_for_pillow else _of_file(file, path)
            if picture is None:
                if not tiff:
                    raise ValueError(f"cannot identify it as one of {', '.join(_READ)}")
                if not tiff.colours:
                    raise ValueError(f"it is a TIFF of {tiff.kind}; wanted grey or RGB, with or without alpha")
                yield tiff, tiff, places
                return
            _check_size(path, picture.size, limit)
            _check_bytes(path, picture)
            places = places or _places(picture)
            if places[frame]:
                picture.seek(places[frame])
                _check_size(path, picture.size, limit)
            yield picture, tiff, places
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"no such picture: {path}") from None
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise DataError(f"cannot read {path} as a picture: {shorten(' '.join(str(error).split()), 300)}") from None


def _of_file(file: BinaryIO, path: str | Path) -> ImageFile.ImageFile | None:
    """What `Image.open(file, formats=_READ)` gives, but for Pillow's own limit of pixels; None for no picture."""
    head = file.read(16)
    Image.init()
    for format in _READ:
        decoder, accepts = Image.OPEN[format]
        if accepts is None or accepts(head) is True:  # a message where Pillow is built without the format
            file.seek(0)
            try:
                return decoder(file, os.fspath(path))
            except (SyntaxError, IndexError, TypeError, struct.error):  # what Pillow takes for another format's file
                continue
    return None


def _places(picture: Image.Image) -> range:
    """The frames of a file; neither what a camera adds to a JPEG nor what an animated PNG shows instead is one."""
    count = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    return range(int(count > 1 and getattr(picture, "default_image", False)), count)


def _check_size(path: str | Path, size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width * height > limit:
        raise DataError(_too_many(path, f"{width}x{height} pixels", limit))


def _check_bytes(path: str | Path, picture: Image.Image) -> None:
    """ValueError where a file is too small for so many pixels."""
    (width, height), size = picture.size, os.path.getsize(path)
    if picture.format == "PNG":
        needed = deep_pictures.png_bytes(path, width, height)
    else:
        needed = width * height // _PIXELS_PER_BYTE.get(picture.format or "", width * height)
    if needed > size:
        raise ValueError(f"image file is truncated: {size} bytes cannot hold {width}x{height} pixels")


def _of_pillow(
    path: str | Path, picture: ImageFile.ImageFile, places: Sequence[int], profile: bytes | None
) -> tuple[Picture, str | None]:
    """A picture that Pillow opened, without its tags, and a line about clipped values."""
    animated = len(places) > 1 and picture.format in (*encoders.ANIMATED, "GIF")
    samples, said = decoders.decode(path, picture, profile, animated=animated)
    profile = None if picture.mode in ("CMYK", "LAB") else profile
    decoded = _of_samples(samples, decoders.orientation_of(picture), profile)
    decoded = decoded._replace(frames=len(places), animated=animated)
    if animated:
        once = picture.format == "GIF"  # without a count it is shown once
        duration, loop = picture.info.get("duration", 0), picture.info.get("loop", once)
        decoded = decoded._replace(duration=float(duration), loop=int(loop))
    return decoded, said


def _of_samples(samples: np.ndarray, orientation: int, profile: bytes | None) -> Picture:
    """A picture of uint8 or uint16 (H, W, S), as deep_pictures counts S."""
    samples = decoders.upright(samples, orientation)
    grey, alpha = samples.shape[2] < 3, samples[:, :, -1] if samples.shape[2] in (2, 4) else None
    levels = np.repeat(samples[:, :, :1], 3, axis=2) if grey else samples[:, :, :3]
    # A profile describes the values of its own colour space: those that were converted leave it behind.
    fits = isinstance(profile, bytes) and profile[16:20] == _SPACES[grey]
    return Picture(levels, alpha, profile if fits else None, grey)


def to_floats(levels: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return uint8 or uint16 levels of any shape as float32 in 0..1, in `out` if it is given."""
    return np.divide(levels, np.float32(np.iinfo(levels.dtype).max), out=out, dtype=np.float32)


def to_levels(picture: np.ndarray, dtype: type[np.unsignedinteger] = np.uint8) -> np.ndarray:
    """Return floats in 0..1, of any shape, clipped and rounded to uint8 or uint16; of levels, the nearest level."""
    if picture.dtype == dtype:
        return picture
    if picture.dtype == np.uint16:
        return (picture // 257 + (picture % 257 > 128)).astype(np.uint8)
    if picture.dtype == np.uint8:
        return picture.astype(np.uint16) * 257
    levels = np.clip(picture, np.float32(0), np.float32(1))
    levels *= np.iinfo(dtype).max
    return np.rint(levels, out=levels).astype(dtype)


def write(
    path: str | Path,
    picture: np.ndarray,
    alpha: np.ndarray | None = None,
    profile: bytes | None = None,
    *,
    grey: bool = False,
    tags: Tags = NO_TAGS,
    quality: int | None = None,
) -> None:
    """Write an (H, W, 3) picture atomically; the suffix names the format (`WRITTEN`).

    Args:
        path: the file.
        picture: floats in 0..1 or uint8: 8 bits per channel; uint16: 16 where the format has them (PNG and TIFF).
        alpha: uint8 or uint16 of any size, resized to the picture's; left out where the format has none.
        profile: an ICC profile of the values that are written, likewise.
        grey: whether to write one channel, the mean of the three, where the format has such pictures.
        tags: EXIF, XMP and resolution, as far as the format holds them; what it does not hold is logged.
        quality: 1 to 100, of JPEG, AVIF (by default 98, colours in full resolution) and WebP (by default lossless).

    Raises:
        DataError: for a suffix that is not written, and a picture that the format does not hold.
        TunableError: where the file cannot be written.
    """
    write_frames(path, [Picture(np.asarray(picture), alpha, profile, grey, tags)], quality=quality)


def write_frames(path: str | Path, pictures: Sequence[Picture], *, quality: int | None = None) -> None:
    """Write several pictures as pages of a TIFF, or as the animation that they are; else as `write`."""
    format, first = encoders.format_of(path), pictures[0]
    sheets = [_sheet(path, format, picture) for picture in pictures]
    timing = None
    if len(sheets) > 1 and not holds_frames(path, first):
        raise DataError(f"cannot write {path}: its format does not hold {len(sheets)} pictures")
    if len(sheets) > 1 and first.animated:
        timing = Timing([picture.duration for picture in pictures], first.loop)
        sheets = encoders.alike(sheets)
    with atomic(path) as temporary:
        try:
            encoded, lost = encoders.encode(format, sheets, quality, timing)
        except (ValueError, TypeError, OverflowError, SystemError, struct.error) as error:
            raise DataError(f"cannot write {path}: {' '.join(str(error).split())}") from None
        temporary.write_bytes(encoded)
    if lost:
        log.warning("%s is without the %s of the picture: its format has no room for them", path, " and ".join(lost))


def holds_frames(path: str | Path, picture: Picture) -> bool:
    """Return whether the format of a file holds all pages or frames of the file from which a picture came."""
    return encoders.format_of(path) in (encoders.ANIMATED if picture.animated else ("TIFF",))


def has_alpha(path: str | Path) -> bool:
    """Return whether the format of a file holds transparency."""
    return encoders.format_of(path) in encoders.WITH_ALPHA


def _sheet(path: str | Path, format: str, picture: Picture) -> Sheet:
    """A picture as its format will hold it."""
    levels, alpha, profile, grey, tags = picture[:5]
    if levels.ndim != 3 or levels.shape[2] != 3 or not levels.size:
        raise DataError(f"cannot write {path}: a picture has shape (H, W, 3), not {levels.shape}")
    if levels.dtype.kind == "f" and not np.isfinite(levels).all():
        raise DataError(f"cannot write {path}: the picture has values that are not finite")
    encoders.check_size(path, levels.shape[1], levels.shape[0])
    if grey:
        levels = _mean(levels)
        if format not in encoders.WITH_GREY:
            levels, profile = np.repeat(levels, 3, axis=2), None
    dtype = np.uint16 if levels.dtype == np.uint16 and format in encoders.DEEP and not picture.animated else np.uint8
    levels = to_levels(levels, dtype)
    if alpha is not None and format in encoders.WITH_ALPHA:
        levels = np.dstack([levels, _resized(to_levels(alpha, dtype), levels.shape[:2])])
    return Sheet(levels, profile, tags)


def _mean(levels: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W, 1) of the same type, rounded to the nearest level: of equal channels, the channel."""
    if levels.dtype.kind == "f":
        return levels.mean(axis=2, keepdims=True)
    return ((levels.sum(axis=2, dtype=np.uint32, keepdims=True) + 1) // 3).astype(levels.dtype)


def _resized(alpha: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Levels (H, W), bicubically brought to `shape`."""
    if alpha.shape == shape:
        return alpha
    height, width = shape
    size = (width, height)
    if alpha.dtype == np.uint8:
        return np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
    resized = np.asarray(Image.fromarray(to_floats(alpha)).resize(size, Image.Resampling.BICUBIC))
    return to_levels(resized, np.uint16)


def to_network(picture: np.ndarray) -> np.ndarray:
    """Turn (H, W, 3) into (1, 3, H, W): floats become contiguous float32, levels a view of the same type."""
    turned = picture.transpose(2, 0, 1)[None]
    return turned if picture.dtype.kind == "u" else np.ascontiguousarray(turned, dtype=np.float32)


def from_network(pictures: np.ndarray) -> np.ndarray:
    """Turn (1, 3, H, W) into (H, W, 3), a view."""
    return pictures[0].transpose(1, 2, 0)
