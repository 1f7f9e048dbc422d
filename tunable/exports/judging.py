"""Exports: a network as a file for other programs, compared with the network itself before anybody sees it.

onnx, mindir   a graph with inputs `image` (n, c, h, w) and `omega`, always of rank 2, and output `restored`:
               form `shared` takes one omega (1, p) for the batch, form `basis` one per sample (n, p);
               folded at an omega, or of a plain network, it has the input `image` only;
               form `heads` has it too, and returns `heads`, base and differences one behind the other;
               form `planes` has the input `image` (n, c + p, h, w), pictures and maps of omega;
               form `prepared` is two graphs, of what no omega changes and of the rest
dni            p + 1 plain weights files, at omega = 0 and at the unit vectors; interpolating them,
               W_0 + sum_j omega_j (W_j - W_0), gives every omega exactly, as deep network interpolation does
"""

import dataclasses
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tunable.backends.heads import check_heads
from tunable.backends.model import Model, WeightsModel, load
from tunable.backends.registry import get_opener
from tunable.errors import BackendError, CheckFailed, TunableError, nearest
from tunable.exports import graphs
from tunable.exports.forms import FORMS, ONE_INPUT, PARTS, WITH_OMEGA
from tunable.exports.onnx_files import in_two_parts, require_onnx, to_float16
from tunable.files import atomic, check_writable
from tunable.images.pictures import MAX_PIXELS
from tunable.omega import format_omega
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights import storage

SUFFIXES = {"onnx": ".onnx", "mindir": ".mindir", "dni": ".safetensors"}
_SIZES = ((1, 24, 40), (3, 17, 23))  # batch, height, width of the comparison; no example has them


@dataclass(frozen=True)
class Report:
    """The result of comparing an export with its network.

    Attributes:
        format: "onnx", "mindir" or "dni".
        form: "shared", "basis", "prepared", "heads", "planes" or "folded"; "interpolated" for dni.
        errors: the relative error of the exported output against the network's, by comparison; {} where there are
            faults.
        faults: one sentence for each thing that is wrong with the graph itself.
        limit: the name of the errors' limit in tunable.tolerances.
    """

    format: str
    form: str
    errors: dict[str, float]
    faults: tuple[str, ...]
    limit: str

    @property
    def worst(self) -> float:
        """The largest error; inf where nothing was compared."""
        return max(self.errors.values(), default=float("inf"))

    @property
    def passed(self) -> bool:
        """Whether there are no faults and every error is within the limit."""
        return not self.faults and self.worst <= TOLERANCES[self.limit].limit


def checked_export(
    model: Model,
    format: str,
    path: str | Path,
    omega: ArrayLike | None = None,
    *,
    form: str = "shared",
    half: bool = False,
    size: tuple[int, int] | None = None,
) -> Report:
    """Export a model once the result has been reloaded, run and compared with it.

    Args:
        model: with weights.
        format: "onnx", "mindir" or "dni".
        path: the file; of dni, net.safetensors stands for net-0.safetensors ... net-p.safetensors; of form "prepared",
            net.onnx for net-trunk.onnx and net-tail.onnx.
        omega: (p,) to fold at; None: omega stays an input, or the network is plain.
        form: "shared" or "basis": what omega is as an input; "prepared": a file of what no omega changes and one of the
            rest; "heads": no omega, base and differences as output; "planes": pictures and maps of omega as one input.
        half: whether an ONNX file is in float16.
        size: height and width that the graph is fixed to; None: any.

    Returns:
        How far the outputs of the file are from the network's.

    Raises:
        CheckFailed: when the comparison fails; no file is left.
        TunableError: for what cannot be asked; no file is left.
    """
    checked_request(model, format, omega, form, half, size)
    files = targets(model, format, path, form)
    for target in files:
        check_writable(target)
    with tempfile.TemporaryDirectory(prefix="tunable-export-") as folder:
        made, report = tried_export(model, format, folder, omega, form=form, half=half, size=size)
        if report.faults:
            raise CheckFailed(f"the exported graph is not what it must be, and was not kept: {report.faults[0]}")
        if not report.passed:
            at = max(report.errors, key=report.errors.__getitem__)
            raise CheckFailed(
                f"the export is not equal to the network, and was not kept: relative error {report.worst:.1e} "
                f"at {at}, limit {TOLERANCES[report.limit].limit:.0e}"
            )
        for source, target in zip(made, files, strict=True):
            with atomic(target) as temporary:
                shutil.copyfile(source, temporary)
    return report


