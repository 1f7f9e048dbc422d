"""Bad input of every kind: one clear line on standard error, exit status 2, and nothing touched.

A case is a command line (words with {names} of prepared files) and what the line must say.
"""

import importlib
import importlib.util
import subprocess
import sys

import pytest
from prepared import EVALUATE, FOLD, KNOBS, MODEL, RESTORE, TRAIN, P

USAGE = [
    ("restor", ["unknown verb 'restor'", "did you mean 'restore'", "known: train, evaluate"]),
    ("--frobnicate", ["--frobnicate"]),
    ("info", ["MODEL", "--help"]),
    (f"info {MODEL} more", ["more"]),
    (f"{RESTORE} --omega 1,0 --tile 0", ["--tile", "at least 16", "'0'"]),
    (f"{RESTORE} --sweep many", ["--sweep", "at least 2", "'many'"]),
    (f"{EVALUATE},-5", ["--sigma", "not negative", "'15,-5'"]),
    (f"{EVALUATE},x", ["--sigma", "numbers like 5,15,30", "'15,x'"]),
    (f"{EVALUATE} --grid 1", ["--grid", "at least 2", "'1'"]),
    (f"{EVALUATE} --grid 3 --line 3", ["not allowed with"]),
    (f"{KNOBS} --crop 8", ["--crop", "at least 64", "'8'"]),
    (f"{KNOBS} --paths edge", ["--paths", "'edge'"]),
    (f"{KNOBS} --most-back 1,2", ["--most-back", "one number, not 2"]),
    (f"{KNOBS} --most-cast=-1", ["--most-cast", "not negative", "'-1'"]),
]

RECIPES = [
    (f"train {P}/absent.yaml --out {P}/new", ["cannot read recipe", "absent.yaml", "No such file"]),
    (f"train {P}/empty --out {P}/new", ["cannot read recipe", "Is a directory"]),
    (f"train {P}/broken.yaml --out {P}/new", ["broken.yaml is not valid YAML"]),
    (f"train {P}/binary.yaml --out {P}/new", ["binary.yaml is not valid YAML"]),
    (f"train {P}/list.yaml --out {P}/new", ["list.yaml must hold a mapping", "list"]),
    (f"train {P}/orphan.yaml --out {P}/new", ["cannot read recipe", "absent.yaml"]),
    (f"train {P}/circle.yaml --out {P}/new", ["inherits from itself"]),
    (f"train {P}/no_data.yaml --out {P}/new", ["no_data.yaml: data: is missing"]),
    (f"train {P}/unknown_key.yaml --out {P}/new", ["unknown key 'optimiser'", "did you mean 'optimizer'"]),
    (f"{TRAIN} --set optimizer.learning_rate=fast", ["optimizer.learning_rate", "'fast'"]),
    (f"{TRAIN} --set data.batch=0", ["data.batch", "0"]),
    (f"{TRAIN} --set network.name=resnext", ["network.name", "'resnext'", "did you mean 'resnet'"]),
    (f"{TRAIN} --set omega.sampler.kind=unifrom", ["omega.sampler", "'unifrom'", "did you mean 'uniform'"]),
    (f"{TRAIN} --set omega.sampler={{kind:~fixed,~value:~[1,0,0]}}", ["fixed omega has 3 values for 2 objectives"]),
    (f"{TRAIN} --set omega.sampler={{kind:~fixed,~value:~[1,2]}}", ["omega.sampler.value.1", "2"]),
    (f"{TRAIN} --set steps", ["--set wants KEY=VALUE", "'steps'"]),
    (f"{TRAIN} --set objectives.7.weight=1", ["--set objectives.7.weight=1", "nothing at"]),
]

