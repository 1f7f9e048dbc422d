"""What MindSpore keeps for every size of its inputs, and how it is let go."""

import math

from mindspore import nn
from mindspore.common.api import _cell_graph_executor, _pynative_executor

MOST_SIZES, MOST_PIXELS = 8, 2**20  # of inputs for which MindSpore may keep what it has prepared


class Sizes:
    """The sizes of inputs for which something is kept: at most MOST_SIZES sizes, of MOST_PIXELS pixels together."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], int] = {}  # shape -> pixels

    def full(self, size: tuple[int, ...]) -> bool:
        """Return whether what is kept must go before something runs with inputs of `size`, and note the size.

        Args:
            size: shape of the inputs, (N, C, H, W).
        """
        pixels, count = math.prod(size[:1] + size[2:]), len(self._kept)
        full = size not in self._kept and (count >= MOST_SIZES or sum(self._kept.values()) + pixels > MOST_PIXELS)
        if full:
            self._kept.clear()
        self._kept[size] = pixels
        return full and count > 0


_outside_graphs = Sizes()


def make_room(size: tuple[int, ...]) -> None:
    """Drop what MindSpore keeps for sizes of inputs, megabytes for each, where it has become too much.

    Args:
        size: shape (N, C, H, W) of the inputs of the run in PyNative mode that comes next.
    """
    if _outside_graphs.full(size):
        _pynative_executor.clear_res()


def forget_graphs(cell: nn.Cell) -> None:
    """Drop the graphs to which a cell was compiled."""
    _cell_graph_executor.del_net_res(cell, cell.compile_cache)
    cell.compile_cache.clear()
