"""The command line, verb by verb, in this process: what it writes, prints and returns."""

import importlib
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from prepared import answer

from tunable import commands
from tunable.backends.model import load
from tunable.commands import VERBS, shared
from tunable.specs.reading import load_recipe
from tunable.weights import storage

pytestmark = pytest.mark.usefixtures("here")


# --- every verb


def test_every_module_is_a_verb():
    modules = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    assert modules - {"shared", "omega_maps", "settings"} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb, tunable):
    status, out, err = tunable(verb, "--help")
    assert status == 0 and not err and out.startswith(f"usage: tunable {verb}")
    assert VERBS[verb][1:] in out


def test_help_without_a_verb(tunable):
    for words, status in ((["--help"], 0), ([], 2)):
        returned, out, err = tunable(*words)
        assert returned == status and all(verb in out + err for verb in VERBS)
    assert tunable("--version")[:2] == (0, importlib.import_module("tunable.version").__version__ + "\n")


def test_a_reader_that_leaves_is_no_error(weights_file):
    """`tunable info MODEL | head -0`: no complaint, whenever the pipe breaks."""
    program = f"{sys.executable} -m tunable info {weights_file} --json | true"
    done = subprocess.run(["bash", "-c", f"{program}; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout in ("0\n", "1\n")


def test_a_full_standard_output_is_one_line(weights_file):
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "tunable", "info", str(weights_file)]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "tunable info: No space left on device\n")


def test_messages_of_others_are_left_out(tunable, weights_file, monkeypatch):
    import logging

    def run(args):
        for name in ("tunable.training.loop", "somebody.else"):
            logging.getLogger(name).info("%s says", name)
            logging.getLogger(name).warning("%s warns", name)
        logging.info("done")
        return 0

    monkeypatch.setattr("tunable.commands.info.run", run)
    assert tunable("info", weights_file)[2].splitlines() == [
        "tunable.training.loop says", "tunable.training.loop warns", "somebody.else warns", "done",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("\n[alloc_cpu.cpp] can't allocate memory\nat kernel"), "[alloc_cpu.cpp] can't allocate memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_frameworks_own_error_is_one_line(tunable, weights_file, monkeypatch, error, said):
    def run(args):
        raise error

    monkeypatch.setattr("tunable.commands.info.run", run)
    monkeypatch.delenv(commands.SHOW, raising=False)
    assert tunable("info", weights_file) == (1, "", f"tunable info: {said} ({commands.SHOW}=1 shows where)\n")
    monkeypatch.setenv(commands.SHOW, "1")
    with pytest.raises(type(error)):
        tunable("info", weights_file)


def test_json_has_no_nan(capsys):
    shared.print_json({"a": [1.5, float("nan"), (float("inf"), None)], "b": {"c": "NaN"}})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "a": [1.5, None, [None, None]], "b": {"c": "NaN"},
    }  # fmt: skip


def test_progress_lines(capsys):
    """Where standard error is no terminal: a line for each part, and one whenever it took as long again."""
    times = iter([0, *range(0, 32, 4)])
    with shared.progress("work", every=0.25, unit="steps", clock=lambda: next(times)) as report:
        for done in range(1, 9):
            report(done, 8, 0.5 if done == 8 else None)
    assert capsys.readouterr().err.splitlines() == [
        "work: 1/8",
        "work: 2/8, 0.25 steps/s, 0:00:24 left",
        "work: 4/8, 0.25 steps/s, 0:00:16 left",
        "work: 6/8, 0.25 steps/s, 0:00:08 left",
        "work: 8/8, loss 0.5000, 0.25 steps/s",
    ]
    times = iter([0, *range(201)])
    with shared.progress("work", clock=lambda: next(times)) as report:
        for done in range(1, 202):
            report(done, 10_000)
    assert [line.split("/")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"work: {done}" for done in (1, 11, 21, 41, 81, 161)
    ]


