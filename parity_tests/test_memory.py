"""What a process keeps for every size of picture is bounded, however many it restores, and results do not change."""

import subprocess
import sys

import numpy as np
import pytest

from parity_tests.recipes import make_recipe, write_untrained
from tunable.backends.model import load
from tunable.backends.registry import get_framework
from tunable.data.patches import Batches
from tunable.parameters.starts import starting_weights
from tunable.specs.formulations import Last
from tunable.specs.networks import ResNetSpec
from tunable.tolerances import TOLERANCES, relative_error

# The most at the end of the run against the most in its middle: what is kept is dropped every eight sizes.
RUN = """
import sys
import numpy as np
from tunable.backends.model import load

path, backend, mode, turns = sys.argv[1], sys.argv[2], sys.argv[3] or None, int(sys.argv[4])
model, omega = load(path, backend, "cpu", mode), np.float32([0.3, 0.8])

def run(n):
    model.run(np.full((1, 3, 90 - n % 40, 80 - n // 40), 0.5, np.float32), omega)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

held = [run(n) for n in range(turns * 8)]
print((max(held[-8:]) - max(held[-8 * turns // 2 - 8 : -8 * turns // 2])) / (4 * turns))
"""
CASES = {  # backend, mode, suffix -> sizes, in eights; megabytes that a size may leave
    ("mindspore", "graph", "safetensors"): (10, 0.5),  # after the first eight in PyNative mode
    ("mindspore", "graph", "mindir"): (4, 1.0),  # kept were 15
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """files(suffix, backend): an untrained network's weights file, or what the backend exports of it."""
    folder = tmp_path_factory.mktemp("memory")

    def write(suffix, backend):
        path = folder / f"net.{suffix}"
        if suffix == "safetensors":
            return write_untrained(path, make_recipe(), backend)
        model = load(write_untrained(folder / "weights.safetensors", make_recipe(), backend), backend)
        backend.export(model.network, path, suffix, "shared", model.header.to_metadata())
        return path

    return write


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc: not measured elsewhere")
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_little_is_kept_for_a_size_of_picture(mindspore, files, case):
    """In the second half of a run; MindSpore kept 3 to 15 megabytes."""
    (name, mode, suffix), (turns, most) = case, CASES[case]
    path = files(suffix, mindspore.backend)
    command = [sys.executable, "-c", RUN, str(path), name, mode, str(turns)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < most


def test_results_do_not_depend_on_what_was_dropped(mindspore, tmp_path, monkeypatch):
    """Six sizes where two are kept, the first again, and each as a network that has met no other restores it."""
    for module in ("ops", "ops.memory"):
        monkeypatch.setattr(mindspore.module(module), "MOST_SIZES", 2)
    path, omega = write_untrained(tmp_path / "a.safetensors", make_recipe(), mindspore.backend), np.float32([0.3, 0.8])
    backend, fresh = get_framework("mindspore", "cpu", "graph"), get_framework("mindspore", "cpu", "pynative")
    model, rng = load(path, backend), np.random.default_rng(0)
    pictures = [rng.uniform(size=(1, 3, 20 + n, 31 - n)).astype(np.float32) for n in range(6)]
    first = [model.run(picture, omega) for picture in pictures]
    for n in (0, 1, 2, 5):
        assert relative_error(first[n], load(path, fresh).run(pictures[n], omega)) <= TOLERANCES["golden"].limit
        np.testing.assert_array_equal(model.run(pictures[n], omega), first[n])


def test_prepared_pictures_make_room_too(mindspore, monkeypatch):
    """As a run of their size; a graph, which keeps its own, does not."""
    from mindspore_impl import ops

    asked, make_room = [], ops.make_room
    monkeypatch.setattr(ops, "make_room", lambda size: asked.append(size) or make_room(size))
    x, omega = np.full((1, 3, 8, 6), 0.5, np.float32), np.float32([0.3, 0.8])
    for mode, calls in (("pynative", 3), ("graph", 0)):
        backend = get_framework("mindspore", "cpu", mode)
        at = backend.prepare(backend.build(ResNetSpec(channels=4, blocks=1, where=Last(last=1)), 2), x)
        np.testing.assert_array_equal(at(omega), at(omega))
        assert asked == calls * [x.shape]
        asked.clear()


def test_a_training_goes_on_beside(mindspore):
    """Steps between which twelve sizes are restored equal steps without."""
    recipe, backend = make_recipe(), get_framework("mindspore", "cpu", "pynative")
    batches, weights = Batches(recipe), []
    for sizes in (0, 12):
        network = backend.build(recipe.network, 2)
        backend.assign(network, starting_weights(backend.specs(network), 1, recipe.initial))
        trainer = backend.trainer(network, recipe)
        for step in range(3):
            trainer.step(batches[step], 1e-3)
            for n in range(sizes):
                backend.run(network, np.full((1, 3, 20 + n, 30), 0.5, np.float32), np.float32([1, 0]))
        weights.append(backend.parameters(network))
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value)
