"""What several verbs share: arguments, progress, reading numbers."""

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tunable.backends.model import Model, WeightsModel, load
from tunable.backends.registry import BACKENDS
from tunable.errors import shown
from tunable.files import write_text
from tunable.images.folders import some
from tunable.images.pictures import MAX_PIXELS
from tunable.models import MODELS, find, unnamed_omega
from tunable.omega import check_range, format_omega, parse_omega
from tunable.specs.schema import MOST
from tunable.trained import describe, doubt
from tunable.weights.storage import Header, last_weights

FORM_OF_OMEGA = (
    "Give one value per objective, in order (0.7,0.3) or by name (noise=0.3,fidelity=0.7). `tunable info` says where "
    "the network was trained; elsewhere a warning is given."
)


def add_model(
    parser: argparse.ArgumentParser,
    what: str = "A weights file, a checkpoint of a run, or an exported file (.onnx, .mindir)",
    *,
    needed: bool = True,
) -> None:
    """Add the argument MODEL, which is `what` or a name; one that is not `needed` is None where it is left out."""
    names = f"{what}; or the name of a model that ships ({', '.join(MODELS)})."
    parser.add_argument("model", metavar="MODEL", nargs=None if needed else "?", help=names)
    add_allow_import(parser)


def add_allow_import(parser: argparse.ArgumentParser) -> None:
    """Add --allow-import."""
    parser.add_argument(
        "--allow-import",
        action="store_true",
        help="Import and run the modules that the file names for a network or objectives of its author's own. Only for "
        "files whose author you trust.",
    )


def add_ema(parser: argparse.ArgumentParser) -> None:
    """Add --ema."""
    parser.add_argument(
        "--ema",
        choices=("average", "last"),
        default="average",
        help="Which weights of a checkpoint are taken whose run averages them (optimizer.average): their average (the "
        "default), or the last ones themselves.",
    )


class _ByOption(argparse.Action):
    """--model: the word in MODEL's place is a picture, and no other has to follow."""

    def __init__(self, *words: Any, images: argparse.Action, **options: Any) -> None:
        super().__init__(*words, **options)
        self.images = images

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        self.images.required = False
        setattr(namespace, self.dest, values)


def add_model_option(parser: argparse.ArgumentParser, images: argparse.Action) -> None:
    """Add --model, whose value is `args.chosen`, to a verb with the arguments MODEL and `images`, IMAGE or more.

    Where it is given, `args.model` is the first picture, and `args.images` are the others, which there need not be.
    """
    parser.add_argument(
        "--model",
        dest="chosen",
        action=_ByOption,
        images=images,
        metavar="MODEL",
        help="The model, named here instead of first. Every other word is then a picture.",
    )


def add_strength(parser: argparse.ArgumentParser) -> None:
    """Add --strength."""
    parser.add_argument(
        "--strength",
        type=_strength,
        metavar="S",
        help="How strongly to clean, 0 to 100. With the knobs fidelity and noise it sets fidelity to S/100 and noise "
        "to 1 - S/100; a model that ships with a knob strength has that set to S/100.",
    )


def _strength(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"wants a number from 0 to 100, not {shown(text)}")
    return value


def add_backend(parser: argparse.ArgumentParser, *, exported: bool = True) -> None:
    """Add --backend, --device and --mode.

    Args:
        parser: what the options are added to.
        exported: whether the verb takes exported files too.
    """
    files = (
        " An exported file needs no choice: onnxruntime (onnx) runs an .onnx file, and mindspore runs a .mindir file."
    )
    parser.add_argument(
        "--backend",
        help=f"The framework: {' or '.join(BACKENDS)}. The default is the first that is installed."
        + (files if exported else ""),
    )
    parser.add_argument(
        "--device",
        help="The device: cpu, cuda, cuda:N, npu or npu:N for torch; cpu, ascend or gpu for mindspore. The default is "
        "an accelerator if there is one.",
    )
    if exported:
        parser.add_argument(
            "--provider",
            dest="device",
            metavar="PROVIDER",
            help="Where onnxruntime runs an .onnx file: cpu (the default), cuda, or cann for Ascend "
            "(onnxruntime-cann). It is what --device is for the others.",
        )
    parser.add_argument(
        "--mode",
        help="How the framework runs the network: eager, compile or channels_last for torch; graph or pynative "
        "for mindspore"
        + ("; session or blocked for onnx" if exported else "")
        + ". The default is the first mode named, but pynative for pictures that MindSpore restores whole on a CPU.",
    )


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Add --max-megapixels, whose value is `args.max_pixels`."""
    parser.add_argument(
        "--max-megapixels",
        dest="max_pixels",
        type=_megapixels,
        metavar="N",
        help=f"Read pictures of up to N million pixels (default {MAX_PIXELS // 10**6}). Larger ones are refused before "
        "they take memory.",
    )


def _megapixels(text: str) -> int:
    return at_least(1)(text) * 10**6


def add_extrapolate(parser: argparse.ArgumentParser) -> None:
    """Add --extrapolate."""
    parser.add_argument("--extrapolate", action="store_true", help="Allow an omega outside the trained range.")


def read_omega(text: str, header: Header, args: argparse.Namespace) -> np.ndarray:
    """Read "0.7,0.3" or "fidelity=0.7,noise=0.3" as omega (p,) for the network of `header`, which is `args.model`.

    Of a model that ships, knobs that are not named stand where they stand by default; of a mixture they are 0.
    OmegaError outside the network's range unless `args.extrapolate`.
    """
    omega = parse_omega(text, header.objectives, unnamed_omega(args.model))
    return omega if args.extrapolate else check_range(omega, header.omega_range)


def warn_of_untrained(omegas: Iterable[np.ndarray], header: Header) -> None:
    """Say in one line which omega the network never or rarely saw in training."""
    reasons: dict[str, list[str]] = {}
    for omega in omegas:
        if reason := doubt(omega, header.trained):
            reasons.setdefault(reason, []).append(format_omega(omega))
    if reasons:
        which = "; ".join(f"{reason} trained at omega {some(places)}" for reason, places in reasons.items())
        logging.warning(
            "this network was %s; it saw omega %s: what it was not trained at may be worse, with a colour cast",
            which, describe(header.trained or ()),
        )  # fmt: skip


def opened(args: argparse.Namespace) -> Model:
    """Load `args.model` in the backend that they name, with the weights that --ema picks."""
    last = last_weights(find(args.model)) if args.ema == "last" else None
    model = load(args.model, args.backend, args.device, args.mode)
    if last is not None:
        assert isinstance(model, WeightsModel), "a checkpoint is no exported file"
        model.backend.assign(model.network, last)
    return model


def model_of(args: argparse.Namespace) -> Model:
    """Load `args.model` as `opened`; for whole pictures in the backend's lean mode, if they name no mode."""
    model = opened(args)
    whole = not args.mode and model.header.network.halo is None
    return model.with_mode(model.backend.lean) if whole else model


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="Print the result as JSON on standard output.")


