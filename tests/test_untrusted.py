"""Files that anybody may have written: what they promise is checked before it costs anything, in one line."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from prepared import P

from tunable.backends.model import load
from tunable.errors import BackendError, CheckpointError, RecipeError
from tunable.specs.documents import DEPTH, NODES, check_depth, read_json, read_yaml
from tunable.specs.networks import NAFNetSpec
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import parse
from tunable.weights import storage
from tunable.weights.foreign import read_foreign
from tunable.weights.storage import FORMAT, Header

RESNET = {"name": "resnet", "channels": 8, "blocks": 1}
# what a kilobyte can say, and what its reader has to say of it
GIANTS = {
    "scales": ({"name": "style_unet", "channels": 1, "scales": 20}, "network.scales"),
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


def promise(path, network=RESNET, objectives=("fidelity", "noise"), tensors=None, **changes):
    """A weights file that holds one small tensor, or `tensors`, and says of itself what it likes."""
    metadata = Header(NAFNetSpec()).to_metadata() | {
        "network": json.dumps(network),
        "objectives": json.dumps(list(objectives)),
        "omega_range": json.dumps([[0.0, 1.0]] * len(objectives)),
        **{key: json.dumps(value) for key, value in changes.items()},
    }
    storage.save_tensors(path, tensors or {"head.weight": np.zeros((3, 8, 3, 3, 3), np.float32)}, metadata)
    return path


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


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"network": {"name": "resnet", "channels": 10**9}}, "network.channels"),
        ({"network": {"name": "resnet", "blocks": 2_000_000}}, "network.blocks"),
        ({"network": {"name": "resnet", "channels": 2**14, "blocks": 10}}, "more than 1073741824 parameters"),
        ({"network": {"name": "nafnet", "encoder": [0] * 40, "decoder": [0] * 40}}, "network.encoder"),
        ({"data.patch": 10**6}, "data.patch"),
        ({"data.batch": 10**9}, "data.batch"),
        ({"data.patch": 4096, "data.batch": 1024}, "17179869184 in all; the limit is 67108864"),
        ({"data.workers": 10**6}, "data.workers"),
        ({"data.degradation": [{"kind": "gaussian_noise", "sigma": 1}] * 1000}, "data.degradation"),
        ({"data.degradation": [{"kind": "gaussian_blur", "sigma": 1, "size": 10**9 + 1}]}, "data.degradation.0.size"),
        ({"data.degradation": [{"kind": "bicubic", "scale": 16}] * 16}, f"shrinks pictures by {2**64}"),
        ({"steps": 10**30}, "steps"),
        ({"checkpoint": {"every": 10**30}}, "checkpoint.every"),
        ({"checkpoint": {"keep": 10**30}}, "checkpoint.keep"),
        ({"schedule": {"kind": "multistep", "milestones": [1] * 1001}}, "schedule.milestones"),
        ({"schedule": {"kind": "cosine", "warmup": 10**30}}, "schedule.warmup"),
        ({"omega": {"sampler": {"kind": "fixed", "value": [1] * 1000}}}, "omega.sampler.value"),
        ({"omega": {"sampler": {"kind": "mixture", "weights": [1] * 99, "of": ["cube"] * 99}}}, "omega.sampler"),
        ({"vgg": {"seed": 0, "width": 10**6}}, "vgg.width"),
        ({"discriminator": {"channels": 10**9}}, "discriminator.channels"),
        ({"discriminator": {"hidden": 10**9}}, "discriminator.hidden"),
        ({"objectives": [{"name": f"o{i}", "kind": "rec"} for i in range(10**5)]}, "objectives"),
        ({"objectives": [{"name": "a" * 100, "kind": "rec"}]}, "objectives.0.name"),
        ({"objectives": [{"name": "s", "kind": "style", "image": "x", "size": 10**30}]}, "objectives.0.size"),
    ],
)
def test_a_recipe_asks_for_more_than_anybody_wants(change, fragment, values, refused):
    with refused(RecipeError, fragment):
        parse(changed(values, change))


def test_a_discriminator_beyond_any_memory(values, refused):
    values |= {"vgg": {"seed": 0}, "objectives": [{"name": "sharp", "kind": "gan"}]}
    values["data"] = {**values["data"], "patch": 64}
    parse(values)
    with refused(RecipeError, "the discriminator would hold more than 67108864 parameters"):
        parse({**values, "discriminator": {"channels": 2**8, "scales": 6}})


def changed(values, change):
    for path, value in change.items():
        place = values
        *parents, last = path.split(".")
        for key in parents:
            place[key] = dict(place[key])
            place = place[key]
        place[last] = value
    return values


# --- YAML and JSON


def laughs(levels):
    """Nine words, nine times as many on every level: 461 bytes for 8 levels, gigabytes when written out."""
    rows = ["n0: &n0 [" + ",".join(["lol"] * 9) + "]"]
    rows += [f"n{i}: &n{i} [" + ",".join([f"*n{i - 1}"] * 9) + "]" for i in range(1, levels)]
    return "task: {" + ", ".join(rows) + "}\nsteps: 10\n"


def test_aliases_count_with_all_that_they_stand_for():
    assert read_yaml(laughs(4))["task"]["n3"][8][8][8] == ["lol"] * 9  # 7,380 values
    for levels in (5, 8, 30):
        with pytest.raises(ValueError, match=f"more than {NODES} values"):
            read_yaml(laughs(levels))
    with pytest.raises(ValueError, match="inside itself"):
        read_yaml("a: &a [1, *a]")
    assert read_yaml("a: &x {k: 1}\nb: {<<: *x, c: *x}") == {"a": {"k": 1}, "b": {"k": 1, "c": {"k": 1}}}


def test_depth_is_bounded():
    for kind, text in (("[", "]"), ('{"a":', "}")):
        inside = "1"
        for _ in range(DEPTH - 1):
            inside = kind + inside + text
        assert read_yaml(inside) == read_json(inside)
        for more in (DEPTH + 1, 3000, 100_000):
            for read in (read_yaml, read_json):
                with pytest.raises(ValueError, match=f"nested more than {DEPTH} deep"):
                    read(kind * more + "1" + text * more)
    with pytest.raises(ValueError, match="nested"):
        read_yaml("a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 30 + "*a" + "]" * 30)
    shared = []
    for _ in range(DEPTH - 1):
        shared = [shared]
    check_depth(shared)
    with pytest.raises(ValueError, match="nested"):
        check_depth([[shared]])


@pytest.mark.parametrize(
    "text",
    [
        "!!timestamp x",
        "!!bool x",
        "!!int ''",
        "!!float x",
        "!!binary é",
        "0x" + "f" * 5000,
        "9" * 5000,
        "1:" * 4000 + "0",
    ]
    + ["1:" * 400 + "1.5", "!!python/object/apply:os.system [ls]", "2024-13-45", "{[a]: b}", "[", "\0", "*a", "!x 1"],
)
def test_what_yaml_cannot_say(text, tmp_path, refused, values):
    with pytest.raises(ValueError, match=".") as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value) and "<unicode string>" not in str(caught.value)
    path = tmp_path / "r.yaml"
    path.write_text(f"steps: {text}\n")
    with refused(RecipeError, "r.yaml is not valid YAML"):
        load_recipe(path)
    path.write_text(yaml.safe_dump(values))
    with refused(RecipeError, "--set steps=", "not a YAML value"):
        load_recipe(path, [f"steps={text}"])


@pytest.mark.parametrize(
    "text",
    ["2020-01-01", "!!set {a, b}", "!!binary aGVsbG8=", ".nan", "1e999", ".inf", "{1: 2}", "[[]]", "!!omap [a: 1]"]
    + ["0x" + "f" * 90, "null", "-0", "1_0.5", "\ufeff", '"\\uD800"', '"\\0"', '"\\x1b]0;owned"'],
)
@pytest.mark.parametrize("key", ["steps", "task", "network", "objectives", "data", "base", "1", "omega.sampler.of"])
def test_values_of_every_kind_in_every_place(key, text, tmp_path, values):
    """A recipe that is valid, or one line; the message shows no character that moves the terminal."""
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    override = f"{key}={text}"
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, [override])
    assert str(caught.value).isprintable() and len(str(caught.value).encode()) < 2000


def test_bases_in_a_long_row(tmp_path, values, refused):
    for i in range(1200):
        (tmp_path / f"{i}.yaml").write_text(f"base: {i + 1}.yaml\n")
    (tmp_path / "1200.yaml").write_text(yaml.safe_dump(values))
    assert load_recipe(tmp_path / "1181.yaml") == parse(values)
    with refused(RecipeError, "inherits from more than 20 others"):
        load_recipe(tmp_path / "0.yaml")


@pytest.mark.parametrize("base", ['"\\0"', '"a\\0b.yaml"', '"\\uD800"', "x" * 5000, "/dev/zero", "[1]", "2020-01-01"])
def test_bases_that_no_system_opens(base, tmp_path, refused):
    path = tmp_path / "r.yaml"
    path.write_text(f"task: denoise\nbase: {base}\n")
    with refused(RecipeError):
        load_recipe(path)


@pytest.mark.parametrize("place", ["data.train", "data.validate", "initial.weights", "vgg.weights"])
def test_paths_that_no_system_opens(place, values, refused):
    section, key = place.split(".")
    for path, fragment in (("a\0b", "NUL"), ("\ud800", "UTF-8"), ("x" * 5000, "4096 bytes")):
        with refused(RecipeError, place, fragment):
            parse({**values, section: {**values.get(section, {}), key: path}})
    style = {"name": "s", "kind": "style", "image": "a\0b"}
    with refused(RecipeError, "objectives.0.image", "NUL", r"'a\x00b'"):
        parse({**values, "objectives": [style]})


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


# --- exported files


def onnx_file(path, header, image=("n", 3, "h", "w"), omega=(1, 2), scale=1.0):
    """A graph that returns its picture, enlarged without its header's knowledge."""
    import onnx
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)]
    if omega is not None:
        inputs.append(helper.make_tensor_value_info("omega", TensorProto.FLOAT, omega))
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, scale, scale])
    nodes = [helper.make_node("Identity", ["image"], ["restored"])]
    if scale != 1:
        nodes = [helper.make_node("Resize", ["image", "", "scales"], ["restored"], mode="nearest")]
    output = helper.make_tensor_value_info("restored", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", inputs, [output], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, header)
    onnx.save(model, path)
    return path


def header_of(**changes):
    objectives = json.dumps(["a", "b"])
    ranges = json.dumps([[0, 1], [0, 1]])
    values = {"network": json.dumps(RESNET), "objectives": objectives, "omega_range": ranges}
    return Header(NAFNetSpec()).to_metadata() | values | {key: json.dumps(value) for key, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "graph", "fragments"),
    [
        ({"size": [8, 8]}, {}, ["takes pictures ('n', 3, 'h', 'w')", "('n', 3, 8, 8)"]),
        ({"size": [10**9, 10**9]}, {}, ["damaged header", "size"]),
        ({}, {"image": ("n", 3)}, ["takes pictures ('n', 3)"]),
        ({}, {"omega": (1, 10**9)}, ["takes omega (1, 1000000000)", "(n, 2)"]),
        ({}, {"omega": (1, "many")}, ["takes omega (1, 'many')"]),
        ({}, {"omega": (2,)}, ["takes omega (2,)"]),
        ({}, {"omega": None}, ["has inputs ['image']"]),
        ({"network": {**RESNET, "blocks": 2_000_000}}, {}, ["damaged header", "network.blocks"]),
        ({"network": {"name": "style_unet", "scales": 60}}, {}, ["damaged header", "network.scales"]),
        ({"objectives": ["\x1b[2J", "b"]}, {}, ["damaged header", r"\x1b[2J"]),
    ],
)
def test_exported_files_that_promise_what_they_are_not(changes, graph, fragments, tmp_path, refuses):
    path = onnx_file(tmp_path / "m.onnx", header_of(**changes), **graph)
    refuses(f"restore {path} {P}/pictures/a.png --omega 1,0 -o {tmp_path}/x.png --backend onnx", "m.onnx", *fragments)


