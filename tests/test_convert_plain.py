"""Plain weights files of the project as tunable ones: what every omega gives, and what does not fit."""

import numpy as np
import pytest

from tunable.backends.model import build, load
from tunable.backends.registry import get_framework, requested
from tunable.commands import main
from tunable.parameters.starts import starting_weights
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, StyleUNetSpec, SwinIRSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights import storage
from tunable.weights.storage import Header

SPECS = {
    "resnet": ResNetSpec(channels=6, blocks=1, tunable=False),
    "swinir": SwinIRSpec(channels=8, depths=[1], heads=[2], window=4, tunable=False),
    "nafnet": NAFNetSpec(width=4, middle=1, encoder=[1], decoder=[1], tunable=False),
    "style": StyleUNetSpec(channels=4, scales=1, blocks=(1, 1, 1), tunable=False),
    "compact": CompactSpec(channels=4, blocks=1, upscale=2, tunable=False),
}


@pytest.fixture
def plain(tmp_path):
    """plain(name, seed): a plain weights file; norms and free parameters differ between seeds too."""

    def write(name, seed=0):
        backend = get_framework(requested()[0], "cpu")
        specs = backend.specs(backend.build(SPECS[name], 0))
        path = tmp_path / f"{name}-{seed}.safetensors"
        weights, draw = starting_weights(specs, seed), np.random.default_rng(seed)
        moved = {k: (v + 0.1 * draw.standard_normal(v.shape)).astype(np.float32) for k, v in weights.items()}
        storage.save(path, moved, Header(SPECS[name]))
        return path

    return write


@pytest.fixture
def picture():
    return np.random.default_rng(0).uniform(size=(2, 3, 12, 16)).astype(np.float32)


def backends(name):
    """MindSpore without graphs, but for one network: every plain copy would be compiled, and every shape of omega."""
    slow = {"mindspore": None if name == "resnet" else "pynative"}
    return [get_framework(each, "cpu", slow.get(each)) for each in requested()]


@pytest.mark.thorough
@pytest.mark.parametrize("name", SPECS)
def test_plain_weights_get_knobs_without_effect(plain, picture, tmp_path, name):
    path, out = plain(name), tmp_path / "tunable.safetensors"
    assert main(["convert", str(path), "--from", "plain", "--objectives", "fidelity,noise", "-o", str(out)]) == 0
    for backend in backends(name):
        model, expected = load(out, backend), load(path, backend).run(picture)
        assert model.objectives == ("fidelity", "noise") and model.header.network.phi == "base"
        for omega in ([0, 0], [1, 0], [0.3, 0.8], [[0, 1], [0.5, 2]]):
            assert relative_error(model.run(picture, omega), expected) <= TOLERANCES["folded"].limit


@pytest.mark.thorough
@pytest.mark.parametrize("name", SPECS)
def test_end_points_are_interpolated(plain, picture, tmp_path, name):
    paths, out = [plain(name, seed) for seed in range(3)], tmp_path / "net.safetensors"
    assert main(["convert", *map(str, paths), "--from", "endpoints", "-o", str(out)]) == 0
    ends = [storage.load(path)[0] for path in paths]
    omega = np.array([0.2, 0.5, 0.3], np.float32)
    mean = {local: sum(w * t[local] for w, t in zip(omega, ends, strict=True)).astype(np.float32) for local in ends[0]}
    for backend in backends(name):
        model = load(out, backend)
        assert model.objectives == ("omega_1", "omega_2", "omega_3")
        for corner, path in zip(np.eye(3), paths, strict=True):
            assert relative_error(model.run(picture, corner), load(path, backend).run(picture)) <= 1e-6
        expected = build(Header(SPECS[name]), mean, backend).run(picture)
        assert relative_error(model.run(picture, omega), expected) <= TOLERANCES["interpolated"].limit
        both = model.run(picture, np.stack([omega, [0, 1, 0]]))
        assert relative_error(both[0], expected[0]) <= TOLERANCES["interpolated"].limit
        assert relative_error(model.fold(omega).run(picture), expected) <= TOLERANCES["interpolated"].limit


def refused(capsys, out, *arguments) -> str:
    """The one line that a conversion ends with; nothing is written."""
    assert main(["convert", *map(str, arguments), "-o", str(out)]) == 2 and not out.exists()
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_what_does_not_fit_is_refused_in_one_line(plain, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    one, two, other = plain("resnet"), plain("resnet", 1), plain("nafnet")
    tunable = tmp_path / "tunable.safetensors"
    assert main(["convert", str(one), "--from", "plain", "--objectives", "a,b", "-o", str(tunable)]) == 0
    capsys.readouterr()
    cases = {
        (one, "--from", "plain"): "plain wants one weights file, and --objectives",
        (one, two, "--from", "plain", "--objectives", "a,b"): "plain wants one weights file",
        (one, "--from", "plain", "--objectives", "a,a"): "objectives want different names, not 'a,a'",
        (one, "--from", "endpoints"): "endpoints wants two weights files or more",
        (one, two, "--from", "endpoints", "--objectives", "a,b,c"): "3 objectives are named for 2 files",
        (one, other, "--from", "endpoints"): "files 1 and 2 hold different networks",
        (one, tunable, "--from", "endpoints"): "file 2 holds a tunable network; endpoints wants plain ones",
        (one, two, "--from", "endpoints", "--set", "channels=3"): "takes neither --set nor --allow-pickle",
        (one, two, "--from", "swinir"): "--from swinir takes one file, and no --objectives",
        (one, "--from", "endpoint"): "unknown source 'endpoint' (did you mean 'endpoints'?)",
        (one, tmp_path / "none.safetensors", "--from", "endpoints"): "no such weights file",
    }
    for arguments, message in cases.items():
        assert message in refused(capsys, out, *arguments)
