"""`tunable restore --omega-map`: which pixel gets which setting, and one line for what does not fit."""

import json

import numpy as np
import pytest
from PIL import Image

import tunable
from tunable.backends.model import WeightsModel
from tunable.commands import main
from tunable.omega import check_omega, check_range, of_strength

SIZE = (24, 40)  # height, width


@pytest.fixture
def files(tmp_path, rng):
    """A picture, and masks: a step of 0 and 1, its reverse, both as red and green, and one of another size."""
    step = np.zeros(SIZE, np.uint8)
    step[:, 20:] = 255
    pictures = {
        "photo": rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        "step": step,
        "white_as_rgb": np.stack([step] * 3, -1),
        "reverse": 255 - step,
        "red_green": np.stack([step, 255 - step, 0 * step], -1),
        "colours": np.stack([step, 255 - step, step], -1),
        "small": step[:9],
    }
    for name, levels in pictures.items():
        Image.fromarray(levels).save(tmp_path / f"{name}.png")
    Image.fromarray(np.stack([step, step], -1), "LA").save(tmp_path / "transparent.png")
    return tmp_path


def restored(files, *words, picture="photo.png"):
    """What `tunable restore` writes with the model that ships; None where it fails."""
    out = files / "out.png"
    out.unlink(missing_ok=True)
    words = [str(files / word) if word.endswith(".png") and "=" not in word else word for word in words]
    words = [word.replace("=", f"={files}/") if word.endswith(".png") and "=" in word else word for word in words]
    status = main(["restore", str(files / picture), "--model", "denoise", "-o", str(out), *words])
    return np.asarray(Image.open(out)) if status == 0 else None


def test_a_mask_is_the_strength(files):
    """Black not at all, white fully: beyond the halo, which is wider than this picture, only at the last layer, which
    alone is tunable. In every way to say the same."""
    model, photo = tunable.load("denoise"), np.asarray(Image.open(files / "photo.png"))
    made = restored(files, "--omega-map", "step.png")
    for columns, strength in ((slice(0, 19), 0), (slice(21, None), 100)):
        alone = tunable.restore(model, photo, of_strength(strength, model.objectives))
        np.testing.assert_array_equal(made[:, columns], alone[:, columns])
    assert np.ptp(made[:, :19].astype(int) - photo[:, :19]) < np.ptp(made[:, 21:].astype(int) - photo[:, 21:])
    for words in (
        ["--omega-map", "white_as_rgb.png"],
        ["--omega-map", "red_green.png"],
        ["--omega-map", "step.png", "--omega-map", "reverse.png"],
        ["--omega-map", "noise=reverse.png", "--omega-map", "fidelity=step.png"],
        ["--omega-map", "step.png", "--tile", "16"],
    ):
        np.testing.assert_array_equal(restored(files, *words), made)
    step = np.asarray(Image.open(files / "step.png")) / 255
    np.testing.assert_array_equal(tunable.restore(model, photo, np.stack([step, 1 - step])), made)


def test_a_number_is_the_same_everywhere(files, monkeypatch):
    """Numbers alone are no map: the network is folded, as with --omega."""
    folded, fold = [], WeightsModel.fold
    monkeypatch.setattr(WeightsModel, "fold", lambda self, omega: folded.append(tuple(omega)) or fold(self, omega))
    made = restored(files, "--omega-map", "fidelity=1", "--omega-map", "noise=0")
    assert folded == [(1, 0)]
    np.testing.assert_array_equal(made, restored(files, "--omega", "1,0"))


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["small.png"], ["photo.png: omega is a map of 9x40 pixels, height x width; 24x40 are wanted"]),
        (["colours.png"], ["colours.png holds more maps than knobs", "blue, must be black"]),
        (["step.png", "red_green.png"], ["red_green.png holds more maps than knobs: a grey picture is wanted"]),
        (["step.png"] * 3, ["has 3 maps for 2 knobs (fidelity, noise)", "--omega-map fidelity=0.5"]),
        (["step.png", "small.png"], ["must have one size, not 40x9, 40x24"]),
        (["transparent.png"], ["transparent.png is partly transparent"]),
        (["noise=step.png"], ["lacks fidelity", "fidelity=0.5"]),
        (["noise=step.png", "noise=0"], ["each knob once"]),
        (["noise=step.png", "step.png"], ["a name for all or for none"]),
        (["nois=step.png"], ["names no knob (did you mean 'noise'?); the knobs are fidelity, noise"]),
        (["noise=nan", "fidelity=1"], ["a finite number, not 'nan'"]),
        (["noise=1e39", "fidelity=1"], ["a finite number, not '1e39'"]),
        (["noise=1.5", "fidelity=step.png"], ["omega, a map that spans [0, 1], [1.5, 1.5], lies outside"]),
        (["absent.png"], ["no such picture", "absent.png"]),
    ],
)
def test_what_does_not_fit(files, capsys, words, fragments):
    assert restored(files, *[part for word in words for part in ("--omega-map", word)]) is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(fragment in said for fragment in fragments), said


def test_other_options(files, capsys, tmp_path):
    """With another way to say omega it is refused; a folder's pictures of the mask's size are restored."""
    assert restored(files, "--omega-map", "step.png", "--strength", "3") is None
    assert "give either --omega-map or --strength" in capsys.readouterr().err
    out, folder = tmp_path / "made", tmp_path / "folder"
    folder.mkdir()
    for name in ("photo", "small"):
        (folder / f"{name}.png").write_bytes((files / f"{name}.png").read_bytes())
    words = ["restore", str(folder), "--model", "denoise", "-o", str(out), "--omega-map"]
    assert main([*words, str(files / "step.png"), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert len(result["written"]) == len(result["failed"]) == 1
    assert "small.png: omega is a map of 24x40 pixels" in result["failed"][0]["error"]
    assert main([*words, str(files / "step.png"), "--resume"]) == 2  # nothing is written but what was there
    assert "1 of 2 pictures are restored already" in capsys.readouterr().err
    assert main([*words, str(files / "reverse.png"), "--resume"]) == 1
    assert "1 made by other settings" in capsys.readouterr().err


def test_checked_and_in_range(refused):
    """By names and numbers, of maps too."""
    omega = np.zeros((2, 2, 3, 4), np.float32)
    assert check_omega(omega, 2, 2, (3, 4)).shape == omega.shape
    for given, size, fragment in (
        (omega, None, "(2,) or (N, 2)"),
        (omega[:, :, :2], (3, 4), "a map of 2x4 pixels, height x width; 3x4 are wanted"),
        (omega[:, :1], (3, 4), "1 maps, of shape (2, 1, 3, 4); 2 are wanted"),
        (omega[:1], (3, 4), "maps for 1 samples, but the input has 2"),
        (np.full_like(omega, np.inf), (3, 4), "finite, not a map of which some are not"),
    ):
        with refused(tunable.errors.OmegaError, fragment):
            check_omega(given, 2, 2, size)
    assert check_range(omega, [(0, 1), (0, 1)]) is omega
    omega[1, 1, 2, 3] = 2
    with refused(tunable.errors.OmegaError, "spans [0, 0], [0, 2]", "[0, 1], [0, 1.5]"):
        check_range(omega, [(0, 1), (0, 1.5)])