def test_an_exported_file_makes_another_size_than_it_promises(tmp_path, refused):
    picture, omega = np.zeros((1, 3, 8, 8), np.float32), [1, 0]
    right = load(onnx_file(tmp_path / "right.onnx", header_of()), "onnx")
    assert right.run(picture, omega).shape == (1, 3, 8, 8)
    wrong = load(onnx_file(tmp_path / "wrong.onnx", header_of(), scale=3.0), "onnx")
    with refused(BackendError, "makes float32 of shape (1, 3, 24, 24)", "promises float32 of shape (1, 3, 8, 8)"):
        wrong.run(picture, omega)


def test_names_inside_an_exported_file_that_are_not_utf8(tmp_path, refused, capfd):
    """Of metadata, and of what the graph holds; onnxruntime itself would print such an error and try once more."""
    content = onnx_file(tmp_path / "m.onnx", header_of()).read_bytes()
    for word in (b"omega_range", b"Identity", b"omega\x12"):
        assert word in content
        (tmp_path / "m.onnx").write_bytes(content.replace(word, b"\xff" + word[1:]))
        with refused(CheckpointError, "m.onnx"):
            load(tmp_path / "m.onnx", "onnx").run(np.zeros((1, 3, 8, 8), np.float32), [1, 0])
    assert capfd.readouterr() == ("", "")


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


