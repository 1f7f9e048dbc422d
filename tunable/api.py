"""What the command line does, as functions of Python: train, evaluate, knobs, restore, verify, export."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from tunable.backends.model import Model, WeightsModel, load
from tunable.backends.protocol import Framework
from tunable.backends.registry import default_backend, get_framework, requested
from tunable.certificate import Certificate
from tunable.certificate import verify as judge
from tunable.data.pairs import partners
from tunable.errors import TunableError, shown
from tunable.evaluation.measuring import Measurement
from tunable.evaluation.measuring import evaluate as measure
from tunable.evaluation.perceptual import Metric
from tunable.exports.judging import Report, checked_export
from tunable.exports.programs import PROGRAMS, export_for
from tunable.images.pictures import Picture, from_network, read_picture, to_levels, to_network, write_frames
from tunable.images.tiling import run_tiled
from tunable.models import find
from tunable.omega import axes_of
from tunable.own import permitted
from tunable.response import KnobCertificate, Tolerances, certify
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import Recipe
from tunable.training.loop import train as run_training

__all__ = ["Model", "evaluate", "export", "knobs", "load", "restore", "train", "verify"]


def train(
    recipe: str | Path | Recipe,
    out: str | Path,
    *,
    backend: str | Framework | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    allow_change: Sequence[str] = (),
    progress: Callable[[int, int, float], None] | None = None,
) -> WeightsModel:
    """Train a recipe, as `tunable train` does, and return the model.

    Args:
        recipe: the path of a YAML file, the name of a recipe that ships, such as "denoise/mini", or a recipe that was
            read.
        out: the folder of the run; its weights are `out/model.safetensors`.
        backend: "torch" or "mindspore"; None: the first that is installed.
        overrides: values of the file to replace, such as "data.batch=8"; not with a recipe that was read.
        resume: whether to go on with the newest checkpoint in `out`.
        allow_change: with `resume`, keys of the recipe, or sections, that may differ from before.
        progress: called after every step with the step, the number of steps and the loss.

    Returns:
        The trained model, whose weights file stands in `out` too.

    Raises:
        TunableError: as `tunable.training.loop.train`, and for a recipe that cannot be read.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, list(overrides))
    elif overrides:
        raise TunableError(f"overrides are for a recipe in a file, not for one that was read: {shown(list(overrides))}")
    framework = _framework(backend)
    return run_training(recipe, framework, out, resume=resume, allow_change=allow_change, progress=progress)


def evaluate(
    model: Model,
    folder: str | Path,
    omegas: np.ndarray | None = None,
    *,
    sigmas: Sequence[float] | None = None,
    rhos: Sequence[float] | None = None,
    ssim: bool = True,
    degraded: str | Path | None = None,
    extra: Mapping[str, Metric] = MappingProxyType({}),
) -> list[Measurement]:
    """Measure a model on clean pictures that are degraded by the measuring protocol, as `tunable evaluate` does.

    Args:
        model: what `load` returned.
        folder: of clean pictures.
        omegas: (K, p), the settings to measure; None for a plain network.
        sigmas: noise levels in 1/255; None: 5, 15, 30.
        rhos: blur levels in pixels; None: the levels of the network's task.
        ssim: whether SSIM is measured beside PSNR.
        degraded: a folder of the same pictures as somebody else degraded them, under the same names; None: the protocol
            degrades them.
        extra: LPIPS and NIQE by name, where `tunable.evaluation.perceptual.chosen` gave them.

    Returns:
        One measurement per picture, level and omega.

    Raises:
        TunableError: for levels that the network's task has not.
        DataError: for a picture that cannot be used, before any is measured.
    """
    given = partners([str(folder)], [str(degraded)], model.header.network.scale) if degraded else {}
    return measure(model, str(folder), omegas, sigmas, rhos, ssim=ssim, given=given, extra=extra)


def knobs(
    model: Model,
    data: str | Path,
    *,
    sigmas: Sequence[float] | None = None,
    rhos: Sequence[float] | None = None,
    along: str = "trained",
    tolerances: Tolerances | None = None,
    limit: int | None = None,
    crop: int | None = None,
) -> KnobCertificate:
    """Measure what each knob of a model does, and judge it where the model was trained, as `tunable knobs` does.

    Args:
        model: what `load` returned, tunable.
        data: a folder of clean pictures, or one picture.
        sigmas: noise levels in 1/255; None: as `evaluate`.
        rhos: blur levels in pixels; None: as `evaluate`.
        along: "axes", along which one knob is turned alone, "edges", along which another is turned down, or "trained":
            axes if the model was trained along one, else edges.
        tolerances: by which is judged, a `tunable.response.Tolerances`; None: those of the command.
        limit: how many pictures are taken, the first ones; None: all.
        crop: pixels of the central square that is taken of each picture; None: the whole picture.

    Returns:
        The certificate; `certificate.passed` says whether no knob fails.

    Raises:
        TunableError: for a plain network, and for levels that the network's task has not.
        DataError: for a picture that cannot be used, before any is restored.
    """
    return certify(
        model, str(data), sigmas=sigmas, rhos=rhos, along=along, tolerances=tolerances, limit=limit, crop=crop
    )


