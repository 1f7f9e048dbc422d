"""Arrays that are combined with larger ones."""

from contextlib import contextmanager

import mindspore as ms
from mindspore import ops as _ops


def expanded(x: ms.Tensor, like: ms.Tensor) -> ms.Tensor:
    """x, of a shape that broadcasts to that of `like`, in the shape of `like`, with which it is combined.

    A graph on a CPU keeps, for every sum and product that broadcasts, lists of indices four times as large as the
    result. Elsewhere, and in an exported graph, they broadcast.
    """
    if not _expands():
        return x
    if x.shape[-2:] == (1, 1):  # single numbers: of these tile makes pixels one by one, broadcast_to of rows
        return _ops.broadcast_to(x, like.shape)
    return _ops.tile(x, _times(x.shape, like.shape))


_for_export = False


@_ops.constexpr
def _times(shape, like):
    """How often an array of `shape` stands in one of `like`, along each axis."""
    return tuple(b // a for a, b in zip((1,) * (len(like) - len(shape)) + tuple(shape), like, strict=True))


@contextmanager
def for_export():
    """Graphs compiled inside are for other machines."""
    global _for_export
    _for_export = True
    try:
        yield
    finally:
        _for_export = False


@_ops.constexpr
def _expands():
    return ms.get_context("device_target") == "CPU" and not _for_export
