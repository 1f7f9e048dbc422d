"""Attention: windows, their shifts, the softmax."""

import torch

from tunable.windows import check_windows, relative_position_index


def softmax(x: torch.Tensor) -> torch.Tensor:
    """Over the last axis."""
    return x.softmax(-1)


def bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Matrix products of two stacks, (B, n, m) and (B, m, k)."""
    return torch.bmm(a, b)


def split(x: torch.Tensor, parts: int, axis: int) -> tuple[torch.Tensor, ...]:
    """Equal parts along an axis."""
    return x.chunk(parts, axis)


def roll(x: torch.Tensor, shift: int) -> torch.Tensor:
    """x (N, H, W, C) moved down and right by `shift` pixels, cyclically."""
    return torch.roll(x, (shift, shift), (1, 2))


def to_windows(x: torch.Tensor, window: int) -> torch.Tensor:
    """x (N, H, W, C) -> (N, windows, window^2, C), windows row by row; TunableError where they do not fit."""
    n, height, width, channels = x.shape
    check_windows(height, width, window)
    x = x.reshape(n, height // window, window, width // window, window, channels)
    return x.swapaxes(2, 3).reshape(n, -1, window**2, channels)


def from_windows(x: torch.Tensor, window: int, height: int, width: int) -> torch.Tensor:
    """The inverse of `to_windows`."""
    n, channels = x.shape[0], x.shape[-1]
    x = x.reshape(n, height // window, width // window, window, window, channels)
    return x.swapaxes(2, 3).reshape(n, height, width, channels)


def relative_bias(table: torch.Tensor, window: int) -> torch.Tensor:
    """table (rows, heads) or (N, rows, heads) -> (N or 1, 1, heads, window^2, window^2)."""
    index = torch.from_numpy(relative_position_index(window)).flatten().to(table.device)
    rows = table.reshape(-1, *table.shape[-2:])
    bias = rows.index_select(1, index).swapaxes(1, 2)
    return bias.reshape(rows.shape[0], 1, -1, window**2, window**2)


def shift_mask(x: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """What is added to the attention of x (N, H, W, C) in shifted windows: 0, or -100 between pixels torn apart.

    (windows, 1, window^2, window^2)
    """
    rows, columns = (torch.arange(size, device=x.device) >= size - shift for size in x.shape[1:3])
    region = (2 * rows[:, None] + columns).to(x.dtype)
    region = to_windows(region[None, :, :, None], window)[0, :, :, 0]
    torn = region[:, None, :, None] != region[:, None, None, :]
    return torn.to(x.dtype) * -100
