"""Signals that end a program (Ctrl-C, SIGTERM, SIGHUP) at a moment of one's own choosing, and what they leave behind.

SIGUSR1, which SLURM sends ahead of a job's end, asks a training for a checkpoint; to all else it means nothing.

A signal that is ignored stays ignored: SIGINT in what a script starts with `&`, SIGHUP under nohup. One that has a
handler of someone's own keeps it, and outside the main thread nothing changes.

MindSpore, while a compiled graph runs, puts a handler of its own in the place of Python's, which turns Ctrl-C into a
SIGTERM to the process itself: it is taken as one.
"""

import contextlib
import ctypes
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

TOGETHER = 1.0  # seconds in which a further signal belongs to the first: schedulers and terminals send several at once
PATIENCE = 30.0  # seconds for a child to end what it is doing
SAVE = getattr(signal, "SIGUSR1", None)
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end; the exit status is then 128 + `number`, as a shell has it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Handler:
    """What these signals do within a block; calling it says whether one has come."""

    def __init__(self, holds: bool) -> None:
        self._holds, self._kept = holds, 0
        self._again: int | None = None
        self._save = False
        self.number: int | None = None
        self._at = -TOGETHER

    def __call__(self) -> bool:
        return self.number is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        if number == SAVE:
            self._save = self._holds
            return
        if number == getattr(signal, "SIGHUP", None):
            _let_go_of_terminal()
        first, together = self.number is None, time.monotonic() - self._at < TOGETHER
        if first:
            self.number, self._at = number, time.monotonic()
        elif together and number == signal.SIGTERM:  # in whatever order two at once arrive
            self.number = number
        if first and self._holds:
            with contextlib.suppress(RuntimeError):  # it came while standard error was being written
                log.warning("interrupted: finishing this step (Ctrl-C again stops at once)")
        elif first or not together:
            if self._kept:
                self._again = number
            else:
                self._at = time.monotonic()
                raise Stopped(number)

    def save_asked(self) -> bool:
        """Return whether a checkpoint was asked for since the last call."""
        asked, self._save = self._save, False
        return asked

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let no signal end the block in its midst; one that would have done so does at its end."""
        self._kept += 1
        try:
            yield
        finally:
            self._kept -= 1
        if self._again is not None and not self._kept:
            raise Stopped(self._again)

    def stop(self) -> None:
        """End the program by the signal that came, as by SIGTERM where it came to another process of a training."""
        raise Stopped(signal.SIGTERM if self.number is None else self.number)


@contextmanager
def _installed(handler: _Handler) -> Iterator[_Handler]:
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    plain = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: old for number, old in handlers.items() if old in plain or _ours(old)}
    try:
        for number in before:
            signal.signal(number, handler.handle)
        yield handler
    finally:
        for number, old in before.items():
            signal.signal(number, old)
            outer = _ours(old)
            if outer and handler.number is not None:  # what follows at once belongs to the same
                outer.number, outer._at = handler.number, handler._at


def _ours(handler: object) -> _Handler | None:
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, _Handler) else None


@contextmanager
def heeded() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, by an exception (Stopped): what was begun is cleared away.

    SIGUSR1 does nothing, where otherwise it would end the program.

    Further signals within a second of it do not disturb that. An ignored SIGINT is also blocked, in all threads to
    come: MindSpore's handler would hear it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with _installed(_Handler(holds=False)):
        yield


@contextmanager
def held_back() -> Iterator[_Handler]:
    """Hold these signals back; yields a function that says whether one came. A second one acts at once.

    One that comes within a second of the first belongs to it; `whole()` of that function protects what must not be
    cut short, its `stop()` ends the program as the signal asked, and its `save_asked()` says whether SIGUSR1 came.
    """
    with _installed(_Handler(holds=True)) as handler:
        yield handler


@contextmanager
def postponed() -> Iterator[None]:
    """Let these signals act at the end of the block: imports of compiled modules abort where they raise."""
    handler = _Handler(holds=False)
    with _installed(handler), handler.whole():
        yield


def run_child(command: list[str], **options: Any) -> subprocess.CompletedProcess:
    """subprocess.run of a program that ends with this one: whatever stops the wait stops it too, by SIGTERM first.

    On Linux the system does so even where this one is killed.
    """
    with subprocess.Popen(command, preexec_fn=ended_by_system(), **options) as child:
        try:
            output, _ = child.communicate()
        except BaseException:
            child.terminate()
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(PATIENCE)
            finally:
                child.kill()
            raise
    return subprocess.CompletedProcess(command, child.returncode, output)


def ended_by_system(parent: int | None = None, number: int = signal.SIGTERM) -> Callable[[], Any] | None:
    """Return what a child calls first, so that the system ends it when its parent ends; None: there is no way.

    Args:
        parent: the number of the parent's process; None: this process.
        number: of the signal that ends the child.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl, set_signal = ctypes.CDLL(None).prctl, 1  # PR_SET_PDEATHSIG
    parent = os.getpid() if parent is None else parent

    def call() -> None:
        prctl(set_signal, number)
        if os.getppid() != parent:  # it has ended already
            os.kill(os.getpid(), number)

    return call


def _let_go_of_terminal() -> None:
    """Write to nowhere what would go to a terminal that was closed: it could only fail."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
