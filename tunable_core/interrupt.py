"""Ctrl-C at a moment of one's own choosing, so that what a checkpoint holds is a whole step."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back; yields a function that says whether it was pressed. A second one acts at once.

    A request to terminate (SIGTERM) is taken the same way: it is what stops a job of a cluster, and MindSpore, whose
    compiled graphs put their own handler in the place of Python's, turns Ctrl-C into one.
    Where Ctrl-C does not raise KeyboardInterrupt (another thread, a handler of someone's own) it changes nothing.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    pressed = False

    def note(number, frame):
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True
        log.warning("interrupted: finishing this step (Ctrl-C again stops at once)")

    held = [signal.SIGINT]
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        held.append(signal.SIGTERM)
    before = [(number, signal.signal(number, note)) for number in held]
    try:
        yield lambda: pressed
    finally:
        for number, handler in before:
            signal.signal(number, handler)
