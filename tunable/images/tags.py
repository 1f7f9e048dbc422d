"""What a file says about its picture besides the colours: EXIF, XMP and the resolution, carried from file to file."""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from PIL import Image
from PIL.ExifTags import IFD, Base

# Of a file's first directory what describes the photograph; the rest says how a file of its kind stores pixels.
_DESCRIBING = {
    269, 270, 271, 272, 274, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 18249, 33432, 33723, 34665, 34853,
    40091, 40092, 40093, 40094, 40095, 42016,
}  # fmt: skip
_XMP, _INTEROP = 700, 40965
_SIZE = (40962, 40963)  # of the EXIF directory: width and height in pixels
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))[0-9](?="|</tiff:Orientation>)')
_STORED = ('{"shape"', "shape=", "ImageJ=", "<?xml")  # descriptions of how programs have stored arrays
_PER_INCH = {1: None, 2: 1.0, 3: 2.54}


class Tags(NamedTuple):
    """What a file says of its picture.

    Attributes:
        exif: tag -> value, directories as dictionaries; None where the file has none.
        xmp: the packet; None where the file has none.
        dpi: pixels per inch, across and down; None where the file does not say.
    """

    exif: dict[int, Any] | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


NO_TAGS = Tags()


def tags_of(read: Callable[[], Image.Exif], info: dict[Any, Any]) -> tuple[Tags, str | None]:
    """Read the tags of a picture whose pixels will be turned upright.

    Args:
        read: gives the EXIF as Pillow reads it, or a whole TIFF directory.
        info: Pillow's, {} for a TIFF that it did not read.

    Returns:
        The tags, and a line if they cannot be read.
    """
    try:
        return _tags(read(), info), None
    except Exception as error:  # of many kinds where it is damaged
        said = f"its EXIF tags cannot be read: {' '.join(str(error).split())[:200]}"
        return Tags(dpi=_dpi(info.get("dpi"))), said


def _tags(exif: Image.Exif, info: dict[Any, Any]) -> Tags:
    entries = {tag: value for tag, value in exif.items() if tag in _DESCRIBING}
    for directory in (IFD.Exif, IFD.GPSInfo):
        if directory in entries:
            entries[directory] = dict(exif.get_ifd(directory))
            if not entries[directory]:
                del entries[directory]
    if _INTEROP in entries.get(IFD.Exif, {}):
        entries[IFD.Exif][_INTEROP] = dict(exif.get_ifd(_INTEROP))
    if str(entries.get(Base.ImageDescription, "")).startswith(_STORED):
        del entries[Base.ImageDescription]
    if Base.Orientation in entries:
        entries[Base.Orientation] = 1
    _encoded(entries)  # or it is none that can be written
    dpi = _dpi(info["dpi"]) if "dpi" in info else _dpi_of_exif(exif)
    xmp = info.get("xmp") or exif.get(_XMP)
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if isinstance(xmp, bytes) else None
    return Tags(entries or None, xmp, dpi)


def _dpi(values: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in values)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(math.isfinite(value) and 0 < value < 1e6 for value in (across, down)) else None


def _dpi_of_exif(exif: Image.Exif) -> tuple[float, float] | None:
    unit = _PER_INCH.get(exif.get(Base.ResolutionUnit, 2))
    if unit is None or Base.XResolution not in exif or Base.YResolution not in exif:
        return None
    dots = _dpi((exif[Base.XResolution], exif[Base.YResolution]))
    return dots and (dots[0] * unit, dots[1] * unit)


def exif_of(tags: Tags, size: tuple[int, int]) -> dict[int, Any]:
    """Return the EXIF of a picture written with this width and height, resolution included; {} for none."""
    exif = {tag: value for tag, value in (tags.exif or {}).items() if tag not in (282, 283, 296)}
    if tags.dpi:
        exif |= {Base.XResolution: tags.dpi[0], Base.YResolution: tags.dpi[1], Base.ResolutionUnit: 2}
    if IFD.Exif in exif:
        exif[IFD.Exif] = {
            tag: size[_SIZE.index(tag)] if tag in _SIZE else value for tag, value in exif[IFD.Exif].items()
        }
    return exif


def encoded_exif(tags: Tags, size: tuple[int, int]) -> bytes | None:
    """Return `exif_of` as files hold it; None for none."""
    exif = exif_of(tags, size)
    return _encoded(exif) if exif else None


def _encoded(exif: dict[int, Any]) -> bytes:
    made = Image.Exif()
    for tag, value in exif.items():
        made[tag] = value
    return made.tobytes()
