"""PNG and TIFF with 16 bits per channel, of which Pillow gives 8: read and written with imagecodecs and tifffile.

Samples are uint16 (H, W, S); S = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
"""

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

SUFFIXES = (".png", ".tif", ".tiff")  # the formats that are written with 16 bits
_TOP = 65535
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = 33  # bytes of the signature and of the header chunk
_PNG_DEPTH = 24  # the place of the byte that says how many bits
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION, _PROFILE = 274, 34675  # tags

for _name in ("imagecodecs", "tifffile", "PIL.TiffImagePlugin"):  # they log what they raise, and what does no harm
    logging.getLogger(_name).disabled = True


def is_png(path: str | Path) -> bool:
    """Whether a file begins as a PNG of 16 bits per channel."""
    head = _head(path, _PNG_DEPTH + 1)
    return head.startswith(_PNG_SIGNATURE) and head[_PNG_DEPTH:] == b"\x10"


def read_png(path: str | Path) -> np.ndarray:
    """The samples of a PNG; one colour that it declares transparent becomes alpha."""
    samples = imagecodecs.png_decode(Path(path).read_bytes())
    return samples.reshape(*samples.shape[:2], -1)


def encode_png(samples: np.ndarray, profile: bytes | None = None) -> bytes:
    """The file of samples, with an ICC profile."""
    encoded = imagecodecs.png_encode(np.ascontiguousarray(samples))
    if not profile:
        return encoded
    content = b"iCCPICC Profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return encoded[:_PNG_HEAD] + chunk + encoded[_PNG_HEAD:]


def encode_tiff(samples: np.ndarray, profile: bytes | None = None) -> bytes:
    """The file of RGB samples, or RGB and alpha, with an ICC profile; not compressed."""
    file, extra = io.BytesIO(), ["unassalpha"] * (samples.shape[2] - 3)
    options = {"photometric": "rgb", "extrasamples": extra, "metadata": None, "software": False}
    tifffile.imwrite(file, samples, iccprofile=profile, **options)
    return file.getvalue()


class Tiff:
    """The first page of a TIFF with 16 bits per channel, grey or RGB.

    size         (width, height)
    orientation  as EXIF counts
    profile      the ICC profile, None without
    """

    def __init__(self, file: tifffile.TiffFile):
        self._bytes, self._page = file.filehandle.size, file.pages[0]
        self.size = (self._page.imagewidth, self._page.imagelength)
        self.orientation = self._page.tags.valueof(_ORIENTATION, 1)
        profile = self._page.tags.valueof(_PROFILE)
        self.profile = profile if isinstance(profile, bytes) else None

    @property
    def colours(self) -> int:
        """Samples of a pixel without alpha; 0 in a file that is not for this class."""
        page, kinds = self._page, tifffile.PHOTOMETRIC
        colours = {kinds.RGB: 3, kinds.MINISBLACK: 1, kinds.MINISWHITE: 1}.get(page.photometric, 0)
        deep = page.bitspersample == 16 and page.dtype == np.uint16
        return colours if deep and page.imagedepth == 1 and 0 <= page.samplesperpixel - colours <= 1 else 0

    def read(self) -> np.ndarray:
        """The samples; errors of many kinds where the file is damaged."""
        page, colours, extra = self._page, self.colours, tifffile.EXTRASAMPLE
        if any(not 0 < length <= self._bytes - start for start, length in self._segments()):
            raise ValueError("image file is truncated")  # a decoder may not notice
        samples = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
            samples = samples.transpose(1, 2, 0)
        samples = samples.reshape(*self.size[::-1], -1)
        kind = page.extrasamples[0] if page.extrasamples else extra.UNASSALPHA
        colour, alpha = samples[:, :, :colours], samples[:, :, colours:]
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            colour = _TOP - colour
        if kind == extra.ASSOCALPHA:  # colours come multiplied by it
            colour = np.minimum(np.rint(colour * (float(_TOP) / np.maximum(alpha, 1))), _TOP).astype(np.uint16)
        return colour if kind == extra.UNSPECIFIED else np.concatenate([colour, alpha], axis=2)

    def _segments(self):
        return zip(self._page.dataoffsets, self._page.databytecounts, strict=True)


@contextmanager
def opened_tiff(path: str | Path) -> Iterator[Tiff | None]:
    """The file if it is for `Tiff`, else None; OSError where there is none."""
    with ExitStack() as stack:
        page = None
        if _head(path, 4) in _TIFF_SIGNATURES:
            try:
                page = Tiff(stack.enter_context(tifffile.TiffFile(path)))
                page = page if page.colours else None
            except Exception:  # of many kinds: Pillow judges what tifffile cannot begin with
                page = None
        yield page


def _head(path: str | Path, length: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(length)
