"""Contact sheets: one picture restored at several settings of the knobs, labelled."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tunable_core.pictures import to_bytes

_GAP, _LABEL = 6, 22


def contact_sheet(rows: list[list[np.ndarray]], labels: list[str], row_labels: list[str] | None = None) -> np.ndarray:
    """Put pictures (H, W, 3) of equal size on a white sheet, float 0..1 (H', W', 3).

    rows        one list of pictures per row
    labels      one per column, written above
    row_labels  one per row, written above the row's first picture; None: no labels
    """
    height, width = rows[0][0].shape[:2]
    top = _LABEL if row_labels else 0
    sheet_size = (
        _GAP + len(labels) * (width + _GAP),
        _LABEL + len(rows) * (height + _GAP + top),
    )
    sheet = Image.new("RGB", sheet_size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for column, label in enumerate(labels):
        centre = _GAP + column * (width + _GAP) + width // 2
        draw.text((centre, _LABEL // 2), label, fill="black", font=font, anchor="mm")
    for row, pictures in enumerate(rows):
        y = _LABEL + row * (height + _GAP + top) + top
        if row_labels:
            draw.text((_GAP, y - top // 2), row_labels[row], fill="black", font=font, anchor="lm")
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(to_bytes(picture)), (_GAP + column * (width + _GAP), y))
    return np.asarray(sheet, dtype=np.float32) / 255
