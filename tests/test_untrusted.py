"""Files that anybody may have written: what they promise is checked before it costs anything, in one line."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from prepared import P
from untrusted import RESNET, header_of, laughs, onnx_file, promise

from tunable.backends.model import load
from tunable.errors import CheckpointError
from tunable.specs.documents import DEPTH
from tunable.specs.networks import NAFNetSpec
from tunable.specs.recipe import parse
from tunable.weights import storage
from tunable.weights.storage import FORMAT, Header

# what a kilobyte can say, and what its reader has to say of it
GIANTS = {
    "scales": ({"name": "style_unet", "channels": 1, "scales": 20}, "network.scales"),
    "depth": ({"name": "unet", "width": 1, "depth": 30}, "network.depth"),
    "blocks": ({**RESNET, "blocks": 2_000_000}, "network.blocks"),
    "most blocks": ({**RESNET, "blocks": 10_000}, "lacks tensor 'head.bias'"),
    "channels": ({**RESNET, "channels": 10**9}, "network.channels"),
    "most channels": ({"name": "nafnet", "width": 2**14, "encoder": [9] * 10, "decoder": [9] * 10}, "lacks tensor"),
    "stages": ({"name": "nafnet", "width": 1, "middle": 0, "encoder": [0] * 100, "decoder": [0] * 100}, "encoder"),
    "groups": ({"name": "swinir", "channels": 1, "depths": [1] * 5000, "heads": [1] * 5000}, "network.depths"),
    "window": ({"name": "swinir", "window": 10**6}, "network.window"),
    "ratio": ({"name": "swinir", "mlp_ratio": 1e300}, "network.mlp_ratio"),
    "features": ({"name": "swinir", "upscale": 2, "upsampler": "pixelshuffle", "features": 10**30}, "features"),
}


# --- sizes


@pytest.mark.parametrize("name", GIANTS)
def test_more_is_promised_than_the_file_holds(name, tmp_path, refuses):
    network, fragment = GIANTS[name]
    promise(tmp_path / "giant.safetensors", network)
    for line in ("info {}", "fold {} --omega 1,0 -o x.safetensors", "export {} --format onnx -o x.onnx"):
        refuses(line.format(tmp_path / "giant.safetensors"), "giant.safetensors", fragment)


MEASURE = """
import resource, sys, time
import tunable.backends.registry, tunable.commands.info
from tunable.commands import main
begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = [main(line.split("|")) for line in sys.argv[1:]]
taken = time.perf_counter() - begun
print(status, taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_a_refusal_costs_neither_time_nor_memory(tmp_path):
    """Of twelve files that promise terabytes: 10 MB, and far less than the second that each may take."""
    lines = [f"info|{promise(tmp_path / f'{name}.safetensors', GIANTS[name][0])}" for name in GIANTS]
    (tmp_path / "laughs.yaml").write_text(laughs(8))
    (tmp_path / "deep.yaml").write_text("task: " + "[" * 3000 + "]" * 3000)
    lines += [f"train|{tmp_path / name}|--out|{tmp_path / 'out'}" for name in ("laughs.yaml", "deep.yaml")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *lines], capture_output=True, text=True, check=True)
    status, taken, grown = done.stdout.rsplit(maxsplit=2)
    assert json.loads(status) == [2] * len(lines) and done.stderr.count("\n") == len(lines)
    assert float(taken) < 12 and float(grown) < 60, done.stdout
    assert all(len(line) < 2000 for line in done.stderr.encode().splitlines())
    assert not (tmp_path / "out").exists()


# --- headers


ONE_OBJECTIVE = {
    "task": "denoise",
    "network": {"name": "nafnet"},
    "objectives": [{"name": "a", "kind": "rec"}],
    "data": {"train": "bundled"},
    "steps": 1,
}


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ({"objectives": ["\x1b]0;owned\x07", "b"]}, ["objectives.0", r"\x1b]0;owned\x07"]),
        ({"objectives": ["a\nb", "b"]}, ["objectives.0", "printable"]),
        ({"objectives": ["abc\u202egnp", "b"]}, ["objectives.0", r"\u202egnp"]),
        ({"objectives": ["", "b"]}, ["objectives.0"]),
        ({"objectives": ["a" * 1000, "b"]}, ["objectives.0"]),
        ({"objectives": [f"o{i}" for i in range(10**5)]}, ["objectives"]),
        ({"recipe": [1]}, ["recipe"]),
        ({"recipe": ONE_OBJECTIVE}, ["2 objectives, trained by a recipe of 1"]),
        ({"recipe": {**ONE_OBJECTIVE, "folded_at": [1, 0]}, "objectives": ["a"]}, ["folded_at", "a recipe of 1"]),
        ({"recipe": {"folded_at": [None]}}, ["folded_at.0"]),
        ({"folded_at": "\x1b[2J"}, ["folded_at", r"\x1b[2J"]),
        ({"size": [10**9, 10**9]}, ["size"]),
    ],
)
def test_headers_that_say_what_cannot_be(change, fragments, tmp_path, refused):
    path = promise(tmp_path / "m.safetensors", **{"objectives": ("a", "b")} | change)
    with refused(CheckpointError, "m.safetensors has a damaged header", *fragments):
        storage.load(path)