def print_json(value: Any) -> None:
    """Print a value as `as_json` writes it."""
    print(as_json(value))


def present(args: argparse.Namespace, found: Any, report: ModuleType, name: str) -> None:
    """Write what was found into the folder --out, if there is one, and print it as text, or as JSON with --json.

    Args:
        args: of the verb, with `out` and `json`.
        found: what `to_dict()` gives as plain values.
        report: a module with FILES, `write(folder, found)` and `document(found)`.
        name: of the JSON file beside FILES.
    """
    if args.out:
        report.write(args.out, found)
        write_text(Path(args.out) / name, as_json(found.to_dict()) + "\n")
        logging.info("wrote %s, %s in %s", ", ".join(report.FILES), name, args.out)
    if args.json:
        print_json(found.to_dict())
    else:
        print(report.document(found), end="")


def as_json(value: Any) -> str:
    """Write a value as strict JSON: numbers that are not finite become null."""
    return json.dumps(_finite(value), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def numbers(text: str) -> list[float]:
    """Read "5,15,30" as non-negative numbers; a type of argparse."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"wants numbers like 5,15,30, not {shown(text)}") from None
    if not all(0 <= value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"wants finite numbers that are not negative, not {shown(text)}")
    return values


def at_least(low: int, most: int = MOST) -> Callable[[str], int]:
    """Make a type of argparse: an integer >= low, and <= most."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"wants a whole number of at least {low}, not {shown(text)}")
        if value > most:
            raise argparse.ArgumentTypeError(f"wants a whole number of at most {most}, not {shown(text)}")
        return value

    return read


SOON = 10  # seconds, after which one wants to know how long the work will take


class _Speed:
    """How fast work goes and how long the rest takes; nothing before the second report."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._first: tuple[float, int] | None = None  # when, and how much was done by then

    def at(self, done: int, total: int, now: float) -> str:
        """Say "12.3 steps/s, 0:01:20 left", or "" where it is not known; `now` in seconds."""
        began, before = self._first = self._first or (now, done)
        if done <= before or now <= began:
            return ""
        speed = (done - before) / (now - began)
        left = timedelta(seconds=round((total - done) / speed))
        return f"{speed:.3g} {self._unit}/s" + f", {left} left" * (done < total)


@contextmanager
def progress(
    label: str, every: float = 0.1, unit: str = "pictures", clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[..., None]]:
    """Yield report(done, total, loss=None), which shows how far work is, how fast it goes, and how long the rest takes.

    Args:
        label: what is done.
        every: the part of the work after which a plain line is written, where standard error is no terminal. One is
            written too when it has taken twice as long as at the last, 10 seconds or more.
        unit: what is counted.
        clock: in seconds.

    Yields:
        The function. On a terminal it moves a bar of rich, elsewhere it writes plain lines.
    """
    speed, began = _Speed(unit), clock()
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=None, note="")

            def report(done: int, total: int, loss: float | None = None) -> None:
                bar.update(task, completed=done, total=total, note=_note(speed.at(done, total, clock()), loss))

            yield report
        return
    printed, due = -1, began + SOON

    def report(done: int, total: int, loss: float | None = None) -> None:
        nonlocal printed, due
        part, now = int(done / total / every + 1e-9), clock()
        note = _note(speed.at(done, total, now), loss)
        if part > printed or now >= due:
            printed, due = part, now + max(SOON, now - began)
            print(f"{label}: {done}/{total}" + (f", {note}" if note else ""), file=sys.stderr, flush=True)

    yield report


def _note(speed: str, loss: float | None) -> str:
    return ", ".join(filter(None, ("" if loss is None else f"loss {loss:.4f}", speed)))
