"""A page with sliders that needs no server: of pictures that it holds, or one that restores a visitor's photographs.

Of given pictures the page holds a base and difference pictures, and opens by a double click; this is for networks whose
pictures are affine in omega. A page that opens a visitor's photograph comes with the network as ONNX and with
onnxruntime-web, which runs it in a worker; any server of files will do. Either way nothing is computed elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunable.backends.heads import Heads, anchor_of, heads_fault
from tunable.backends.model import Model
from tunable.errors import CheckFailed, TunableError
from tunable.exports import npm
from tunable.exports.judging import Report, checked_export, targets
from tunable.files import atomic, check_writable, write_text
from tunable.images.contact_sheets import enlarged
from tunable.images.pictures import from_network, read, size_of, to_levels, to_network
from tunable.images.tiling import WHOLE, heads_tiled, run_tiled
from tunable.omega import format_omega
from tunable.reports import live
from tunable.reports.page import render
from tunable.sliders import knobs_of, omega_of
from tunable.tolerances import TOLERANCES, relative_error
from tunable.version import __version__

MOST = 16_000_000  # pixels of what a page shows: with one knob it takes some 50 bytes of memory for each
TILE = 512  # pixels along a side of what a visitor's photograph is cut into, at least
RUNTIME = ("dist/ort.wasm.min.js", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm")
PAGE, WORKER, MODEL = "index.html", "worker.js", "model.onnx"
_EMPTY = np.zeros((1, 1, 3), np.float32)


def export_web(
    model: Model,
    folder: str | Path,
    pictures: Sequence[str | Path] = (),
    *,
    form: str | None = None,
    start: Sequence[float] = (),
    presets: Mapping[str, Sequence[float]] | None = None,
    runtime: str | Path | None = None,
) -> Report:
    """Write a page with a slider for every knob.

    Args:
        model: with knobs, in a framework.
        folder: made, or of an earlier export.
        pictures: files that the page holds; (): it opens a visitor's photographs, and comes with the network.
        form: of the network that comes with it, as `checked_export`, heads, prepared, planes or shared; None: the first
            of these that there is.
        start: omega (p,) at first; (): the middle of every range.
        presets: name -> omega (p,); None: the ends.
        runtime: the tarball of onnxruntime-web that `npm pack` wrote; None: fetched by npm once.

    Returns:
        How far what the page shows, or the network that comes with it, is from the network.

    Raises:
        CheckFailed: where that is too far; no page is left.
        TunableError: for what cannot be asked; the folder is as it was.
    """
    if not model.objectives:
        raise TunableError("a page with sliders is for a tunable network; this one is plain")
    folder, sliders = Path(folder), _Sliders(model, start, presets)
    if pictures:
        _check_pictures(model, pictures)
    needed = {} if pictures else npm.read(npm.ONNXRUNTIME_WEB, RUNTIME, runtime)
    _check_folder(folder)
    if pictures:
        return _of_pictures(model, folder, pictures, sliders)
    return _of_network(model, folder, form, sliders, needed)


class _Sliders:
    """The sliders of a model, as the page has them, and omega = start + sum_j position_j along_j, positions 0 to 1."""

    def __init__(self, model: Model, start: Sequence[float], presets: Mapping[str, Sequence[float]] | None) -> None:
        knobs = knobs_of(model, start)
        lows = [knob.low for knob in knobs]
        rows = [[knob.high if k == j else low for k, low in enumerate(lows)] for j, knob in enumerate(knobs)]
        omegas = [omega_of(model, values) for values in (lows, *rows)]
        self.start, *ends = (omega for omega in omegas if omega is not None)  # none is, for the model has knobs
        self.along = [end - self.start for end in ends]
        self.knobs = [
            live.Knob(one.name, f"{one.low:g}", f"{one.high:g}", one.start, one.low, one.high) for one in knobs
        ]
        named = {name: [one.start for one in knobs_of(model, omega)] for name, omega in (presets or {}).items()}
        self.presets = named or live.ends(self.knobs)


def _check_pictures(model: Model, pictures: Sequence[str | Path]) -> None:
    fault = heads_fault(model.header.network, len(model.objectives))
    if not fault and model.header.network.formulation.bump:
        fault = "with bump a picture is no base and a difference for each slider"
    if fault:
        raise TunableError(f"{fault}; without pictures the page comes with the network, which any network can")
    pixels = sum(math.prod(size_of(path)) for path in pictures) * model.header.network.scale**2
    if pixels > MOST:
        raise TunableError(
            f"a page shows up to {MOST:,} pixels, and these pictures make {pixels:,}; without pictures it opens one at "
            "a time"
        )


def _of_pictures(model: Model, folder: Path, pictures: Sequence[str | Path], sliders: _Sliders) -> Report:
    figures, errors = [], {}
    inside = sliders.start + sum(0.5 * along for along in sliders.along)
    for path in pictures:
        degraded, stem = to_network(read(path)), Path(path).stem
        heads = heads_tiled(model, degraded)
        error = relative_error(heads.at(inside), run_tiled(model, degraded, inside))
        errors[f"{Path(path).name}, omega {format_omega(inside)}"] = error
        if error > TOLERANCES["export"].limit:
            raise CheckFailed(f"the page of {path} does not show what the network makes: relative error {error:.1e}")
        figures.append(_figure(stem.replace("_", " "), heads, degraded, sliders, f"{stem}-restored"))
    for left in _OF_NETWORK:
        (folder / left).unlink(missing_ok=True)
    _write_page(folder, model, figures, ["The pictures are in this page, which needs no other file and no network."])
    return Report("web", "heads", errors, (), "export")


def _of_network(
    model: Model, folder: Path, form: str | None, sliders: _Sliders, runtime: Mapping[str, bytes]
) -> Report:
    network, p = model.header.network, len(model.objectives)
    form = form or _form_of(model)
    report = checked_export(model, "onnx", folder / MODEL, form=form)
    files = [path.name for path in targets(model, "onnx", MODEL, form)]
    for left in set(_OF_NETWORK) - {*files, WORKER}:
        (folder / left).unlink(missing_ok=True)
    for name, content in runtime.items():
        with atomic(folder / Path(name).name) as temporary:
            temporary.write_bytes(content)
    write_text(folder / WORKER, render("worker.js.j2"))
    anchor = anchor_of(network.formulation, p) if form == "heads" else (0.0,) * p
    multiple, most = network.padding_multiple, MOST if network.halo is not None else WHOLE
    margin = -(-(network.halo or 0) // multiple) * multiple
    settings: dict[str, Any] = {
        "kind": form,
        "files": files,
        "tile": max(TILE, 4 * margin) if network.halo is not None else WHOLE,
        "margin": margin,
        "multiple": multiple,
        "scale": network.scale,
        "most": most // network.scale**2,
        "start": (sliders.start - np.array(anchor, np.float32)).tolist(),
        "along": [along.tolist() for along in sliders.along],
        "ready": "Move the sliders." if form == "heads" else "A moved slider restores it again.",
    }
    figure = live.blend(
        "Restored", _EMPTY, np.zeros((len(sliders.knobs), *_EMPTY.shape)), sliders.knobs,
        before=_EMPTY, presets=sliders.presets, save_as="restored", paints=form in ("heads", "planes"),
    )  # fmt: skip
    facts = ["Photographs are read as the browser shows them, in 8 bits and sRGB, and turned as the camera was."]
    if network.halo is None:
        facts.append("Every pixel depends on the whole photograph, so that only small ones are taken.")
    _write_page(folder, model, [figure], facts, settings)
    return report


def _form_of(model: Model) -> str:
    """How a network follows its sliders fastest: by heads, by a prepared tail, then every pixel apart, or as it is."""
    network = model.header.network
    if heads_fault(network, len(model.objectives)) is None and not network.formulation.bump:
        return "heads"
    if getattr(network.where, "last", None):
        return "prepared"
    return "shared" if network.without_maps else "planes"


def figure_of(
    model: Model,
    title: str,
    picture: np.ndarray,
    start: Sequence[float] = (),
    presets: Mapping[str, Sequence[float]] | None = None,
) -> live.Figure:
    """Make a figure of a picture with the sliders of a model, for a page.

    Args:
        model: whose pictures are affine in omega, without `bump`.
        title: says what it is.
        picture: (H, W, 3), 0 to 1.
        start: as `export_web`.
        presets: as `export_web`.

    Raises:
        TunableError: as `Model.heads`.
    """
    degraded = to_network(picture)
    return _figure(title, heads_tiled(model, degraded), degraded, _Sliders(model, start, presets), "restored")


def _figure(title: str, heads: Heads, degraded: np.ndarray, sliders: _Sliders, save_as: str) -> live.Figure:
    omegas = [sliders.start, *(sliders.start + along for along in sliders.along)]
    base, *ends = (from_network(heads.at(omega)) for omega in omegas)
    before, scale = from_network(degraded), base.shape[0] // degraded.shape[2]
    before = before if scale == 1 else enlarged(to_levels(before), scale)
    differences = np.stack([end - base for end in ends])
    return live.blend(title, base, differences, sliders.knobs, before=before, presets=sliders.presets, save_as=save_as)


_FIGURE = '<figure class="live"'  # by which a page is known
_OF_NETWORK = (WORKER, MODEL, "model-trunk.onnx", "model-tail.onnx", *(Path(name).name for name in RUNTIME))


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than an earlier page, which is replaced."""
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = set(found) - {PAGE, *_OF_NETWORK}
    if found and not others:
        page = folder / PAGE
        if not page.is_file() or _FIGURE not in page.read_text(encoding="utf-8", errors="replace"):
            others = {found[0]}
    if others:
        raise TunableError(f"{folder} holds {min(others)}, which is of no earlier page; choose another folder")
    check_writable(folder / PAGE)


def _write_page(
    folder: Path,
    model: Model,
    figures: Sequence[live.Figure],
    facts: Sequence[str],
    settings: Mapping[str, Any] | None = None,
) -> None:
    network, names = model.header.network, ", ".join(model.objectives)
    write_text(
        folder / PAGE,
        render(
            "web.html.j2",
            title="A photograph with knobs" if settings or len(figures) == 1 else "Photographs with knobs",
            figures=figures,
            settings=settings,
            facts=facts,
            model=f"A tunable network of kind {network.name}, with the knobs {names}",
            writer=f"tunable-convolutions {__version__}",
            runtime=f"{npm.ONNXRUNTIME_WEB}, of one thread unless the server isolates the page" if settings else None,
        ),
    )
