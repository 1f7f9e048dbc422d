"""Which part of the square of omega was trained: derived, stored, and said where an omega lies off it."""

import numpy as np
import pytest

from tunable.commands import main
from tunable.parameters.starts import starting_weights
from tunable.specs.recipe import parse
from tunable.trained import describe, doubt
from tunable.weights import storage
from tunable.weights.storage import Header

CORNERS, LINE = [(1, 0), (0, 1)], [(0.5, 0.5), (0.25, 0.75), (0.33, 0.67), (0.995, 0)]
OFF = [(0, 0), (1, 1), (0.5, 0), (0.2, 0.2), (1, 0.5)]


def header_of(values, **omega):
    return Header.of(parse({**values, "omega": omega} if omega else values))


def mixture(*of, weights):
    return {"kind": "mixture", "of": list(of), "weights": list(weights)}


@pytest.mark.parametrize(
    ("sampler", "sure", "never", "rarely", "words"),
    [
        ("uniform", CORNERS + LINE + OFF, [], [], "anywhere in [0, 1]"),
        ({"kind": "beta", "a": 0.5, "b": 0.5}, CORNERS + LINE + OFF, [], [], "anywhere in [0, 1]"),
        ("log_uniform", CORNERS + LINE + OFF, [], [], "anywhere in [0.01, 1]"),
        ({"kind": "log_uniform", "low": 0.5}, [(1, 1), (0.5, 0.7)], [*CORNERS, (0, 0)], [], "anywhere in [0.5, 1]"),
        ("simplex", CORNERS + LINE, OFF, [], "summing to 1"),
        ({"kind": "annealed", "over": 1}, CORNERS + LINE, OFF, [], "summing to 1"),
        ("corners", CORNERS, LINE[:3] + OFF, [], "one knob 1 and the others 0"),
        ("cube", [*CORNERS, (1, 1)], [*LINE[:3], (0, 0), (0.5, 0)], [], "each knob 0 or 1, but not all 0"),
        ({"kind": "fixed", "value": [1, 0.5]}, [(1, 0.5)], [*CORNERS, (1, 1)], [], "at (1, 0.5)"),
        (
            mixture("corners", "simplex", "uniform", weights=[8, 1, 1]),  # configs/defaults.yaml
            CORNERS + LINE, [], OFF, "80 % one knob 1 and the others 0, 10 % summing to 1, 10 % anywhere in [0, 1]",
        ),
        (
            mixture("corners", mixture("uniform", "corners", weights=[1, 1]), weights=[1, 1]),  # a quarter anywhere
            CORNERS + LINE + OFF, [], [], "75 % one knob 1 and the others 0, 25 % anywhere in [0, 1]",
        ),
    ],
)  # fmt: skip
def test_what_a_sampler_trains(sampler, sure, never, rarely, words, values):
    trained = header_of(values, sampler=sampler).trained
    assert describe(trained) == words and sum(part.share for part in trained) == pytest.approx(1)
    for expected, omegas in ((None, sure), ("never", never), ("rarely", rarely)):
        for omega in omegas:
            assert doubt(omega, trained) == expected, omega


def test_draws_are_never_in_doubt(rng, values):
    """Of three objectives too: where a sampler draws omega is what it is said to train."""
    objectives = [{"name": name, "kind": "rec"} for name in "abc"]
    samplers = ("uniform", "log_uniform", "simplex", "corners", "cube")
    for sampler in (*samplers, {"kind": "annealed", "over": 1}, {"kind": "fixed", "value": [0.1, 0.2, 0.3]}):
        recipe = parse({**values, "objectives": objectives, "omega": {"sampler": sampler}})
        trained = Header.of(recipe).trained
        assert all(doubt(omega, trained) is None for omega in recipe.omega.sampler.draw(rng, 100, 3))


@pytest.mark.parametrize("sampler", ["uniform", "simplex", mixture("corners", "uniform", weights=[1, 1])])
def test_beyond_the_square_nothing_is_trained(sampler, values):
    """Where --extrapolate leads, also where the knobs still sum to 1."""
    trained = header_of(values, sampler=sampler).trained
    assert [doubt(omega, trained) for omega in ((2, 0), (2, -1), (1.5, -0.5), (0, 1.1))] == ["never"] * 4
    assert doubt((1.01, 0), trained) is None  # as near as any other point


def test_the_help_of_omega_names_the_trained_part(capsys):
    for verb in ("restore", "fold", "export", "evaluate"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert "by name (noise=0.3,fidelity=0.7)" in text, verb
        assert "`tunable info` says where the network was trained" in text, verb


def test_the_header_holds_it(values, tmp_path):
    header = header_of(values, sampler="simplex")
    metadata = header.to_metadata()
    assert metadata["trained"] == '[{"omega": "sum 1", "share": 1.0}]'
    assert Header.from_metadata(metadata, "a") == header
    old = {key: value for key, value in metadata.items() if key != "trained"}
    assert Header.from_metadata(old, "a").trained == header.trained  # by its recipe
    unknown = Header.from_metadata({**old, "recipe": "{}"}, "a")
    assert unknown.trained is None and doubt((1, 1), unknown.trained) is None
    points = [{"kind": "fixed", "value": [place / 100, 1]} for place in range(100)]
    halves = [mixture(*points[half : half + 50], weights=[1] * 50) for half in (0, 50)]
    assert header_of(values, sampler=mixture(*halves, weights=[1, 1])).trained is None  # too many points to be said


@pytest.fixture
def on_the_line(values, backend, tmp_path):
    """A weights file trained on omega that sum to 1."""
    header = header_of(values, sampler="simplex")
    specs = backend.specs(backend.build(header.network, 2))
    storage.save(tmp_path / "line.safetensors", starting_weights(specs, 0), header)
    return tmp_path / "line.safetensors"


def test_the_command_line_says_it(on_the_line, tunable, folder, tmp_path):
    warning = (
        "this network was never trained at omega (1, 1); it saw omega summing to 1: "
        "what it was not trained at may be worse, with a colour cast"
    )
    assert "trained at    omega summing to 1\n" in tunable("info", on_the_line)[1]
    restore = ("restore", on_the_line, folder / "a.png", "-o", tmp_path / "x.png", "--omega")
    fold = ("fold", on_the_line, "-o", tmp_path / "x.safetensors", "--omega")
    for command in (restore, fold):
        status, _, err = tunable(*command, "1,1")
        assert status == 0 and err.splitlines()[0] == warning
        assert "trained" not in tunable(*command, "noise=0.3,fidelity=0.7")[2]
    status, out, err = tunable("evaluate", on_the_line, "--data", folder, "--sigma", "15", "--grid", "2", "--no-ssim")
    assert status == 0 and "never trained at omega (0, 0), (1, 1); it saw" in err
    assert "| (1, 1)* |" in out and "| (1, 0) |" in out and "*: hardly or never trained, which was summing to 1." in out


def test_a_plain_network_has_none(on_the_line, backend):
    from tunable.backends.model import load

    assert load(on_the_line, backend).fold(np.float32([1, 0])).header.trained is None
