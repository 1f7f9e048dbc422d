"""Weights by the names and shapes of the programs that a network comes from, by which other programs recognise it.

chaiNNer, ComfyUI and whatever else loads files by spandrel know a network by its tensors alone: NAFNet, SwinIR and
Compact have such layouts. They hold one plain network, so omega is folded in; a set of files, at omega = 0 and at the
unit vectors, is for programs that interpolate files.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from safetensors.numpy import save_file

from tunable.arrays import Tensors
from tunable.backends.model import WeightsModel
from tunable.errors import CheckFailed, TunableError
from tunable.exports.judging import Report, checked_request, label, samples
from tunable.files import atomic
from tunable.omega import format_omega
from tunable.specs.networks import NetworkSpec, SwinIRSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights.conversion import check_fits, read_network
from tunable.weights.sources import SOURCES, scaled

KNOWN = ("nafnet", "swinir", "compact")
_IN_BYTES = 7  # the window of the official networks against JPEG artefacts, which compute in 0..255
_SIDE = 64  # pixels of the pictures that a SwinIR is said to be built for: only its masks depend on it


def export_official(model: WeightsModel, path: str | Path, omega: ArrayLike | None = None) -> tuple[list[Path], Report]:
    """Write a network by its official names, once that has been read back and compared.

    Args:
        model: with weights, of a NAFNet, a SwinIR or a Compact.
        path: the file, *.safetensors; of a tunable network without an omega net.safetensors stands for net-0 ... net-p,
            as of format dni.
        omega: (p,) to fold at.

    Returns:
        The files, and how far the networks that were read back are from the model.

    Raises:
        CheckFailed: where they are too far; no file is left.
        TunableError: for what cannot be asked.
    """
    path, network, p = Path(path), model.header.network, len(model.objectives)
    _check(network)
    if path.suffix != ".safetensors":
        raise TunableError(f"a file of format official must be named *.safetensors, not {path}")
    omegas: list[ArrayLike | None] = [omega]
    files = [path]
    if omega is None and p:
        checked_request(model, "dni", None, "shared", False, None)
        omegas = [*np.concatenate([np.zeros((1, p)), np.eye(p)])]
        files = [path.with_stem(f"{path.stem}-{j}") for j in range(p + 1)]
    errors, made = {}, []
    for at in omegas:
        folded = model if at is None else model.fold(at)
        made.append(_official(network, model.backend.parameters(folded.network)))
        read = _read_back(model, made[-1])
        for image, _ in samples(folded, "folded"):
            where = label(image, None) + ("" if at is None else f", omega {format_omega(np.asarray(at))}")
            errors[where] = relative_error(read.run(image), folded.run(image))
    report = Report("official", "folded", errors, (), "folded")
    if not report.passed:
        raise CheckFailed(
            "what was read back from the official names is not the network, and nothing was kept: relative error "
            f"{report.worst:.1e}, limit {TOLERANCES[report.limit].limit:.0e}"
        )
    for target, tensors in zip(files, made, strict=True):
        with atomic(target) as temporary:
            save_file(tensors, temporary, {"format": "pt"})
    return files, report


def _check(network: NetworkSpec) -> None:
    if network.name not in KNOWN:
        raise TunableError(f"official names are known of {', '.join(KNOWN)}, not of {network.name}")
    if isinstance(network, SwinIRSpec):
        if not network.shifted:
            raise TunableError("programs that read SwinIR's official names shift its windows; this network does not")
        if network.upsampler in ("nearest+conv", "pixelshuffle") and network.features != 64:
            raise TunableError(
                f"programs that read SwinIR's official names take {network.upsampler} to have 64 features; it has "
                f"{network.features}"
            )
        if network.depths[0] < 2 <= max(network.depths) and _SIDE % network.window:
            raise TunableError(
                "programs that read SwinIR's official names take the size of masks from the second block of the first "
                f"group; this network has none there, and a window of {network.window}, of which {_SIDE} is no multiple"
            )


def _official(network: NetworkSpec, tensors: Tensors) -> Tensors:
    """The tensors of a plain network by their official names, and what follows from them and is looked for."""
    buffers: Tensors = {}
    if network.name == "nafnet":
        tensors = {name: one[None] if name.endswith((".beta", ".gamma")) else one for name, one in tensors.items()}
    if isinstance(network, SwinIRSpec):
        tensors = scaled(tensors, 1 / 255 if network.window == _IN_BYTES else None)
        side = network.window * math.ceil(_SIDE / network.window)
        index, mask = _index(network.window), _mask(side, network.window)
        for group, depth in enumerate(network.depths):
            for block in range(depth):
                name = f"layers.{group}.residual_group.blocks.{block}"
                buffers[f"{name}.attn.relative_position_index"] = index
                if block % 2:
                    buffers[f"{name}.attn_mask"] = mask
    named = {SOURCES[network.name].foreign_name(name): one for name, one in tensors.items()}
    return {name: np.ascontiguousarray(one, one.dtype if name in buffers else np.float32)
            for name, one in (named | buffers).items()}  # fmt: skip


def _index(window: int) -> np.ndarray:
    """Which row of the table of biases a pair of pixels of a window has: (window^2, window^2) int64."""
    places = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(2, -1)
    down, across = places[:, :, None] - places[:, None, :] + window - 1
    return (2 * window - 1) * down + across


def _mask(side: int, window: int) -> np.ndarray:
    """-100 for two pixels of a shifted window that were not side by side, else 0: (windows, window^2, window^2)."""
    shift = window // 2
    part = np.digitize(np.arange(side), [side - window, side - shift])
    parts = (3 * part[:, None] + part).reshape(side // window, window, side // window, window)
    rows = parts.transpose(0, 2, 1, 3).reshape(-1, window**2)
    return np.where(rows[:, None, :] == rows[:, :, None], 0, -100).astype(np.float32)


def _read_back(model: WeightsModel, tensors: Tensors) -> WeightsModel:
    """The network that `tunable convert` makes of official tensors."""
    network, overrides = model.header.network, {}
    if isinstance(network, SwinIRSpec):
        overrides = {"img_range": 255.0} if network.window == _IN_BYTES else {}
        overrides |= {"upscale": network.upscale} if network.upsampler == "nearest+conv" else {}
    with tempfile.TemporaryDirectory(prefix="tunable-export-") as folder:
        path = Path(folder) / "official.safetensors"
        save_file(tensors, path)
        converted = read_network(path, network.name, overrides)
        check_fits(converted.tensors, converted.header, network.name, path)
    plain = model.backend.build(converted.header.network, 0)
    model.backend.assign(plain, converted.tensors)
    return WeightsModel(model.backend, plain, converted.header)
