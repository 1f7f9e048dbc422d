"""Atomic output: a file appears whole, or what was there stays."""

import errno
import os
import subprocess
import sys

import pytest

from tunable import files
from tunable.errors import TunableError
from tunable.files import atomic, check_writable, holding, sweep, write_text


def test_write_and_replace(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "first ω\n")
    assert path.read_bytes() == "first ω\n".encode()
    write_text(str(path), "second")
    assert path.read_text() == "second" and os.listdir(path.parent) == ["a.txt"]


def test_nothing_is_visible_before_the_end(tmp_path):
    path = tmp_path / "a.png"
    with atomic(path) as temporary:
        assert temporary.suffix == ".png" and temporary.parent == tmp_path and temporary.name.startswith(".")
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half" and os.listdir(tmp_path) == ["a.png"]


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with open(path) as reader:
        write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_line(tmp_path, refused):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with refused(TunableError, str(path), "No space left"), atomic(path):
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_places_that_cannot_be_written(tmp_path, refused):
    (tmp_path / "file").write_text("x")
    with refused(TunableError, "cannot write", "file/a.txt"):
        write_text(tmp_path / "file" / "a.txt", "y")
    (tmp_path / "folder").mkdir()
    with refused(TunableError, "cannot write", "folder"):
        write_text(tmp_path / "folder", "y")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_the_longest_names(tmp_path, refused):
    """As long as the file system takes, 255 bytes here: the temporary name beside it is short."""
    greek = os.fsdecode(("ω" * 125 + ".tiff").encode())  # the same bytes, whatever the locale takes them for
    for name in ("a" * 251 + ".txt", greek, "a." + "b" * 253):
        check_writable(tmp_path / name)
        write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"
    for write in (check_writable, lambda path: write_text(path, "x")):
        with refused(TunableError, "cannot write", "too long"):
            write(tmp_path / ("a" * 256))


def test_the_folder_is_synced_after_the_file_has_its_name(tmp_path, monkeypatch):
    def note(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        seen.append("folder" if os.path.isdir(path) else "file")
        assert (tmp_path / "a.txt").exists() == os.path.isdir(path)

    seen = []
    monkeypatch.setattr(os, "fsync", note)
    write_text(tmp_path / "a.txt", "x")
    assert seen == ["file", "folder"]


# --- what is left by a process that was killed


def run(program, *words):
    return subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True)


KILLED = """
import os, signal, sys
from tunable.files import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_leftovers_go_with_the_next_write(tmp_path, monkeypatch):
    """Nothing of a living process, and nothing that only looks like it."""
    run(KILLED, tmp_path / "a.png")
    assert len(os.listdir(tmp_path)) == 1
    (tmp_path / ".mine-abcdefgh.png").touch()
    monkeypatch.setattr(files, "_swept", set())
    with atomic(tmp_path / "b.png") as temporary:
        assert set(os.listdir(tmp_path)) == {".mine-abcdefgh.png", temporary.name}
        temporary.write_text("whole")
        run("import sys; from tunable.files import write_text; write_text(sys.argv[1], 'x')", tmp_path / "c.txt")
        sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".mine-abcdefgh.png", "b.png", "c.txt"]


def test_leftovers_go_where_only_files_open_to_write_are_locked(tmp_path, monkeypatch):
    """As on NFS, which makes them locks of another kind."""
    true = files.fcntl.flock

    def lock(descriptor, how):
        if files.fcntl.fcntl(descriptor, files.fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        true(descriptor, how)

    run(KILLED, tmp_path / "a.png")
    monkeypatch.setattr(files.fcntl, "flock", lock)
    sweep(tmp_path)
    assert not os.listdir(tmp_path)


# --- one process at a time

HOLD = """
import os, pathlib, signal, sys
from tunable.files import holding
with holding(pathlib.Path(sys.argv[1])):
    if sys.argv[2:]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_is_held_by_one_process(tmp_path, refused):
    place = tmp_path / "new" / "run"
    with holding(place):
        done = run(HOLD, place)
        assert done.returncode and f"{place} is in use by process {os.getpid()} on {os.uname().nodename}" in done.stderr
        with refused(TunableError, str(place), "in use"), holding(place):  # threads of one process, too
            pass
    assert not os.listdir(tmp_path)  # made for nothing
    assert run(HOLD, place, "killed").returncode == -9
    with holding(place):  # the lock died with its process
        (place / "a").touch()
    assert os.listdir(place) == ["a"]


def test_folders_that_cannot_be_held(tmp_path, monkeypatch, caplog, refused):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with refused(TunableError, "cannot write in", str(place)), holding(place):
            pass

    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with holding(tmp_path / "run"):
        write_text(tmp_path / "run" / "a.txt", "x")
    assert os.listdir(tmp_path / "run") == ["a.txt"] and "cannot be locked (Operation not supported)" in caplog.text