def test_progress_on_a_terminal():
    """A bar, and messages on lines of their own above it."""
    program = (
        "import logging\n"
        "from tunable.commands import _messages\n"
        "from tunable.commands.shared import progress\n"
        "with _messages(), progress('work') as report:\n"
        "    report(1, 2, 0.5)\n"
        "    logging.info('wrote a')\n"
        "    report(2, 2, 0.25)\n"
    )
    ours, theirs = os.openpty()
    subprocess.run([sys.executable, "-c", program], stderr=theirs, check=True, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    pieces = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text))
    assert "wrote a" in pieces, pieces
    assert re.search(r"work .*2/2.*loss 0.2500", pieces[-2] if not pieces[-1] else pieces[-1])


# --- train


@pytest.fixture
def recipe_file(tmp_path, values):
    values["steps"], values["checkpoint"] = 3, {"every": 2}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "recipe.yaml"


def test_train_and_resume(tunable, recipe_file, backend):
    words = ["train", recipe_file, "--backend", backend.name, "--set", "data.batch=2"]
    status, out, err = tunable(*words, "--out", "whole")
    assert (status, out) == (0, "") and err.splitlines()[-1] == "wrote whole/model.safetensors"
    assert f"train ({backend.name}): 3/3, loss " in err
    assert load_recipe("whole/recipe.yaml").data.batch == 2
    shutil.copytree("whole", "part")
    os.unlink("part/model.safetensors")
    os.unlink("part/checkpoints/step-00000003.safetensors")
    status, _, err = tunable(*words, "--out", "part", "--resume")
    assert status == 0 and "continuing part at step 2" in err
    first, second = (storage.load(f"{place}/model.safetensors")[0] for place in ("whole", "part"))
    for name in first:
        np.testing.assert_array_equal(second[name], first[name])
    assert Path("part/metrics.csv").read_text() == Path("whole/metrics.csv").read_text()


# --- a checkpoint in the place of a weights file


def test_a_checkpoint_serves_as_weights(tunable, recipe_file, place, backend):
    """info, evaluate, restore, fold, verify, export and initial.weights take it: the weights after that step."""
    words = ["--backend", backend.name]
    assert tunable("train", recipe_file, *words, "--set", "data.batch=2", "--out", "run")[0] == 0
    path = "run/checkpoints/step-00000002.safetensors"
    result = answer(tunable("info", path, "--json"))
    assert result["step"] == 2 and result["recipe"]["steps"] == 3 and result["history"] == []
    assert "checkpoint    after step 2\n" in tunable("info", path)[1]
    last = "run/checkpoints/step-00000003.safetensors"
    tables = []
    for model in (last, "run/model.safetensors"):
        result = answer(
            tunable("evaluate", model, "--data", place / "pictures", "--sigma", "15", "--no-ssim", "--json", *words)
        )
        tables.append(result["summary"])
        name = f"{len(tables)}.png"
        assert tunable("restore", model, place / "pictures" / "a.png", "--omega", "1,0", "-o", name, *words)[0] == 0
        assert tunable("fold", model, "--omega", "1,0", "-o", f"{len(tables)}.safetensors", *words)[0] == 0
    assert tables[0] == tables[1] and Path("1.png").read_bytes() == Path("2.png").read_bytes()
    folded = [storage.load(f"{i}.safetensors") for i in (1, 2)]
    assert (folded[0][1].step, folded[1][1].step) == (3, None)
    assert all(value.tobytes() == folded[1][0][name].tobytes() for name, value in folded[0][0].items())
    assert tunable("verify", path, "--backends", backend.name, "--grid", "2")[0] == 0
    slower = ["--set", f"initial.weights={path}", "--set", "optimizer.learning_rate=1e-5", "--set", "data.batch=2"]
    assert tunable("train", recipe_file, *words, *slower, "--out", "slower")[0] == 0


# --- info


