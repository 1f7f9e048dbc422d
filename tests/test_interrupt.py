"""Ctrl-C, held back until a step is whole."""

import signal
import threading

from fake import press

from tunable_core.interrupt import held_back


def test_it_is_noted_and_then_acts_again():
    with held_back() as pressed:
        assert not pressed()
        press()
        assert pressed()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_are_left_alone_elsewhere(monkeypatch):
    def handler(*_):
        seen.append("mine")

    seen = []
    before = signal.signal(signal.SIGINT, handler)
    try:
        with held_back() as pressed:
            press()
            assert seen == ["mine"] and not pressed()
    finally:
        signal.signal(signal.SIGINT, before)
    thread = threading.Thread(target=lambda: seen.append(held_back().__enter__()()))
    thread.start()
    thread.join()
    assert seen == ["mine", False]
