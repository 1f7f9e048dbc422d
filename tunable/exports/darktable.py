"""A folder that darktable (5.6 and later) finds among its models: a manifest and a network of one setting and size.

darktable scans the folders of `models` in its configuration for a `config.json`. A model of the task `denoise` takes
pictures in sRGB as `input` (1, 3, H, W) and returns `output`; one of the task `upscale` lies in `model_x2.onnx` or
`model_x4.onnx`. Height and width are fixed, since some of its runtimes compile a network anew for every size.
"""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tunable.backends.model import WeightsModel
from tunable.errors import CheckFailed, TunableError
from tunable.exports.judging import Report, checked_export
from tunable.exports.onnx_files import renamed_ends
from tunable.files import atomic, check_writable, write_text
from tunable.omega import format_omega
from tunable.tolerances import TOLERANCES, relative_error
from tunable.version import __version__

CONFIG = "config.json"
_KINDS = {1: ("denoise", "model", 768), 2: ("upscale", "model_x2", 512), 4: ("upscale", "model_x4", 256)}
"""Scale -> task, name of the network's file, and pixels along the sides of its tiles, as darktable's own models."""


def export_darktable(
    model: WeightsModel, folder: str | Path, omega: ArrayLike | None = None, size: tuple[int, int] | None = None
) -> tuple[list[Path], Report]:
    """Write a folder for darktable, once the network in it has been run by onnxruntime and compared.

    Args:
        model: with weights.
        folder: made, or of an earlier export; its name becomes the model's identifier.
        omega: (p,) to fold at; None for a plain network.
        size: height and width of the tiles, which are equal; None: as darktable's own models have them.

    Returns:
        The files, and how far the network's output is from the model's.

    Raises:
        CheckFailed: where it is too far; no file is left.
        TunableError: for what cannot be asked.
    """
    folder, network = Path(folder), model.header.network
    if network.scale not in _KINDS:
        raise TunableError(f"darktable takes networks that keep the size or enlarge 2 or 4 times, not {network.scale}")
    task, stem, side = _KINDS[network.scale]
    if size and size[0] != size[1]:
        raise TunableError(f"darktable's tiles are as high as wide, not {size[0]}x{size[1]}")
    size = size or (side, side)
    files = [folder / CONFIG, folder / f"{stem}.onnx"]
    others = sorted({path.name for path in folder.iterdir()} - {path.name for path in files}) if folder.is_dir() else []
    if others:
        raise TunableError(f"{folder} holds {others[0]}, which is of no earlier export; choose another folder")
    for path in files:
        check_writable(path)
    with tempfile.TemporaryDirectory(prefix="tunable-export-") as temporary:
        made = Path(temporary) / "model.onnx"
        report = checked_export(model, "onnx", made, omega, size=size)
        renamed_ends(made, {"image": "input", "restored": "output"}, batch=1)
        error = _error(model if omega is None else model.fold(omega), made, size)
        if error > TOLERANCES["export"].limit:
            raise CheckFailed(f"the network for darktable is not equal to the model: relative error {error:.1e}")
        with atomic(files[1]) as target:
            target.write_bytes(made.read_bytes())
    at = f" at omega {format_omega(omega)}" if omega is not None else ""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    config = {
        "id": name if name.startswith(f"{task}-") else f"{task}-{name}",
        "name": name.replace("-", " "),
        "description": f"{network.name}{at}, by tunable-convolutions {__version__}",
        "task": task,
        "version": "1.0",
        "arch": network.name,
        "backend": "onnx",
        "num_inputs": 1,
        "tiling": True,
        "attributes": {"input_sizes": [size[0]]} if network.scale == 1 else {stem: {"input_sizes": [size[0]]}},
    }
    write_text(files[0], json.dumps(config, indent=2) + "\n")
    return files, Report("darktable", "folded", {**report.errors, "as darktable calls it": error}, (), "export")


def _error(model: WeightsModel, path: Path, size: tuple[int, int]) -> float:
    import onnxruntime

    image = np.random.default_rng(1).random((1, 3, *size), np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(["output"], {"input": image})
    return relative_error(output, model.run(image))
