"""The model that enlarges: what the tool makes of a training, what its knob does, and how it is shown and exported."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from tunable.app.views import SIDE, Region, open_photograph
from tunable.backends.model import load
from tunable.data.degradations import protocol_shrunk
from tunable.evaluation.metrics import psnr, sharpness
from tunable.images.contact_sheets import enlarged
from tunable.images.pictures import from_network, read_bytes, read_picture, to_levels, to_network, write
from tunable.models import MODELS
from tunable.parameters.layouts import layout
from tunable.response.measures import measures_of
from tunable.specs.reading import load_recipe
from tunable.weights import storage
from tunable.weights.storage import Header

ROOT = Path(__file__).parent.parent
SCALE = 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Small random weights of the network that the recipe trains, and what tools/enlarging_model.py makes of them."""
    at = tmp_path_factory.mktemp("upscale")
    small = ["network.channels=4", "network.blocks=1", "data.train=bundled", "data.validate=bundled", "vgg.weights=x"]
    recipe = load_recipe("super_resolution/upscale", small)
    rng, header = np.random.default_rng(2), Header.of(recipe)
    tensors = {name: rng.normal(0, 0.25, shape).astype(np.float32) for name, shape in layout(header.network, 2)}
    storage.save(at / "trained.safetensors", tensors, header)
    made(at / "trained.safetensors", at / "knob.safetensors")
    made(at / "trained.safetensors", at / "half.safetensors", "--float16")
    return at


def made(source, target, *options, check=True):
    tool = [sys.executable, str(ROOT / "tools/enlarging_model.py"), str(source), "-o", str(target), *options]
    return subprocess.run(tool, capture_output=True, text=True, check=check)


def test_the_knob_goes_from_one_picture_towards_the_other(trained, backend, rng):
    z = rng.random((1, 3, 9, 7), np.float32)
    before, after = (load(trained / f"{name}.safetensors", backend) for name in ("trained", "knob"))
    faithful, sharp = (before.run(z, omega).astype(np.float64) for omega in ([1, 0], [0, 1]))
    assert faithful.shape == (1, 3, 36, 28) and np.abs(sharp - faithful).mean() > 0.05
    for at in (0, 0.3, 1):
        np.testing.assert_allclose(after.run(z, [at]), faithful + 0.6 * at * (sharp - faithful), rtol=0, atol=1e-5)
    assert after.objectives == ("sharpness",) and after.has_heads
    assert [one.name for one in measures_of(after.header)] == ["sharpness"]
    kept, whole = (storage.load_tensors(trained / f"{name}.safetensors")[0] for name in ("half", "knob"))
    assert {name for name in kept if kept[name].dtype == np.float16} == {"body.0.weight", "body.2.weight"}
    np.testing.assert_array_equal(kept["body.4.weight"], whole["body.4.weight"])


def test_other_networks_get_no_such_knob(trained, tmp_path):
    done = made(trained / "knob.safetensors", tmp_path / "x.safetensors", check=False)
    assert done.returncode == 2 and "wants weights that the recipe super_resolution/upscale trained" in done.stderr
    assert not (tmp_path / "x.safetensors").exists()


def test_it_enlarges_and_sharpens(backend):
    """Faithful at 0, above bicubic interpolation; at 1 sharper, and not far below it."""
    clean, shrunk = protocol_shrunk(data.chelsea()[40:168, 90:218].astype(np.float32) / 255, SCALE)
    model, bicubic = load("upscale4", backend), enlarged(to_levels(shrunk), SCALE) / 255
    faithful, middle, sharp = (from_network(model.run(to_network(shrunk), [at])) for at in (0, 0.5, 1))
    assert psnr(faithful, clean) > psnr(bicubic, clean) + 0.3 and psnr(sharp, clean) > psnr(bicubic, clean) - 1
    assert sharpness(bicubic, clean) < sharpness(faithful, clean) < sharpness(middle, clean) < sharpness(sharp, clean)


def test_its_knob_is_certified(tunable):
    """Its sharpness grows, steadily, and casts no colour."""
    status, out, err = tunable("knobs", "upscale4", "--data", "bundled")
    (row,) = [line for line in out.splitlines() if line.startswith("| sharpness |")]
    assert status == 0 and row.endswith("| passed |") and "| none |" in row, out + err


def test_a_photograph_by_name(tunable, tmp_path, monkeypatch):
    """Sixteen times the pixels, by the default setting and by a preset; a strength is of no network that enlarges."""
    monkeypatch.chdir(tmp_path)
    write("in.png", data.chelsea()[100:121, 100:126])
    assert tunable("restore", "in.png", "--model", "upscale4", "-o", "out.png")[0] == 0
    assert tunable("restore", "in.png", "--model", "upscale4", "--preset", "natural", "-o", "same.png")[0] == 0
    assert tunable("restore", "in.png", "--model", "upscale4", "--omega", "sharpness=1", "-o", "sharp.png")[0] == 0
    assert read_picture("out.png").levels.shape == (84, 104, 3)
    assert MODELS["upscale4"].omega == MODELS["upscale4"].presets["natural"]
    np.testing.assert_array_equal(read_bytes("out.png"), read_bytes("same.png"))
    assert (read_bytes("sharp.png") != read_bytes("out.png")).any()
    status, _, err = tunable("restore", "in.png", "--model", "upscale4", "--strength", "50", "-o", "x.png")
    assert status == 2 and "knobs are fidelity and noise" in err and err.count("\n") == 1


def test_a_sheet_shows_the_input_as_large(tunable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("in.png", data.chelsea()[100:121, 100:126])
    assert tunable("restore", "in.png", "--model", "upscale4", "--sweep", "2", "-o", "sheet.png")[0] == 0
    sheet = read_bytes("sheet.png")
    places = [np.abs(sheet[-90:-6, x : x + 104].astype(int) - enlarged(data.chelsea()[100:121, 100:126], 4)).max()
              for x in range(sheet.shape[1] - 104)]  # fmt: skip
    assert places.count(0) == 1 and sheet.shape[1] >= 3 * 104


def test_the_app_shows_as_many_pixels_of_it(tmp_path):
    """A region is a quarter as wide, so that what is shown has the usual size."""
    write(tmp_path / "in.png", data.chelsea())
    region = Region(load("upscale4"), open_photograph(tmp_path / "in.png"), (150, 200))
    assert region.before.shape == region.at(np.float32([0.5])).shape == (SIDE, SIDE, 3)
    rows, columns = region.place
    np.testing.assert_array_equal(region.before, enlarged(data.chelsea()[rows, columns], SCALE))