def targets(model: Model, format: str, path: str | Path, form: str = "shared") -> list[Path]:
    """Return the files that an export to `path` consists of; TunableError if its suffix is not the format's."""
    path = Path(path)
    if path.suffix != SUFFIXES[format]:
        raise TunableError(f"a file of format {format} must be named *{SUFFIXES[format]}, not {path}")
    if form == "prepared":
        return [path.with_stem(f"{path.stem}-{part}") for part in PARTS]
    if format != "dni":
        return [path]
    return [path.with_stem(f"{path.stem}-{j}") for j in range(len(model.objectives) + 1)]


def tried_export(
    model: Model,
    format: str,
    folder: str | Path,
    omega: ArrayLike | None = None,
    *,
    form: str = "shared",
    half: bool = False,
    size: tuple[int, int] | None = None,
) -> tuple[list[Path], Report]:
    """Export into a folder and compare, whatever the comparison says; the other arguments are `checked_export`'s.

    Returns:
        The files that were written into `folder`, and the result of the comparison.

    Raises:
        TunableError: for what cannot be asked.
    """
    weights = checked_request(model, format, omega, form, half, size)
    folder = Path(folder)
    if format == "dni":
        return _interpolation(weights, folder)
    source = weights if omega is None else weights.fold(omega)
    tunable = bool(source.objectives)
    made = [folder / ("model" + SUFFIXES[format])]
    header = dataclasses.replace(
        source.header, size=tuple(size) if size else None, part=form if form in ONE_INPUT else None
    )
    metadata = {**header.to_metadata(), "scale": json.dumps(header.network.scale)}
    framework = weights.backend
    framework.export(source.network, made[0], format, "shared" if form == "prepared" else form, metadata, size)
    if form == "prepared":
        whole, made = made[0], targets(model, format, made[0], form)
        in_two_parts(whole, *made)
    if half:
        for path in made:
            to_float16(path)
    place = () if format == "onnx" else (framework.device, framework.mode)
    runtime, errors = get_opener(made[0], *place), {}
    faults = graphs.faults(runtime.graph(made[0]), tunable=tunable and form in WITH_OMEGA)
    for path in made[1:]:
        faults += graphs.faults(runtime.graph(path), tunable=True, tail=True)
    if not faults:  # else it may not even take these inputs
        exported = load(made[0], runtime)
        for image, at in samples(source, form, size):
            errors[label(image, at)] = relative_error(exported.run(image, at), source.run(image, at))
    limit = "export float16" if half else "export"
    return made, Report(format, form if tunable else "folded", errors, tuple(faults), limit)