def restore(
    model: Model,
    picture: str | Path | np.ndarray,
    omega: ArrayLike | None = None,
    *,
    out: str | Path | None = None,
    tile: int | None = None,
    quality: int | None = None,
    max_pixels: int | None = None,
) -> np.ndarray:
    """Restore one picture of any size, as `tunable restore` does.

    Args:
        model: what `load` returned.
        picture: a file, or its values (H, W, 3): floats in 0..1, or levels, uint8 or uint16.
        omega: (p,), or a map (p, H, W), one setting for every pixel; None for a plain network.
        out: also write the result there; of a file with its profile, transparency and tags.
        tile: pixels along a tile's side, to bound the memory; None: as `tunable restore` chooses.
        quality: of JPEG, AVIF and WebP, 1 to 100.
        max_pixels: a file with more is refused; None: the limit of `tunable restore`.

    Returns:
        (scale H, scale W, 3): levels for a file and for levels, else float32.

    Raises:
        DataError: for a file that is no picture, or a result that cannot be written.
        OmegaError: for an omega of another length than the network's, and a map of another size than the picture.
    """
    file = None if isinstance(picture, np.ndarray) else read_picture(picture, max_pixels)
    values = file.levels if file else np.asarray(picture)
    if omega is not None and axes_of(omega) == 3:
        omega = np.asarray(omega)[None]
    restored = from_network(run_tiled(model, to_network(values), omega, tile))
    if out is not None:
        write_frames(out, [file._replace(levels=restored)] if file else [Picture(to_levels(restored))], quality=quality)
    return restored


def verify(
    path: str | Path,
    *,
    backends: Sequence[str] | None = None,
    points: int = 5,
    exports: tuple[str, ...] = (),
    record: str | Path | None = None,
    against: str | Path | None = None,
    allow_import: bool = False,
) -> Certificate:
    """Judge the frameworks on the tunable network in a weights file, as `tunable verify` does.

    Args:
        path: a weights file of a tunable network, or the name of a model that ships.
        backends: the frameworks to compare; None: all that are installed.
        points: of a grid of omega along each axis.
        exports: formats, "onnx" and "mindir", whose files are judged too.
        record: also write the truth there as a pack, if all passes.
        against: a pack to judge by.
        allow_import: whether the modules of networks and objectives of one's own, which the file names, may be imported
            and run.

    Returns:
        The certificate; `certificate.passed` says whether every comparison holds.

    Raises:
        TunableError: for a plain network, and for what cannot be recorded.
    """
    names = list(requested() if backends is None else backends)
    options = {"exports": exports, "record": record, "against": against}
    chosen = [get_framework(name) for name in names]
    with permitted(allow_import):
        certificate = judge(find(path), chosen, points=points, **options)
    given = {"backends": names, "points": None if against else points, **options, "allow_import": allow_import}
    written = {name: str(value) if isinstance(value, Path) else value for name, value in given.items() if value}
    words = [repr(str(path)), *(f"{name}={value!r}" for name, value in written.items())]
    certificate.subject["Python call"] = f"tunable.verify({', '.join(words)})"
    return certificate


def export(
    model: Model,
    path: str | Path,
    *,
    format: str = "onnx",
    omega: ArrayLike | None = None,
    form: str = "shared",
    half: bool = False,
    size: tuple[int, int] | None = None,
) -> Report:
    """Write a model for other programs, as `tunable export` does: compared with the network before the file is there.

    Args:
        model: what `load` returned.
        path: the file.
        format: "onnx", "mindir" (MindSpore's), "dni", a set of plain weights files, or for other programs "official",
            "darktable" or "ncnn". `tunable.exports.web.export_web` writes a page.
        omega: (p,) to fold at; None: omega stays an input.
        form: "shared", one omega for the batch, or "basis", one per sample.
        half: whether an ONNX file is in float16.
        size: height and width that the graph is fixed to; None: any.

    Returns:
        How far the file's outputs are from the network's.

    Raises:
        CheckFailed: where they are too far; no file is left.
        TunableError: for what cannot be asked.
    """
    if format in PROGRAMS:
        if form != "shared" or half:
            raise TunableError(f"a form and float16 are for a graph, onnx or mindir, not for format {format}")
        return export_for(model, format, path, omega, size)[1]
    return checked_export(model, format, path, omega, form=form, half=half, size=size)


def _framework(backend: str | Framework | None) -> Framework:
    return get_framework(backend or default_backend()) if backend is None or isinstance(backend, str) else backend