DATA = [
    (f"{TRAIN} --set data.train={P}/absent", ["no such folder", "absent"]),
    (f"{TRAIN} --set data.train={P}/empty", ["no pictures in", "empty", ".png"]),
    (f"{TRAIN} --set data.train={P}/nested", ["no pictures in", "inside it are the folders HR"]),
    (f"{TRAIN} --set data.train={P}/text", ["text/a.png", "cannot identify"]),
    (f"{TRAIN} --set data.train={P}/data.txt", ["no such folder", "data.txt"]),
    (f"{TRAIN} --set data.validate={P}/absent", ["no such folder", "absent"]),
    (f"{TRAIN} --set data.patch=21", ["a.png is 24x20", "patch of 21x21"]),
    (f"{TRAIN} --set data.train=${{NOT_SET_HERE}}/x", ["NOT_SET_HERE", "not set"]),
    (f"{EVALUATE} --data {P}/absent", ["no such folder", "absent"]),
    (f"{EVALUATE} --data {P}/empty", ["no pictures in", "empty"]),
    (f"{EVALUATE} --data {P}/cut", ["cut/b.png"]),
    (f"{EVALUATE} --data {P}/text", ["text/a.png", "cannot identify"]),
    (f"{EVALUATE} --data {P}/small", ["small/a.png is 10x40", "11x11", "--no-ssim"]),
    (f"{EVALUATE} --data ${{NOT_SET_HERE}}/x", ["NOT_SET_HERE", "not set"]),
    (f"{KNOBS} --data {P}/absent", ["no such folder", "absent"]),
    (f"{KNOBS} --data {P}/cut", ["cut/b.png"]),
    (f"{KNOBS} --data {P}/text/a.png", ["text/a.png", "cannot identify"]),
    (f"{KNOBS} --sigma 0", ["noise is measured by noise kept", "no noise"]),
    (f"restore {MODEL} {P}/absent.png --omega 1,0", ["no such picture", "absent.png"]),
    (f"restore {MODEL} {P}/text/a.png --omega 1,0", ["text/a.png", "cannot identify"]),
    (f"restore {MODEL} {P}/cut/b.png --omega 1,0", ["cut/b.png"]),
    (f"restore {MODEL} {P}/empty --omega 1,0 -o {P}/new", ["no pictures in", "empty"]),
]

OMEGA = [
    (RESTORE, ["--omega is needed", "2 values for fidelity, noise", "1,0"]),
    (f"{RESTORE} --omega 1", ["'1' has 1 value;", "2 (fidelity, noise): give 1,0 or fidelity=1,noise=0"]),
    (f"{RESTORE} --omega 1,0,0", ["'1,0,0' has 3 values", "2 (fidelity, noise)"]),
    (f"{RESTORE} --omega 1;0", ["'1;0' has 1 value"]),
    (f"{RESTORE} --omega 1,nan", ["finite"]),
    (f"{RESTORE} --omega 1,1.01", ["(1, 1.01) lies outside the trained range [0, 1], [0, 1]"]),
    (f"{RESTORE} --omega 1,inf --extrapolate", ["finite"]),
    (f"{RESTORE} --omega 1,0 --sweep 3", ["either --omega or --sweep"]),
    (f"{EVALUATE} --omega fidelity=1,nose=0", ["'nose'", "did you mean 'noise'"]),
    (f"{EVALUATE} --omega=-1,0", ["(-1, 0) lies outside"]),
    (f"{FOLD} --omega 2,0", ["(2, 0) lies outside"]),
    (f"{FOLD} --omega a,b", ["'a,b'"]),
    (f"restore {P}/plain.safetensors {P}/pictures/a.png --omega 1,0", ["plain network", "--omega"]),
    (f"restore {P}/plain.safetensors {P}/pictures/a.png --sweep 2", ["plain network", "--sweep"]),
    (f"evaluate {P}/plain.safetensors --data {P}/pictures --grid 2", ["plain", "--grid"]),
    (f"{KNOBS} --least-range 1", ["'1' has 1 value;", "2 (fidelity, noise)"]),
    (f"{KNOBS} --least-range nose=1,fidelity=1", ["'nose'", "did you mean 'noise'"]),
    (f"{KNOBS} --least-range=-1,0", ["least", "at least 0", "-1"]),
    (f"knobs {P}/plain.safetensors --data {P}/pictures", ["plain", "no knobs"]),
    (f"fold {P}/plain.safetensors -o {P}/x.safetensors --omega 1,0", ["plain network already"]),
    (f"verify {P}/plain.safetensors", ["plain network", "tunable"]),
]

