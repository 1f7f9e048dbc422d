"""How parameters are made, set and frozen."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


def fresh_seed() -> int:
    """Draw a seed from the framework's own generator, for layers built by hand; torch.manual_seed governs it."""
    return int(torch.randint(2**31, ()))


@contextmanager
def seeded() -> Iterator[None]:
    """Make what is drawn inside the same every time; outside nothing changes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Exact(nn.Module):
    """Numbers of a layer that are no parameters, in full precision whatever the dtype that the layer is changed to.

    Args:
        numbers: any count of them.
    """

    def __init__(self, numbers: Sequence[float]) -> None:
        super().__init__()
        self.numbers = tuple(numbers)
        self.register_buffer("value", torch.tensor(self.numbers, dtype=torch.float64), persistent=False)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True):
        return super()._apply(lambda value: fn(value).new_tensor(self.numbers, dtype=torch.float64), recurse)

    def forward(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the numbers, (n,), rounded to a dtype."""
        return self.get_buffer("value").to(dtype)


def gradients(loss: torch.Tensor, parameters: Sequence[nn.Parameter]) -> tuple[torch.Tensor, ...]:
    """Return the gradient of a loss, (), in every parameter; of those that it does not depend on 0.

    They pass through the parameters' `grad`, where DistributedDataParallel averages them, and through no others'.
    Those of kernels that were mixed at once are rows far apart; a fused optimizer takes none such, so they are copied.
    """
    torch.autograd.backward(loss, inputs=list(parameters))
    found = [torch.zeros_like(value) if value.grad is None else value.grad.contiguous() for value in parameters]
    for value in parameters:
        value.grad = None
    return tuple(found)


def put(network: nn.Module, name: str, value: nn.Module | nn.Parameter) -> None:
    """Put an ordinary layer or parameter in the place of a network's layer of this name."""
    owner, last = network.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
    if isinstance(value, nn.Parameter):
        delattr(owner, last)
    setattr(owner, last, value)


def freeze(module: nn.Module, tensors: dict[str, np.ndarray], like: torch.Tensor) -> nn.Module:
    """Set the parameters of a module, none of which is to be trained.

    Args:
        module: the module, which is changed in place.
        tensors: the values by the names of the parameters.
        like: a parameter, to whose device and dtype the module is moved.

    Returns:
        The module.
    """
    module.to(like.device, like.dtype).requires_grad_(False)
    for name, value in module.named_parameters():
        value.copy_(torch.from_numpy(tensors[name]))
    return module
