"""Which pictures of a folder are used, and what is said of the rest."""

import os

import pytest

from tunable.errors import DataError
from tunable.images.folders import find, list_pictures
from tunable.images.pictures import SUFFIXES


def test_list_pictures(tmp_path, refused):
    for name in ("b.png", "a.JPG", "c.txt", "d.webp", ".hidden", ".b-unfinished.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.JPG", "b.png", "d.webp"]
    with refused(DataError, "no pictures in", "folder.png", ".png, .jpg"):
        list_pictures(tmp_path / "folder.png")
    for name in ("absent", "b.png"):
        with refused(DataError, "no such folder", name):
            list_pictures(tmp_path / name)


@pytest.fixture
def tree(tmp_path):
    """A folder with sub-folders, links, hidden files and others."""
    for name in ("b.png", "A.TIF", "notes.txt", "._b.png", ".git/x.png", "one/c.png", "one/two/d.jpg", "one/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "one/c.png")
    (tmp_path / "one" / "loop").symlink_to(tmp_path)
    return tmp_path


def names(paths):
    return [path.relative_to(paths.folder).as_posix() for path in paths.pictures]


def test_what_is_left_out_is_said(tree):
    paths = find(tree)
    assert names(paths) == ["A.TIF", "b.png", "link.png"]
    assert paths.left_out == {
        "of other kinds": ["notes.txt"],
        "hidden": ["._b.png"],
        "not there (dead links)": ["gone.png"],
        "in sub-folders": ["one/c.png", "one/two/d.jpg"],
    }
    assert paths.describe() == (
        f"{tree}: 3 pictures; left out: 1 hidden (._b.png), 2 in sub-folders (one/c.png, one/two/d.jpg), "
        "1 not there (dead links) (gone.png), 1 of other kinds (notes.txt)"
    )


def test_folders_in_it(tree):
    """Each once, whatever links lead round in circles; not those that are hidden, nor where the answers go."""
    paths = find(tree, recursive=True)
    assert names(paths) == ["A.TIF", "b.png", "link.png", "one/c.png", "one/two/d.jpg"]
    assert paths.left_out["of other kinds"] == ["notes.txt", "one/e.txt"]
    assert names(find(tree, recursive=True, without=tree / "one" / "two")) == names(paths)[:-1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_that_is_read_is_found(suffix, tmp_path):
    (tmp_path / f"a{suffix.upper()}").touch()
    assert len(list_pictures(tmp_path)) == 1


def test_many_folders_are_not_all_looked_at(tree, monkeypatch):
    monkeypatch.setattr("tunable.images.folders._LOOKED_AT", 1)
    paths = find(tree)
    assert len(paths.pictures) == 3 and "or more in sub-folders" in paths.left_out


def test_a_folder_that_cannot_be_opened(tmp_path, refused, monkeypatch):
    def walk(folder, onerror, followlinks):
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return iter(())

    monkeypatch.setattr(os, "walk", walk)
    with refused(DataError, "cannot open the folder", "Permission denied"):
        find(tmp_path)
