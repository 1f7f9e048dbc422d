"""`tunable demo`: train a small tunable denoiser in both frameworks, restore, verify, and leave a page with sliders.

Each framework trains in a process of its own, as a user would run it (`tunable train`), one after the
other: an environment switch of one cannot slow the other.
"""

import argparse
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tunable.backends.model import Model, load
from tunable.backends.registry import get_framework, needs_framework, requested
from tunable.certificate import Certificate, verify
from tunable.commands.shared import at_least, progress
from tunable.data.degradations import protocol_degraded
from tunable.data.patches import BUNDLED_TEST, bundled
from tunable.errors import BackendError, CheckFailed, TunableError
from tunable.evaluation import metrics
from tunable.evaluation.measuring import evaluate, summarise
from tunable.evaluation.sentences import PROTOCOL
from tunable.exports.web import figure_of
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_floats, to_levels, to_network, write
from tunable.models import MODELS
from tunable.omega import format_omega, line
from tunable.reports import certificate as certificate_report
from tunable.reports import charts, live, page, tables
from tunable.specs.reading import load_recipe
from tunable.training.interrupts import run_child

RECIPE = Path(__file__).parent.parent / "demo.yaml"
SIGMAS = (15, 25)
SHOWN_SIGMA = 25
SETTINGS = 5  # of omega, from (0, 1) to (1, 0)
SHIPPED = "denoise"  # whose last layer alone is tunable
CROP = 200  # pixels of each picture on the contact sheet


