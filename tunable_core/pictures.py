"""Reading and writing pictures with Pillow, and the layouts that the project uses.

In files and metrics a picture is (H, W, 3); networks take (N, 3, H, W). Values are floats in 0..1.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from tunable_core.errors import DataError
from tunable_core.files import atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MAX_PIXELS = 100_000_000
ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp")
_PROFILE_SUFFIXES = (*ALPHA_SUFFIXES, ".jpg", ".jpeg")


class Picture(NamedTuple):
    """A picture as a file holds it, EXIF orientation applied.

    values   float32 RGB (H, W, 3) in 0..1
    alpha    uint8 (H, W), None without transparency
    profile  the ICC colour profile of the RGB values, None when the file has none
    """

    values: np.ndarray
    alpha: np.ndarray | None
    profile: bytes | None


def read_bytes(path: str | Path) -> np.ndarray:
    """Read a picture as uint8 RGB (H, W, 3).

    Grey, palette, alpha (dropped), CMYK and 16-bit pictures are converted; EXIF orientation is applied.
    Raises DataError for what is no picture, is truncated or exceeds `MAX_PIXELS`.
    """
    with _opened(path) as picture:
        picture.load()
        return np.asarray(_to_rgb(ImageOps.exif_transpose(picture)))


def read_picture(path: str | Path) -> Picture:
    """Read a picture with what else it has; errors as `read_bytes`."""
    with _opened(path) as picture:
        picture.load()
        # A profile describes the values of its own colour space: those that are converted to RGB leave it behind.
        profile = picture.info.get("icc_profile") if picture.mode in ("RGB", "RGBA", "P") else None
        picture = ImageOps.exif_transpose(picture)
        alpha = None
        if picture.has_transparency_data:
            alpha = np.asarray(picture.convert("RGBA"))[:, :, 3]
        return Picture(_scaled(np.asarray(_to_rgb(picture))), alpha, profile)


def size_of(path: str | Path) -> tuple[int, int]:
    """Width and height as the file's header has them (before EXIF orientation); errors as `read_bytes`."""
    with _opened(path) as picture:
        return picture.size


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """A picture within the size limit; whatever goes wrong with it is a DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
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
    if picture.mode.startswith("I") or picture.mode == "F":  # 16- and 32-bit grey: Pillow would clip to 255
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it has values that are not finite")
        top = 65535.0 if picture.mode != "F" else max(values.max(), 1.0)
        picture = Image.fromarray(np.round(np.clip(values / top, 0, 1) * 255).astype(np.uint8))
    if picture.mode == "P" and "transparency" in picture.info:  # Pillow warns when alpha is dropped in one step
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def read(path: str | Path) -> np.ndarray:
    """Read a picture as float32 RGB (H, W, 3) in 0..1; errors as `read_bytes`."""
    return _scaled(read_bytes(path))


def _scaled(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) / np.float32(255)


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Round a float picture in 0..1 to uint8, clipping."""
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def write(path: str | Path, picture: np.ndarray, alpha: np.ndarray | None = None, profile: bytes | None = None) -> None:
    """Write a float (H, W, 3) picture, 8 bits per channel, atomically; the suffix names the format.

    alpha    uint8 of any size, brought to that of the picture; left out where the format has none (`ALPHA_SUFFIXES`)
    profile  an ICC profile, likewise
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"cannot write {path}: the suffix must be one of {', '.join(SUFFIXES)}")
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise DataError(f"cannot write {path}: a picture has shape (H, W, 3), not {picture.shape}")
    if not np.isfinite(picture).all():
        raise DataError(f"cannot write {path}: the picture has values that are not finite")
    suffix, made = path.suffix.lower(), Image.fromarray(to_bytes(picture))
    if alpha is not None and suffix in ALPHA_SUFFIXES:
        made.putalpha(Image.fromarray(alpha).resize(made.size, Image.Resampling.BICUBIC))
    options = {"icc_profile": profile} if profile and suffix in _PROFILE_SUFFIXES else {}
    save_image(path, made, Image.registered_extensions()[suffix], **options)


def save_image(path: str | Path, image: Image.Image, format: str, **options) -> None:
    """Encode an image as Pillow's `format`, with its options, and write the file atomically."""
    with atomic(path) as temporary:
        encoded = io.BytesIO()  # given a file, Pillow overlooks that the last write was cut by a full disk
        image.save(encoded, format=format, **options)
        temporary.write_bytes(encoded.getvalue())


def to_network(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (1, 3, H, W), contiguous float32."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32)


def from_network(pictures: np.ndarray) -> np.ndarray:
    """(1, 3, H, W) -> (H, W, 3)."""
    return pictures[0].transpose(1, 2, 0)


def list_pictures(folder: str | Path) -> list[Path]:
    """The pictures directly inside `folder`, sorted by name, without hidden ones; DataError if there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        inside = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())[:4])
        hint = f"; inside it are the folders {inside}" if inside else ""
        raise DataError(f"no pictures in {folder} (looked for {', '.join(SUFFIXES)}){hint}")
    return found