def test_info(tunable, weights_file):
    """A tiny network: kernels 3 -> 4, twice 4 -> 4, 4 -> 3, with base and two differences each."""
    weights, biases = 9 * (3 * 4 + 4 * 4 + 4 * 4 + 4 * 3), 4 + 4 + 4 + 3
    result = answer(tunable("info", weights_file, "--json"))
    assert result["parameters"] == 3 * (weights + biases) and result["tensors"] == 8
    assert result["multiply_adds_per_pixel"] == weights
    assert result["multiply_adds_over_plain"] == {"shared": 1.0, "folded": 1.0, "basis": 3.0}
    assert result["objectives"] == ["fidelity", "noise"] and result["omega_range"] == [[0, 1], [0, 1]]
    assert result["network"]["channels"] == 4 and result["recipe"]["steps"] == 10
    status, out, err = tunable("info", weights_file)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].startswith("network       resnet, tunable: phi base, channels 4, blocks 1, upscale 1, ")
    assert out.splitlines()[1:5] == [
        "omega         fidelity [0, 1], noise [0, 1]",
        "trained at    omega anywhere in [0, 1]",
        f"parameters    {3 * (weights + biases):,} in 8 tensors",
        f"multiply-adds {weights:,} per pixel with one omega or folded; 3.00 x with omega per sample in the form basis",
    ]
    assert "denoise, 10 steps on bundled; fidelity (rec), noise (noise)" in out


def test_info_needs_no_framework(weights_file):
    program = (
        "import sys; sys.modules['torch'] = sys.modules['mindspore'] = None;"
        "from tunable.commands import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", program, "info", str(weights_file)], capture_output=True, text=True)
    assert done.returncode == 0 and "resnet" in done.stdout, done.stderr


# --- fold


def test_fold(tunable, weights_file, model, rng):
    status, out, err = tunable("fold", weights_file, "--omega", "0.7,0.3", "-o", "folded.safetensors")
    assert (status, out) == (0, "") and err == "wrote folded.safetensors: a plain resnet at omega (0.7, 0.3)\n"
    picture = rng.uniform(size=(1, 3, 16, 16)).astype(np.float32)
    folded = load("folded.safetensors", model.backend)
    np.testing.assert_allclose(folded.run(picture), model.run(picture, [0.7, 0.3]), atol=1e-6)
    assert np.abs(folded.run(picture) - model.run(picture, [0.3, 0.7])).max() > 1e-4
    out = tunable("info", "folded.safetensors")[1]
    assert "resnet, plain" in out and "folded at     (0.7, 0.3)" in out and "omega  " not in out


def test_fold_at_several_settings(tunable, weights_file, model, rng):
    words = ("fold", weights_file, "--omega", "1,0", "--omega", "0.5,0.5", "-o", "net.safetensors")
    status, _, err = tunable(*words)
    assert status == 0 and err.splitlines() == [
        "wrote net-0.safetensors: a plain resnet at omega (1, 0)",
        "wrote net-1.safetensors: a plain resnet at omega (0.5, 0.5)",
    ]
    picture = rng.uniform(size=(1, 3, 16, 16)).astype(np.float32)
    for index, omega in enumerate(([1, 0], [0.5, 0.5])):
        folded = load(f"net-{index}.safetensors", model.backend)
        np.testing.assert_allclose(folded.run(picture), model.run(picture, omega), atol=1e-6)
    status, _, err = tunable("fold", weights_file, "--omega", "1,0", "--omega", "2,0", "-o", "none.safetensors")
    assert status == 2 and "(2, 0) lies outside" in err and not Path("none-0.safetensors").exists()


def test_extrapolate(tunable, weights_file, folder):
    for words in (
        ("fold", weights_file, "-o", "a.safetensors"),
        ("restore", weights_file, folder / "a.png", "-o", "a.png"),
        ("evaluate", weights_file, "--data", folder, "--sigma", "15"),
    ):
        status, _, err = tunable(*words, "--omega", "1.5,-0.5")
        assert status == 2 and "(1.5, -0.5) lies outside the trained range [0, 1], [0, 1]" in err
        assert tunable(*words, "--omega", "1.5,-0.5", "--extrapolate")[0] == 0


