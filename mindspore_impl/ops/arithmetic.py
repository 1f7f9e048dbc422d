"""Sums, differences, products and quotients of tensors of different shapes, in graphs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
from mindspore import ops as _ops
from mindspore.ops.composite import multitype_ops

from mindspore_impl.ops.device import device_in_use

# A graph on a CPU keeps, for every operation that broadcasts, lists of indices four times as large as the result, for
# as long as the graph lives. `tile` and `broadcast_to` keep nothing, so the smaller tensor is made as large as the
# other one first. This holds for every graph of the process, since it replaces what +, -, * and / mean in graphs.


_plus, _minus, _times, _over = _ops.Add(), _ops.Sub(), _ops.Mul(), _ops.Div()


@multitype_ops.add.register("Tensor", "Tensor")
def _add(x: ms.Tensor, y: ms.Tensor):
    return _plus(_expanded(x, y), _expanded(y, x))


@multitype_ops.sub.register("Tensor", "Tensor")
def _sub(x: ms.Tensor, y: ms.Tensor):
    return _minus(_expanded(x, y), _expanded(y, x))


@multitype_ops.mul.register("Tensor", "Tensor")
def _mul(x: ms.Tensor, y: ms.Tensor):
    return _times(_expanded(x, y), _expanded(y, x))


@multitype_ops.div.register("Tensor", "Tensor")
def _div(x: ms.Tensor, y: ms.Tensor):
    return _over(_expanded(x, y), _expanded(y, x))


def _expanded(x: ms.Tensor, like: ms.Tensor) -> ms.Tensor:
    """x as an operation with `like` takes it: on a CPU, in the shape of `like` where x broadcasts to that.

    Elsewhere, in a graph for export, and where sizes are not known before the graph runs, it is x.
    """
    repeats = _repeats(x.shape, like.shape)
    if not repeats:
        return x
    if x.shape[-2:] == (1, 1):  # single numbers: of these tile makes pixels one by one, broadcast_to of rows
        return _ops.broadcast_to(x, like.shape)
    return _ops.tile(x, repeats)


def sum_of_squares(x: ms.Tensor) -> ms.Tensor:
    """Return the sum of all squares, ()."""
    if device_in_use() != "cpu":
        return (x * x).sum()
    return _ops.matmul(x.reshape(1, -1), x.reshape(-1, 1)).sum()  # in a third of the time on a CPU


_for_export = False


@contextmanager
def for_export() -> Iterator[None]:
    """Let graphs that are compiled inside be plain, for other machines: nothing is made larger in them."""
    global _for_export
    _for_export = True
    try:
        yield
    finally:
        _for_export = False


@_ops.constexpr
def _repeats(shape: tuple[int, ...], like: tuple[int, ...]):
    """How often a tensor of `shape` stands in one of `like` along each axis; () where it is not to be repeated."""
    if ms.get_context("device_target") != "CPU" or _for_export or shape is None or like is None:
        return ()
    if None in (*shape, *like) or math.prod(shape) <= 1:  # unknown sizes; for a single number no lists are kept
        return ()
    shape = (1,) * (len(like) - len(shape)) + tuple(shape)
    if len(shape) > len(like) or any(a not in (1, b) for a, b in zip(shape, like, strict=True)):
        return ()  # another operation's: `like` is to be repeated, or both, or they do not fit
    repeats = tuple(b // a for a, b in zip(shape, like, strict=True))
    return repeats if max(repeats, default=1) > 1 else ()