EXAMPLES = ("tunable demo", "tunable demo --steps 200 --out short_demo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable demo`."""
    parser.add_argument(
        "--out",
        default="demo_output",
        metavar="DIR",
        help="The folder for everything that is made (default demo_output). A folder of an earlier demo is replaced.",
    )
    parser.add_argument(
        "--steps", type=at_least(1), metavar="N", help="Train for N steps, at least 1, instead of the recipe's 2000."
    )


def run(args: argparse.Namespace) -> int:
    """Run `tunable demo`, and return its exit status."""
    backends = requested()
    if not backends:
        raise BackendError(f"tunable demo {needs_framework()}")
    out = Path(args.out)
    _clear(out)
    times: dict[str, float] = {}
    for name in backends:
        with _timed(times, f"training, {name}"):
            _train(name, out / name, args.steps)
    with _timed(times, "restoring and measuring"):
        models = [load(out / name / "model.safetensors", name) for name in backends]
        summaries = {model.backend.name: _evaluate(model, out) for model in models}
        shown = [_shown(models[0], index) for index in range(len(BUNDLED_TEST))]
        write(out / "sweep.png", _sheet(shown))
        curves = {
            name: np.loadtxt(out / name / "metrics.csv", delimiter=",", skiprows=1, ndmin=2)[:, 2] for name in backends
        }
        charts.loss_curves(out / "loss.png", curves)
    with _timed(times, "parity certificate"):
        chosen = [get_framework(name) for name in backends]
        certificate = verify(
            f"{out / backends[0]}/model.safetensors", chosen, progress=lambda stage: logging.info("verify: %s", stage)
        )
    certificate.subject["command line"] = shlex.join(["tunable", *args.words])
    certificate_report.print_table(certificate)
    write_text(
        out / "index.html", _page(out, backends, summaries, certificate, times, len(curves[backends[0]]), shown[0])
    )
    logging.info("demo: open %s", out / "index.html")
    if not certificate.passed:
        raise CheckFailed(f"the parity certificate failed; see {out / 'index.html'}")
    return 0


def _clear(out: Path) -> None:
    """Empty a folder that an earlier demo left; refuse any other that holds something."""
    if out.is_dir() and any(out.iterdir()):
        if not (out / "demo.marker").is_file():
            raise TunableError(f"{out} holds files that no earlier demo wrote; choose another folder with --out")
        shutil.rmtree(out)
    write_text(out / "demo.marker", "The folder of a demo: the next demo replaces it.\n")


def _train(name: str, out: Path, steps: int | None) -> None:
    command = [sys.executable, "-m", "tunable", "train", str(RECIPE), "--backend", name, "--out", str(out)]
    if steps:
        command += ["--set", f"steps={steps}"]
    status = run_child(command).returncode
    if status:
        raise CheckFailed(f"training with {name} failed with exit status {status}")


def _evaluate(model: Model, out: Path) -> list[dict]:
    with progress(f"evaluate ({model.backend.name})", every=0.25, unit="measurements") as report:
        rows = evaluate(model, bundled(BUNDLED_TEST), line(SETTINGS), SIGMAS, progress=report)
    summary = summarise(rows)
    tables.write(out / model.backend.name, rows, summary, model)
    return summary


class _Shown(NamedTuple):
    """A picture of the page, all (H, W, 3) and not clipped; lists are of the settings `line(SETTINGS)`.

    Attributes:
        clean: the truth.
        degraded: the input.
        restored: what the network makes of it.
        blended: the last of `restored`, with as much of the noise put back as the noise objective wants.
        targets: what it wants.
    """

    clean: np.ndarray
    degraded: np.ndarray
    restored: list[np.ndarray]
    blended: list[np.ndarray]
    targets: list[np.ndarray]


def _shown(model: Model, index: int) -> _Shown:
    clean, omegas, recipe = read(bundled(BUNDLED_TEST)[index]), line(SETTINGS), load_recipe(RECIPE)
    degraded = protocol_degraded(clean, SHOWN_SIGMA, index)
    restored = [from_network(model.run(to_network(degraded), omega)) for omega in omegas]
    blended, targets = (
        [metrics.target(picture, degraded, recipe, 1, omega) for omega in omegas] for picture in (restored[-1], clean)
    )
    return _Shown(clean, degraded, restored, blended, targets)


def _sheet(shown: Sequence[_Shown]) -> np.ndarray:
    rows = []
    for picture in shown:
        top, left = ((side - CROP) // 2 for side in picture.clean.shape[:2])
        crop = (slice(top, top + CROP), slice(left, left + CROP))
        rows.append([each[crop] for each in (picture.degraded, *picture.restored, picture.clean)])
    return contact_sheet(rows, ["noisy input", *map(format_omega, line(SETTINGS)), "truth"])


def _figures(shown: _Shown, backend: str) -> list[live.Figure]:
    """The heads of the model that ships, and the demo's own network: blended, which the page computes, and itself."""
    title, presets = f"The model {SHIPPED}, at every strength", MODELS[SHIPPED].presets
    knob = live.Knob("noise (ω₂)", "remove the noise", "keep the noise", start=0.5)
    base, input = shown.blended[-1], shown.degraded
    labels = [f"ω = {format_omega(omega)}" for omega in line(SETTINGS)]
    return [
        figure_of(load(SHIPPED, backend), title, input, (0.7, 0.3), presets),
        live.blend(
            "Blend with the input, at every position", base, shown.blended[0][None] - base, [knob], before=input
        ),
        live.settings(
            f"The network itself, at {SETTINGS} settings", shown.restored[::-1], labels[::-1], knob, before=input
        ),
    ]


def _blend_table(shown: _Shown) -> list[dict]:
    """PSNR_eta of both figures at the network's settings, of pictures of 8 bits."""
    rows = []
    for i, omega in enumerate(line(SETTINGS)):
        pair = (to_floats(to_levels(pictures[i])) for pictures in (shown.blended, shown.restored))
        psnr_eta = [metrics.psnr(picture, shown.targets[i]) for picture in pair]
        rows.append({"omega": format_omega(omega), "psnr_eta": psnr_eta})
    return rows


def _noisy_psnr() -> float:
    values = []
    for index, path in enumerate(bundled(BUNDLED_TEST)):
        clean = read(path)
        values += [metrics.psnr(protocol_degraded(clean, sigma, index), clean) for sigma in SIGMAS]
    return float(np.mean(values))


def _page(
    out: Path,
    backends: Sequence[str],
    summaries: dict[str, list[dict]],
    certificate: Certificate,
    times: dict[str, float],
    steps: int,
    shown: _Shown,
) -> str:
    means = {name: [row for row in summary if row["sigma"] == "mean"] for name, summary in summaries.items()}
    table = [
        {
            "omega": format_omega(row["omega"]),
            "psnr": [means[name][i]["psnr"] for name in backends],
            "psnr_eta": [means[name][i]["psnr_eta"] for name in backends],
            "residual": row["residual"],
        }
        for i, row in enumerate(means[backends[0]])
    ]
    return page.render(
        "demo.html.j2",
        title="Tunable convolutions: the demo",
        backends=backends,
        steps=steps,
        sigma=SHOWN_SIGMA,
        sigmas=SIGMAS,
        figures=_figures(shown, backends[0]),
        shipped=SHIPPED,
        blends=_blend_table(shown),
        sheet=page.embedded(out / "sweep.png"),
        curves=page.embedded(out / "loss.png"),
        table=table,
        noisy=_noisy_psnr(),
        protocol=PROTOCOL,
        times=times,
        **certificate_report.context(certificate),
    )


@contextmanager
def _timed(times: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start
