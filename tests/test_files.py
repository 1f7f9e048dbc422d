"""Atomic output: a file appears whole, or what was there stays."""

import os

import pytest

from tunable_core.errors import TunableError
from tunable_core.files import atomic, write_text


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
