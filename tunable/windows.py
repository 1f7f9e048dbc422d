"""Which pixels meet: borders padded by reflection, windows of a feature map (Swin) and what a shift does to them."""

from functools import lru_cache

import numpy as np

from tunable.errors import TunableError


def reflected(size: int, before: int, after: int) -> np.ndarray:
    """Return the entries of an axis that is padded by reflection (its border not repeated), however far; int32."""
    return np.pad(np.arange(size, dtype=np.int32), (before, after), "reflect")


def check_windows(height: int, width: int, window: int) -> None:
    """Raise TunableError unless a map of height x width pixels divides into windows."""
    if height % window or width % window:
        raise TunableError(f"a map of {height}x{width} is no multiple of the window {window}")


@lru_cache
def relative_position_index(window: int) -> np.ndarray:
    """Return the row of every pair of pixels of a window in the table of position biases, (window^2, window^2) int32.

    The table has (2 window - 1)^2 rows, ordered by (row, column) distance of the first pixel from the second.
    """
    place = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(2, -1)
    rows, columns = place[:, :, None] - place[:, None, :] + window - 1
    return (rows * (2 * window - 1) + columns).astype(np.int32)


@lru_cache(maxsize=8)
def shift_regions(height: int, width: int, window: int, shift: int) -> np.ndarray:
    """Return the region of every pixel of every window after a cyclic shift, (windows, window^2) int32.

    Two pixels of one window may attend to each other when their regions are equal: otherwise the shift has brought
    them together from opposite borders.
    """
    rows, columns = (np.arange(size) >= size - shift for size in (height, width))
    region = (2 * rows[:, None] + columns).astype(np.int32)
    region = region.reshape(height // window, window, width // window, window)
    return region.swapaxes(1, 2).reshape(-1, window**2)
