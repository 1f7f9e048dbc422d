"""Attention: windows, their shifts, the softmax."""

import torch

from tunable.windows import check_windows, relative_position_index


def softmax(x: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the last axis of x (..., n), in the same shape."""
    return x.softmax(-1)


def bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the matrix products of two stacks, (B, n, m) and (B, m, k): (B, n, k)."""
    return torch.bmm(a, b)


def split(x: torch.Tensor, parts: int, axis: int) -> tuple[torch.Tensor, ...]:
    """Split x into so many equal parts along an axis, whose length they must divide."""
    return x.chunk(parts, axis)


def roll(x: torch.Tensor, shift: int) -> torch.Tensor:
    """Move x (N, H, W, C) down and right by `shift` pixels, cyclically; negative ones move it up and left."""
    return torch.roll(x, (shift, shift), (1, 2))


def to_windows(x: torch.Tensor, window: int) -> torch.Tensor:
    """Cut a map into windows, which are numbered row by row.

    Args:
        x: (N, H, W, C).
        window: pixels along the side of a window, which divides H and W.

    Returns:
        (N, windows, window^2, C).

    Raises:
        TunableError: for a map that does not divide into windows.
    """
    n, height, width, channels = x.shape
    check_windows(height, width, window)
    x = x.reshape(n, height // window, window, width // window, window, channels)
    return x.swapaxes(2, 3).reshape(n, -1, window**2, channels)


def from_windows(x: torch.Tensor, window: int, height: int, width: int) -> torch.Tensor:
    """Undo `to_windows`: from x (N, windows, window^2, C) to (N, height, width, C)."""
    n, channels = x.shape[0], x.shape[-1]
    x = x.reshape(n, height // window, width // window, window, window, channels)
    return x.swapaxes(2, 3).reshape(n, height, width, channels)


def relative_bias(table: torch.Tensor, window: int) -> torch.Tensor:
    """Return what the relative positions of two pixels of a window add to their attention (Swin).

    Args:
        table: (rows, heads), or (N, rows, heads) for one per sample; rows are (2 window - 1)^2.
        window: pixels along the side of a window.

    Returns:
        (N or 1, 1, heads, window^2, window^2).
    """
    index = torch.from_numpy(relative_position_index(window)).flatten().to(table.device)
    rows = table.reshape(-1, *table.shape[-2:])
    bias = rows.index_select(1, index).swapaxes(1, 2)
    return bias.reshape(rows.shape[0], 1, -1, window**2, window**2)


def shift_mask(x: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """Return what is added to attention in shifted windows: 0, or -100 between pixels from opposite borders.

    Args:
        x: the map, (N, H, W, C), already shifted.
        window: pixels along the side of a window.
        shift: pixels by which the map was shifted.

    Returns:
        (windows, 1, window^2, window^2), in the dtype of x.
    """
    rows, columns = (torch.arange(size, device=x.device) >= size - shift for size in x.shape[1:3])
    region = (2 * rows[:, None] + columns).to(x.dtype)
    region = to_windows(region[None, :, :, None], window)[0, :, :, 0]
    torn = region[:, None, :, None] != region[:, None, None, :]
    return torn.to(x.dtype) * -100
