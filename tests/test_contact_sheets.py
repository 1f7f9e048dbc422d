"""Contact sheets: every picture at its place, labels around them."""

import numpy as np
import pytest
from PIL import Image

from tunable.images.contact_sheets import cell_sheet, contact_sheet, write_animation

GAP = 6


def pictures(rows, columns, height, width):
    """rows x columns pictures, each of one colour of its own."""
    count = rows * columns
    grey = (np.arange(count) + 1) / (count + 1)
    return [
        [np.full((height, width, 3), grey[row * columns + column]) for column in range(columns)] for row in range(rows)
    ]


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(1, 3, 60, 90), (2, 4, 120, 200), (3, 1, 50, 400)])
@pytest.mark.parametrize("labelled", [False, True])
def test_geometry(rows, columns, height, width, labelled):
    made = pictures(rows, columns, height, width)
    line = max(14, width // 20) + 8
    above = line if labelled else 0
    names = [f"row {row}" for row in range(rows)] if labelled else None
    sheet = contact_sheet(made, [f"c{column}" for column in range(columns)], names)
    assert sheet.dtype == np.float32 and sheet.min() >= 0 and sheet.max() == 1
    assert sheet.shape == (line + rows * (height + GAP + above), GAP + columns * (width + GAP), 3)
    for row in range(rows):
        top = line + row * (height + GAP + above) + above
        for column in range(columns):
            left = GAP + column * (width + GAP)
            grey = np.round(made[row][column][0, 0, 0] * 255) / 255
            np.testing.assert_allclose(sheet[top : top + height, left : left + width], grey, atol=1e-6)
            assert (sheet[top : top + height, left - GAP : left] == 1).all()
            assert (sheet[top : top + height, left + width : left + width + GAP] == 1).all()
        assert (sheet[top + height : top + height + GAP] == 1).all()
        if labelled:
            assert sheet[top - above : top].min() < 0.5
    assert sheet[:line].min() < 0.5  # the columns' labels


@pytest.mark.parametrize("place", [0, 1, 2])
def test_labels_stand_above_what_they_name(place):
    """One of three columns and one of three rows have a label: there is the ink."""
    names = ["HHH" if other == place else "" for other in range(3)]
    sheet = contact_sheet([[np.ones((40, 90, 3))] * 3] * 3, names, names)
    line = 14 + 8
    columns, rows = (
        np.flatnonzero((part < 0.9).any(axis=axis)) for part, axis in ((sheet[:line], (0, 2)), (sheet[line:], (1, 2)))
    )
    assert columns.size and set((columns - GAP) // (90 + GAP)) == {place}
    assert rows.size and set(rows // (line + 40 + GAP)) == {place} and (rows % (line + 40 + GAP) < line).all()


def test_labels_do_not_overlap():
    """Columns of tiny pictures are as wide as their labels; the picture stands in the middle."""
    sheet = contact_sheet(pictures(1, 3, 8, 8), ["(0.25, 0.75)"] * 3)
    line = 14 + 8
    dark = (sheet[:line] < 0.9).any(axis=(0, 2))
    gaps = np.flatnonzero(np.diff(np.flatnonzero(dark)) > GAP)
    assert len(gaps) == 2  # three words, apart from each other
    column = (sheet.shape[1] - GAP) // 3 - GAP
    assert column > 60
    left = GAP + (column - 8) // 2
    np.testing.assert_allclose(sheet[line : line + 8, left : left + 8], 64 / 255, atol=1e-6)


def test_letters_grow_with_the_picture():
    def height_of_letters(width):
        sheet = contact_sheet(pictures(1, 1, 20, width), ["H"])
        rows = np.flatnonzero((sheet[: max(14, width // 20) + 8] < 0.5).any(axis=(1, 2)))
        return rows[-1] - rows[0] + 1

    small, same, large = (height_of_letters(width) for width in (40, 200, 800))
    assert small == same and large > 2 * small


def test_a_long_row_label_fits():
    sheet = contact_sheet(pictures(1, 1, 20, 20), ["x"], ["a row label that is wider than its one picture"])
    label = sheet[22:44]
    assert sheet.shape[1] > 200 and (label[:, -GAP:] == 1).all() and label.min() < 0.5


def test_values_outside_the_range_are_clipped():
    sheet = contact_sheet([[np.full((20, 20, 3), -1.0), np.full((20, 20, 3), 2.0)]], ["a", "b"])
    assert (sheet[22:42, GAP : GAP + 20] == 0).all() and (sheet[22:42, 32:52] == 1).all()


def test_rows_of_a_triangle_stand_in_the_middle():
    grey = iter(np.arange(1, 7) / 7)
    rows = [[np.full((30, 80, 3), next(grey)) for _ in range(count)] for count in (1, 2, 3)]
    sheet = cell_sheet(rows, [["a"], ["b", "c"], ["d", "e", "f"]])
    line = 14 + 8
    strip = line + 30 + GAP
    assert sheet.shape == (3 * strip, GAP + 3 * (80 + GAP), 3)
    for row, count in enumerate((1, 2, 3)):
        width = GAP + count * (80 + GAP)
        left = (sheet.shape[1] - width) // 2 + GAP
        for place in range(count):
            x, y = left + place * (80 + GAP), row * strip + line
            np.testing.assert_allclose(sheet[y : y + 30, x : x + 80], rows[row][place], atol=1 / 255)


def test_an_animation_holds_every_frame(tmp_path):
    frames = [np.full((40, 60, 3), shade) for shade in (0.2, 0.5, 0.8)]
    write_animation(tmp_path / "x.webp", frames, ["a", "b", "c"])
    with Image.open(tmp_path / "x.webp") as picture:
        assert picture.n_frames == 3 and picture.info["loop"] == 0
        shades = []
        for index in range(3):
            picture.seek(index)
            shades.append(np.asarray(picture.convert("RGB"))[-GAP - 20, GAP + 30, 0] / 255)
    np.testing.assert_allclose(shades, [0.2, 0.5, 0.8], atol=0.02)
