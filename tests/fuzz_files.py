"""Mutated files of larger kinds, as tests/fuzz.py has those of recipes and weights: pictures, packs, exported files."""

import contextlib
import io
from functools import lru_cache
from pathlib import Path

import fuzz
import numpy as np
from photographs import photograph
from PIL import Image
from untrusted import header_of, onnx_file

from tunable.backends.onnx_runtime import Backend
from tunable.certificate.packs import read_pack
from tunable.certificate.programs import Weights
from tunable.images.pictures import read, read_frames
from tunable.weights import storage

PACKED = Path(__file__).parent.parent / "docs/results/denoise_mini"
FORMATS = {
    ".png": {}, ".jpg": {"quality": 80}, ".webp": {"lossless": True}, ".tif": {"compression": "tiff_lzw"}, ".bmp": {},
    ".gif": {}, ".ppm": {},
}  # fmt: skip


@lru_cache(maxsize=1)
def _pictures() -> dict[str, bytes]:
    contents = {}
    for suffix, options in FORMATS.items():
        stream, kind = io.BytesIO(), Image.registered_extensions()[suffix]
        Image.fromarray(photograph(24)).save(stream, kind, **options)
        contents[suffix] = stream.getvalue()
    stream = io.BytesIO()
    Image.fromarray(photograph(24)[:, :, 0].astype(np.uint16) * 256).save(stream, "PNG")
    return contents | {".16.png": stream.getvalue()}


def pictures(folder: Path, rng):
    """A picture whose bytes are changed, most often near its beginning, where sizes stand."""
    suffix = list(_pictures())[rng.integers(len(_pictures()))]
    content = _pictures()[suffix]
    head = int(rng.choice([40, 200, len(content)]))
    path = folder / f"p{suffix}"
    path.write_bytes(fuzz.bytewise(content[:head], rng) + content[head:])
    for one in (lambda: read(path), lambda: list(read_frames(path))) if rng.random() < 0.2 else (lambda: read(path),):
        one()


@lru_cache(maxsize=1)
def _pack():
    tensors, header = storage.load(PACKED / "mindspore.safetensors")
    return Weights("m.safetensors", tensors, header), storage.load_tensors(PACKED / "mindspore.pack.safetensors")


def packs(folder: Path, rng):
    """A pack that says something else, with a right digest, or whose bytes are changed."""
    weights, (tensors, metadata) = _pack()
    path = folder / "p.safetensors"
    if rng.random() < 0.7:
        metadata = {key: value for key, value in metadata.items() if key != storage.DIGEST}
        storage.save_tensors(path, fuzz._other(tensors, rng), fuzz._stored(metadata, rng))
    else:
        content = (PACKED / "mindspore.pack.safetensors").read_bytes()
        path.write_bytes(fuzz.bytewise(content[:4000], rng) + content[4000:])
    read_pack(path, weights)


@lru_cache(maxsize=1)
def _exported(folder: Path) -> bytes:
    return onnx_file(folder / "good.onnx", header_of(objectives=["a", "b"])).read_bytes()


def exported(folder: Path, rng):
    """An ONNX file whose header says something else, or whose bytes are changed; what opens is folded and run."""
    path, backend = folder / "e.onnx", Backend(device="cpu")
    if rng.random() < 0.5:
        shapes = [("n", 3, "h", "w"), (1, 3, 8, 8), ("n", 1, "h", "w"), (3,), ("n", 3, "h")]
        omegas = [(1, 2), ("n", 2), None, (2,), (1, 3)]
        scale = float(rng.choice([1, 1, 2, 0.5]))
        onnx_file(path, fuzz._stored(header_of(), rng), shapes[rng.integers(5)], omegas[rng.integers(5)], scale)
    else:
        path.write_bytes(fuzz.bytewise(_exported(folder), rng))
    session, header = backend.open(path)
    with contextlib.suppress(ValueError):  # of numpy, for shapes that do not fit
        size = header.num_objectives
        omega = np.zeros(size, np.float32) if size else None
        backend.run(session, np.zeros((1, 3, 8, 8), np.float32), omega)
        if omega is not None and backend.folds(session):
            backend.run(backend.fold(session, omega), np.zeros((1, 3, 8, 8), np.float32), None)


KINDS = [pictures, packs, exported]
