"""How the layers of a network find the kernels at omega in the place of their parameters."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

from torch_impl import ops
from tunable.errors import TunableError

_running: ContextVar[dict[int, dict[str, torch.Tensor]] | None] = ContextVar("running", default=None)  # in this thread


_calls: dict[int, dict[int, dict[str, torch.Tensor]]] = {}  # in all threads


@contextmanager
def _outside() -> Iterator[None]:
    """This thread finds the parameters themselves, in a hook of a running network too."""
    token = _running.set(None)
    try:
        yield
    finally:
        _running.reset(token)


class _Parameters(dict):
    """The parameters of a module by name, in whose places a thread finds the kernels that `_running` holds for them.

    Attributes:
        traced: what a compiler, which knows no ContextVar, finds in their places.
    """

    def __init__(self, given: Mapping[str, nn.Parameter | None]) -> None:
        super().__init__(given)
        self.traced: dict[str, torch.Tensor] | None = None

    @ops.never_a_graph_of_its_own
    def __getitem__(self, name: str) -> torch.Tensor:
        # What is compiled by itself, a part of a network say, has nothing there; asking the ContextVar cuts its graph.
        if self.traced is not None and torch.compiler.is_dynamo_compiling():
            kernels = self.traced
        else:
            running = _running.get()
            kernels = None if running is None else running.get(id(self))
        return super().__getitem__(name) if kernels is None or name not in kernels else kernels[name]

    def get(self, name: str, default: Any = None):
        return self[name] if name in self else default  # noqa: SIM401  it is this that is meant

    # Only dict itself can make the views that its types promise.
    def items(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return [(name, self[name]) for name in self]

    def values(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return [self[name] for name in self]

    def given(self) -> dict[str, nn.Parameter | None]:
        """The parameters themselves."""
        return dict(super().items())

    def __reduce__(self) -> tuple[Any, ...]:
        return _Parameters, (self.given(),)


def _refuse_elsewhere(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """A forward hook of layers whose kernels are in place only where the network runs.

    TunableError in a backward pass that runs them again, and in a thread that the running network has started.
    """
    if torch.compiler.is_dynamo_compiling():
        return
    key, running = id(module._parameters), _running.get()
    if running is not None and key in running:
        return
    if ops.is_backward():
        raise TunableError(
            f"{type(module).__name__} is run again in the backward pass, where it has not the kernels of omega: inside "
            "a tuned network torch.utils.checkpoint cannot be used; checkpoint(tuned, x, omega) can"
        )
    if any(key in call for call in list(_calls.values())):
        raise TunableError(
            f"{type(module).__name__} is run by itself while its tuned network runs in another thread, whose omega it "
            "would not follow: call tuned(x, omega) in every thread; fold(tuned, omega) gives an ordinary network"
        )


def _ordinary(network: nn.Module) -> nn.Module:
    """The network without what `TunedNetwork` has put into it, in place."""
    for module in network.modules():
        if isinstance(module._parameters, _Parameters):
            module._parameters = module._parameters.given()
        for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _refuse_elsewhere]:
            del module._forward_pre_hooks[key]
    return network


def _uses(network: nn.Module, tunable: Iterable[str]) -> list[tuple[nn.Module, dict[str, str]]]:
    """Every layer that holds tunable parameters, once, and which: attribute -> name in the network."""
    names = {id(value): name for name, value in network.named_parameters() if name in tunable}
    uses = []
    for module in network.modules():
        attributes = {local: names[id(value)] for local, value in module._parameters.items() if id(value) in names}
        if attributes:
            uses.append((module, attributes))
    return uses
