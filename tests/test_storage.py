"""The weights file: what it holds comes back, and nothing else is accepted."""

import dataclasses
import json
import os
import re
import struct

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tunable.errors import CheckpointError, RecipeError, TunableError
from tunable.parameters.specs import ParameterSpec
from tunable.specs.networks import ResNetSpec
from tunable.weights import storage
from tunable.weights.storage import FORMAT, Header, check_tensors

SPECS = [ParameterSpec("head.weight", (3, 4, 2), "kernel", 2, "base"), ParameterSpec("head.bias", (3, 4), "bias", 2)]


@pytest.fixture
def tensors(rng):
    return {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in SPECS}


@pytest.fixture
def header(make_recipe):
    return Header.of(make_recipe())


@pytest.fixture
def path(tmp_path, tensors, header):
    storage.save(tmp_path / "model.safetensors", tensors, header)
    return tmp_path / "model.safetensors"


def test_round_trip(path, tensors, header, make_recipe):
    stored, read = storage.load(path)
    assert read == header and stored.keys() == tensors.keys()
    for name in tensors:
        assert stored[name].dtype == np.float32
        np.testing.assert_array_equal(stored[name], tensors[name])
    assert read.recipe == read.known_recipe() == make_recipe() and read.unread is None
    assert (read.objectives, read.num_objectives) == (("fidelity", "noise"), 2)
    assert read.omega_range == ((0, 1), (0, 1)) and read.network.channels == 4
    check_tensors(stored, SPECS, path)


def test_every_bit_is_kept(tmp_path, header, rng):
    """Of any finite float32: the smallest, the largest, zeros of both signs."""
    drawn = rng.integers(2**32, size=5000, dtype=np.uint32).view(np.float32)
    limits = np.finfo(np.float32)
    values = np.concatenate([drawn[np.isfinite(drawn)], np.float32([0, -0.0, limits.max, limits.smallest_subnormal])])
    storage.save(tmp_path / "a.safetensors", {"w": values}, header)
    assert storage.load(tmp_path / "a.safetensors")[0]["w"].tobytes() == values.tobytes()


def test_the_trained_range_is_the_samplers(make_recipe):
    """Of a tunable network, one pair for every knob."""
    fixed = [{"kind": "fixed", "value": value} for value in ([0.25, 1], [0.75, 0.5])]
    mixed = {"kind": "mixture", "weights": [1, 1], "of": fixed}
    for sampler, expected in (
        ("uniform", [(0, 1)] * 2),
        (fixed[0], [(0.25,) * 2, (1, 1)]),
        (mixed, [(0.25, 0.75), (0.5, 1)]),
    ):
        assert Header.of(make_recipe(omega={"sampler": sampler})).omega_range == tuple(expected)


def test_header_of_a_plain_network(tmp_path, tensors, make_recipe):
    recipe = make_recipe(
        network={"name": "resnet", "tunable": False}, omega={"sampler": {"kind": "fixed", "value": [1, 0]}}
    )
    header = Header.of(recipe)
    assert (header.objectives, header.omega_range, header.num_objectives) == ((), (), 0)
    storage.save(tmp_path / "plain.safetensors", tensors, header)
    assert storage.load(tmp_path / "plain.safetensors")[1] == header


def test_metadata_is_as_documented(path):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata.pop("format") == "tunable-convolutions/1" == FORMAT
    assert re.fullmatch("[0-9a-f]{64}", metadata.pop("digest"))
    values = {key: json.loads(value) for key, value in metadata.items()}
    assert values.keys() == {"network", "objectives", "omega_range", "recipe", "writer", "trained"}
    assert values["objectives"] == ["fidelity", "noise"] and values["network"]["name"] == "resnet"
    assert values["writer"].startswith("tunable-convolutions ")


def test_where_a_network_was_folded_is_a_field_of_its_own(tmp_path, tensors, header):
    """Earlier versions wrote it into the recipe; such files load, and are written as new ones."""
    network = header.network.model_copy(update={"tunable": False})
    folded = dataclasses.replace(
        header, network=network, objectives=(), omega_range=(), trained=None, folded_at=(0.0, 0.5)
    )
    metadata = folded.to_metadata()
    assert json.loads(metadata["folded_at"]) == [0, 0.5] and "folded_at" not in json.loads(metadata["recipe"])
    recipe_text = {**json.loads(metadata["recipe"]), "folded_at": [0, 0.5]}
    earlier = {**metadata, "recipe": json.dumps(recipe_text)}
    del earlier["folded_at"]
    converted = {**earlier, "recipe": json.dumps({"folded_at": [0, 0.5]})}  # of a network that names no recipe
    for name, values in (("new", metadata), ("earlier", earlier), ("converted", converted)):
        storage.save_tensors(tmp_path / name, tensors, values)
        read = storage.load(tmp_path / name)[1]
        assert read == (dataclasses.replace(folded, recipe=None) if name == "converted" else folded), name
        storage.save(tmp_path / "again", tensors, read)
        assert storage.load(tmp_path / "again")[1] == read
        if name != "converted":
            assert (tmp_path / "again").read_bytes() == (tmp_path / "new").read_bytes()