@pytest.mark.parametrize(
    "recipe",
    [
        {"data": []},
        {"data": {"train": [1]}},
        {"data": {"degradation": ["blur"]}},
        {"objectives": "noise"},
        {"objectives": [{"name": "a"}]},
        {"objectives": [None] * 10**4},
        {"omega": {"sampler": {"value": "x"}}},
        {"task": {"\x1b[2J": 1}},
        {**ONE_OBJECTIVE, "task": "\x1b[2J"},
        {**ONE_OBJECTIVE, "network": {"name": "nafnet", "width": 2**30}},
    ],
    ids=range(10),
)
def test_recipes_that_cannot_be(recipe, tmp_path):
    """The network is usable without its recipe, which is not shown before it is escaped."""
    header = storage.load(promise(tmp_path / "m.safetensors", objectives=("a", "b"), recipe=recipe))[1]
    assert header.recipe is None and header.unread.values == recipe
    assert header.unread.reason.isprintable() and len(header.unread.reason) < 1000


def test_nested_headers(tmp_path, refused):
    deep = "[" * 900 + "]" * 900
    for key, text in (("recipe", f'{{"data": {deep}}}'), ("network", deep), ("writer", "[" * 10**5)):
        metadata = {**Header(NAFNetSpec(tunable=False)).to_metadata(), key: text}
        storage.save_tensors(tmp_path / "m.safetensors", {"a": np.zeros(1, np.float32)}, metadata)
        with refused(CheckpointError, "m.safetensors has a damaged header", f"nested more than {DEPTH} deep"):
            storage.load(tmp_path / "m.safetensors")


