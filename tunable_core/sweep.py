"""Contact sheets: one picture restored at several settings of the knobs, labelled."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tunable_core.pictures import to_bytes

_GAP = 6


def contact_sheet(rows: list[list[np.ndarray]], labels: list[str], row_labels: list[str] | None = None) -> np.ndarray:
    """Put pictures (H, W, 3) of equal size on a white sheet, float 0..1 (H', W', 3).

    rows        one list of pictures per row
    labels      one per column, written above
    row_labels  one per row, written above the row's first picture; None: no labels

    Letters grow with the pictures, so that they are still read when the sheet is shrunk to a screen; columns
    are as wide as the widest of pictures and labels.
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
            sheet.paste(Image.fromarray(to_bytes(picture)), (x, y))
    return np.asarray(sheet, dtype=np.float32) / 255


def _left(place: int, column: int) -> int:
    return _GAP + place * (column + _GAP)
