"""What Pillow reads in 8 bits or not at all: PNG and PNM of 16 bits, and grey and RGB TIFF of any numbers, by tifffile.

Samples are (H, W, S); S = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageFile

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH = 24  # the place of the byte that says how many bits; the next byte says the colour type
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DEFLATE = 1032  # bytes that one byte can hold, at the most
_RATIOS = {1: 1, 5: 2731, 8: _DEFLATE, 32946: _DEFLATE, 32773: 64}  # the same by TIFF's compressions, where it is known
_ORIENTATION, _PROFILE = 274, 34675  # tags
_PILLOWS = (2, 3, 4, 6, 7)  # compressions
_SHRUNK_OR_MASK = 1 | 4  # of a page's kind
_TOP = 65535  # levels that are kept
_BLOCK = 2**21  # values converted at a time
_MOST_SAMPLES = 8

for _name in ("imagecodecs", "tifffile", "PIL.TiffImagePlugin"):  # they log what they raise, and what does no harm
    logging.getLogger(_name).disabled = True
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.(Tiff|Png)ImagePlugin")  # likewise


def is_png(path: str | Path) -> bool:
    """Return whether a file begins as a PNG of 16 bits per channel."""
    head = _head(path, _PNG_DEPTH + 1)
    return head.startswith(_PNG_SIGNATURE) and head[_PNG_DEPTH:] == b"\x10"


def read_png(path: str | Path) -> np.ndarray:
    """Read the samples (H, W, S) of a PNG of 16 bits; one colour that it declares transparent becomes alpha."""
    samples = imagecodecs.png_decode(Path(path).read_bytes())
    return samples.reshape(*samples.shape[:2], -1)


def png_bytes(path: str | Path, width: int, height: int) -> int:
    """Return how many bytes a PNG of this size needs at the least, by its header's bits and channels."""
    depth, kind = _head(path, _PNG_DEPTH + 2)[_PNG_DEPTH:]
    return height * (1 + math.ceil(width * depth * _PNG_CHANNELS.get(kind, 1) / 8)) // _DEFLATE


def read_pnm(path: str | Path, picture: ImageFile.ImageFile) -> np.ndarray | None:
    """Read the samples (H, W, S) of a binary PNM of more than 8 bits that Pillow opened; None of another file."""
    codec, _, start, args = picture.tile[0]
    if codec not in ("raw", "ppm") or (codec == "raw" and picture.mode != "I"):
        return None
    most = args[-1] if codec == "ppm" and isinstance(args, tuple) else _TOP
    if most < 256 or picture.mode not in ("I", "RGB"):
        return None
    count = 3 if picture.mode == "RGB" else 1
    samples = np.fromfile(path, ">u2", math.prod(picture.size) * count, offset=start)
    if samples.size < math.prod(picture.size) * count:
        raise ValueError("image file is truncated")
    samples = samples.reshape(*picture.size[::-1], count)
    if most == _TOP:
        return samples.astype(np.uint16)
    levels = np.empty(samples.shape, np.uint16)
    for rows in _rows(samples):
        levels[rows] = np.rint(np.minimum(samples[rows], most) * (_TOP / most))
    return levels


