"""The processes of one training: which of them this one is, and what they do together.

A launcher starts the same command several times and tells each process in its environment which one it is: torchrun
(PyTorch) or msrun (MindSpore). Each trains on batches of its own, the framework averages their gradients, and process
0 alone reads and writes the folder of the run.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from tunable.arrays import Tensors
from tunable.errors import BackendError

_Item = TypeVar("_Item")


class Launch(NamedTuple):
    """What a launcher says of a process.

    Attributes:
        launcher: its name.
        framework: the backend that it starts.
        rank: the number of the process among all, from 0.
        size: how many there are.
        local: its number among those of its machine.
    """

    launcher: str
    framework: str
    rank: int
    size: int
    local: int


_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_MSRUN = ("RANK_ID", "MS_WORKER_NUM", "DEVICE_ID")


def launched() -> Launch | None:
    """Return what a launcher says of this process; None where there is none, or torchrun has started only one.

    Raises:
        BackendError: where it says no number.
    """
    environment = os.environ
    if environment.get("MS_ROLE") == "MS_SCHED":  # msrun's scheduler runs the command too, and ends where it joins
        return Launch("msrun", "mindspore", 0, _number("MS_WORKER_NUM"), 0)
    if environment.get("MS_ROLE") == "MS_WORKER":
        if "RANK_ID" not in environment:
            raise BackendError("msrun has given this process no RANK_ID: on several machines it wants --node_rank")
        return Launch("msrun", "mindspore", *map(_number, _MSRUN))
    if all(name in environment for name in _TORCHRUN) and _number("WORLD_SIZE") > 1:
        return Launch("torchrun", "torch", *map(_number, _TORCHRUN[:3]))
    return None


def share_of(items: Sequence[_Item]) -> Sequence[_Item]:
    """Return those of some items that this process works on, where a launcher started several: each item is one's."""
    launch = launched()
    if launch is None:
        return items
    return () if os.environ.get("MS_ROLE") == "MS_SCHED" else items[launch.rank :: launch.size]


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise BackendError(f"{name} in the environment of a launched process wants a whole number, not {text!r}")
    return int(text)


class Ranks(Protocol):
    """The processes of one training, as one of them sees them."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many processes there are."""
        ...

    def share(self, tensors: Tensors) -> Tensors:
        """Return process 0's tensors in every process.

        Args:
            tensors: float32 or int32 arrays, of the same names, shapes and types in every process.
        """
        ...

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over all processes of floats of one shape; of several processes in float32."""
        ...

    def wait(self) -> None:
        """Return when every process has come here."""
        ...


class Alone:
    """The only process of a training, with all that a framework's `Ranks` has."""

    rank, size = 0, 1

    def parallel(self, network: Any, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return `compute`."""
        return compute

    def means(self, *values: Any) -> Sequence[Any]:
        """Return the values."""
        return values

    def share(self, tensors: Tensors) -> Tensors:
        """Return the tensors."""
        return tensors

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the values."""
        return values

    def wait(self) -> None:
        """Return at once."""


ALONE = Alone()
_: Ranks = ALONE


_Ranks = TypeVar("_Ranks", bound=Ranks)


def join(framework: str, start: Callable[[Launch], _Ranks]) -> _Ranks | Alone:
    """Join the processes that a launcher started, if any.

    Args:
        framework: the backend of this process.
        start: joins the others by means of the framework.

    Raises:
        BackendError: where the launcher is another framework's.
    """
    launch = launched()
    if launch is None:
        return ALONE
    if launch.framework != framework:
        raise BackendError(
            f"{launch.launcher} starts the processes of {launch.framework}, and the backend is {framework}: "
            f"--backend {launch.framework}, or the launcher of {framework}"
        )
    return start(launch)
