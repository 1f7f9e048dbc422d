"""Contact sheets and animations: one picture restored at several settings of the knobs, labelled."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tunable.images.pictures import Picture, to_levels, write_frames

_GAP = 6


def contact_sheet(rows: list[list[np.ndarray]], labels: list[str], row_labels: list[str] | None = None) -> np.ndarray:
    """Put pictures of equal size on a white sheet.

    Letters grow with the pictures, so that they can be read when the sheet is shrunk to a screen. Columns are as wide
    as the widest picture or label.

    Args:
        rows: one list per row of pictures (H, W, 3), floats in 0..1 or levels.
        labels: one per column, written above.
        row_labels: one per row, written above the row's first picture; None: no labels.

    Returns:
        The sheet (H', W', 3), float32 in 0..1.
    """
    height, width = rows[0][0].shape[:2]
    size = max(14, width // 20)
    font = ImageFont.load_default(size=size)
    line = size + 8
    column = max(width, *(math.ceil(font.getlength(label)) for label in labels))
    top = line if row_labels else 0
    widest = max((math.ceil(font.getlength(label)) for label in row_labels or ()), default=0)
    sheet = Image.new(
        "RGB",
        (max(_GAP + len(labels) * (column + _GAP), widest + 2 * _GAP), line + len(rows) * (height + _GAP + top)),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    for place, label in enumerate(labels):
        draw.text((_left(place, column) + column // 2, line // 2), label, fill="black", font=font, anchor="mm")
    for row, pictures in enumerate(rows):
        y = line + row * (height + _GAP + top) + top
        if row_labels:
            draw.text((_GAP, y - top // 2), row_labels[row], fill="black", font=font, anchor="lm")
        for place, picture in enumerate(pictures):
            x = _left(place, column) + (column - width) // 2
            sheet.paste(Image.fromarray(to_levels(picture)), (x, y))
    return np.asarray(sheet, dtype=np.float32) / 255


def cell_sheet(rows: list[list[np.ndarray]], labels: list[list[str]]) -> np.ndarray:
    """Put pictures of equal size on a white sheet in rows of any length, each below its label.

    Args:
        rows: one list per row of pictures (H, W, 3), floats in 0..1 or levels.
        labels: one list per row.

    Returns:
        The sheet (H', W', 3), float32 in 0..1; every row is in its middle.
    """
    strips = [contact_sheet([pictures], names) for pictures, names in zip(rows, labels, strict=True)]
    width = max(strip.shape[1] for strip in strips)
    sheet = []
    for strip in strips:
        free = width - strip.shape[1]
        sheet.append(np.pad(strip, ((0, 0), (free // 2, free - free // 2), (0, 0)), constant_values=1))
    return np.concatenate(sheet)


def write_animation(path: str | Path, frames: list[np.ndarray], labels: list[str], quality: int | None = None) -> None:
    """Write an animation atomically, eight pictures a second, for ever.

    Args:
        path: of the file, as `pictures.write_frames`.
        frames: pictures (H, W, 3) of equal size.
        labels: one per frame, written above it.
        quality: as `pictures.write_frames`.
    """
    sheets = [to_levels(cell_sheet([[frame]], [[label]])) for frame, label in zip(frames, labels, strict=True)]
    write_frames(path, [Picture(sheet, animated=True, duration=125) for sheet in sheets], quality=quality)


def enlarged(levels: np.ndarray, scale: int) -> np.ndarray:
    """Return bytes (H, W, 3) as (scale H, scale W, 3), by bicubic interpolation: to stand beside what is as large."""
    if scale == 1:
        return levels
    size = (scale * levels.shape[1], scale * levels.shape[0])
    return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC))


def _left(place: int, column: int) -> int:
    return _GAP + place * (column + _GAP)
