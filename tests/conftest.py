"""What the neutral tests share: small pictures, a valid recipe, and the check that an error is one clear line."""

import signal
from contextlib import contextmanager

import numpy as np
import pytest
from fake import Numpy
from formula import Formula
from prepared import contents, prepare, two_pictures

from tunable.backends.model import WeightsModel, load
from tunable.backends.registry import get_framework, requested
from tunable.commands import main
from tunable.errors import TunableError
from tunable.images import pictures
from tunable.parameters.starts import starting_weights
from tunable.specs.recipe import parse
from tunable.training.loop import train
from tunable.weights import storage
from tunable.weights.storage import Header

# Tests press Ctrl-C, which is ignored where a script starts them with `&`.
signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _refused(kind: type[TunableError], *fragments: str):
    with pytest.raises(TunableError) as caught:
        yield
    message = str(caught.value)
    assert type(caught.value) is kind, f"{type(caught.value).__name__}: {message}"
    assert message.strip() and "\n" not in message, f"not one line: {message!r}"
    for fragment in fragments:
        assert fragment in message, f"{fragment!r} is not in {message!r}"


@pytest.fixture
def refused():
    """`with refused(OmegaError, "(3,)"):` the block raises exactly that error, one line with these fragments."""
    return _refused


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def _values() -> dict:
    return {
        "task": "denoise",
        "network": {"name": "resnet", "channels": 4, "blocks": 1},
        "objectives": [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise"}],
        "data": {"train": "bundled", "patch": 8, "batch": 3, "degradation": [{"kind": "gaussian_noise", "sigma": 25}]},
        "steps": 10,
    }


@pytest.fixture
def values():
    """A valid recipe as plain values, free to change."""
    return _values()


@pytest.fixture(scope="session")
def recipe_values():
    """The same values, not to be changed."""
    return _values()


@pytest.fixture
def make_recipe():
    """make_recipe(loss={...}, ...): the valid recipe with some sections replaced."""
    return lambda **sections: parse({**_values(), **sections})


@pytest.fixture
def folder(tmp_path):
    """A folder with two tiny colour pictures, every pixel of both different."""
    place = tmp_path / "pictures"
    place.mkdir()
    two_pictures(place)
    return place


@pytest.fixture
def recipe_of(make_recipe, folder):
    """recipe_of(steps=10, every=4, keep=2, ...): other keys are sections of the recipe; `data` is added to."""

    def make(steps=10, every=4, keep=2, data=None, **sections):
        data = {"train": str(folder), "validate": str(folder), "patch": 8, "batch": 3, **(data or {})}
        data.setdefault("degradation", [{"kind": "gaussian_noise", "sigma": 25}])
        options = {"optimizer": {"learning_rate": 0.01}, "schedule": {"kind": "cosine"}, **sections}
        return make_recipe(steps=steps, checkpoint={"every": every, "keep": keep}, data=data, **options)

    return make


@pytest.fixture
def whole(recipe_of, tmp_path):
    """The same run without interruption."""
    train(recipe_of(), Numpy(), tmp_path / "whole")
    return tmp_path / "whole"


@pytest.fixture(scope="session")
def backend():
    """The first framework that this run must cover."""
    return get_framework(next(iter(requested()), "torch"))


def _untrained(backend, values, path):
    """A weights file of a recipe's network, at its start."""
    header = Header.of(parse(values))
    specs = backend.specs(backend.build(header.network, header.num_objectives))
    storage.save(path, starting_weights(specs, 0), header)
    return path


@pytest.fixture(scope="session")
def weights_file(backend, tmp_path_factory):
    """A weights file of a tiny tunable network, untrained."""
    return _untrained(backend, _values(), tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def joint_file(backend, tmp_path_factory):
    """The same for the joint task."""
    values = {**_values(), "task": "denoise_deblur"}
    values["objectives"] = [
        {"name": "noise", "kind": "noise", "residual": "remove"},
        {"name": "blur", "kind": "blur", "noise_objective": "noise"},
    ]
    values["data"]["degradation"].insert(0, {"kind": "gaussian_blur", "sigma": [0, 4]})
    return _untrained(backend, values, tmp_path_factory.mktemp("weights") / "joint.safetensors")


@pytest.fixture
def model(backend, weights_file):
    """The network of `weights_file`."""
    return load(weights_file, backend)


@pytest.fixture
def tunable(capsys):
    """tunable("info", path): the command line in this process; status, standard output, standard error."""

    def call(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            status = stop.code
        return (status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def place(tmp_path_factory, weights_file, backend, recipe_values):
    """A folder with good and bad files: `prepared`."""
    at = tmp_path_factory.mktemp("place")
    prepare(at, weights_file, backend, recipe_values)
    return at


@pytest.fixture
def refuses(place, tunable, backend, monkeypatch):
    """refuses("info {place}/a", fragments): status 2, one line with the fragments, every file as it was."""

    monkeypatch.setenv("TUNABLE_BACKENDS", backend.name)

    def check(line, *fragments, status=2):
        words = [word.replace("{place}", str(place)).replace("~", " ") for word in line.split()]
        before = contents(place)
        returned, out, err = tunable(*words)
        *above, last = err.splitlines()
        assert returned == status and out == "", (returned, out, err)
        assert last.startswith("tunable") and "Traceback" not in err
        assert last.isprintable() and len(last.encode()) < 2000
        assert all(not other.startswith("tunable") for other in above), err
        for fragment in fragments:
            assert fragment in last, f"{fragment!r} is not in {last!r}"
        assert contents(place) == before

    return check


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Run the test in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def messages_are_said_again():
    """What is said once in a process is said once in a test."""
    pictures._say_once.cache_clear()


@pytest.fixture
def make_echo(weights_file, tmp_path):
    """make_echo(channels): a network that gives what it gets at omega 1,0, and half of these channels at 0,1."""

    def make(channels):
        tensors, header = storage.load(weights_file)
        tensors = {name: np.zeros_like(value) for name, value in tensors.items()}
        for channel in range(3):  # phi `base`: kernels are the first and omega times the others; the long skip doubles
            tensors["head.weight"][:, channel, channel, 1, 1] = 1, 0, 0
            tensors["tail.weight"][:, channel, channel, 1, 1] = 0.5, 0, -0.25 * (channel in channels)
        storage.save(tmp_path / "echo.safetensors", tensors, header)
        return tmp_path / "echo.safetensors"

    return make


@pytest.fixture
def echo(make_echo):
    """A network that gives what it gets at omega 1,0; at 0,1 half of red, and green and blue as they are."""
    return make_echo([0])


@pytest.fixture
def restore(echo, tunable, here):
    """restore(source, target, *words): tunable restore at omega 1,0; its messages, without "wrote"."""

    def call(source, target, *words, omega="1,0"):
        status, _, err = tunable("restore", echo, source, "-o", target, "--omega", omega, *words)
        lines = err.splitlines()
        assert status == 0 and lines[-1] == f"wrote {target}", err
        return lines[:-1]

    return call


@pytest.fixture
def model_of(make_recipe):
    """model_of(formula, ...): a model whose network is formula(degraded, omega); keys are sections of its recipe."""
    return lambda formula, **sections: WeightsModel(Formula(formula), None, Header.of(make_recipe(**sections)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """What a test wrote that is no UTF-8, a file's name say, is escaped: processes send each other reports in it."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report