def test_a_recipe_of_another_version(tmp_path, tensors, header, refused):
    """It is kept as it was written, and refused only by what needs it."""
    values = {**header.recipe_values, "task": "colourise", "folded_at": [1.0, 0.0]}
    storage.save_tensors(tmp_path / "a", tensors, {**header.to_metadata(), "recipe": json.dumps(values)})
    stored, read = storage.load(tmp_path / "a")
    del values["folded_at"]
    assert read.recipe is None and read.unread.values == read.recipe_values == values and read.folded_at == (1, 0)
    assert (read.objectives, read.trained) == (header.objectives, header.trained)
    with refused(RecipeError, f"the recipe in {tmp_path / 'a'}", "task", "colourise"):
        read.known_recipe()
    storage.save(tmp_path / "b", stored, read)
    assert storage.load(tmp_path / "b")[1] == read


def test_any_memory_layout_is_stored(tmp_path, header):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    storage.save(tmp_path / "m.safetensors", {"w": turned, "s": turned[::2]}, header)
    stored, _ = storage.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(stored["w"], turned)
    np.testing.assert_array_equal(stored["s"], turned[::2])


# --- strictness


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda t: t.pop("head.bias"), ["lacks tensor 'head.bias'"]),
        (lambda t: t.update({"head.bia": t.pop("head.bias")}), ["lacks tensor 'head.bias'", "mean 'head.bia'"]),
        (lambda t: t.update(extra=np.zeros(1, np.float32)), ["'extra'", "the network does not"]),
        (lambda t: t.update({"head.bias": np.zeros((2, 4), np.float32)}), ["'head.bias'", "(2, 4)", "wants (3, 4)"]),
        (lambda t: t.update({"head.bias": np.zeros((4, 3), np.float32)}), ["'head.bias'", "(4, 3)", "wants (3, 4)"]),
        (lambda t: t.update({"head.bias": np.zeros((3, 4))}), ["'head.bias'", "float64", "wants float32"]),
        (lambda t: t.update({"head.bias": np.zeros((3, 4), np.float16)}), ["'head.bias'", "float16"]),
        (lambda t: t.update({"head.bias": np.zeros((3, 4), np.int32)}), ["'head.bias'", "int32"]),
        (lambda t: t["head.weight"].__setitem__((2, 3, 1), np.nan), ["'head.weight'", "not finite"]),
        (lambda t: t["head.weight"].__setitem__((0, 0, 0), -np.inf), ["'head.weight'", "not finite"]),
    ],
    ids=["missing", "misspelt", "extra", "kernels", "turned", "float64", "float16", "int32", "nan", "inf"],
)
def test_tensors_that_do_not_fit(change, fragments, tensors, refused):
    check_tensors(tensors, SPECS, "my.safetensors")
    change(tensors)
    with refused(CheckpointError, "my.safetensors", *fragments):
        check_tensors(tensors, SPECS, "my.safetensors")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:5],
        lambda content: content[:60],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: b"\xff" * 64,
        lambda content: b"PK\x03\x04" + b"\0" * 100,  # a .pth file
        lambda content: content[:8] + b"x" + content[9:],
    ],
    ids=["empty", "start", "header", "truncated", "longer", "noise", "zip", "json"],
)
def test_damaged_files(damage, path, refused):
    path.write_bytes(damage(path.read_bytes()))
    with refused(CheckpointError, str(path), "not a readable safetensors file"):
        storage.load(path)


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_dtypes_that_numpy_lacks(dtype, size, tmp_path, header, refused):
    entry = {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}
    text = json.dumps({"w": entry, "__metadata__": header.to_metadata()}).encode()
    path = tmp_path / "other.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * (2 * size))
    with refused(CheckpointError, str(path), "not a readable safetensors file"):
        storage.load(path)


def test_missing_files(tmp_path, refused):
    for place in (tmp_path / "absent.safetensors", tmp_path):
        with refused(CheckpointError, "no such weights file", str(place)):
            storage.load(place)


def test_foreign_files(tmp_path, refused):
    path = tmp_path / "foreign.safetensors"
    save_file({"w": np.zeros(2, np.float32)}, path)
    with refused(CheckpointError, str(path), "not a weights file of this project", "None", repr(FORMAT)):
        storage.load(path)
    save_file({"w": np.zeros(2, np.float32)}, path, {"format": "pt"})
    with refused(CheckpointError, "format 'pt'"):
        storage.load(path)
    save_file({"w": np.zeros(2, np.float32)}, path, {"format": "tunable-convolutions/2"})
    with refused(CheckpointError, "'tunable-convolutions/2'"):
        storage.load(path)


