"""The knob certificate's paths, chosen from where a network was trained, and its measures, against arithmetic."""

import numpy as np
import pytest
from formula import ENLARGING, JOINT

from tunable.data.filters import gaussian_blur
from tunable.errors import TunableError
from tunable.evaluation.samples import Sample
from tunable.response.measures import MOST_PSNR, measures_of
from tunable.response.paths import chosen, trained_throughout
from tunable.specs.recipe import parse
from tunable.weights.storage import Header

MIXTURE = {"kind": "mixture", "of": ["corners", "simplex", "uniform"], "weights": [8, 1, 1]}
TRAVEL = np.linspace(0, 1, 11)


# --- paths


@pytest.mark.parametrize(
    ("sampler", "kind", "names", "judged"),
    [
        ("simplex", "trained", ["against b", "against a"], 2),
        (MIXTURE, "trained", ["against b", "against a"], 2),
        ("corners", "trained", ["against b", "against a"], 0),
        ({"kind": "fixed", "value": [1, 0.5]}, "trained", ["against b", "against a"], 0),
        ("cube", "axes", ["b at 0", "b at 0.5", "b at 1", "a at 0", "a at 0.5", "a at 1"], 0),
        ("uniform", "trained", ["b at 0", "b at 0.5", "b at 1", "a at 0", "a at 0.5", "a at 1"], 6),
        ("uniform", "edges", ["against b", "against a"], 2),
        ("simplex", "axes", ["b at 0", "b at 0.5", "b at 1", "a at 0", "a at 0.5", "a at 1"], 0),
        ("log_uniform", "axes", [f"{n} at {at}" for n in "ba" for at in (0.01, 0.505, 1)], 6),
        ({"kind": "log_uniform", "low": 0.5}, "trained", [f"{n} at {at}" for n in "ba" for at in (0.5, 0.75, 1)], 6),
    ],
)  # fmt: skip
def test_paths(sampler, kind, names, judged, make_recipe):
    objectives = [{"name": name, "kind": "rec"} for name in "ab"]
    header = Header.of(make_recipe(objectives=objectives, omega={"sampler": sampler}))
    paths = chosen(kind, "ab", header.omega_range, header.trained)
    assert [path.name for path in paths] == names
    assert sum(trained_throughout(path, header.trained) for path in paths) == judged
    low = header.omega_range[0][0] if "at" in names[0] else 0
    for path in paths:
        np.testing.assert_allclose(path.travel, np.linspace(low, 1, 11), atol=1e-6)
        assert path.omegas.shape == (11, 2) and path.omegas.dtype == np.float32
        if "against" in path.name:
            np.testing.assert_allclose(path.omegas.sum(axis=1), 1, atol=1e-6)
    assert [path.name for path in paths if path.alone] == [name for name in names if name.endswith((" 0", " 0.01"))]


def test_paths_of_one_knob_and_of_three(refused):
    everywhere, ranges = None, [(0.0, 1.0)] * 3
    six = chosen("trained", "abc", ranges, everywhere)
    assert [path.knob for path in six] == [0, 0, 1, 1, 2, 2] and six[0].name == "against b, the others 0"
    np.testing.assert_allclose(six[3].omegas[2], [0, 0.2, 0.8], atol=1e-6)
    nine = chosen("axes", "abc", ranges, everywhere)
    assert [path.name for path in nine[:3]] == ["the others at 0", "the others at 0.5", "the others at 1"]
    np.testing.assert_allclose(nine[4].omegas[2], [0.5, 0.2, 0.5], atol=1e-6)
    (only,) = chosen("trained", "a", [(1.0, 1.0)], everywhere)
    np.testing.assert_allclose(only.omegas[:, 0], TRAVEL, atol=1e-6)
    with refused(TunableError, "single knob"):
        chosen("edges", "a", ranges[:1], everywhere)
    with refused(TunableError, "'edge'", "did you mean 'edges'"):
        chosen("edge", "ab", ranges[:2], everywhere)


# --- measures


def sample_of(clean, degraded):
    return Sample(None, 0, 0, clean.astype(np.float32), degraded.astype(np.float32))


