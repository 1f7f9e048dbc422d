"""What workers that prepare batches do when something goes wrong."""

import multiprocessing

import pytest
from test_patches import maker

from tunable.errors import DataError


@pytest.fixture
def batches(make_recipe, folder):
    return maker(make_recipe, folder)


@pytest.mark.parametrize("processes", [False, True])
def test_an_error_in_a_worker_reaches_the_caller(processes, batches, folder, refused):
    made = batches(workers=2, processes=processes)
    (folder / "a.png").write_bytes(b"no picture")
    with refused(DataError, "a.png"):
        list(made.stream(0, 20))


def test_a_worker_that_dies_is_told_of(batches, refused):
    stream = batches(workers=1, processes=True).stream(0, 10**6)
    next(stream)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with refused(DataError, "a process that prepares batches has died"):
        list(stream)
    assert not multiprocessing.active_children()
