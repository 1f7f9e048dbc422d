"""The twins that a run must cover, as fixtures: on the CPU, or on a device that a run is to prove (parity_tests.twins).

`twin` runs a test once per requested framework; one that is missing is an error. Tests that need one framework
(`torch`, `mindspore`) or both (`twins`) are not collected where these are not requested, and one line says how many.
"""

import gc
import os
import signal
from functools import partial

import numpy as np
import pytest

from parity_tests import recipes, strangers
from parity_tests.cases import CASES
from parity_tests.remembered import remember
from parity_tests.twins import get_twin
from tunable.backends.registry import BACKENDS, requested

# Tests press Ctrl-C, which is ignored where a script starts them with `&`.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Graphs make objects by the hundred thousand, and few of them are garbage: it is looked for less often.
gc.set_threshold(20_000)
# torch's compiler starts no processes of its own: here they would cost more than the few kernels that they compile.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def pytest_make_parametrize_id(val, argname):
    """A layer case is called by its kind too, which `make layer NAME=...` asks for."""
    return f"{CASES[val].kind} {val}" if argname == "name" and val in CASES else None


@pytest.fixture(scope="session", params=requested())
def twin(request):
    """One framework behind numpy: see parity_tests.twins."""
    return get_twin(request.param)


@pytest.fixture(scope="session")
def twins():
    """Both frameworks, torch first."""
    return tuple(get_twin(name) for name in BACKENDS)


@pytest.fixture(scope="session")
def torch():
    return get_twin("torch")


@pytest.fixture(scope="session")
def mindspore():
    return get_twin("mindspore")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    missing = [name for name in BACKENDS if name not in requested()]
    needs = {"twins", *missing} if missing else set()
    left_out = [item for item in items if needs & set(getattr(item, "fixturenames", ()))]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"{len(left_out)} parity tests left out: {' and '.join(missing)} not requested")


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def arrays(rng):
    """arrays(name): the inputs of a network of parity_tests.strangers."""
    return lambda name: strangers.inputs(name, rng)


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory):
    """weights_file(name, recipe, backend): the recipe's network, freshly initialised."""
    folder = tmp_path_factory.mktemp("weights")

    def write(name, recipe, backend):
        path = folder / f"{name}.safetensors"
        return path if path.exists() else recipes.write_untrained(path, recipe, backend)

    return write


@pytest.fixture(scope="session")
def small_network(weights_file):
    """small_network(phi, p=2): the weights file of parity_tests.recipes.small_recipe."""
    backend = get_twin(requested()[0]).backend
    return lambda phi, p=2: weights_file(f"small-{phi}-{p}", recipes.small_recipe(phi, p), backend)


@pytest.fixture(scope="session")
def make_recipe():
    """See parity_tests.recipes."""
    return recipes.make_recipe


@pytest.fixture
def without_kernels(monkeypatch):
    """torch.compile traces and differentiates a graph, and runs it as it is: kernels take ten times as long.

    For tests of what a graph holds; test_torch_compile and test_compiled_steps compile kernels for the same layers.
    """
    if "torch" in requested():
        framework = get_twin("torch").torch
        monkeypatch.setattr(framework, "compile", partial(framework.compile, backend="aot_eager"))


@pytest.fixture
def right(monkeypatch):
    """For tests that break no framework: programs of a certificate say again what they said of the same."""
    remember(monkeypatch, *requested())