# --- evaluate


def test_evaluate(tunable, weights_file, folder):
    words = ["evaluate", weights_file, "--data", folder, "--sigma", "15,30", "--line", "2", "--out", "table"]
    result = answer(tunable(*words, "--json"))
    assert [(row["omega"], row["sigma"], row["pictures"]) for row in result["summary"]] == [
        (omega, sigma, 2) for omega in ([0, 1], [1, 0]) for sigma in (15, 30, "mean")
    ]
    assert sorted(os.listdir("table")) == ["plot.png", "summary.csv", "summary.md", "table.csv"]
    status, out, err = tunable(*words, "--no-ssim")
    assert status == 0 and out.startswith("| ω | σ | pictures | PSNR | PSNR_η | r* |") and len(out.splitlines()) == 10
    assert "omega: fidelity, noise. Protocol: " in out and out == Path("table/summary.md").read_text(encoding="utf-8")
    assert err.splitlines()[-1] == "wrote table.csv, summary.csv, summary.md, plot.png in table"
    assert answer(tunable(*words, "--no-ssim", "--json"))["summary"][0]["ssim"] is None


@pytest.mark.parametrize(
    ("words", "omegas"),
    [
        ([], [[0, 1], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1, 0]]),
        (["--grid", "2"], [[0, 0], [0, 1], [1, 0], [1, 1]]),
        (["--omega", "0.7,0.3", "--omega", "0,0.1"], [[0, 0.1], [0.7, 0.3]]),
    ],
)
def test_evaluate_at(words, omegas, tunable, weights_file, folder):
    result = answer(tunable("evaluate", weights_file, "--data", folder, "--sigma", "15", "--json", *words))
    assert [row["omega"] for row in result["summary"] if row["sigma"] == "mean"] == omegas


def test_evaluate_the_joint_task(tunable, joint_file, folder):
    """By default as Table 3: the corners, blur 0..4; both can be chosen."""
    result = answer(tunable("evaluate", joint_file, "--data", folder, "--sigma", "5", "--no-ssim", "--json"))
    assert [(row["omega"], row["rho"]) for row in result["summary"]] == [
        (omega, rho) for omega in ([0, 0], [0, 1], [1, 0], [1, 1]) for rho in (0, 1, 2, 3, 4, "mean")
    ]
    assert "Gaussian blur" in result["protocol"] and result["summary"][0]["psnr_gamma"] is not None
    words = ["evaluate", joint_file, "--data", folder, "--sigma", "5", "--no-ssim", "--line", "2", "--rho", "0"]
    status, out, err = tunable(*words)
    assert status == 0 and out.startswith("| ω | σ | pictures | PSNR | PSNR_η | PSNR_γ | r* |"), err
    assert [line.split("|")[1].strip() for line in out.splitlines()[2:6]] == ["(0, 1)"] * 2 + ["(1, 0)"] * 2


def test_evaluate_blurs_when_asked(tunable, weights_file, folder):
    result = answer(tunable("evaluate", weights_file, "--data", folder, "--sigma", "5", "--rho", "1", "--json"))
    assert [row["rho"] for row in result["summary"][:2]] == [1, "mean"] and "Gaussian blur" in result["protocol"]
    status, _, err = tunable("evaluate", weights_file, "--data", folder, "--rho", "-1")
    assert status == 2 and "--rho: wants finite numbers that are not negative" in err


def test_evaluate_a_plain_network(tunable, weights_file, folder):
    tunable("fold", weights_file, "--omega", "1,0", "-o", "folded.safetensors")
    result = answer(tunable("evaluate", "folded.safetensors", "--data", folder, "--sigma", "15", "--json"))
    row = result["summary"][0]
    assert row["omega"] == [] and row["psnr"] == row["psnr_eta"]
