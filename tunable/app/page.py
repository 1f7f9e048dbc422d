"""The app's page: a photograph, a slider for every knob, a brush, and the restored picture to take away."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from tunable.api import restore
from tunable.app.samples import samples
from tunable.app.views import Photograph, Region, open_photograph, overview, painted_map, sweep_sheet
from tunable.backends.model import Model
from tunable.errors import TunableError
from tunable.images.encoders import FORMATS
from tunable.models import default_omega, preset_of, shipped, sweep_start
from tunable.omega import format_omega
from tunable.sliders import Knob, knobs_of, omega_of

MOST_KNOBS = 8
AT_ONCE = 4_000_000  # pixels of the largest picture that is made in whole whenever a slider is let go
IDLE = 4 * 3600  # seconds after which what a reader has open is closed
KEPT = 32  # files of the view that stay for each reader, so that none is written over while it is sent
PAINT, OPACITY = "rgba(255, 64, 96, 0.5)", 0.5  # of the brush: one sees what one paints on
STEPS = 100  # of a slider
TITLE = "Photographs with knobs"
ABOUT = (
    "Open a photograph and move the sliders. The picture with the handle is a part of it, pixel by pixel: on the left "
    "as it was, on the right restored. Click on the whole photograph to look at another part."
)


@dataclass(frozen=True)
class Session:
    """What one reader has open.

    Attributes:
        name: of the model.
        photograph: that is open.
        region: the part of it that is looked at.
        folder: of this reader's files.
        before: the file that shows the part as it was.
        canvas: the photograph that can be painted on.
    """

    name: str
    photograph: Photograph | None = None
    region: Region | None = None
    folder: Path | None = None
    before: Path | None = None
    canvas: Photograph | None = None


def _told(call: Callable) -> Callable:
    """An error of ours is a message on the page, in one line."""

    @wraps(call)
    def told(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except TunableError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return told


class Page:
    """The page, and the models that its readers choose from.

    Args:
        names: of the models, as `load` takes them; the first is chosen at first.
        load: loads one by its name.
        max_pixels: of a photograph; larger ones are refused. None: the usual limit.

    Raises:
        TunableError: where the first model cannot be loaded, or has more than MOST_KNOBS knobs.
    """

    def __init__(self, names: Sequence[str], load: Callable[[str], Model], max_pixels: int | None = None) -> None:
        """Load the first model; the class says what is raised."""
        self._names, self._load, self._max_pixels = list(names), load, max_pixels
        self._models: dict[str, Model] = {}
        self._lock = Lock()
        self._knobs(self._names[0])
        self._folder = tempfile.TemporaryDirectory(prefix="tunable-app-", ignore_cleanup_errors=True)
        self._samples = samples(Path(self._folder.name))

    @property
    def folder(self) -> str:
        """Where restored photographs lie until the app ends."""
        return self._folder.name

    def close(self) -> None:
        """Remove what was restored."""
        self._folder.cleanup()

    def _model(self, name: str) -> Model:
        if name not in self._names:  # what a page sends can be anything
            raise TunableError(f"there is no model {name!r} here")
        with self._lock:
            if name not in self._models:
                self._models[name] = self._load(name)
            return self._models[name]

    def _knobs(self, name: str) -> list[Knob]:
        model = self._model(name)
        if len(model.objectives) > MOST_KNOBS:
            raise TunableError(f"{name} has {len(model.objectives)} knobs; the app shows up to {MOST_KNOBS}")
        return knobs_of(model, default_omega(name))

    def blocks(self) -> gr.Blocks:
        """Build the page."""
        knobs, presets = self._knobs(self._names[0]), self._presets(self._names[0])
        with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
            session = gr.State(Session(self._names[0]), time_to_live=IDLE, delete_callback=_forget)
            gr.Markdown(f"# {TITLE}\n\n{ABOUT}")
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    model = gr.Dropdown(self._names, value=self._names[0], label="Model")
                    upload = gr.UploadButton("Open a photograph", variant="primary")
                    sample = gr.Dropdown(list(self._samples), label="Or try a sample", value=None)
                    sliders = [self._slider(knobs, i, False) for i in range(MOST_KNOBS)]
                    preset = gr.Radio(presets, label="Presets", visible=bool(presets))
                    whole = gr.Button("Restore the whole photograph")
                    download = gr.DownloadButton("Download", visible=False)
                    told = gr.Markdown()  # of the whole photograph
                    said = gr.Markdown()  # of the view
                with gr.Column(scale=2, min_width=320):
                    view = gr.ImageSlider(
                        label="A part of it, pixel by pixel",
                        type="filepath",
                        interactive=False,
                        max_height=560,
                        buttons=["download", "fullscreen"],
                    )
                    with gr.Tabs() as tabs:
                        with gr.Tab("The whole", id="whole"):
                            picture = gr.Image(
                                label="Click where you want to look",
                                elem_id="whole-photograph",
                                interactive=False,
                                format="jpeg",
                                buttons=["download", "fullscreen"],
                            )
                        with gr.Tab("Paint", id="paint") as paint:
                            why = gr.Markdown()
                            brushes = [self._slider(knobs, i, True) for i in range(MOST_KNOBS)]
                            canvas = gr.ImageEditor(
                                label="Paint where these other settings act",
                                sources=(),
                                transforms=(),
                                layers=False,
                                format="png",
                                brush=gr.Brush(colors=[PAINT], color_mode="fixed"),
                            )
                        with gr.Tab("Side by side", id="several"):
                            several = gr.Button("Show several settings")
                            sheet = gr.Image(
                                label="Several settings",
                                interactive=False,
                                format="png",
                                buttons=["download", "fullscreen"],
                            )
            settings = [session, canvas, *sliders, *brushes]
            # Only what changes a session returns it: an answer that comes late must bring no older one back.
            seen = [view, said]
            opened = [session, *seen, picture, tabs, download, told, sheet]
            chosen = [session, *seen, *sliders, *brushes, preset, why, canvas]
            live = {"trigger_mode": "always_last", "show_progress": "hidden", "concurrency_limit": 4}
            blocks.load(self._choose, [model, session], chosen)
            model.input(self._choose, [model, session], chosen, api_name="choose")
            upload.upload(self._open, [upload, model, *settings], opened, api_name="open")
            sample.input(self._open_sample, [sample, model, *settings], opened, api_name="sample")
            paint.select(self._canvas, [session], [session, canvas])
            picture.select(self._move, settings, [session, *seen])
            for slider in (*sliders, *brushes):
                slider.input(self._look, settings, seen, **live)
                slider.release(self._let_go, settings, [picture, download, told], **live)
            canvas.change(self._look, settings, seen, api_name="look", **live)
            preset.input(self._preset, [preset, *settings], [*sliders, *seen], api_name="preset", **live)
            whole.click(self._whole, settings, [picture, download, told], concurrency_limit=2)
            several.click(self._several, settings, sheet, concurrency_limit=2, api_name="several")
        return blocks

    @_told
    def _choose(self, name: str, session: Session) -> list:
        model, knobs = self._model(name), self._knobs(name)
        session = self._at(replace(session, name=name, region=None), None)
        without = model.without_maps if model.objectives else "this network has no knobs"
        sliders, brushes = ([self._slider(knobs, i, other) for i in range(MOST_KNOBS)] for other in (False, True))
        if without:
            brushes = [gr.Slider(visible=False)] * MOST_KNOBS
        presets = self._presets(name)
        return [
            session,
            *self._seen(session, [knob.start for knob in knobs], None),
            *sliders,
            *brushes,
            gr.Radio(choices=presets, value=None, visible=bool(presets)),
            f"The brush is for networks whose knobs can differ from pixel to pixel: {without}." if without else "",
            gr.ImageEditor(visible=not without),
        ]

    @staticmethod
    def _presets(name: str) -> list[str]:
        known = shipped(name)
        return list(known.presets) if known else []

    @staticmethod
    def _slider(knobs: list[Knob], place: int, other: bool) -> gr.Slider:
        if place >= len(knobs):
            return gr.Slider(visible=False)
        knob = knobs[place]
        return gr.Slider(
            minimum=knob.low,
            maximum=knob.high,
            step=(knob.high - knob.low) / STEPS,
            value=knob.low if other else knob.start,
            label=f"{knob.name}, where painted" if other else knob.name,
            visible=True,
        )

    @_told
    def _open(self, path: str, name: str, session: Session, _: Any, *values: float) -> list:
        """Open a photograph, in the place of another; a copy of it, since Gradio removes what was uploaded."""
        folder = session.folder or Path(tempfile.mkdtemp(dir=self.folder))
        try:
            photograph = open_photograph(shutil.copy(path, folder), self._max_pixels)
        except TunableError as error:  # which names the file; a reader knows it by its own name alone
            raise TunableError(str(error).replace(f"{folder}{os.sep}", "")) from None
        session = self._at(replace(session, name=name, photograph=photograph, folder=folder), None)
        seen = self._seen(session, values[:MOST_KNOBS], None)
        return [
            session,
            *seen,
            photograph.overview,
            gr.Tabs(selected="whole"),
            gr.DownloadButton(visible=False),
            "",
            None,
        ]

    @_told
    def _open_sample(self, sample: str, *rest: Any) -> list:
        if sample not in self._samples:
            raise TunableError(f"there is no sample {sample!r} here")
        return self._open(str(self._samples[sample]()), *rest)

    @_told
    def _canvas(self, session: Session) -> list:
        """The photograph to be painted on, put there when the editor is seen: it shows none that it is given before."""
        photograph = session.photograph
        if photograph is session.canvas:
            return [session, gr.skip()]
        blank = {"background": photograph and photograph.overview, "layers": [], "composite": None}
        return [replace(session, canvas=photograph), blank]

    def _at(self, session: Session, centre: tuple[int, int] | None) -> Session:
        """The session with the part of its photograph around a pixel; None: around its middle."""
        photograph = session.photograph
        if photograph is None or session.folder is None:
            return session
        centre = centre or (photograph.size[0] // 2, photograph.size[1] // 2)
        region = Region(self._model(session.name), photograph, centre)
        before = session.folder / f"before-{next(_NUMBERS) % KEPT}.png"
        _write(before, region.before)
        return replace(session, region=region, before=before)

    def _omegas(self, session: Session, canvas: Any, values: Sequence[float]) -> np.ndarray | None:
        """Omega (p,), or a map (p, H, W) where something is painted."""
        model = self._model(session.name)
        omega = omega_of(model, values[:MOST_KNOBS])
        painted = _painted(canvas)
        if omega is None or painted is None or session.photograph is None or model.without_maps:
            return omega
        if session.canvas is not session.photograph:  # the paint of a photograph that was open before
            return omega
        inside = omega_of(model, values[MOST_KNOBS:])
        assert inside is not None, "as many knobs as outside"
        whole = painted_map(inside, omega, painted, session.photograph.size)
        return omega if whole is None else whole

    def _seen(self, session: Session, values: Sequence[float], canvas: Any) -> list:
        if session.region is None or session.photograph is None or session.folder is None:
            idle = f"One that was open is closed after {IDLE // 3600} hours without a new part or photograph."
            return [None, f"`{session.name}` runs in {_runtime(self._model(session.name))}. Open a photograph. {idle}"]
        began = time.perf_counter()
        omega = self._omegas(session, canvas, values)
        restored = session.region.at(omega)
        took = 1000 * (time.perf_counter() - began)
        rows, columns = session.region.place
        where = f"rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}"
        said = f"`{session.name}` in {_runtime(self._model(session.name))}: {where} in {took:.0f} ms"
        if omega is not None and omega.ndim == 1:
            said += f", ω = {format_omega(omega)}"
        if not session.region.exact:
            said += "; about as in the whole, for this network looks at all of a photograph"
        if session.photograph.frames > 1:
            said += f"; the first of {session.photograph.frames} pictures in the file"
        after = session.folder / f"after-{next(_NUMBERS) % KEPT}.png"
        _write(after, restored)
        return [(str(session.before), str(after)), said + "."]

    @_told
    def _look(self, session: Session, canvas: Any, *values: float) -> list:
        return self._seen(session, values, canvas)

    @_told
    def _move(self, event: gr.SelectData, session: Session, canvas: Any, *values: float) -> list:
        photograph = session.photograph
        if photograph is None:
            raise TunableError("open a photograph first")
        column, row = (int(at * photograph.shrunk) for at in event.index)
        session = self._at(session, (row, column))
        return [session, *self._seen(session, values, canvas)]

    @_told
    def _preset(self, name: str, session: Session, canvas: Any, *values: float) -> list:
        knobs = knobs_of(self._model(session.name), preset_of(session.name, name).tolist())
        own = [knob.start for knob in knobs] + [0.0] * (MOST_KNOBS - len(knobs))
        return [*own, *self._seen(session, [*own, *values[MOST_KNOBS:]], canvas)]

    @_told
    def _let_go(self, session: Session, canvas: Any, *values: float) -> list:
        """The whole of a photograph that is small enough not to wait for."""
        scale = self._model(session.name).header.network.scale
        if session.photograph is None or np.prod(session.photograph.size) * scale**2 > AT_ONCE:
            return [gr.skip(), gr.DownloadButton(visible=False), gr.skip()]
        return self._whole(session, canvas, *values)

    @_told
    def _whole(self, session: Session, canvas: Any, *values: float) -> list:
        photograph = session.photograph
        if photograph is None:
            raise TunableError("open a photograph first")
        began = time.perf_counter()
        suffix = photograph.path.suffix.lower()
        assert session.folder is not None, "made when the photograph was opened"
        out = session.folder / f"{photograph.path.stem}_restored{suffix if suffix in FORMATS else '.png'}"
        omega = self._omegas(session, canvas, values)
        levels = restore(self._model(session.name), photograph.path, omega, out=out, max_pixels=self._max_pixels)
        said = f"The whole photograph took {time.perf_counter() - began:.1f} s. Its file keeps profile, tags and bits."
        return [
            overview(levels, photograph.overview.shape[:2]),
            gr.DownloadButton(value=out, label=f"Download {out.name}", visible=True),
            said,
        ]

    @_told
    def _several(self, session: Session, *_: Any) -> np.ndarray:
        if session.photograph is None or session.region is None:
            raise TunableError("open a photograph first")
        return sweep_sheet(self._model(session.name), session.region, sweep_start(session.name))


_NUMBERS = count()


def _forget(session: Session) -> None:
    """Remove the files of a reader who is gone."""
    if session.folder is not None:
        shutil.rmtree(session.folder, ignore_errors=True)


def _write(path: Path, shown: np.ndarray) -> None:
    """As PNG, quickly, and without loss: it is looked at pixel by pixel."""
    Image.fromarray(shown).save(path, compress_level=1)


def _painted(canvas: Any) -> np.ndarray | None:
    """Where an ImageEditor's value is painted, (h, w) in 0..1."""
    layers = (canvas or {}).get("layers") or []
    return np.clip(np.max([layer[..., 3] for layer in layers], 0) / (255 * OPACITY), 0, 1) if layers else None


def _runtime(model: Model) -> str:
    facts = model.backend.facts()
    name = model.backend.name
    version = facts.get(name, "")
    return f"{name} {version}".strip() + f" on {model.backend.device}"
