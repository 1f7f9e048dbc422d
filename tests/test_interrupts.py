"""Ctrl-C and its like: held back until a step is whole, until an import is done, and what the program leaves behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from fake import press

from tunable.backends import registry
from tunable.backends.registry import get_framework
from tunable.commands import main
from tunable.training import interrupts
from tunable.training.checkpoints import Checkpoints
from tunable.training.interrupts import Stopped, heeded, held_back, postponed

INT, TERM, HUP, USR1 = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1


PLAIN = {INT: signal.default_int_handler, TERM: signal.SIG_DFL, HUP: signal.SIG_DFL, USR1: signal.SIG_DFL}


@pytest.fixture
def handlers():
    """The signals as Python finds them, however these tests were started; every block must put them back so."""
    before = {number: signal.signal(number, handler) for number, handler in PLAIN.items()}
    yield
    after = {number: signal.signal(number, handler) for number, handler in before.items()}
    assert after == PLAIN


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_one_is_noted_and_a_later_one_acts(number, handlers, monkeypatch):
    with pytest.raises(Stopped) as stopped, held_back() as asked:
        assert not asked()
        signal.raise_signal(number)
        signal.raise_signal(number)  # at once: as schedulers and terminals do
        assert asked()
        monkeypatch.setattr(interrupts, "TOGETHER", 0)
        signal.raise_signal(TERM)
    assert stopped.value.number == TERM
    with pytest.raises(Stopped) as stopped, held_back() as asked:
        signal.raise_signal(number)
        asked.stop()
    assert stopped.value.number == number


def test_one_asks_for_a_checkpoint_and_ends_nothing(handlers):
    with heeded():
        signal.raise_signal(USR1)
        with held_back() as asked:
            assert not asked.save_asked()
            signal.raise_signal(USR1)
            signal.raise_signal(TERM)
            signal.raise_signal(USR1)
            assert asked.save_asked() and not asked.save_asked() and asked.number == TERM


def test_what_is_whole_ends_first(handlers, monkeypatch):
    monkeypatch.setattr(interrupts, "TOGETHER", 0)
    done = []
    with pytest.raises(Stopped), held_back() as asked:
        with asked.whole():
            press()
            press()
            done.append("saved")
        done.append("more")
    assert done == ["saved"]


def test_without_holding_back_they_raise_once(handlers):
    cleared = []
    with pytest.raises(Stopped) as stopped, heeded():
        try:
            signal.raise_signal(TERM)
        finally:
            press()  # the terminal's, with the scheduler's
            cleared.append(True)
    assert stopped.value.number == TERM and cleared


def test_after_what_was_held_back_they_are_one(handlers):
    with pytest.raises(Stopped) as stopped, heeded():
        try:
            with held_back() as asked:
                signal.raise_signal(TERM)
                asked.stop()
        finally:
            press()
    assert stopped.value.number == TERM


def test_ignored_ones_stay_ignored_and_the_others_are_held_back(handlers):
    before = signal.signal(INT, signal.SIG_IGN)
    try:
        with held_back() as asked:
            press()
            assert not asked()
            signal.raise_signal(TERM)
            assert asked()
        assert signal.getsignal(INT) is signal.SIG_IGN
    finally:
        signal.signal(INT, before)


def test_handlers_of_others_and_other_threads_are_left_alone(handlers):
    def handler(*_):
        seen.append("mine")

    seen = []
    before = signal.signal(INT, handler)
    try:
        with held_back() as asked:
            press()
            assert seen == ["mine"] and not asked()
    finally:
        signal.signal(INT, before)
    thread = threading.Thread(target=lambda: seen.append(held_back().__enter__()()))
    thread.start()
    thread.join()
    assert seen == ["mine", False]


def test_a_framework_is_imported_to_its_end(handlers, tmp_path, monkeypatch):
    """Where Python raises in the midst of MindSpore's import it aborts the process."""
    (tmp_path / "pressed_in.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry._MODULES, "pressed", ("json", "pressed_in"))
    with pytest.raises(Stopped):
        get_framework("pressed")
    assert sys.modules.pop("pressed_in").whole
    with pytest.raises(Stopped) as stopped, postponed():
        signal.raise_signal(TERM)
    assert stopped.value.number == TERM


@pytest.mark.parametrize(("number", "status"), [(INT, 130), (TERM, 143), (HUP, 129)])
def test_every_verb_ends_in_one_line(number, status, handlers, capsys, monkeypatch):
    monkeypatch.setattr("tunable.commands.info.run", lambda args: signal.raise_signal(number))
    assert main(["info", "a.safetensors"]) == status
    assert capsys.readouterr() == ("", "tunable info: interrupted\n")


# --- programs of their own

TRAINING = """
import sys, time
sys.path.insert(0, {tests!r})
from fake import Numpy
from tunable.commands import main, train

def fault(step):
    print(step, flush=True)
    time.sleep(0.2)

train.get_framework = lambda *_: Numpy(fault)
sys.exit(main(["train", {recipe!r}, "--out", {out!r}]))
"""


@pytest.fixture
def start():
    """start(code, ignored signals): a Python program of its own, which does not outlive the test."""
    started = []

    def start(code, *ignored):
        handlers = {**PLAIN, **dict.fromkeys(ignored, signal.SIG_IGN)}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            command = [sys.executable, "-c", code]
            program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("ignored", "sent", "status"),
    [
        ((), [INT], 130),
        ((), [HUP], 129),
        ((INT,), [INT, TERM], 143),  # as a script starts it with `&`
        ((HUP,), [HUP, TERM, TERM], 143),  # nohup, and a scheduler that sends two
        ((), [TERM, INT], 143),
    ],
)
def test_a_training_ends_with_its_step(ignored, sent, status, start, recipe_of, tmp_path):
    recipe = recipe_of(steps=500, every=400)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.to_dict()))
    out = tmp_path / "out"
    tests = str(Path(__file__).parent)
    program = start(TRAINING.format(tests=tests, recipe=str(tmp_path / "recipe.yaml"), out=str(out)), *ignored)
    while program.stdout.readline() != "3\n":
        assert program.poll() is None, program.stderr.read()
    for number in sent:
        program.send_signal(number)
    last = int(["3", *program.communicate(timeout=30)[0].split()][-1])
    assert program.returncode == status
    assert Checkpoints(out).newest_step() == last == len((out / "metrics.csv").read_text().splitlines()) - 1
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == [f"step-{last:08d}.safetensors"]


PARENT = """
import sys
from tunable.training.interrupts import heeded, run_child, Stopped
try:
    with heeded():
        run_child([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"])
except Stopped as stopped:
    sys.exit(128 + stopped.number)
"""


@pytest.mark.parametrize(("number", "status"), [(TERM, 143), (signal.SIGKILL, -9)])
def test_a_child_ends_with_its_parent(number, status, start):
    parent = start(PARENT)
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # it is there
    parent.send_signal(number)
    assert parent.wait(10) == status
    for _ in range(100):  # where the parent was killed, the system ends the child a moment later
        if not _runs(child):
            return
        time.sleep(0.05)
    pytest.fail("the child is still there")


def _runs(process):
    """Whether a process runs; one that has ended, and that nobody has waited for, does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


STARTING = """
import signal, sys
from tunable.commands import main
assert "numpy" not in sys.modules  # what takes long is imported where an interrupt is one line already

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Press())
sys.exit(main(["info", "a.safetensors"]))
"""


def test_while_the_program_starts(start):
    program = start(STARTING)
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out, err) == (130, "", "tunable info: interrupted\n")