@pytest.mark.parametrize("space", ["luma", "chroma"])
def test_noise_and_psnr_of_a_part_of_the_colours(space, make_recipe, rng):
    """All noise of that part is left, and half of the rest."""
    clean, noise = rng.uniform(size=(2, 20, 24, 3))
    grey = np.repeat(noise @ [[0.299], [0.587], [0.114]], 3, axis=2)
    parts = {"luma": grey, "chroma": noise - grey}
    objectives = [{"name": "a", "kind": "rec", "space": space}, {"name": "b", "kind": "noise", "space": space}]
    fidelity, kept = measures_of(Header.of(make_recipe(objectives=objectives)))
    assert (fidelity.name, kept.name) == (f"PSNR of {space}", f"{space} noise kept")
    restored = clean + parts[space] + 0.5 * (noise - parts[space])
    sample = sample_of(clean, clean + noise)
    assert abs(kept.read(sample, restored, restored) - 1) < 1e-4
    assert fidelity.read(sample, clean + noise - parts[space], restored) == MOST_PSNR
    assert fidelity.read(sample, restored, restored) < 30


def test_each_residue_is_measured_alone(make_recipe, rng):
    clean, noise, blur = rng.standard_normal((3, 20, 24, 3))
    noise -= np.sum(noise * blur) / np.sum(blur * blur) * blur  # at right angles to the other
    objectives = [{"name": kind, "kind": "residue", "of": f"gaussian_{kind}"} for kind in ("noise", "blur")]
    steps = [{"kind": f"gaussian_{kind}", "sigma": 1} for kind in ("blur", "noise")]
    recipe = make_recipe(objectives=objectives, data={"train": "bundled", "degradation": steps})
    first, second = measures_of(Header.of(recipe))
    assert (first.name, second.name) == ("noise residue kept", "blur residue kept") and first.weighed and second.weighed
    sample = Sample(None, 0, 0, clean, clean + noise + blur, {"gaussian_noise": noise, "gaussian_blur": blur})
    restored = clean + 0.3 * noise + 0.6 * blur
    np.testing.assert_allclose([each.read(sample, restored, restored) for each in (first, second)], [0.3, 0.6])
    assert np.isnan(first.read(sample_of(clean, clean), restored, restored))
    objectives = [{"name": "blocks", "kind": "residue", "of": "jpeg"}]
    recipe = make_recipe(
        objectives=objectives, data={"train": "bundled", "degradation": [{"kind": "jpeg", "quality": 30}]}
    )
    (blocks,) = measures_of(Header.of(recipe))
    assert blocks.name == "change" and blocks.weighed  # the measuring protocol makes no JPEG


@pytest.mark.parametrize(
    ("residual", "weighed", "direction"), [("keep", False, 1), ("remove", False, -1), ("full", True, 1)]
)
def test_targets_that_stand_still_are_weighed(residual, weighed, direction, make_recipe):
    objectives = [{"name": "a", "kind": "rec"}, {"name": "b", "kind": "noise", "residual": residual}]
    fidelity, noise = measures_of(Header.of(make_recipe(objectives=objectives)))
    assert fidelity.weighed and (noise.weighed, noise.direction) == (weighed, direction)


@pytest.mark.parametrize("amount", [-0.7, 0, 2.5])
def test_sharpening(amount, make_recipe, rng):
    clean = rng.uniform(size=(20, 24, 3))
    mask = clean - np.stack([gaussian_blur(clean[..., c], 2.5, 9) for c in range(3)], axis=-1)
    noise, blur = measures_of(Header.of(make_recipe(**JOINT)))
    assert (noise.name, noise.direction, blur.name, blur.direction) == ("noise kept", -1, "sharpening", 1)
    restored = clean + amount * mask
    assert abs(blur.read(sample_of(clean, clean), restored, restored) - amount) < 1e-5


@pytest.mark.parametrize("kind", ["gan", "features"])
def test_super_resolution_is_measured_by_psnr_and_sharpness(kind, values, rng):
    values |= ENLARGING | {"vgg": {"seed": 0}}
    values["objectives"] = [{"name": "rec", "kind": "rec"}, {"name": "sharp", "kind": kind}]
    values["data"] = {**values["data"], "patch": 64}
    fidelity, realism = measures_of(Header.of(parse(values)))
    assert (fidelity.name, realism.name, realism.unit) == ("PSNR", "sharpness", "")
    clean = rng.uniform(size=(20, 24, 3))
    shrunk = sample_of(clean, clean[::2, ::2])
    assert fidelity.read(shrunk, clean, clean) == MOST_PSNR
    assert abs(realism.read(shrunk, clean, clean) - 1) < 1e-3
    assert abs(realism.read(shrunk, 0.5 + 0.5 * (clean - 0.5), clean) - 0.5) < 0.01
