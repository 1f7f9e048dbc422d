"""Pictures as files: which formats are written, with what quality, and what of a picture each can hold."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tunable.errors import DataError
from tunable.images.tags import Tags, encoded_exif, exif_of

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
    ".ppm": "PPM", ".pgm": "PPM", ".avif": "AVIF", ".apng": "PNG", ".jpe": "JPEG", ".jfif": "JPEG",
}  # fmt: skip
DEEP = ("PNG", "TIFF")  # hold 16 bits per channel
WITH_ALPHA = ("PNG", "TIFF", "WEBP", "AVIF")
WITH_GREY = ("PNG", "TIFF", "JPEG", "BMP", "PPM")
WITH_QUALITY = ("JPEG", "WEBP", "AVIF")
ANIMATED = ("PNG", "WEBP", "AVIF")
_WITH_PROFILE = (*WITH_ALPHA, "JPEG")
_SIDES = {"WEBP": 16383, "JPEG": 65500, "AVIF": 65535}  # pixels, at the most
_QUALITY = 98  # at 95 the encoder's error is not yet small beside the error of a restored picture
_TOO_LONG = 65_500  # bytes of a JPEG's EXIF or XMP
_STRIP_OFFSETS = 273
_HEAD = 33  # bytes of a PNG's signature and header chunk


class Sheet(NamedTuple):
    """A picture as its format will hold it.

    Attributes:
        samples: uint8 or uint16 (H, W, S): grey, grey and alpha, RGB, or RGB and alpha, for S from 1 to 4.
        profile: an ICC profile of their colours.
        tags: EXIF, XMP and resolution.
    """

    samples: np.ndarray
    profile: bytes | None = None
    tags: Tags = Tags()


class Timing(NamedTuple):
    """The pace of an animation.

    Attributes:
        durations: of its frames, in milliseconds.
        loop: how often it is played; 0: for ever.
    """

    durations: list[float]
    loop: int = 0


def format_of(path: str | Path) -> str:
    """Return the format that a suffix names. Raises DataError for a suffix that is not written."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"cannot write {path}: the suffix must be one of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def check_size(path: str | Path, width: int, height: int) -> None:
    """Raise DataError where the format of a file cannot hold so large a picture."""
    side = _SIDES.get(format_of(path), width + height)
    if max(width, height) > side:
        raise DataError(f"cannot write {path}: the picture has {width}x{height} pixels, its format holds {side} a side")


def encode(
    format: str, sheets: Sequence[Sheet], quality: int | None = None, timing: Timing | None = None
) -> tuple[bytes, list[str]]:
    """Encode one picture, pages (TIFF) or an animation.

    Args:
        format: a value of FORMATS.
        sheets: what is written; the frames of an animation have one size and number of channels.
        quality: 1 to 100, of the formats that lose (`WITH_QUALITY`); by default JPEG and AVIF have 98 with colour in
            full resolution, WebP is without loss.
        timing: of an animation (`ANIMATED`); None: one picture, or pages.

    Returns:
        The content of the file, and the names of what it could not take along.
    """
    if format == "TIFF":
        return _tiff(sheets)
    lost: list[str] = []
    samples, profile, tags = sheets[0]
    options: dict[str, Any] = {"icc_profile": profile} if profile and format in _WITH_PROFILE else {}
    options |= _options(format, quality) | _tag_options(format, tags, (samples.shape[1], samples.shape[0]), lost)
    if samples.dtype == np.uint16:
        return _deep_png(samples, options), lost
    if timing:
        rest = [_image(sheet.samples) for sheet in sheets[1:]]
        options |= {"save_all": True, "append_images": rest, "loop": timing.loop}
        options["duration"] = timing.durations if format == "PNG" else [round(value) for value in timing.durations]
        options |= {"blend": 0, "disposal": 0} if format == "PNG" else {}
    file = io.BytesIO()  # given a file, Pillow overlooks that the last write was cut by a full disk
    _image(samples).save(file, format=format, **options)
    return file.getvalue(), lost


