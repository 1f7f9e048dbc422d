"""The samples of a picture that Pillow has opened, in the precision of its file.

Samples are (H, W, S), uint8 or uint16: grey, grey and alpha, RGB, or RGB and alpha, for S from 1 to 4.
"""

import io
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile

from tunable.images import deep_pictures

_BLOCK = 2**20  # pixels converted at a time


def decode(
    path: str | Path, picture: ImageFile.ImageFile, profile: bytes | None, *, animated: bool
) -> tuple[np.ndarray, str | None]:
    """Decode what Pillow has opened, some formats with other decoders.

    Args:
        path: the file.
        picture: its page or frame, opened.
        profile: its ICC profile, which CMYK is converted by.
        animated: whether it is a frame of an animation.

    Returns:
        The samples before EXIF orientation, and a line about values that were changed, None where none was.

    Raises:
        Exception: of many kinds, Pillow's own, for a damaged file.
    """
    said = None
    samples = deep_pictures.read_pnm(path, picture) if picture.format == "PPM" else None
    if picture.format == "WEBP" and not animated:  # in a third of the memory that Pillow takes
        samples = imagecodecs.webp_decode(Path(path).read_bytes())
    elif samples is None:
        picture.load()
        if deep_pictures.is_png(path) and not animated:
            samples = deep_pictures.read_png(path)
        elif picture.mode.startswith("I"):  # 0 to 65535; Pillow would clip them to 255
            samples, said = deep_pictures.levels_of(np.asarray(picture)[:, :, None] / 65535.0)
        elif picture.mode == "F":
            samples, said = deep_pictures.levels_of(np.asarray(picture)[:, :, None])
        elif picture.mode == "CMYK" and profile:
            samples, said = _of_ink(picture, profile)
        else:
            samples = _samples(picture, bool(profile))
    return samples, said


def orientation_of(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, of a picture that Pillow has opened."""
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # of many kinds where the EXIF data are damaged, which `tags_of` says
        return 1


def _samples(picture: Image.Image, profiled: bool) -> np.ndarray:
    """uint8 (H, W, S) of a picture of 8 bits, block by block; a palette of greys, without a profile, counts as grey."""
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.mode in ("P", "PA") and not profiled:
        colours = np.array(picture.getpalette("RGB")).reshape(-1, 3)
        used = np.flatnonzero(picture.getchannel(0).histogram())
        grey = bool((np.ptp(colours[used[used < len(colours)]], axis=1) == 0).all())
    mode = ("L" if grey else "RGB") + ("A" if picture.has_transparency_data else "")
    return _in_blocks(picture, lambda block: _converted(block, mode), len(mode))


def _converted(block: Image.Image, mode: str) -> Image.Image:
    if block.mode in ("P", "PA") and mode != "RGB":  # by way of RGBA Pillow keeps every kind of transparency
        block = block.convert("RGBA")
    return block.convert(mode)


def _of_ink(picture: Image.Image, profile: bytes) -> tuple[np.ndarray, str | None]:
    """uint8 sRGB (H, W, 3) of CMYK by its profile, and a line where that is none."""
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, "CMYK", "RGB")
    except (OSError, ImageCms.PyCMSError):
        return _samples(picture, True), "its colour profile is not one of CMYK: its colours are near"
    # Pillow gives None where it converts in place, which it does not here.
    return _in_blocks(picture, lambda block: ImageCms.applyTransform(block, transform) or block, 3), None


def _in_blocks(picture: Image.Image, convert: Callable[[Image.Image], Image.Image], count: int) -> np.ndarray:
    """uint8 (H, W, count) of what `convert` makes of a picture, block by block: whole copies would take the memory."""
    width, height = picture.size
    samples = np.empty((height, width, count), np.uint8)
    step = max(_BLOCK // width, 1)
    for top in range(0, height, step):
        block = picture.crop((0, top, width, min(top + step, height)))
        samples[top : top + step] = np.asarray(convert(block)).reshape(-1, width, count)
    return samples


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror samples (H, W, S) by an EXIF orientation, as ImageOps.exif_transpose does."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples
