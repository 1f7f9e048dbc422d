"""Recipes that anybody may have written: what they ask for is compared with what there is, one line in a moment."""

import pytest
import yaml
from prepared import P
from untrusted import laughs

from tunable.errors import RecipeError
from tunable.specs.documents import DEPTH, NODES, check_depth, read_json, read_yaml
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import parse


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
