"""Reading and writing pictures with Pillow, and the layouts that the project uses.

In files and metrics a picture is (H, W, 3); networks take (N, 3, H, W). Values are floats in 0..1, or the levels of a
file, uint8 or uint16, which stand for 0..1 too.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from tunable_core import deep_pictures
from tunable_core.errors import DataError
from tunable_core.files import atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MAX_PIXELS = 100_000_000
ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp")
_PROFILE_SUFFIXES = (*ALPHA_SUFFIXES, ".jpg", ".jpeg")


class Picture(NamedTuple):
    """A picture as a file holds it, EXIF orientation applied.

    levels   RGB (H, W, 3), uint8, or uint16 where the file has more than 8 bits per channel
    alpha    (H, W) of the same type, None without transparency
    profile  the ICC colour profile of the RGB values, None when the file has none
    """

    levels: np.ndarray
    alpha: np.ndarray | None
    profile: bytes | None


def read_picture(path: str | Path) -> Picture:
    """Read a picture with all that it has, in the precision of its file.

    Grey, palette and CMYK pictures become RGB; EXIF orientation is applied. 16 bits stay 16 in PNG, in TIFF but for
    CMYK, and in grey PNM; other kinds have 8. Floats in a grey TIFF get 16.
    Raises DataError for what is no picture, is truncated or exceeds `MAX_PIXELS`.
    """
    with _opened(path) as picture:
        if isinstance(picture, deep_pictures.Tiff):
            return _of_samples(picture.read(), picture.orientation, picture.profile)
        picture.load()
        if deep_pictures.is_png(path):
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
            return _of_samples(deep_pictures.read_png(path), orientation, picture.info.get("icc_profile"))
        # A profile describes the values of its own colour space: those that are converted to RGB leave it behind.
        profile = picture.info.get("icc_profile") if picture.mode in ("RGB", "RGBA", "P") else None
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I") or picture.mode == "F":  # Pillow would clip them to 255
            return _of_samples(_deep_grey(picture), 1, None)
        alpha = None
        if picture.has_transparency_data:
            alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
        return Picture(np.asarray(_to_rgb(picture)), alpha, profile)


def read_levels(path: str | Path) -> np.ndarray:
    """Read the RGB levels (H, W, 3) of a picture, uint8 or uint16; errors as `read_picture`."""
    return read_picture(path).levels


def read(path: str | Path) -> np.ndarray:
    """Read a picture as float32 RGB (H, W, 3) in 0..1, in the precision of its file; errors as `read_picture`."""
    return to_floats(read_levels(path))


def read_bytes(path: str | Path) -> np.ndarray:
    """Read a picture as uint8 RGB (H, W, 3), 16 bits rounded; alpha is dropped, errors as `read_picture`."""
    return to_levels(read_levels(path))


def size_of(path: str | Path) -> tuple[int, int]:
    """Width and height as the file's header has them (before EXIF orientation); errors as `read_picture`."""
    with _opened(path) as picture:
        return picture.size


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image | deep_pictures.Tiff]:
    """A picture within the size limit; whatever goes wrong with it is a DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with deep_pictures.opened_tiff(path) as tiff, nullcontext(tiff) if tiff else Image.open(path) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise DataError(f"{path} has {width}x{height} pixels; the limit is {MAX_PIXELS}")
                yield picture
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"no such picture: {path}") from None
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise DataError(f"cannot read {path} as a picture: {' '.join(str(error).split())}") from None


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "P" and "transparency" in picture.info:  # Pillow warns when alpha is dropped in one step
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _deep_grey(picture: Image.Image) -> np.ndarray:
    """16- and 32-bit grey, whole or float, as uint16 (H, W, 1)."""
    values = np.asarray(picture, dtype=np.float64)[:, :, None]
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    return to_levels(values / (65535.0 if picture.mode != "F" else max(values.max(), 1.0)), np.uint16)


def _of_samples(samples: np.ndarray, orientation: int, profile: bytes | None) -> Picture:
    """A picture of uint16 (H, W, S), as deep_pictures counts S."""
    samples = _turned(samples, orientation)
    alpha = samples[:, :, -1] if samples.shape[2] in (2, 4) else None
    if samples.shape[2] < 3:
        return Picture(np.repeat(samples[:, :, :1], 3, axis=2), alpha, None)
    return Picture(samples[:, :, :3], alpha, profile)


def _turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, S) by an EXIF orientation, as ImageOps.exif_transpose does."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def to_floats(levels: np.ndarray) -> np.ndarray:
    """uint8 or uint16 levels as float32 in 0..1."""
    return levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)


def to_levels(picture: np.ndarray, dtype=np.uint8) -> np.ndarray:
    """Floats in 0..1, clipped and rounded to uint8 or uint16; of levels, the nearest in the wanted type."""
    if picture.dtype == dtype:
        return picture
    if picture.dtype == np.uint16:
        return (picture // 257 + (picture % 257 > 128)).astype(np.uint8)
    if picture.dtype == np.uint8:
        return picture.astype(np.uint16) * 257
    levels = np.clip(picture, np.float32(0), np.float32(1))
    levels *= np.iinfo(dtype).max
    return np.rint(levels, out=levels).astype(dtype)


def write(path: str | Path, picture: np.ndarray, alpha: np.ndarray | None = None, profile: bytes | None = None) -> None:
    """Write an (H, W, 3) picture atomically; the suffix names the format.

    picture  floats in 0..1 or uint8: 8 bits per channel; uint16: 16 where the format has them
             (`deep_pictures.SUFFIXES`), else 8
    alpha    uint8 or uint16 of any size, brought to that of the picture; left out where the format has none
             (`ALPHA_SUFFIXES`)
    profile  an ICC profile, likewise
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"cannot write {path}: the suffix must be one of {', '.join(SUFFIXES)}")
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise DataError(f"cannot write {path}: a picture has shape (H, W, 3), not {picture.shape}")
    if not np.isfinite(picture).all():
        raise DataError(f"cannot write {path}: the picture has values that are not finite")
    dtype = np.uint16 if picture.dtype == np.uint16 and suffix in deep_pictures.SUFFIXES else np.uint8
    levels = to_levels(picture, dtype)
    if alpha is not None and suffix in ALPHA_SUFFIXES:
        levels = np.dstack([levels, _resized(to_levels(alpha, dtype), levels.shape[:2])])
    profile = profile if suffix in _PROFILE_SUFFIXES else None
    if dtype == np.uint16:
        encode = deep_pictures.encode_png if suffix == ".png" else deep_pictures.encode_tiff
        with atomic(path) as temporary:
            temporary.write_bytes(encode(levels, profile))
        return
    options = {"icc_profile": profile} if profile else {}
    save_image(path, Image.fromarray(levels), Image.registered_extensions()[suffix], **options)


def _resized(alpha: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Levels (H, W), bicubically brought to `shape`."""
    if alpha.shape == shape:
        return alpha
    size = shape[::-1]
    if alpha.dtype == np.uint8:
        return np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
    resized = np.asarray(Image.fromarray(to_floats(alpha)).resize(size, Image.Resampling.BICUBIC))
    return to_levels(resized, np.uint16)


def save_image(path: str | Path, image: Image.Image, format: str, **options) -> None:
    """Encode an image as Pillow's `format`, with its options, and write the file atomically."""
    with atomic(path) as temporary:
        encoded = io.BytesIO()  # given a file, Pillow overlooks that the last write was cut by a full disk
        image.save(encoded, format=format, **options)
        temporary.write_bytes(encoded.getvalue())


def to_network(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (1, 3, H, W): floats contiguous float32; levels as they are, a view."""
    turned = picture.transpose(2, 0, 1)[None]
    return turned if picture.dtype.kind == "u" else np.ascontiguousarray(turned, dtype=np.float32)


def from_network(pictures: np.ndarray) -> np.ndarray:
    """(1, 3, H, W) -> (H, W, 3)."""
    return pictures[0].transpose(1, 2, 0)