def test_a_header_of_millions_of_tensors(tmp_path, refuses):
    """The library itself allows 100 MB, which take 1.5 GB to read."""
    head = (
        b"{" + b",".join(b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(300_000)) + b"}"
    )
    (tmp_path / "m.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(8))
    for line in (f"info {tmp_path}/m.safetensors", f"convert {tmp_path}/m.safetensors --from nafnet -o {tmp_path}/x"):
        refuses(line, "m.safetensors", "its header has", "the limit is 16777216")


def test_names_that_were_allowed_before_are_allowed(tmp_path):
    """`convert --objectives` took any name."""
    for name in ("Rauschen ü", "soft-ness", "x" * 64):
        path = promise(tmp_path / "m.safetensors", objectives=[name])
        assert storage.load(path)[1].objectives == (name,)


def test_another_format_is_named_by_its_beginning(tmp_path, refused):
    storage.save_tensors(tmp_path / "m.safetensors", {"a": np.zeros(1)}, {"format": "\x1b[2J" + "x" * 10**6})
    with refused(CheckpointError, r"format '\x1b[2Jxxx", f"wanted '{FORMAT}'"):
        storage.load(tmp_path / "m.safetensors")


def test_info_writes_no_character_that_moves_the_terminal(tmp_path, tunable):
    """The writer and the recipe's folders are free text."""
    recipe = {**ONE_OBJECTIVE, "data": {"train": ["a\x9b31m", "\u202eb"]}, "steps": 3}
    spec = {"name": "nafnet", "width": 1, "middle": 0, "encoder": [0], "decoder": [0], "tunable": False}
    tensors = {name: np.zeros(shape, np.float32) for name, shape in layout_of(spec)}
    path = promise(tmp_path / "m.safetensors", spec, (), tensors, recipe=recipe, writer="me\x1b]0;owned\x07\n")
    status, out, err = tunable("info", path)
    assert status == 0 and out.replace("\n", "").isprintable()
    assert r"denoise, 3 steps on a\x9b31m, \u202eb" in out and r"me\x1b]0;owned\x07\n" in out
    status, out, err = tunable("info", path, "--json")
    assert status == 0 and json.loads(out)["recipe"] == parse(recipe).to_dict() and out.replace("\n", "").isprintable()
    unread = {**recipe, "task": "denoise\x1b[2J"}
    path = promise(tmp_path / "m.safetensors", spec, (), tensors, recipe=unread)
    status, out, err = tunable("info", path)
    assert status == 0 and out.replace("\n", "").isprintable() and r"denoise\x1b[2J" in out
    status, out, err = tunable("info", path, "--json")
    assert status == 0 and json.loads(out)["recipe"] == unread and out.replace("\n", "").isprintable()


def layout_of(spec, p=0):
    from pydantic import TypeAdapter

    from tunable.parameters.layouts import layout
    from tunable.specs.networks import NetworkSpec

    return layout(TypeAdapter(NetworkSpec).validate_python(spec), p)


def test_a_name_that_is_not_utf8(tmp_path, refused):
    folder = tmp_path / os.fsdecode(b"f\xe4")
    folder.mkdir()
    path = onnx_file(tmp_path / "m.onnx", header_of()).rename(folder / "m.onnx")
    with refused(CheckpointError, "whose names are UTF-8", r"f\udce4"):
        load(path, "onnx")


# --- folders whose names are not UTF-8


def test_evaluate_into_a_folder_that_is_not_utf8(weights_file, backend, tmp_path, tunable, folder, monkeypatch):
    """All is measured first, and must not be lost; what is printed and written stays UTF-8."""
    monkeypatch.setenv("TUNABLE_BACKENDS", backend.name)
    place = tmp_path / os.fsdecode(b"f\xe4\x1b[2J")
    place.mkdir()
    (folder / "a.png").rename(folder / os.fsdecode(b"\xe4.png"))
    words = ["evaluate", weights_file, "--data", folder, "--sigma", "15", "--omega", "1,0", "--no-ssim"]
    status, out, err = tunable(*words, "--out", place / "out")
    assert status == 0 and err.replace("\n", "").isprintable() and r"f\udce4\x1b[2J" in err
    names = ["plot.png", "summary.csv", "summary.md", "table.csv"]
    assert sorted(path.name for path in (place / "out").iterdir()) == names
    rows = (place / "out" / "table.csv").read_text(encoding="utf-8").splitlines()
    assert sorted(row.partition(",")[0] for row in rows[1:]) == [r"\udce4.png", "b.png"]
    assert tunable(*words, "--json")[0] == 0


def test_a_sheet_of_a_picture_with_any_name(tmp_path, tunable, weights_file, backend, monkeypatch):
    """Pillow draws no line break where letters are centred."""
    monkeypatch.setenv("TUNABLE_BACKENDS", backend.name)
    picture = tmp_path / os.fsdecode(b"a\nb\x1b[2J\xe4.png")
    Image.new("RGB", (20, 24)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(picture)
    status, _, err = tunable("restore", weights_file, picture, "--sweep", "2", "-o", tmp_path / "x.png")
    assert status == 0 and (tmp_path / "x.png").is_file() and err.replace("\n", "").isprintable(), err


def test_a_sheet_of_more_pixels_than_a_picture_may_have(tmp_path, refuses):
    Image.new("RGB", (2600, 2000)).save(tmp_path / "a.png")
    refuses(
        f"restore {P}/model.safetensors {tmp_path}/a.png --sweep 100 -o {tmp_path}/x.png",
        "101 pictures of 2600x2000", "500000000 pixels", status=2,
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["info {}", "train {} --out x", "fold {} --omega 1,0 -o y", "evaluate {} --data z"])
@pytest.mark.parametrize(
    ("word", "fragment"),
    [("a\0b", "NUL"), ("\ud800", r"\ud800"), ("x" * 5000, "xxx"), ("\x1b]0;owned\x07", r"\x1b]0;owned\x07")],
)
def test_words_that_no_system_opens(verb, word, fragment, refuses):
    refuses(verb.format(word), fragment)


@pytest.mark.parametrize(
    "line",
    [
        "{word}", "info --{word}", f"restore {P}/model.safetensors {P}/pictures/a.png --omega {{word}}",
        f"restore {P}/model.safetensors {P}/pictures/a.png --omega 1,0 --tile {{word}}",
        f"evaluate {P}/model.safetensors --data {{word}}", f"evaluate {P}/model.safetensors --data x --sigma {{word}}",
        f"export {P}/model.safetensors --format {{word}} -o x", "info x --backend {word}",
        f"train {P}/recipe.yaml --out x --set steps={{word}}", f"train {P}/recipe.yaml --out x --set {{word}}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("word", ["x" * 100_000, "\x1b[2J\x9b\u202e", "٣" * 5000])
def test_long_and_moving_words(line, word, refuses):
    refuses(line.format(word=word, place="{place}"))


def test_a_recipe_of_another_network_than_the_file_holds(tmp_path, values, refuses):
    """Its losses would compare pictures of two sizes."""
    spec = {"name": "resnet", "channels": 2, "blocks": 1, "upscale": 2}
    tensors = {name: np.zeros(shape, np.float32) for name, shape in layout_of(spec, 2)}
    path = promise(tmp_path / "m.safetensors", spec, ("fidelity", "noise"), tensors, recipe=parse(values).to_dict())
    refuses(f"verify {path}", "enlarges 2 times", "recipe of one that enlarges 1 times")
