"""Who prepares batches ahead: threads of this process, or processes of their own where threads are too slow."""

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tunable.errors import DataError
from tunable.own import is_permitted, permitted
from tunable.training.interrupts import SIGNALS, ended_by_system

_make: Callable[[int], Any]  # of a worker process
_permit: bool  # likewise, whether it may import degradations of one's own


class Workers:
    """Workers that call one function, as a context: those that have not begun are cancelled at its end.

    Processes are started afresh (spawn), so that they hold no framework and no device, and each keeps pictures of its
    own in memory. Signals that come to all processes of a terminal are left to the parent, which says when they end;
    where it is killed, the system ends them (Linux).

    Args:
        make: the function; processes get a copy of it.
        count: how many workers.
        processes: whether they are processes.
    """

    def __init__(self, make: Callable[[int], Any], count: int, processes: bool) -> None:
        self._make, self._processes = make, processes
        self._pool: Executor
        if processes:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                count, mp_context=context, initializer=_begin, initargs=(make, is_permitted())
            )
        else:
            self._pool = ThreadPoolExecutor(count, thread_name_prefix="batches")

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def call(self, index: int) -> Future:
        """Have a worker call the function."""
        return self._pool.submit(_made if self._processes else self._make, index)

    @staticmethod
    def result(called: Future) -> Any:
        """Return what a call returned. Raises what it raised; DataError where a process has died."""
        try:
            return called.result()
        except BrokenProcessPool:
            raise DataError(
                "a process that prepares batches has died, perhaps for lack of memory: fewer data.workers, or a "
                "smaller data.cache_gib, take less"
            ) from None


def _begin(make: Callable[[int], Any], permit: bool) -> None:
    """What a worker process does first."""
    global _make, _permit
    _make, _permit = make, permit
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    ending = ended_by_system(parent.pid if parent else None, signal.SIGKILL)
    if ending:
        ending()


def _made(index: int) -> Any:
    with permitted(_permit):
        return _make(index)