# --- words of the command line


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        (f"evaluate {P}/model.safetensors --data {P}/pictures --grid 1000000", ["1000000", "65536"]),
        (f"evaluate {P}/model.safetensors --data {P}/pictures --grid 1" + "0" * 30, ["--grid", "at most 1000000000"]),
        (f"evaluate {P}/model.safetensors --data {P}/pictures --line 100000000", ["100000000", "65536"]),
        (f"restore {P}/model.safetensors {P}/pictures/a.png --sweep 100000 -o x.png", ["--sweep", "at most 100"]),
        (f"restore {P}/model.safetensors {P}/pictures/a.png --sweep 10000x10000 -o x.png", ["--sweep", "at most 100"]),
        (f"export {P}/model.safetensors --format onnx -o x.onnx --size 99999999x99999999", ["at most 100000000"]),
        (f"export {P}/model.safetensors --format onnx -o x.onnx --size 1" + "0" * 5000 + "x1", ["must be HxW"]),
        (f"verify {P}/model.safetensors --grid 100000", ["100000", "65536"]),
        ("bench layers --rounds 1000000", ["--rounds", "at most 10000"]),
    ],
)
def test_numbers_that_nobody_wants(line, fragments, refuses):
    refuses(line, *fragments)


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


# --- MindSpore's checkpoints