class Tiff:
    """A page of a TIFF.

    Attributes:
        size: (width, height).
        orientation: as EXIF counts, 1 to 8.
        profile: the ICC profile, None without.
    """

    def __init__(self, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
        self._file, self._page, self._bytes = file, page, file.filehandle.size
        self.size = (page.imagewidth, page.imagelength)
        self.orientation = page.tags.valueof(_ORIENTATION, 1)
        self.profile = page.tags.valueof(_PROFILE)

    def tags(self) -> Image.Exif:
        """Return all tags, as Pillow has them."""
        tags = Image.Exif()
        tags.endian, tags.bigtiff = self._file.byteorder, self._file.is_bigtiff
        tags.load_from_fp(cast(IO[bytes], self._file.filehandle), self._page.offset)
        return tags

    @property
    def kind(self) -> str:
        """Its type and photometry, for messages: "3 x float32, RGB"."""
        page = self._page
        photometric = getattr(page.photometric, "name", page.photometric)
        return f"{page.samplesperpixel} x {self._type}, {photometric}"

    @property
    def _type(self) -> str:
        page = self._page
        names = {1: "uint", 2: "int", 3: "float", 4: "void", 5: "complex int", 6: "complex"}
        return f"{names.get(page.sampleformat, 'unknown ')}{page.bitspersample}"

    @property
    def colours(self) -> int:
        """Samples of a pixel that are colours; 0 in a page that is not for this class."""
        page, kinds = self._page, tifffile.PHOTOMETRIC
        known: dict[int, int] = {kinds.RGB: 3, kinds.MINISBLACK: 1, kinds.MINISWHITE: 1}
        colours = known.get(page.photometric, 0)
        usable = page.dtype is not None and page.dtype.kind in "buif" and isinstance(page.bitspersample, int)
        further = page.samplesperpixel - colours
        if not colours or not usable or page.imagedepth != 1 or not 0 <= further <= _MOST_SAMPLES - colours:
            return 0
        return 0 if colours == 1 and further > 1 else colours  # channels of what, nobody can know

    @property
    def is_for_pillow(self) -> bool:
        """Whether Pillow's decoder is the one for it: it knows CCITT's and JPEG's compression, in 8 bits."""
        page, most = self._page, Image.MAX_IMAGE_PIXELS or math.inf
        shallow = page.dtype is not None and page.dtype.kind in "bu" and page.bitspersample in range(1, 9)
        return not self.colours or (shallow and page.compression in _PILLOWS and math.prod(self.size) <= most)

    @property
    def _dtype(self) -> np.dtype:
        assert self._page.dtype is not None, "a page of unknown numbers has no colours, so it is not read here"
        return self._page.dtype

    def check(self) -> None:
        """ValueError where the file cannot hold so many pixels."""
        page = self._page
        ratio = _RATIOS.get(page.compression)
        shared = len(set(page.dataoffsets)) < len(page.dataoffsets)  # pieces that are alike
        if not ratio or shared or page.photometric == tifffile.PHOTOMETRIC.YCBCR:
            return
        if isinstance(page.bitspersample, int):
            needed = math.prod(self.size) * page.samplesperpixel * page.bitspersample // 8
            if needed // ratio > self._bytes:
                raise ValueError(f"image file is truncated: {self._bytes} bytes cannot hold {needed} of values")

    def read(self, most: int) -> tuple[np.ndarray, str | None]:
        """Read the samples, uint16 (uint8 of up to 8 bits), and a line about values that were clipped.

        Unsigned numbers of N bits span 0..2^N - 1, signed ones 0..2^(N-1) - 1, floats 0..1. Signed numbers and floats
        in -1..2 of that range are clipped to it; beyond it ValueError. So is a strip or tile of more bytes than `most`
        that has to be decoded in one piece; errors of many kinds where the file is damaged.
        """
        page, colours, extra = self._page, self.colours, tifffile.EXTRASAMPLE
        if any(not 0 < length <= self._bytes - start for start, length in self._segments()):
            raise ValueError("image file is truncated")  # a decoder may not notice
        kinds = page.extrasamples or (extra.UNASSALPHA,) * (page.samplesperpixel - colours)
        alphas = [place for place, kind in enumerate(kinds) if kind != extra.UNSPECIFIED][:1]
        kept = [*range(colours), *(colours + place for place in alphas)]
        levels = _Levels(self._dtype.kind.replace("b", "u"), page.bitspersample, self._type)
        samples = np.zeros((*self.size[::-1], len(kept)), levels.dtype)
        for plane, top, left, values in self._pieces(most):
            if plane is None:
                values = values[:, :, kept] if len(kept) < values.shape[2] else values
                samples[top : top + values.shape[0], left : left + values.shape[1]] = levels.of(values)
            elif plane in kept:
                target = samples[top : top + values.shape[0], left : left + values.shape[1], kept.index(plane)]
                target[...] = levels.of(values[:, :, 0])
        colour, alpha = samples[:, :, :colours], samples[:, :, colours:]
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            np.subtract(levels.top, colour, out=colour)
        if alphas and kinds[alphas[0]] == extra.ASSOCALPHA:  # colours come multiplied by it
            for rows in _rows(samples):
                plain = np.rint(colour[rows] * (float(levels.top) / np.maximum(alpha[rows], 1)))
                colour[rows] = np.minimum(plain, levels.top)
        return samples, levels.said()

    def _pieces(self, most: int) -> Iterator[tuple[int | None, int, int, np.ndarray]]:
        """Plane (None where the samples of a pixel are together), top, left and values (h, w, S) of every piece."""
        page, (width, height) = self._page, self.size
        together = page.planarconfig != tifffile.PLANARCONFIG.SEPARATE or page.samplesperpixel == 1
        count = page.samplesperpixel if together else 1
        if page.is_final and page.is_contiguous and self._dtype.itemsize * 8 == page.bitspersample:
            dtype, at = self._dtype.newbyteorder(page.parent.byteorder), page.dataoffsets[0]
            row = width * count * dtype.itemsize
            step = max(_BLOCK // (width * count), 1)
            for plane in range(1 if together else page.samplesperpixel):
                for top in range(0, height, step):
                    rows = min(step, height - top)
                    page.parent.filehandle.seek(at + (plane * height + top) * row)
                    raw = page.parent.filehandle.read(rows * row)
                    if len(raw) < rows * row:
                        raise ValueError("image file is truncated")
                    yield None if together else plane, top, 0, np.frombuffer(raw, dtype).reshape(rows, width, count)
            return
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
        if rows * columns * count * self._dtype.itemsize > most:
            raise ValueError(f"it is one piece of {rows * columns * count * self._dtype.itemsize:,} bytes")
        for values, (plane, _, top, left, _), shape in page.segments(maxworkers=1):
            assert values is not None, "a piece without bytes was refused before"
            values = values[0, : min(shape[1], height - top), : min(shape[2], width - left)]
            yield None if together else plane, top, left, values

    def _segments(self) -> Iterator[tuple[int, int]]:
        return zip(self._page.dataoffsets, self._page.databytecounts, strict=True)


class _Levels:
    """Values of a type as levels of 0..top, counting what lies outside its range."""

    def __init__(self, kind: str, bits: int, name: str) -> None:
        self._kind, self._name = kind, name
        self._full = 1.0 if kind == "f" else float(2 ** (bits - (kind == "i")) - 1)
        self._as_they_are = kind == "u" and bits in (8, 16)
        self.dtype = np.dtype(np.uint8 if kind == "u" and bits <= 8 else np.uint16)
        self.top = np.iinfo(self.dtype).max
        self._low, self._high, self._outside, self._count = math.inf, -math.inf, 0, 0

    def of(self, values: np.ndarray) -> np.ndarray:
        """Levels of the same shape."""
        if self._as_they_are:
            return values
        levels = np.empty(values.shape, self.dtype)
        for rows in _rows(values):
            with np.errstate(invalid="ignore"):  # what is not finite is found next
                part = values[rows].astype(np.float64)
            self._look(part)
            part /= self._full
            levels[rows] = np.rint(np.clip(part, 0, 1, out=part) * self.top)
        return levels

    def _look(self, part: np.ndarray) -> None:
        low, high = float(part.min()), float(part.max())
        if not math.isfinite(low) or not math.isfinite(high):
            raise ValueError("it has values that are not finite")
        self._low, self._high = min(self._low, low), max(self._high, high)
        if self._kind == "u":
            return
        if self._low < -1.001 * self._full or self._high > 2 * self._full:
            raise ValueError(f"it holds {self._name} with values {self._span}; wanted 0 to {self._full:.10g}")
        self._outside += np.count_nonzero(part < 0) + np.count_nonzero(part > self._full)
        self._count += part.size

    @property
    def _span(self) -> str:
        return f"from {self._low:.6g} to {self._high:.6g}"

    def said(self) -> str | None:
        """A line about what was clipped, or about whole numbers that use next to nothing of their range."""
        if self._full > _TOP and self._high < self._full / 256:
            return f"{self._name} values {self._span}, which is nearly black: the type's range is 0..{self._full:.10g}"
        if not self._outside:
            return None
        share = 100 * self._outside / self._count
        return f"{self._name} values {self._span} were clipped to 0..{self._full:.10g}: {share:.2g} % of them"


def levels_of(values: np.ndarray) -> tuple[np.ndarray, str | None]:
    """uint16 levels of floats, which span 0..1, and a line about what was clipped; ValueError as `Tiff.read`."""
    levels = _Levels("f", 32, "float32")
    return levels.of(values), levels.said()


def _rows(values: np.ndarray) -> Iterator[slice]:
    """Slices of rows of about `_BLOCK` values."""
    step = max(_BLOCK // max(math.prod(values.shape[1:]), 1), 1)
    return (slice(top, top + step) for top in range(0, len(values), step))


@contextmanager
def opened_tiff(path: str | Path, frame: int = 0) -> Iterator[tuple[Tiff | None, list[int]]]:
    """Open a page of a TIFF; pages that are another's smaller version, or its mask, do not count.

    Args:
        path: the file.
        frame: which page, from 0.

    Yields:
        The page, None where tifffile cannot read it, and the places of all pages in the file, empty where unknown.

    Raises:
        OSError: where there is no file.
    """
    with ExitStack() as stack:
        page, places = None, []
        if _head(path, 4) in _TIFF_SIGNATURES:
            try:
                file = stack.enter_context(tifffile.TiffFile(path))
                places = _pages(file)
                page = Tiff(file, _page(file, places[frame]))
            except Exception:  # of many kinds: Pillow judges what tifffile cannot begin with
                page = None
        yield page, places


def _pages(file: tifffile.TiffFile) -> list[int]:
    count = len(file.pages)
    if count == 1:
        return [0]
    places = [place for place in range(count) if not _page(file, place).subfiletype & _SHRUNK_OR_MASK]
    return places or [0]


def _page(file: tifffile.TiffFile, place: int) -> tifffile.TiffPage:
    page = file.pages[place]
    assert isinstance(page, tifffile.TiffPage), "tifffile gives frames only where it is asked for them"
    return page


def _head(path: str | Path, length: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(length)
