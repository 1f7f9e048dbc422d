"""tools/reproduce.py: every command of both scales is one that `tunable` takes, nothing is made twice, pages say what
their rows do."""

import dataclasses
import shlex
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from tunable.backends.registry import installed
from tunable.commands import main
from tunable.images.pictures import write
from tunable.reports import tables
from tunable.specs.reading import load_recipe
from tunable.training.interrupts import Stopped

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))  # as for a program that lies there

import enlarging  # noqa: E402
import runs  # noqa: E402
from reproduction import enlargement, enlargement_page, registry, scales, strength, strength_page  # noqa: E402
from reproduction.printed import LINE  # noqa: E402

NEEDS_TORCH = pytest.mark.skipif("torch" not in installed(), reason="torch, which trains, is not installed")


@NEEDS_TORCH
@pytest.mark.parametrize("scale", scales.SCALES)
def test_every_training_has_a_recipe(scale, tmp_path, monkeypatch):
    """Every training of every table and figure is a recipe that can be read, with as many steps as its scale says."""
    monkeypatch.setenv("DIV2K", str(tmp_path))
    monkeypatch.setenv("TUNABLE_DATA", str(tmp_path))
    seen = 0
    for experiment in registry.experiments().values():
        for command in experiment.commands(registry.Request(scale, tmp_path, tmp_path)):
            words = shlex.split(command)
            if words[:2] == ["tunable", "train"]:
                settings = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
                recipe = load_recipe(words[2], settings)
                own_length = any(name in words[2] for name in ("swinir", "nafnet", "super_resolution"))
                assert own_length or recipe.steps <= 2 * scales.SCALES[scale].steps
                seen += 1
    assert seen > 30


def test_a_name_is_taken():
    taken = next(iter(registry.experiments().values()))
    with pytest.raises(ValueError, match=f"two experiments are called '{taken.name}'"):
        registry.register(taken)


@NEEDS_TORCH
def test_nothing_is_made_twice(tmp_path, monkeypatch):
    """A knob, the plain network that it starts from, and a blend; asked for again, nothing runs."""
    small = {"channels": 4, "blocks": 2, "steps": 10}
    monkeypatch.setitem(scales.SCALES, "mini", dataclasses.replace(scales.SCALES["mini"], **small))
    monkeypatch.setenv("TUNABLE_DATA", str(tmp_path))
    monkeypatch.setenv("TUNABLE_BACKENDS", "torch")
    for name in ("BSD432", *strength_page.SETS):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.png", np.random.default_rng(0).random((40, 48, 3)))
    calls = []

    def tunable(*words, **_):
        calls.append(words[0])
        assert main(list(words)) == 0
        return 1.0

    monkeypatch.setattr(runs, "tunable", tunable)
    request = registry.Request("mini", tmp_path / "work", tmp_path / "out", (0,), ("strength split", "blend"))
    strength.make(request)
    assert calls == ["train", "train", "train", "convert"]
    assert strength.steps(request, 0).budget("strength split") == 10 == strength.steps(request, 0).budget("blend")
    page = tmp_path / "out" / "table1" / "README.md"
    text = page.read_text(encoding="utf-8")
    assert "| plain residual nine tenths | control/dni_first | 0 | 9 | 1 |" in text
    strength.make(request)
    assert len(calls) == 4
    assert page.read_text(encoding="utf-8") == text


def rows(method, psnr, eta):
    """Rows of one seed whose PSNR_eta rises from (1, 0) by 1 dB for each setting, at all levels and sets alike."""
    for name in strength_page.SETS:
        for sigma in strength_page.SIGMAS:
            for place, omega in enumerate(LINE):
                values = {"psnr": psnr - place, "psnr_eta": eta + len(LINE) - 1 - place}
                own = {"rec": 0.01 * (place + 1), "noise": 0.01 * (5 - place)}
                told = {"method": method, "seed": 0, "set": name, "sigma": sigma, "pictures": 3, "omega": omega}
                yield {**told, **values, **own}