# every verb that reads weights refuses them alike; `info` looks at the file alone
WEIGHTS = [
    (f"{verb} {P}/{name} {rest}", fragments)
    for verb, rest in (
        ("restore", f"{P}/pictures/a.png --omega 1,0 -o {P}/x.png"),
        ("evaluate", f"--data {P}/pictures"),
        ("knobs", f"--data {P}/pictures"),
        ("fold", f"--omega 1,0 -o {P}/x.safetensors"),
        ("verify", ""),
        ("info", ""),
    )
    for name, fragments in (
        ("absent.safetensors", ["no such weights file", "absent.safetensors"]),
        ("empty", ["a folder without model.safetensors", "empty"]),
        ("data.txt", ["data.txt is not a readable safetensors file"]),
        ("pictures/a.png", ["a.png is not a readable safetensors file"]),
        ("short.safetensors", ["short.safetensors is not a readable safetensors file"]),
        ("stub.safetensors", ["stub.safetensors is not a readable safetensors file"]),
        ("foreign.safetensors", ["foreign.safetensors is not a weights file", "'pt'"]),
        ("nan.safetensors", ["nan.safetensors", "tensor 'head.weight'", "not finite"]),
        ("missing.safetensors", ["missing.safetensors lacks tensor 'tail.bias'"]),
        ("extra.safetensors", ["extra.safetensors has a tensor 'more'"]),
        ("shape.safetensors", ["shape.safetensors", "tensor 'tail.bias'", "(3, 4)", "(3, 3)"]),
        ("wide.safetensors", ["wide.safetensors", "tensor 'tail.bias'", "float64", "float32"]),
    )
    if verb != "info" or "tensor" not in str(fragments) and "finite" not in str(fragments)
] + [
    (f"{TRAIN} --set initial.weights={P}/nan.safetensors", ["nan.safetensors", "not finite"]),
    (f"{TRAIN} --set initial.weights={P}/absent", ["no such weights file", "absent"]),
    (f"{TRAIN} --set initial.weights={MODEL} --set network.channels=5", ["model.safetensors", "shape"]),
]  # fmt: skip

BACKENDS = [
    (f"{TRAIN} --backend toch", ["unknown backend 'toch'", "did you mean 'torch'", "known: torch, mindspore"]),
    (f"{RESTORE} --omega 1,0 --backend jax", ["unknown backend 'jax'"]),
    (f"verify {MODEL} --backends torch,jax", ["unknown backend 'jax'"]),
    (f"verify {MODEL} --backends ,", ["at least one framework", "torch, mindspore"]),
    (f"verify {MODEL} --backends onnx", ["at least one framework", "torch, mindspore"]),
    (f"verify {MODEL} --against {P}/absent", ["no such pack", "absent"]),
    (f"verify {MODEL} --against {P}/data.txt", ["data.txt is not a readable safetensors file"]),
    (f"verify {MODEL} --against {MODEL}", ["not a pack that --record wrote", "'tunable-convolutions/1'", "-pack/2'"]),
    (f"verify {MODEL} --against {P}/foreign.safetensors", ["foreign.safetensors is not a pack", "'pt'"]),
    (f"verify {MODEL} --against {P}/x --grid 3", ["--grid 3", "--against", "which omega"]),
    (f"verify {MODEL} --against {P}/x --record {P}/y", ["--record", "not allowed with", "--against"]),
    (f"{RESTORE} --omega 1,0 --mode fast", ["has no mode 'fast'", "known:"]),
    (f"{RESTORE} --omega 1,0 --device abacus", ["'abacus'"]),
]