@pytest.mark.parametrize(
    ("key", "value", "fragment"),
    [
        ("network", '{"name": "resnet"', "not JSON"),
        ("network", '{"name": "resnet", "channels": "many"}', "network.channels"),
        ("network", '{"name": "resnet", "chanels": 4}', "'chanels' (did you mean 'channels'?)"),
        ("network", "[]", "network"),
        ("network", '{"name": "resnet", "tunable": false}', "tunable False"),
        ("objectives", '"ab"', "objectives"),
        ("objectives", "[1, 2]", "objectives.0"),
        ("objectives", '["a", "a"]', "('a', 'a')"),
        ("objectives", '["only"]', "2 ranges"),
        ("objectives", "[]", "2 ranges"),
        ("omega_range", "5", "omega_range"),
        ("trained", '[{"omega": "sum 2", "share": 1}]', "trained.0.omega"),
        ("omega_range", "[[0, 1]]", "1 ranges"),
        ("omega_range", "[[0, 1], [0]]", "omega_range.1"),
        ("omega_range", "[[0, 1], [0, NaN]]", "omega_range.1.1"),
        ("recipe", "[]", "recipe"),
        ("recipe", "", "not JSON"),
        ("writer", "5", "writer"),
        ("writer", None, "lacks 'writer'"),
        ("recipe", None, "lacks 'recipe'"),
    ],
)
def test_damaged_headers(key, value, fragment, tmp_path, header, refused):
    path = tmp_path / "damaged.safetensors"
    metadata = {**header.to_metadata(), key: value}
    save_file({"w": np.zeros(2, np.float32)}, path, {k: v for k, v in metadata.items() if v is not None})
    with refused(CheckpointError, str(path), "damaged header", fragment):
        storage.load(path)


# --- atomic


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_write_leaves_the_old_file(error, path, tensors, header, monkeypatch):
    def stop(descriptor):
        raise error

    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises((TunableError, KeyboardInterrupt), match="No space left" if error.args else None):
        storage.save(path, tensors, header)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


# --- the same to the bit


def test_equal_content_makes_equal_files(tmp_path, tensors, header):
    """The library writes its metadata in a random order."""
    contents = set()
    for turn in (tensors, dict(reversed(tensors.items()))):
        for _ in range(4):
            storage.save(tmp_path / "m.safetensors", turn, header)
            contents.add((tmp_path / "m.safetensors").read_bytes())
    assert len(contents) == 1


def test_tensors_are_aligned(tmp_path, rng):
    """As the format asks: the header is a multiple of 8 bytes, larger types come first; the library reads it."""
    tensors = {"b": np.uint8([1, 2, 3]), "h": np.float16([4]), "w": rng.standard_normal(3), "i": np.int64([[7]])}
    for extra in range(8):
        path = tmp_path / "m.safetensors"
        storage.save_tensors(path, tensors, {"text": "ω" + "x" * extra, "format": FORMAT})
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        entries = json.loads(content[8 : 8 + size])
        assert size % 8 == 0 and entries["__metadata__"]["text"] == "ω" + "x" * extra
        assert [name for name in entries if name != "__metadata__"] == sorted(tensors)
        for name, value in tensors.items():
            start = entries[name]["data_offsets"][0]
            assert start % value.itemsize == 0 and content[8 + size + start :].startswith(value.tobytes())
        for stored in (load_file(path), storage.load_tensors(path)[0]):
            assert all(
                np.array_equal(stored[name], value) and stored[name].dtype == value.dtype
                for name, value in tensors.items()
            )


def test_every_flipped_bit_is_noticed(path, tmp_path, refused):
    content, rng = path.read_bytes(), np.random.default_rng(0)
    start = 8 + int.from_bytes(content[:8], "little")
    damaged = tmp_path / "damaged.safetensors"
    for bit in rng.integers(8 * start, 8 * len(content), size=400):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.write_bytes(flipped)
        with refused(CheckpointError, str(damaged), "damaged", "digest"):
            storage.load(damaged)


def test_flipped_bits_in_the_name_of_the_digest_are_noticed(path, refused):
    content = path.read_bytes()
    place = content.index(b'"digest"') + 1
    for bit in range(8 * place, 8 * (place + 6)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with refused(CheckpointError, str(path)):
            storage.load(path)


def test_a_header_changed_by_hand_is_noticed(path, tensors, refused):
    metadata = storage.load_tensors(path)[1]
    save_file(tensors, path, {**metadata, "omega_range": "[[0, 2], [0, 1]]"})
    with refused(CheckpointError, str(path), "damaged", "digest"):
        storage.load(path)
    save_file({"other": tensors["head.bias"]}, path, metadata)
    with refused(CheckpointError, str(path), "damaged", "digest"):
        storage.load(path)


def test_files_without_a_digest(tmp_path, tensors, header):
    """Files of earlier versions and of others are read; others may mean something else by the word."""
    save_file(tensors, tmp_path / "old.safetensors", header.to_metadata())
    assert storage.load(tmp_path / "old.safetensors")[1] == header
    save_file(tensors, tmp_path / "other.safetensors", {"format": "pt", "digest": "theirs"})
    assert storage.load_tensors(tmp_path / "other.safetensors")[1]["digest"] == "theirs"


def test_header_names_follow_the_recipe(make_recipe):
    objectives = [{"name": "b", "kind": "noise"}, {"name": "a", "kind": "rec"}]
    header = Header.of(make_recipe(objectives=objectives))
    assert header.objectives == ("b", "a")  # omega's order, not the alphabet's
    assert header.network == ResNetSpec(channels=4, blocks=1)