def test_the_page_says_what_its_rows_do(tmp_path):
    (tmp_path / "raw").mkdir()
    for method, values in {"plain": (34, 30), "DyNet split": (33, 28), "strength split": (34, 30)}.items():
        (tmp_path / "raw" / f"{method}, seed 0.csv").write_text(tables.to_csv(list(rows(method, *values))))
    strength_page.write_page(tmp_path, dict.fromkeys(strength.METHODS, 1500), scales.SCALES["mini"])
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (
        "At (1, 0) *DyNet split* is 1.00 dB below the plain network: its main branch has half of the blocks and of"
        in text
    )
    assert "It is nowhere below what was wanted." in text and "the first 3 pictures of each set" in text
    assert f"| DyNet split | +0.00 |{' +2.00 |' * 10}" in text
    assert "| DyNet split | 1,500 | 32.00 | 31.00 | 30.00 | 29.00 | 28.00 |" in text
    assert "| *DyNet, as the paper prints it* | | 49.89 | 28.39 | 26.19 | 27.75 | 33.61 |" in text
    # Points (1, 5), (2, 4) ... (5, 1) hundredths; the first and the last are beyond a box of 4.65
    edge = 100 * strength_page.CORNER
    share = ((edge - 4) * (edge - 2) + (edge - 3) + (edge - 4)) / edge**2
    assert f"| strength split | {share:.4f} |" in text


def test_table_4_says_what_its_rows_do(tmp_path):
    """Steps that fall, what is too far below bicubic, LPIPS at a PSNR that all curves reach, the pictures measured."""
    (tmp_path / "raw").mkdir()
    for method, psnr, lpips in (
        ("tunable", (24, 25, 26, 27, 28), (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("DNI", (26, 26.5, 27, 28, 28), (0.5, 0.4, 0.2, 0.45, 0.5)),
    ):
        found = [
            {"method": method, "seed": 0, "set": "CBSD68", "picture": picture, "omega": omega}
            | {"psnr": p + shift, "psnr_y": p, "ssim": 0.5, "lpips": q, "niqe": 5.0, "sharpness": 0.5}
            for picture, shift in (("a", -1), ("b", 1))
            for omega, p, q in zip(LINE, psnr, lpips, strict=True)
        ]
        (tmp_path / "raw" / f"{method}, seed 0.csv").write_text(tables.to_csv(found))
    bicubic = dict.fromkeys(enlargement_page.COLUMNS, 25.5)
    enlargement_page.write_page(tmp_path, enlargement.METHODS, bicubic)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| LPIPS at 26.00 dB |" in text
    assert "| tunable | at every step | at every step | **-1.50** | 0.3000 |" in text
    assert "| DNI | at 3 of 4 steps | at 2 of 4 steps | 0.50 | 0.5000 |" in text
    assert "| *DNI, as the paper prints it* | 22.88 | 17.17 | 14.83 | 16.27 | 26.25 |" in text
    assert "the first 2 pictures of CBSD68" in text


def test_another_number_of_pictures_is_measured_again(tmp_path, monkeypatch):
    """Table 4 showed the means of 5 pictures, and called them 14."""
    monkeypatch.setenv("TUNABLE_DATA", str(tmp_path))
    monkeypatch.setattr(enlarging, "chosen", lambda names: dict.fromkeys(names, lambda restored, clean: 1.0))
    for name in enlarging.SETS.values():
        for place in range(2):
            path = tmp_path / name / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, np.random.default_rng(place).random((64, 64, 3)))
    one = enlarging.bicubic(tmp_path, 1)
    assert one == enlarging.bicubic(tmp_path, 1) != enlarging.bicubic(tmp_path, 2)
    assert len(runs.rows_of(tmp_path / "bicubic.csv")) == 2 * len(enlarging.SETS)


@pytest.mark.parametrize(("error", "status"), [(Stopped(signal.SIGTERM), 143), (KeyboardInterrupt(), 130)])
def test_a_signal_ends_a_program_in_one_line(error, status, capsys):
    """It ended in a traceback, and in status 1."""

    def work():
        raise error

    assert runs.guarded(work) == status
    assert capsys.readouterr().err.count("\n") == 1
