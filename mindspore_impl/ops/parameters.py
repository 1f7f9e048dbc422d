"""How parameters are made, set and frozen."""

from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl.ops.kernels import cast_like


def fresh_seed() -> int:
    """Draw a seed from the framework's own generator, for layers built by hand; mindspore.set_seed governs it."""
    return int(_ops.randint(0, 2**31 - 1, (1,)).asnumpy()[0])


@contextmanager
def seeded() -> Iterator[None]:
    """Make what is drawn inside the same every time; a seed that was set, and numpy's generator, hold on outside."""
    seed, state = ms.get_seed(), np.random.get_state()
    ms.set_seed(0)
    try:
        yield
    finally:
        if seed is not None:
            ms.set_seed(seed)
        np.random.set_state(state)  # which MindSpore seeds too


def put(network: nn.Cell, name: str, value: nn.Cell | ms.Parameter) -> None:
    """Put an ordinary layer or parameter in the place of a network's layer of this name."""
    owner, (*path, last) = network, name.split(".")
    for part in path:
        owner = owner._cells[part]
    if isinstance(value, nn.Cell):
        owner._cells[last] = value  # CellList's own way reads names that a new layer's parameters do not have yet
    else:
        delattr(owner, last)
        setattr(owner, last, value)
    own = value.parameters_and_names() if isinstance(value, nn.Cell) else [("", value)]
    for local, parameter in own:
        parameter.name = f"{name}.{local}" if local else name  # unique, as an optimizer wants them


def freeze(module: nn.Cell, tensors: dict[str, np.ndarray], like: ms.Parameter) -> nn.Cell:
    """Set the parameters of a module, none of which is to be trained.

    Args:
        module: the module, which is changed in place.
        tensors: the values by the names of the parameters.
        like: a parameter on the device in use, where the module is too.

    Returns:
        The module.
    """
    for name, value in module.parameters_and_names():
        assign(value, tensors[name])
        value.requires_grad = False
    return module


def parameter(shape: tuple[int, ...], value: float = 0) -> ms.Parameter:
    """Make a float32 parameter whose entries are all `value`. Its name is the attribute that it becomes."""
    return ms.Parameter(ms.Tensor(np.full(shape, value, np.float32)))


def assign(parameter: ms.Parameter, value: np.ndarray | np.floating) -> None:
    """Copy `value`, an array of as many entries, into a parameter in place; the parameter keeps its shape and dtype."""
    # Not set_data: a function compiled with ms.jit that has updated the parameter once never sees what that sets.
    # Tensor(value) copies; a view of a numpy array must be made contiguous first, which turns () into (1,).
    kind = np.float64 if parameter.dtype == ms.float64 else np.float32
    tensor = ms.Tensor(np.ascontiguousarray(value, dtype=kind).reshape(parameter.shape))
    _ops.assign(parameter, cast_like(tensor, parameter))