PLACES = [
    (f"train {P}/recipe.yaml --out {P}/run", ["run already holds a run at step 1", "--resume"]),
    (f"train {P}/recipe.yaml --out {P}/run --resume --set seed=5", ["another recipe: seed was 0, now 5"]),
    (f"train {P}/recipe.yaml --out {P}/damaged --resume", ["damaged/checkpoints", "step-00000001.safetensors"]),
    (f"train {P}/recipe.yaml --out {P}/plain_file", ["cannot write in", "plain_file is a file, not a folder"]),
    (f"{EVALUATE} --out {P}/plain_file", ["cannot write", "plain_file/table.csv"]),
    (f"{KNOBS} --out {P}/plain_file", ["cannot write", "plain_file/knobs.md"]),
    (f"{FOLD[: FOLD.index(' -o')]} --omega 1,0 -o {P}/folder.safetensors", ["cannot write", "it is a folder"]),
    (f"{FOLD[: FOLD.index(' -o')]} --omega 1,0 -o {P}/plain_file/x", ["plain_file/x", "not a folder"]),
    (f"verify {MODEL} --html {P}/empty", ["cannot write", "it is a folder"]),
    (f"verify {MODEL} --record {P}/plain_file/x", ["plain_file/x", "not a folder"]),
    (f"restore {MODEL} {P}/pictures/a.png --omega 1,0 -o {P}/plain_file", ["plain_file is a file"]),
    (f"restore {MODEL} {P}/pictures/a.png --omega 1,0 -o {P}/plain_file/x.png", ["cannot write", "plain_file/x.png"]),
    (f"restore {MODEL} {P}/pictures/a.png --omega 1,0 -o {P}/x.gif", ["x.gif", ".png, .jpg"]),
    (f"restore {MODEL} {P}/pictures/a.png --omega 1,0 -o {P}/pictures/a.png", ["one of the pictures to restore"]),
    (f"restore {MODEL} {P}/pictures {P}/cut --omega 1,0", ["pictures is a folder", "-o"]),
    (f"restore {MODEL} {P}/cut --omega 1,0 -o {P}/x.png", ["x.png names one picture", "folder"]),
]  # fmt: skip


@pytest.mark.parametrize(("line", "fragments"), USAGE + RECIPES + DATA + OMEGA + WEIGHTS + BACKENDS + PLACES)
def test_refused(line, fragments, refuses):
    refuses(line, *fragments)


# --- frameworks that are missing or broken


def test_a_missing_framework(refuses, monkeypatch):
    real = importlib.util.find_spec
    hidden = ("torch", "mindspore")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in hidden else real(name, *more))
    monkeypatch.delenv("TUNABLE_BACKENDS", raising=False)
    wanted = "needs torch or mindspore, which is not installed: pip install 'tunable-convolutions[torch]'"
    refuses(f"{RESTORE} --omega 1,0", wanted)
    refuses(f"verify {MODEL}", wanted)
    for name in hidden:
        message = f"backend '{name}' needs {name}, which is not installed: pip install 'tunable-convolutions[{name}]'"
        refuses(f"{RESTORE} --omega 1,0 --backend {name}", message)
        monkeypatch.setenv("TUNABLE_BACKENDS", name)
        refuses(TRAIN, message)


@pytest.mark.parametrize("error", [ImportError("libcudart.so.13:\nno such file"), OSError("bad ELF")])
def test_a_broken_framework(error, refuses, monkeypatch):
    real = importlib.import_module

    def import_module(name, *more):
        if name == "torch_impl.backend":
            raise error
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", import_module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    reason = " ".join(str(error).split())
    refuses(f"{TRAIN} --backend torch", f"torch is installed but cannot be imported: {reason}")


# --- as a program


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["trian"], "unknown verb 'trian' (did you mean 'train'?)"),
        (["info", "./absent"], "tunable info: no such weights file: ./absent\n"),
        (["train", "configs/denoise/absent.yaml", "--out", "x"], "cannot read recipe"),
    ],
)
def test_as_a_program(words, fragment, tmp_path):
    done = subprocess.run([sys.executable, "-m", "tunable", *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and fragment in done.stderr
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "fold {0} --omega 1,0 -o {0}",
        "fold {0} --omega 1,0 --omega 0,1 -o {1}",
        "fold {0} --omega 1,0 -o {2}",
        "export {0} --format dni -o {1}",
        "convert {0} --from plain --objectives a,b -o {0}",
        "convert {0} --from nafnet -o {2}",
        "verify {0} --record {0}",
        "verify {0} --html {0}",
    ],
)
def test_a_weights_file_is_not_written_over_itself(line, weights_file, tmp_path, tunable, backend, monkeypatch):
    """By its own name, as the first of several, by a link: what the file held would be gone."""
    monkeypatch.setenv("TUNABLE_BACKENDS", backend.name)
    weights, link = tmp_path / "net-0.safetensors", tmp_path / "link.safetensors"
    weights.write_bytes(weights_file.read_bytes())
    link.symlink_to(weights)
    words = line.format(weights, tmp_path / "net.safetensors", link).split()
    status, out, err = tunable(*words)
    assert status == 2 and out == "" and "is what is read; choose another name" in err and err.count("\n") == 1, err
    assert weights.read_bytes() == weights_file.read_bytes() and link.is_symlink()
