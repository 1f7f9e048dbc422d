"""Mutated input of every kind: each must work or end in one of the project's own errors, one short line.

`python tests/fuzz.py 20000` tries so many, from another seed every time; tests/test_fuzz.py some hundred, always the
same. Every kind is a function of a folder and a generator that makes one case and tries it.
"""

import contextlib
import io
import json
import logging
import signal
import sys
import tempfile
import time
import traceback
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from tunable.commands import main
from tunable.errors import TunableError
from tunable.parameters.layouts import layout
from tunable.specs.documents import read_yaml
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import parse
from tunable.training.checkpoints import Checkpoints
from tunable.weights import retrofitted, storage
from tunable.weights.conversion import convert
from tunable.weights.run_state import STATE_FORMAT
from tunable.weights.sources import SOURCES
from tunable.weights.storage import Header

RECIPE = {
    "task": "denoise",
    "network": {"name": "resnet", "channels": 4, "blocks": 1},
    "objectives": [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise", "nu": 0.5}],
    "omega": {"sampler": {"kind": "mixture", "weights": [1, 2], "of": ["cube", {"kind": "beta", "a": 1, "b": 2}]}},
    "data": {
        "train": ["bundled"],
        "validate": "bundled",
        "patch": 16,
        "batch": 3,
        "degradation": [{"kind": "gaussian_blur", "sigma": [0, 2], "size": 5}, {"kind": "gaussian_noise", "sigma": 25}],
    },
    "vgg": {"seed": 1, "width": 4},
    "optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    "schedule": {"kind": "multistep", "milestones": [1, 2], "warmup": 3},
    "initial": {"weights": "x.safetensors"},
    "checkpoint": {"every": 5, "keep": 2},
    "steps": 10,
}
WILD = [
    None, True, 0, -1, 1, 2, 3, 4, 8, 16, 1.5, 10**6, 10**9, 10**30, -(10**30), 2**63, 2**64, 1e300, float("inf"),
    float("nan"), "", "x", "\0", "\x1b]0;owned\x07", "a\nb", "\u202e", "\ud800", "9" * 5000, "x" * 10**5, "resnet",
    "nafnet", "swinir", "style_unet", "unet", "compact", "noise", "gan", "style", "blur", "cosine", "${HOME}",
    "${NOT_SET}", "../..", [], {}, [[]], [1] * 50, ["x"] * 2000, {"": 1}, {"kind": "x"}, {"name": "nafnet"},
    {"kind": ["x"]},
]  # fmt: skip
TOKENS = [
    b"&a", b"*a", b"<<: *a", b"[", b"]", b"{", b"}", b"- ", b": ", b"!!timestamp ", b"!!int ", b"!!binary ", b"!x ",
    b"!!set ", b"!!bool ", b"0x" + b"f" * 99, b"1e999", b".nan", b"2024-13-45", b"\0", b"\x1b[2J", b"\xff", b"\n",
    b"\t", b'"', b"'", b"#", b"|", b">", b"%", b"@", b"`", b"---\n", b"...\n", b"base: r.yaml\n", b"?", b"1:2:3", b"~",
]  # fmt: skip


def structured(value, rng):
    """A copy with one thing in it changed, dropped, doubled or wrapped."""
    if isinstance(value, dict | list) and len(value) and rng.random() < 0.85:
        copy = dict(value) if isinstance(value, dict) else list(value)
        keys = list(copy) if isinstance(value, dict) else range(len(copy))
        key = keys[rng.integers(len(keys))]
        act = rng.integers(8)
        if act == 0:
            del copy[key]
        elif act == 1 and isinstance(copy, dict):
            copy[wild(rng, words=True)] = copy[key]
        elif act == 1:
            copy += [copy[key]] * int(rng.integers(1, 40))
        else:
            copy[key] = structured(copy[key], rng)
        return copy
    if rng.random() < 0.15:
        for _ in range(int(rng.choice([1, 3, 50, 200]))):
            value = [value] if rng.random() < 0.5 else {"kind": value}
        return value
    return wild(rng)


def wild(rng, *, words=False):
    known = [one for one in WILD if isinstance(one, str)] if words else WILD
    return known[rng.integers(len(known))]


def bytewise(content: bytes, rng) -> bytes:
    """Some bytes changed, dropped, doubled, or tokens of YAML put between them."""
    for _ in range(int(rng.integers(1, 6))):
        place, act = int(rng.integers(len(content) + 1)), rng.integers(5)
        if act == 0:
            content = content[:place] + bytes([rng.integers(256)]) + content[place + 1 :]
        elif act == 1:
            content = content[:place] + content[place + int(rng.integers(1, 40)) :]
        elif act == 2:
            content = content[:place] + content[place : place + 60] * int(rng.integers(2, 5)) + content[place + 60 :]
        elif act == 3:
            content = content[:place]
        else:
            content = content[:place] + TOKENS[rng.integers(len(TOKENS))] + content[place:]
    return content


def recipe_text(folder: Path, rng):
    path = folder / "r.yaml"
    path.write_bytes(bytewise(yaml.safe_dump(RECIPE).encode(), rng))
    load_recipe(path)


def recipe_values(folder: Path, rng):
    values = RECIPE
    for _ in range(int(rng.integers(1, 4))):
        values = structured(values, rng)
    recipe = parse(values)
    assert parse(recipe.to_dict()).to_dict() == recipe.to_dict()  # which leaves out what no objective uses


def override(folder: Path, rng):
    path = folder / "good.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    keys = ["steps", "data.train", "objectives.0.nu", "omega.sampler.of.1.a", "network.name", "a." * 90 + "b", "²", ""]
    value = TOKENS[rng.integers(len(TOKENS))].decode("utf-8", "surrogateescape") + str(wild(rng))[:200]
    load_recipe(path, [f"{keys[rng.integers(len(keys))]}={value}"])


@lru_cache(maxsize=1)
def _weights():
    header = Header.of(parse(RECIPE))
    rng = np.random.default_rng(0)
    tensors = {name: rng.uniform(-0.1, 0.1, shape).astype(np.float32) for name, shape in layout(header.network, 2)}
    return tensors, header


def weights_header(folder: Path, rng):
    """A header that says something else, with a right digest."""
    tensors, header = _weights()
    path = folder / "w.safetensors"
    metadata = _stored(header.to_metadata(), rng)
    storage.save_tensors(path, _other(tensors, rng), metadata)
    tensors, header = storage.load(path)
    storage.check_network(tensors, header, path)
    assert _printed(["info", str(path)]).replace("\n", "").isprintable()


def _stored(metadata: dict[str, str], rng) -> dict[str, str]:
    metadata = dict(metadata)
    for _ in range(int(rng.integers(1, 3))):
        key = list(metadata)[rng.integers(len(metadata))]
        if rng.random() < 0.7 and metadata[key][:1] in '[{"':
            with contextlib.suppress(ValueError):
                changed = structured(json.loads(metadata[key]), rng)
                metadata[key] = json.dumps(changed)
        else:
            metadata[key] = bytewise(metadata[key].encode(), rng).decode("utf-8", "replace")
    return metadata


def _other(tensors, rng):
    tensors = dict(tensors)
    if rng.random() < 0.3:
        name = list(tensors)[rng.integers(len(tensors))]
        types = (np.float16, np.float64, np.int8, np.uint8, np.bool_, np.float32)
        shape = [(0,), (), (1, 1), tensors[name].shape, (2, 3, 1, 1, 1)][rng.integers(5)]
        tensors[name if rng.random() < 0.7 else "\x1b[2J" + name] = np.zeros(shape, types[rng.integers(6)])
    return tensors


def _printed(words: list[str]) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as stop:
            status = stop.code
    lines = err.getvalue().splitlines()
    assert "TUNABLE_TRACEBACK" not in err.getvalue(), err.getvalue()
    assert status in (0, 1, 2) and (status == 0 or lines), (status, err.getvalue())
    assert all(line.isprintable() and len(line.encode("utf-8", "replace")) < 2000 for line in lines), lines
    return out.getvalue()


def weights_bytes(folder: Path, rng):
    """Changed bytes of the file itself."""
    tensors, header = _weights()
    path = folder / "b.safetensors"
    storage.save(path, tensors, header)
    content = path.read_bytes()
    head = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(bytewise(content[:head], rng) + content[head:] if rng.random() < 0.7 else bytewise(content, rng))
    tensors, header = storage.load(path)
    storage.check_network(tensors, header, path)


def _varint(value: int) -> bytes:
    low = value & 127
    return bytes([low]) if value < 128 else bytes([low | 128]) + _varint(value >> 7)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


@lru_cache(maxsize=1)
def _foreign() -> bytes:
    graph = b""
    names = {
        "head.weight": (2, 4, 3, 3, 3),
        "head.bias": (2, 4),
        "head.mlp.weight": (2, 2),
        "body.0.conv1.data": (1, 4),
    }
    for name, shape in names.items():
        dims = b"".join(_varint(8) + _varint(size) for size in shape)
        content = np.ones(shape, np.float32).tobytes()
        tensor = dims + _field(2, b"Float32") + _field(3, content)
        graph += _field(1, _field(1, name.encode()) + _field(2, tensor))
    return graph


def foreign(folder: Path, rng):
    """MindSpore's checkpoints, and safetensors files of any names and shapes."""
    if rng.random() < 0.6:
        path = folder / "f.ckpt"
        path.write_bytes(bytewise(_foreign(), rng))
    else:
        path = folder / "f.safetensors"
        words = ["head", "intro", "conv_first", "conv_in.conv", "layers.0", "body.1000000000", "downs.7", "upsample.0",
                 "encoder_decoder.3.conv", "layers.0.residual_group.blocks.0.attn.relative_position_bias_table",
                 "mlp", "phi", "conv_hr", "conv_before_upsample", "\x1b[2J", "module", "encoders.0.0.beta"]  # fmt: skip
        shapes = [(), (0,), (1,), (2, 2), (4, 3, 3, 3), (1, 4, 3, 3, 3), (225, 6)]
        tensors = {
            f"{words[rng.integers(len(words))]}.{('weight', 'bias', 'data', 'gamma')[rng.integers(4)]}": np.ones(
                shapes[rng.integers(len(shapes))], np.float32
            )
            for _ in range(int(rng.integers(1, 12)))
        }
        storage.save_tensors(path, tensors, {})
    tensors, header = convert(path, list(SOURCES)[rng.integers(len(SOURCES))])
    storage.check_network(tensors, header, path)


def checkpoint(folder: Path, rng):
    """The newest checkpoint of a run says or holds something else: it is damaged, and the one before is used."""
    tensors, _ = _weights()
    recipe = parse(RECIPE)
    specs = list(layout(recipe.network, 2))
    out = folder / "run" / "checkpoints"
    out.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():
        path.unlink()
    stored = {"weights." + name: value for name, value in tensors.items()}
    for step in (1, 2):
        metadata = {"format": STATE_FORMAT, "step": str(step), "recipe": json.dumps(recipe.to_dict())}
        stored_now = stored
        if step == 2:
            metadata, stored_now = _stored(metadata, rng), _other(stored, rng)
        storage.save_tensors(out / f"step-{step:08d}.safetensors", stored_now, metadata)
    newest = Checkpoints(folder / "run").newest(recipe, {}, specs, [])
    assert newest.step in (1, 2)


def made_tunable(folder: Path, rng):
    """The file of a network made tunable."""
    plan = {"num_objectives": 2, "phi": "base", "train": "all", "rank": 0, "tensors": {"a": "b"}}
    metadata = {"format": retrofitted.FORMAT, "plan": json.dumps(plan), "writer": "x"}
    storage.save_tensors(folder / "t.safetensors", {"a": np.zeros(2, np.float32)}, _stored(metadata, rng))
    retrofitted.load(folder / "t.safetensors")


def words(folder: Path, rng):
    """A command line holds words in any order; none of them reaches a framework."""
    tensors, header = _weights()
    storage.save(folder / "m.safetensors", tensors, header)
    known = ["info", "convert", "train", "fold", "--help", "--version", "--json", "--omega", "1,0", "--set", "steps=1",
             "--from", "nafnet", "mindediting", "-o", "--out", str(folder / "m.safetensors"), str(folder / "no"),
             "--objectives", "--backend", "nothing", "--device", "-", "--", "-x", "", "--allow-pickle"]  # fmt: skip
    line = [["info", "convert", "train", "fold", "evaluate"][rng.integers(5)]]
    for _ in range(int(rng.integers(0, 6))):
        word = known[rng.integers(len(known))] if rng.random() < 0.7 else str(wild(rng, words=True))
        line.append(word)
    if "-o" in line or "--out" in line:  # what is written lies in the folder
        line = [str(folder / "out" / "o") if before in ("-o", "--out") else word
                for before, word in zip(["", *line], line, strict=False)]  # fmt: skip
    _printed([*line, "--backend", "nothing"] if line[0] in ("fold", "evaluate", "train") else line)


def nested_yaml(folder: Path, rng):
    """Anchors and aliases at random."""
    rows = []
    for i in range(int(rng.integers(1, 30))):
        inside = [f"*a{rng.integers(i + 1)}" if rng.random() < 0.8 and i else "x" for _ in range(rng.integers(1, 12))]
        rows.append(f"k{i}: &a{i} [{', '.join(inside)}]")
    with contextlib.suppress(ValueError):
        assert len(json.dumps(read_yaml("\n".join(rows)))) < 10**6


KINDS = [
    recipe_text, recipe_values, override, weights_header, weights_bytes, foreign, checkpoint, made_tunable, words,
    nested_yaml,
]  # fmt: skip


class Hang(BaseException):
    """A case does not end; not an Exception, which somebody may catch."""


def _hang(*_):
    raise Hang


def attempt(kind, folder: Path, seed: int, most: float = 10) -> str:
    """What is wrong with one case, "" when nothing is; it may take so many seconds of the processor.

    After twice as many it is ended, unless it never comes back from code that is not Python.
    """
    begun, before = time.process_time(), signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, 2 * most)
    try:
        kind(folder, np.random.default_rng(seed))
    except TunableError as error:
        message = str(error)
        if not message.isprintable() or len(message.encode()) > 2000:
            return f"{kind.__name__} {seed}: a message that is none: {message[:200]!r}"
    except Exception:
        return f"{kind.__name__} {seed}: {traceback.format_exc(limit=-4)}"
    except Hang:
        return f"{kind.__name__} {seed}: hangs: {traceback.format_exc(limit=-4)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    taken = time.process_time() - begun
    return f"{kind.__name__} {seed}: {taken:.1f} s" if taken > most else ""


if __name__ == "__main__":
    logging.disable()  # of checkpoints that are damaged, which they are
    first, faults = time.time_ns() // 10**6, 0
    with tempfile.TemporaryDirectory() as place:
        for number in range(int(sys.argv[1])):
            if fault := attempt(KINDS[number % len(KINDS)], Path(place), first + number):
                faults += 1
                print(fault, flush=True)
    print(f"{sys.argv[1]} cases from seed {first}: {faults} faults")
