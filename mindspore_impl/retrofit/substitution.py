"""How the cells of a network find the kernels at omega in the place of their parameters."""

from contextvars import ContextVar

from mindspore import nn

from mindspore_impl import parameters
from mindspore_impl.retrofit.kernels import _Kernels
from tunable import retrofit
from tunable.errors import TunableError

_SUM = "_sum_of_"


_running: ContextVar[bool] = ContextVar("running", default=False)  # a network, in this thread; graphs do without


def _put(network: nn.Cell, kernels: dict[str, _Kernels]) -> list[retrofit.Branch]:
    """Let the cells of a network find the kernels' sums where they had parameters, which they keep by other names.

    Returns the way to these cells.
    """
    tunable = set()
    values = {id(each.value): name for name, each in parameters.entries(network).items() if name in kernels}
    for _, cell in network.cells_and_names():
        attributes = {attribute: values[id(value)] for attribute, value in cell._params.items() if id(value) in values}
        if not attributes:
            continue
        tunable.add(id(cell))
        kind, members = type(cell), {}
        for attribute, name in attributes.items():
            # Left under its name, the parameter would make the parser run the property once and take a constant for
            # it; so would a property of a class above the cell's own.
            _rename(cell, attribute, parameters.GIVEN + attribute)
            object.__setattr__(cell, _SUM + attribute, kernels[name])
            members[attribute] = property(_reader(_SUM + attribute))
        members["__call__"] = _guarded(kind)
        cell.__class__ = type(kind.__name__, (kind,), {**members, "__module__": kind.__module__, "_given_class": kind})
    return retrofit.branches(network, lambda cell: cell._cells, tunable)


def _rename(cell: nn.Cell, attribute: str, other: str) -> None:
    """Let a parameter be another attribute of its cell, in the same place of their order."""
    parameters_before = dict(cell._params)
    cell._params.clear()
    cell._params.update({other if name == attribute else name: value for name, value in parameters_before.items()})
    vars(cell).pop(attribute, None)


def _reader(attribute: str):
    def read(self: nn.Cell):
        return getattr(self, attribute).value()

    return read


def _guarded(kind: type):
    """`__call__` of cells of this kind, which graphs do not use: TunableError where they recompute, or run alone."""

    def call(self: nn.Cell, *inputs, **options):
        if not _running.get() or self._recompute_cell is not None:
            raise TunableError(
                f"{kind.__name__} recomputes, or is run without its tuned network, as in a backward pass that "
                "recomputes: its kernels would get no gradient; in PyNative mode recompute cannot be used inside a "
                "tuned network, in graph mode it can"
            )
        return kind.__call__(self, *inputs, **options)

    return call


def _taken_out(network: nn.Cell) -> nn.Cell:
    """Undo `_put` everywhere."""
    for _, cell in network.cells_and_names():
        cell.__class__ = getattr(type(cell), "_given_class", type(cell))
        for name in [name for name in vars(cell) if name.startswith(_SUM)]:
            object.__delattr__(cell, name)
        for attribute in [name for name in cell._params if name.startswith(parameters.GIVEN)]:
            _rename(cell, attribute, attribute.removeprefix(parameters.GIVEN))
    return network
