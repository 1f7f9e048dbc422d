"""Models that ship: found by name, what --strength asks of them, and the tool that gives a plain denoiser its knob."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prepared import answer
from pydantic import TypeAdapter
from skimage import data

from tunable.backends.model import build, load
from tunable.backends.registry import get_framework, requested
from tunable.data.degradations import Degradation, degrade, protocol_degraded
from tunable.errors import CheckpointError, OmegaError, TunableError
from tunable.evaluation.measuring import evaluate
from tunable.evaluation.metrics import psnr, share_kept
from tunable.images.pictures import from_network, read, read_bytes, to_network, write
from tunable.models import MODELS, find, shipped
from tunable.omega import check_omega, of_strength
from tunable.parameters.layouts import layout
from tunable.response.measures import measures_of
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import parse
from tunable.weights import storage
from tunable.weights.storage import Header

ROOT = Path(__file__).parent.parent
NU = 0.9
pytestmark = pytest.mark.usefixtures("here")


# --- names


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_what_ships_is_there(model):
    tensors, header = storage.load(model.path)
    storage.check_network(tensors, header)
    assert find(model.name) == model.path and shipped(model.name) is model
    assert not model.omega or check_omega(model.omega, header.objectives).shape == (header.num_objectives,)
    card = model.card.read_text("utf-8")
    assert card.startswith("# ") and header.recipe is not None and f"{header.recipe.steps:,} steps" in card


def test_files_and_folders_go_before_names():
    for make in (Path.mkdir, Path.touch):
        make(Path("denoise"))
        assert shipped("denoise") is None
        if make is Path.mkdir:
            with pytest.raises(CheckpointError, match="denoise is a folder without model.safetensors"):
                find("denoise")
        else:
            assert find("denoise") == "denoise"
        (Path.rmdir if make is Path.mkdir else Path.unlink)(Path("denoise"))


def test_a_sheet_of_it_takes_one_inference(tunable, backend, monkeypatch, rng):
    """Its last layer alone is tunable: the settings of a sheet are sums, and the network does not run for each."""
    write("in.png", rng.integers(0, 256, (20, 24, 3), dtype=np.uint8))
    words = ("restore", "in.png", "--model", "denoise", "--backend", backend.name)
    assert tunable(*words, "--omega", "0,1", "-o", "one.png")[0] == 0
    calls, prepare = [], type(backend).prepare
    monkeypatch.setattr(type(backend), "prepare", lambda self, *more: calls.append(1) or prepare(self, *more))
    monkeypatch.setattr(type(backend), "run", None)
    assert tunable(*words, "--sweep", "3", "-o", "sheet.png")[0] == 0 and len(calls) == 1
    sheet, one = read_bytes("sheet.png").astype(int), read_bytes("one.png")
    places = [np.abs(sheet[-26:-6, left : left + 24] - one).max() for left in range(sheet.shape[1] - 24)]
    assert sum(most <= 1 for most in places) == 1


def test_a_model_of_a_run_is_found_in_its_folder(tunable, weights_file):
    Path("run").mkdir()
    shutil.copy(weights_file, "run/model.safetensors")
    assert find("run") == Path("run/model.safetensors")
    assert answer(tunable("info", "run", "--json")) == answer(tunable("info", weights_file, "--json"))


COMMIT = "0123456789abcdef" * 2 + "01234567"


def test_models_of_the_hub(monkeypatch, tunable, weights_file, refused):
    """What is asked of the hub's package, by a stand-in; the file that it gives is loaded."""
    asked = []

    def download(*words, **options):
        asked.append((words, options))
        if words[1] != "model.safetensors":
            raise FileNotFoundError("no such\nfile")
        return str(weights_file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert answer(tunable("info", f"hf:someone/knobs@{COMMIT}", "--json"))["objectives"]
    assert asked[0] == (("someone/knobs", "model.safetensors"), {"revision": COMMIT})
    with refused(CheckpointError, f"cannot fetch a/b.safetensors of x/y at {COMMIT[:12]} from the hub: no such file"):
        find(f"hf:x/y@{COMMIT}/a/b.safetensors")
    for wrong in ("hf:someone/knobs", "hf:someone/knobs@main", f"hf:knobs@{COMMIT}", f"hf:a/b@{COMMIT[:7]}"):
        with refused(CheckpointError, "hf:OWNER/NAME@COMMIT", wrong):
            find(wrong)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with refused(TunableError, "huggingface_hub is not installed", "tunable-convolutions[hub]"):
        find(f"hf:x/y@{COMMIT}")


def test_unknown_names(refused):
    with refused(CheckpointError, "no such weights file: denois, and no model", "did you mean 'denoise'?"):
        find("denois")
    with refused(CheckpointError, "absent", "known: photo, deblur, denoise"):
        load("absent")
    for path in ("denois.safetensors", "./denois", "models/denoise"):
        assert find(path) == path


@pytest.mark.parametrize(
    "line",
    [
        "restore {} {place}/pictures/a.png --omega 1,0",
        "restore {place}/pictures/a.png --model {} --strength 70",
        "evaluate {} --data {place}/pictures",
        "knobs {} --data {place}/pictures",
        "fold {} --omega 1,0 -o x.safetensors",
        "export {} --format onnx -o x.onnx",
        "verify {}",
        "info {}",
    ],
)
def test_every_verb_takes_a_name(line, refuses):
    refuses(line.replace("{}", "denois"), "no model that ships has this name", "did you mean 'denoise'?")


def test_info_lists_what_ships(tunable):
    status, out, err = tunable("info", "--models")
    assert (status, err) == (0, "") and len(out.splitlines()) == len(MODELS)
    assert "denoise" in out and "fidelity 1, noise 0" in out and str(MODELS["denoise"].card) in out
    denoise = next(each for each in answer(tunable("info", "--models", "--json")) if each["name"] == "denoise")
    assert denoise["omega"] == {"fidelity": 1, "noise": 0} and denoise["bytes"] < 5e6
    assert answer(tunable("info", "denoise", "--json"))["card"] == str(MODELS["denoise"].card)
    assert tunable("info", "denoise")[1].splitlines()[-1].split() == ["card", str(MODELS["denoise"].card)]


# --- restoring


def test_restore_by_name(tunable, backend, folder):
    """The model first or by --model, which may stand anywhere among the pictures; the default setting cleans fully."""
    model = load("denoise", backend)
    one, two, out = folder / "a.png", folder / "b.png", ("-o", "out")
    for number, (words, omega) in enumerate(
        [
            (["denoise", one, two], [1, 0]),
            ([one, two, "--model", "denoise", "--strength", "70"], [0.7, 0.3]),
            ([one, "--model", "denoise", two, "--strength", "0"], [0, 1]),
            (["--model", "denoise", one, two, "--omega", "noise=0.25,fidelity=0.75"], [0.75, 0.25]),
        ]
    ):
        status, _, err = tunable("restore", *words, *out, "--json")
        assert status == 0, (number, err)
        for path in (one, two):
            expected = np.clip(from_network(model.run(to_network(read(path)), omega)), 0, 1) * 255
            np.testing.assert_allclose(read_bytes(f"out/{path.stem}_restored.png"), expected, atol=0.51)
    assert tunable("restore", one, "--model", "denoise", "-o", "x.png") == (0, "", "wrote x.png\n")
    np.testing.assert_array_equal(read_bytes("x.png"), restored_at(model, one, [1, 0]))


def restored_at(model, path, omega):
    return np.round(np.clip(from_network(model.fold(omega).run(to_network(read(path)))), 0, 1) * 255)


def test_resume_knows_a_strength(tunable, folder):
    words = ("restore", folder, "--model", "denoise", "-o", "out", "--resume", "--strength")
    assert "wrote out/a_restored.png" in tunable(*words, "70")[2]
    assert "2 of 2 pictures are restored already" in tunable(*words, "70.0")[2]
    assert "2 made by other settings" in tunable(*words, "60")[2]


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        (
            "restore {place}/model.safetensors {place}/pictures/a.png --strength 7 --omega 1,0",
            ["--omega or --strength"],
        ),
        ("restore {place}/model.safetensors {place}/pictures/a.png --strength 7 --sweep 2", ["--strength or --sweep"]),
        ("restore {place}/pictures/a.png --model denoise --strength 101", ["from 0 to 100", "'101'"]),
        ("restore {place}/pictures/a.png --model denoise --strength nan", ["from 0 to 100", "'nan'"]),
        ("restore {place}/pictures/a.png --model {place}/plain.safetensors --strength 7", ["plain", "--strength"]),
        ("restore --model denoise", ["required: MODEL"]),
        ("restore denoise", ["required: IMAGE"]),
        ("info", ["wants MODEL, or --models"]),
        ("info denoise --models", ["--models lists all that ship", "no MODEL", "'denoise'"]),
    ],
)
def test_refused(line, fragments, refuses):
    refuses(line, *fragments)