def alike(sheets: list[Sheet]) -> list[Sheet]:
    """Give sheets of 8 bits the same channels, as an animation needs: grey and opaque sheets become as the others."""
    colour = any(sheet.samples.shape[2] > 2 for sheet in sheets)
    alpha = any(sheet.samples.shape[2] in (2, 4) for sheet in sheets)

    def brought(samples: np.ndarray) -> np.ndarray:
        transparent = samples.shape[2] in (2, 4)
        planes = samples[:, :, : samples.shape[2] - transparent]
        planes = np.repeat(planes, 3, axis=2) if colour and planes.shape[2] == 1 else planes
        if not alpha:
            return planes
        return np.dstack([planes, samples[:, :, -1] if transparent else np.full(planes.shape[:2], 255, np.uint8)])

    return [sheet._replace(samples=brought(sheet.samples)) for sheet in sheets]


def _image(samples: np.ndarray) -> Image.Image:
    return Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)


def _options(format: str, quality: int | None) -> dict[str, Any]:
    if format in ("JPEG", "AVIF"):
        return {"quality": quality or _QUALITY, "subsampling": "4:4:4"}
    if format == "WEBP":  # exact: colours under full transparency stay too
        return {"quality": quality, "method": 4} if quality else {"lossless": True, "exact": True}
    return {}


def _tag_options(format: str, tags: Tags, size: tuple[int, int], lost: list[str]) -> dict[str, Any]:
    """Pillow's options; what the format cannot hold is named in `lost`."""
    options: dict[str, Any] = {}
    exif, xmp = encoded_exif(tags, size), tags.xmp
    if format == "JPEG":
        if exif and len(exif) > _TOO_LONG:
            exif = None
            lost.append("EXIF tags")
        if xmp and len(xmp) > _TOO_LONG:
            xmp = None
            lost.append("XMP")
    if format in ("PNG", "JPEG", "BMP") and tags.dpi:
        options["dpi"] = tags.dpi
    if format not in _WITH_PROFILE:
        lost += ["EXIF tags"] * bool(tags.exif) + ["XMP"] * bool(xmp)
        return options
    if exif and (tags.exif or "dpi" not in options):
        options["exif"] = exif
    if xmp and format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    elif xmp:
        options["xmp"] = xmp
    return options


def _deep_png(samples: np.ndarray, options: dict[str, Any]) -> bytes:
    """imagecodecs encodes the samples; the chunks about them are those that Pillow writes for one pixel."""
    encoded = imagecodecs.png_encode(np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples))
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG", **options)
    pixel, place, chunks = file.getvalue(), _HEAD, b""
    while place < len(pixel):
        end = place + 12 + struct.unpack(">I", pixel[place : place + 4])[0]
        if pixel[place + 4 : place + 8] not in (b"IDAT", b"IEND"):
            chunks += pixel[place:end]
        place = end
    return bytes(encoded[:_HEAD]) + chunks + encoded[_HEAD:]


def _tiff(sheets: Sequence[Sheet]) -> tuple[bytes, list[str]]:
    """Pages of any depth, not compressed, one strip each."""
    file, pointer = io.BytesIO(), 4
    file.write(b"II*\0\0\0\0\0")
    for samples, profile, tags in sheets:
        height, width, count = samples.shape
        ifd = ImageFileDirectory_v2()
        for tag, value in exif_of(tags, (width, height)).items():
            ifd[tag] = value
        bits = samples.itemsize * 8
        ifd[256], ifd[257], ifd[258], ifd[259] = width, height, (bits,) * count, 1
        ifd[262], ifd[277], ifd[278], ifd[284] = 2 if count > 2 else 1, count, height, 1
        ifd[_STRIP_OFFSETS], ifd[279] = 0, samples.nbytes
        if count in (2, 4):
            ifd[338] = 2  # alpha by which the colours are not multiplied
        if profile:
            ifd[34675] = profile
        if tags.xmp:
            ifd.tagtype[700] = 1
            ifd[700] = tags.xmp
        at = file.seek(0, io.SEEK_END)
        at += file.write(b"\0" * (at % 2))
        directory = ifd.tobytes(at)
        file.write(directory)
        file.write(np.ascontiguousarray(samples, samples.dtype.newbyteorder("<")).data)
        file.seek(pointer)
        file.write(struct.pack("<L", at))
        pointer = at + 2 + 12 * struct.unpack("<H", directory[:2])[0]
    return file.getvalue(), []