def checked_request(
    model: Model, format: str, omega: ArrayLike | None, form: str, half: bool, size: tuple[int, int] | None
) -> WeightsModel:
    """The model, or TunableError for what cannot be exported, before anything is written."""
    if format not in SUFFIXES:
        raise TunableError(f"unknown format {format!r}{nearest(format, SUFFIXES)}; known: {', '.join(SUFFIXES)}")
    if form not in FORMS:
        raise TunableError(f"unknown form {form!r}{nearest(form, FORMS)}; known: {', '.join(FORMS)}")
    if half and format != "onnx":
        raise TunableError(f"float16 is for format onnx, not {format}")
    if not isinstance(model, WeightsModel):
        raise TunableError("an exported model cannot be exported again: load the weights that it was made from")
    if size is not None and format == "dni":
        raise TunableError("a size is for a graph, onnx or mindir: format dni writes weights")
    if size is not None and min(size) < 1:
        raise TunableError(f"a size is at least 1x1 pixels, not {size[0]}x{size[1]}")
    if size is not None and math.prod(size) > MAX_PIXELS:
        raise TunableError(f"a size has at most {MAX_PIXELS} pixels, not {size[0]}x{size[1]}")
    if omega is not None and not model.objectives:
        raise TunableError("a plain network takes no omega: it is exported as it is")
    if form != FORMS[0] and (omega is not None or format == "dni" or not model.objectives):
        raise TunableError(f"form {form} is for a graph, onnx or mindir, of a tunable network that is not folded")
    if form == "heads":
        check_heads(model.header.network, len(model.objectives))
    if form == "planes" and (reason := model.header.network.without_maps):
        raise TunableError(f"form planes is for a network that takes maps, not {model.header.network.name}: {reason}")
    if form == "prepared" and format != "onnx":
        raise TunableError(f"form prepared is for format onnx, not {format}")
    if format == "dni":
        phi = model.header.network.phi
        if omega is not None:
            raise TunableError("format dni takes no omega: its files are the network at 0 and at the unit vectors")
        if not model.objectives:
            raise TunableError("format dni is for a tunable network; this one is plain")
        if model.header.network.bump:
            raise TunableError(
                "format dni wants kernels that are affine in omega; this network has bump, products of two knobs, "
                "which no interpolation reproduces"
            )
        if phi == "se":
            raise TunableError(
                "format dni wants kernels that are affine in omega (phi affine, base or identity); this network has "
                "phi se, a softmax, which no interpolation reproduces"
            )
    elif format not in model.backend.formats:
        raise TunableError(
            f"backend {model.backend.name!r} exports {', '.join(model.backend.formats)}, not {format}; "
            "mindir is for mindspore"
        )
    elif form == "planes" and format == "onnx" and size is None and not model.backend.pads_any_size:
        raise BackendError(
            f"onnx of form planes from {model.backend.name} needs a fixed size (--size HxW); from torch it does not"
        )
    elif (multiple := model.header.network.padding_multiple) != 1 and size is None and not model.backend.pads_any_size:
        raise BackendError(
            f"{model.header.network.name} pads its input to multiples of {multiple} pixels: {format} from "
            f"{model.backend.name} needs a fixed size (--size HxW); onnx from torch does not"
        )
    if format == "onnx":
        require_onnx()
    return model


def _interpolation(model: WeightsModel, folder: Path) -> tuple[list[Path], Report]:
    """The p + 1 folded weights files, compared by interpolating what was read back from them."""
    p = len(model.objectives)
    made = targets(model, "dni", folder / "model.safetensors")
    for path, omega in zip(made, np.concatenate([np.zeros((1, p)), np.eye(p)]), strict=True):
        model.fold(omega).save(path)
    (origin, header), *ends = (storage.load(path) for path in made)
    plain, errors = model.backend.build(header.network, 0), {}
    for image, omega in samples(model, "shared"):
        assert omega is not None, "a tunable model is sampled at omega"
        weights = {
            name: value + sum(step * (end[name] - value) for step, (end, _) in zip(omega, ends, strict=True))
            for name, value in origin.items()
        }
        model.backend.assign(plain, weights)
        restored = WeightsModel(model.backend, plain, header).run(image)
        errors[label(image, omega)] = relative_error(restored, model.run(image, omega))
    return made, Report("dni", "interpolated", errors, (), "interpolated")


def samples(
    model: Model, form: str, size: tuple[int, int] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """(image, omega) to compare at: corners and the inside; where a form has them, one omega per sample, or maps."""
    rng, multiple, p = np.random.default_rng(0), model.header.network.multiple, len(model.objectives)
    for batch, *sides in _SIZES:
        height, width = size or (side * multiple for side in sides)
        image = rng.uniform(size=(batch, 3, height, width)).astype(np.float32)
        if not p:
            yield image, None
            continue
        inside = rng.uniform(size=(batch, p)).astype(np.float32)
        for omega in (inside[0], *np.eye(p, dtype=np.float32)[: 1 if batch > 1 else p]):
            yield image, omega
        if form in ("basis", "prepared"):
            yield image, inside
        if form == "planes":
            yield image, rng.uniform(size=(batch, p, height, width)).astype(np.float32)


def label(image: np.ndarray, omega: np.ndarray | None) -> str:
    """Say at which size and omega a comparison was made."""
    size = "x".join(str(side) for side in image.shape)
    if omega is None:
        return size
    each = {2: "one omega per sample", 4: "one omega per pixel"}
    return f"{size}, {each.get(omega.ndim) or f'omega {format_omega(omega)}'}"
