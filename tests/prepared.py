"""Good and bad files for command lines, and the command lines that start from good ones."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from tunable.backends.model import load
from tunable.commands import main
from tunable.weights import storage

NOT_A_PICTURE = "hello, this is text"
P = "{place}"
MODEL = f"{P}/model.safetensors"
TRAIN = f"train {P}/recipe.yaml --out {P}/new"
EVALUATE = f"evaluate {MODEL} --data {P}/pictures --sigma 15"
KNOBS = f"knobs {MODEL} --data {P}/pictures --sigma 15"
RESTORE = f"restore {MODEL} {P}/pictures/a.png -o {P}/x.png"
FOLD = f"fold {MODEL} -o {P}/x.safetensors"


def two_pictures(place):
    """Two tiny colour pictures in a folder, every pixel of both different."""
    values = np.random.default_rng(3).permutation(2 * 20 * 24).reshape(2, 20, 24)
    for name, picture in zip("ab", values, strict=True):
        channels = np.stack([picture % 256, picture // 256, (picture * 7) % 251], axis=-1).astype(np.uint8)
        Image.fromarray(channels).save(place / f"{name}.png")


def prepare(at, weights_file, backend, recipe_values):
    """Fill the folder `at`; command lines call it {place}."""

    def path(name, content=None):
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            (at / name).write_text(content)
        elif isinstance(content, bytes):
            (at / name).write_bytes(content)
        elif isinstance(content, dict):
            (at / name).write_text(yaml.safe_dump(content))
        elif isinstance(content, Image.Image):
            content.save(at / name)
        return at / name

    good = Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 24, 3), dtype=np.uint8))
    path("pictures/a.png", good)
    png = (at / "pictures" / "a.png").read_bytes()
    path("cut/a.png", png)
    path("cut/b.png", png[: len(png) // 2])
    path("text/a.png", NOT_A_PICTURE)
    path("nested/HR/a.png", good)
    path("small/a.png", Image.new("RGB", (10, 40)))
    path("data.txt", NOT_A_PICTURE)
    path("plain_file", "kept")
    (at / "empty").mkdir()
    (at / "folder.safetensors").mkdir()

    values = {**recipe_values, "data": {**recipe_values["data"], "train": str(at / "pictures")}, "steps": 1}
    path("recipe.yaml", values)
    path("unknown_key.yaml", {**values, "optimiser": {"learning_rate": 1}})
    path("no_data.yaml", {key: value for key, value in values.items() if key != "data"})
    path("list.yaml", "- a\n- b\n")
    path("broken.yaml", "task: [denoise\nsteps: {")
    path("binary.yaml", b"\x00\xff\xfe")
    path("orphan.yaml", {"base": "absent.yaml"})
    path("circle.yaml", {"base": "circle.yaml"})

    tensors, header = storage.load(weights_file)
    whole = weights_file.read_bytes()

    def weights(name, change, head=header):
        changed = {key: value.copy() for key, value in tensors.items()}
        change(changed)
        storage.save(at / name, changed, head)

    path("model.safetensors", whole)
    load(weights_file, backend).fold([1, 0]).save(at / "plain.safetensors")
    path("short.safetensors", whole[:-40])
    path("stub.safetensors", whole[:5])
    storage.save_tensors(at / "foreign.safetensors", tensors, {"format": "pt"})
    weights("nan.safetensors", lambda tensors: tensors["head.weight"].fill(np.nan))
    weights("missing.safetensors", lambda tensors: tensors.pop("tail.bias"))
    weights("extra.safetensors", lambda tensors: tensors.update(more=np.zeros(1, np.float32)))
    weights("shape.safetensors", lambda tensors: tensors.update({"tail.bias": np.zeros((3, 4), np.float32)}))
    weights("wide.safetensors", lambda tensors: tensors.update({"tail.bias": tensors["tail.bias"].astype(np.float64)}))
    words = ["train", str(at / "recipe.yaml"), "--backend", backend.name, "--out", str(at / "run")]
    assert main(words) == 0
    path("damaged/checkpoints/step-00000001.safetensors", whole[:50])


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != "__pycache__"
    }


def answer(call):
    """The JSON that a successful call printed."""
    status, out, err = call
    assert status == 0, err
    return json.loads(out, parse_constant=pytest.fail)  # strict: no NaN


def cut(path):
    """Whole by its header, damaged at two thirds."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