def test_strength(refused):
    np.testing.assert_allclose(of_strength(70, ["fidelity", "noise"]), [0.7, 0.3], atol=1e-7)
    np.testing.assert_allclose(of_strength(62.5, ["noise", "fidelity"]), [0.375, 0.625], atol=1e-7)
    for others in (["noise", "blur"], ["fidelity"], ["fidelity", "noise", "style"]):
        with refused(OmegaError, "fidelity and noise", ", ".join(others)):
            of_strength(70, others)
    np.testing.assert_allclose(of_strength(70, ["grain", "strength"], (0.2, 1)), [0.2, 0.7], atol=1e-7)
    np.testing.assert_allclose(of_strength(70, ["strength"]), [0.7], atol=1e-7)
    with refused(OmegaError, "ships with a knob strength", "grain, strength"):
        of_strength(70, ["grain", "strength"])


# --- the tie of a strength knob


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """A small plain U-Net with random weights, biases too, and what tools/strength_model.py makes of it, twice."""
    at = tmp_path_factory.mktemp("tied")
    recipe = parse(
        {
            "task": "denoise",
            "network": {"name": "unet", "width": 4, "depth": 1, "tunable": False},
            "objectives": [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise", "nu": NU}],
            "omega": {"sampler": {"kind": "fixed", "value": [1, 0]}},
            "data": {"train": "bundled", "degradation": [{"kind": "gaussian_noise", "sigma": 25}]},
            "steps": 10,
        }
    )
    rng, header = np.random.default_rng(1), Header.of(recipe)
    tensors = {name: rng.normal(0, 0.25, shape).astype(np.float32) for name, shape in layout(header.network, 0)}
    storage.save(at / "plain.safetensors", tensors, header)
    tool = [sys.executable, "tools/strength_model.py", str(at / "plain.safetensors"), "-o"]
    for words in ([str(at / "knob.safetensors")], [str(at / "half.safetensors"), "--float16"]):
        subprocess.run([*tool, *words], cwd=ROOT, check=True, capture_output=True)
    return at


@pytest.mark.thorough
@pytest.mark.parametrize("name", requested())
def test_the_knob_is_the_blend(name, tied, rng):
    """At every omega, for the batch and per sample, also of 16-bit kernels; at (1, 0) the plain network, bit by bit."""
    framework = get_framework(name)
    z = rng.random((2, 3, 21, 26), np.float32)
    for file in ("knob", "half") if name == requested()[0] else ("knob",):
        knob = load(tied / f"{file}.safetensors", framework)
        tensors, header = storage.load(tied / "plain.safetensors")
        if file == "half":  # the plain network of the rounded kernels
            tensors = {
                key: value.astype(np.float16).astype(np.float32)
                if key.endswith("weight") and "tail" not in key
                else value
                for key, value in tensors.items()
            }
        plain = build(header, tensors, framework).run(z)
        assert np.abs(plain - z).max() > 0.1
        np.testing.assert_array_equal(knob.run(z, [1, 0]), plain)
        for omega in itertools.product((0, 0.3, 1), (0, 0.25, 1, 0.7)):
            blend = z + (1 - NU * omega[1]) * (plain.astype(np.float64) - z)
            np.testing.assert_allclose(knob.run(z, omega), blend, rtol=0, atol=1e-6)
        np.testing.assert_allclose(knob.fold(omega).run(z), blend, rtol=0, atol=1e-6)
        each = z + (1 - NU * np.array([0.2, 0.9]).reshape(2, 1, 1, 1)) * (plain.astype(np.float64) - z)
        np.testing.assert_allclose(knob.run(z, [[0.8, 0.2], [0.1, 0.9]]), each, rtol=0, atol=1e-6)


def test_what_evaluate_says_of_it(tied, backend, folder):
    """PSNR_eta rises by -20 log10(1 - nu r) above the plain PSNR, and the noise kept from r0 to r + (1 - nu r) r0."""
    plain = evaluate(load(tied / "plain.safetensors", backend), str(folder), None, [25.0], ssim=False)
    knob = load(tied / "knob.safetensors", backend)
    for r in (0.0, 0.25, 0.5, 1.0):
        rows = evaluate(knob, str(folder), np.array([[1 - r, r]]), [25.0], ssim=False)
        for row, base in zip(rows, plain, strict=True):
            assert row.psnr_eta == pytest.approx(base.psnr - 20 * np.log10(1 - NU * r), abs=1e-3)
    clean, knobs = read(folder / "a.png"), {}
    z = protocol_degraded(clean, 25, 0)
    for r in (0.0, 0.25, 0.5, 1.0):
        knobs[r] = share_kept(from_network(knob.run(to_network(z), [1 - r, r])), clean, z) / NU
        assert knobs[r] == pytest.approx(r + (1 - NU * r) * knobs[0.0], abs=1e-5)


def test_the_header_tells_how_it_was_made(tied):
    tensors, header = storage.load(tied / "half.safetensors")
    assert header.objectives == ("fidelity", "noise") and header.recipe.steps == 10
    assert "tools/strength_model.py" in header.writer and header.trained[0].omega == "sum 1"
    assert {value.dtype for value in tensors.values()} == {np.dtype(np.float32)}
    kept = storage.load_tensors(tied / "half.safetensors")[0]
    assert kept["middle.conv1.weight"].dtype == np.float16 and kept["tail.weight"].dtype == np.float32


@pytest.mark.parametrize("other", ["tunable", "resnet"])
def test_other_networks_get_no_knob(other, tied, weights_file, tmp_path):
    path = tied / "knob.safetensors" if other == "tunable" else weights_file
    tool = [sys.executable, str(ROOT / "tools/strength_model.py"), str(path), "-o", str(tmp_path / "x.safetensors")]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "wants the weights of a plain unet" in done.stderr
    assert not (tmp_path / "x.safetensors").exists()


# --- the knobs of `photo`


@pytest.fixture(scope="module", params=["photo/longer", "denoise_deblur/unet"])
def photo_knobs(tmp_path_factory, request):
    """Small random weights of the network that a recipe trains, and what tools/photo_model.py makes of them."""
    at = tmp_path_factory.mktemp("photo")
    small = ["network.depth=1", "network.width=4", "data.train=bundled", "data.validate=bundled"]
    recipe = load_recipe(request.param, [*small, "data.validate_degraded=[]"])
    rng, header = np.random.default_rng(2), Header.of(recipe)
    tensors = {name: rng.normal(0, 0.25, shape).astype(np.float32) for name, shape in layout(header.network, 2)}
    storage.save(at / "trained.safetensors", tensors, header)
    tool = [
        sys.executable,
        "tools/photo_model.py",
        str(at / "trained.safetensors"),
        "-o",
        str(at / "knobs.safetensors"),
    ]
    subprocess.run(tool, cwd=ROOT, check=True, capture_output=True)
    return at


def test_the_knobs_of_photo_are_parts_of_what_was_trained(photo_knobs, backend, rng):
    """Luma and chroma of what is taken away, and luma of what details gain, at every setting."""
    z = rng.random((1, 3, 21, 26), np.float32)
    trained, knobs = (load(photo_knobs / f"{name}.safetensors", backend) for name in ("trained", "knobs"))
    clean, sharp = (trained.run(z, omega).astype(np.float64) for omega in ([1, 0], [0, 1]))

    def luma(x: np.ndarray) -> np.ndarray:
        return np.repeat(np.tensordot([0.299, 0.587, 0.114], x[0], 1)[None, None], 3, 1)

    taken = clean - z
    assert np.abs(taken).mean() > 0.05 and np.abs(luma(sharp - clean)).mean() > 0.05
    for strength, colour, detail in itertools.product((0, 0.3, 1), (0, 0.7, 1), (0, 1)):
        wanted = z + strength * luma(taken) + colour * (taken - luma(taken)) + detail * luma(sharp - clean)
        np.testing.assert_allclose(knobs.run(z, [strength, colour, detail]), wanted, rtol=0, atol=1e-5)
    header = storage.load(photo_knobs / "knobs.safetensors")[1]
    third = "detail" if header.known_recipe().task == "denoise_real" else "sharpness"
    assert header.objectives == ("strength", "colour", third) and header.trained[0].omega == "anywhere"
    measures = [each.name for each in measures_of(header)]
    assert measures == ["luma noise kept", "chroma noise kept", "sharpening"]


def test_other_networks_get_no_knobs_of_photo(photo_knobs, tmp_path):
    tool = [sys.executable, str(ROOT / "tools/photo_model.py"), str(photo_knobs / "knobs.safetensors"), "-o"]
    done = subprocess.run([*tool, str(tmp_path / "x.safetensors")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: wants weights that a recipe photo/* or denoise_deblur/unet trained\n",
    )
    assert not (tmp_path / "x.safetensors").exists()


def test_denoise_denoises(backend):
    """At full strength, far above the noisy picture; at strength 0, nine tenths of the noise are kept."""
    clean = data.chelsea()[100:196, 100:196].astype(np.float64) / 255
    z, model = protocol_degraded(clean, 25, 0), load("denoise", backend)
    full, none = (from_network(model.run(to_network(z), omega)) for omega in ([1, 0], [0, 1]))
    assert psnr(full, clean) > psnr(z, clean) + 9
    assert share_kept(none, clean, z) == pytest.approx(NU + (1 - NU) * share_kept(full, clean, z), abs=1e-3)


def test_photo_cleans_what_a_camera_makes(backend):
    """Noise of photons and JPEG; a clean photograph stays nearly as it is, and exactly with all knobs at 0."""
    clean, model = data.chelsea()[100:196, 100:196].astype(np.float32) / 255, load("photo", backend)
    sensor = {"kind": "linear_light", "steps": [{"kind": "poisson_gaussian", "gain": 3.8, "sigma": 2.5}]}
    steps = TypeAdapter(list[Degradation]).validate_python([sensor, {"kind": "jpeg", "quality": 90}])
    z = from_network(degrade(to_network(clean), steps, np.random.default_rng(0))[0])
    default = MODELS["photo"].omega
    assert psnr(from_network(model.run(to_network(z), default)), clean) > psnr(z, clean) + 4
    assert psnr(from_network(model.run(to_network(clean), default)), clean) > 38
    np.testing.assert_array_equal(from_network(model.run(to_network(z), [0, 0, 0])), z)


def test_deblur_sharpens_what_is_out_of_focus(backend):
    """A blurred photograph with weak noise gains, by its knob `sharpness`; a sharp one stays nearly as it is."""
    clean, model = data.chelsea()[100:196, 100:196].astype(np.float32) / 255, load("deblur", backend)
    z = protocol_degraded(clean, 5, 0, 1.5)
    default = MODELS["deblur"].omega
    full, soft = (from_network(model.run(to_network(z), omega)) for omega in (default, (1, 1, 0)))
    assert psnr(full, clean) > psnr(z, clean) + 1 and psnr(full, clean) > psnr(soft, clean) + 1
    assert psnr(from_network(model.run(to_network(clean), default)), clean) > 38