def field(number, content):
    """A field of a protobuf message: bytes, or an integer."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    low = value & 127
    return bytes([low]) if value < 128 else bytes([low | 128]) + varint(value >> 7)


def ckpt(content=bytes(12), dims=(3,), tag=b"head.weight", kind=b"Float32"):
    tensor = b"".join(field(1, dim) for dim in dims) + field(2, kind) + field(3, content)
    return field(1, field(1, tag) + field(2, tensor))


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (ckpt(bytes(15)), ["'head.weight'", "holds 3 values and 3 bytes for shape (3,)"]),
        (ckpt(tag=b"\xff\xfe"), ["not a readable MindSpore checkpoint"]),
        (ckpt(kind=b"\xff\xfe"), ["not a readable MindSpore checkpoint"]),
        (ckpt(dims=(2**62, 4)), ["3 values for shape (4611686018427387904, 4)"]),
        (ckpt(b"", dims=(2**32, 2**32)), ["0 values for shape (4294967296, 4294967296)"]),  # 2 ** 64 wraps to 0
        (ckpt(b"", dims=(0, 2**62)), ["0 values for shape (0, 4611686018427387904)"]),  # numpy has no such array
        (ckpt(b"", dims=(0, 2**31, 2**31, 4)), ["0 values for shape (0, 2147483648, 2147483648, 4)"]),
        (ckpt(dims=(2**64 - 3,)), ["3 values for shape (-3,)"]),
        (ckpt(dims=(2**64 - 1, 2**64 - 3)), ["3 values for shape (-1, -3)"]),  # their product is right
        (ckpt(dims=(1,) * 40 + (3,)), ["3 values for shape (1, 1"]),
        (ckpt(tag=b"\x1b]0;owned\x07", dims=(5,)), [r"'\x1b]0;owned\x07'"]),
        (ckpt(tag=b"x" * 10**6, dims=(5,)), ["xxx"]),
        (ckpt()[:-3], ["not a readable MindSpore checkpoint"]),
        (b"\x0a\xff\xff\xff\xff\x0f" + bytes(20), ["not a readable MindSpore checkpoint"]),  # 4 GB in 20 bytes
        (b"\x0b" * 10**5, ["not a readable MindSpore checkpoint"]),  # groups inside each other
    ],
)
def test_checkpoints_of_mindspore(content, fragments, tmp_path, refuses):
    (tmp_path / "a.ckpt").write_bytes(content)
    refuses(f"convert {tmp_path}/a.ckpt --from mindediting -o {tmp_path}/x.safetensors", "a.ckpt", *fragments)


@pytest.mark.parametrize("shape", [(0, 2**62), (1,) * 80])
def test_shapes_that_no_array_has(shape, tmp_path, refuses):
    size = 4 * math.prod(shape)
    header = json.dumps({"intro.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    refuses(f"convert {tmp_path}/a.safetensors --from nafnet -o {tmp_path}/x.safetensors", "which no array has")


def test_checkpoints_larger_than_their_format(tmp_path, refuses):
    """Refused before they are read: 6 GB of holes cost 6 GB of memory."""
    with open(tmp_path / "a.ckpt", "wb") as file:
        file.write(b"\n")
        file.truncate(6 * 2**30)
    refuses(f"convert {tmp_path}/a.ckpt --from nafnet -o {tmp_path}/x.safetensors", "a.ckpt", "6442450944 bytes")


def test_a_checkpoint_as_it_should_be(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(ckpt(np.float32([1, 2, 3]).tobytes()))
    assert read_foreign(tmp_path / "a.ckpt").tensors["head.weight"].tolist() == [1, 2, 3]
