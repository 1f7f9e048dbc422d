"""`tunable export MODEL --format onnx|mindir|dni|web|... -o FILE`: a file for other programs, checked by running it."""

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from tunable.backends.model import Model
from tunable.commands.shared import (
    FORM_OF_OMEGA,
    add_backend,
    add_ema,
    add_extrapolate,
    add_json,
    add_model,
    opened,
    print_json,
    read_omega,
    warn_of_untrained,
)
from tunable.errors import TunableError, nearest, shown
from tunable.exports.forms import FORMS
from tunable.exports.judging import Report, checked_export, targets
from tunable.exports.npm import ONNXRUNTIME_WEB
from tunable.exports.programs import FORMATS, PROGRAMS, WEB, export_for
from tunable.exports.web import PAGE, export_web
from tunable.files import check_writable
from tunable.models import find, shipped
from tunable.tolerances import TOLERANCES

EXAMPLES = (
    "tunable export runs/mini/model.safetensors --format onnx -o net.onnx",
    "tunable export runs/mini/model.safetensors --format onnx --omega 0.7,0.3 -o plain.onnx",
    "tunable export denoise --format onnx --form heads -o heads.onnx",
    "tunable export denoise --format web --picture docs/images/noisy.jpg -o page",
    "tunable export denoise --format darktable --omega 0.8,0.2 -o denoise-natural",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable export`."""
    add_model(parser, "A weights file, or a checkpoint of a run")
    add_ema(parser)
    parser.add_argument(
        "--format",
        required=True,
        help=f"One of {', '.join(FORMATS)}. The format dni writes plain weights files, at omega = 0 and at "
        "each unit vector, for tools that interpolate weights. The format web writes a folder with a page that has a "
        "slider for every knob and needs no server that computes. The formats official (names by which chaiNNer and "
        "ComfyUI know NAFNet, SwinIR and Compact), darktable (a folder) and ncnn (.param and .bin) hold one setting.",
    )
    parser.add_argument(
        "--omega",
        metavar="A,B",
        help=f"Fold the network at this omega. Without it, omega stays an input of the file. {FORM_OF_OMEGA}",
    )
    parser.add_argument(
        "--form",
        help="The shape of the input omega: with shared (the default) it is (1, p) for the whole batch, and with basis "
        "it is (n, p), one per sample. For a network with a tunable end: prepared writes FILE-trunk, which computes "
        "the features that no omega changes, and FILE-tail, which makes pictures of them; heads returns a base picture "
        "and difference pictures, of which every omega is a sum (the last layer alone must be tunable). With planes "
        "omega is a map: the one input (n, 3 + p, h, w) holds the picture's colours and a plane for each knob. "
        "With the format web it is the form of the network in the page, by default the one whose sliders are fastest.",
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="Fix height and width in the file, in pixels, for example 256x384. By default they may vary.",
    )
    parser.add_argument("--float16", action="store_true", help="For onnx, compute and store weights in float16.")
    parser.add_argument(
        "--picture",
        action="append",
        metavar="FILE",
        help="For web, a picture that the page holds; may be given several times. Such a page is one file and opens by "
        "a double click. Without it the page opens its visitor's photographs, and comes with the network.",
    )
    parser.add_argument(
        "--onnxruntime-web",
        metavar="FILE",
        help=f"For web, the tarball that `npm pack {ONNXRUNTIME_WEB.name}@{ONNXRUNTIME_WEB.version}` wrote. By default "
        "npm fetches it once into the cache.",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="FILE",
        help="The exported file to write. The format dni writes FILE-0, FILE-1, ... FILE-p, and the form prepared "
        "FILE-trunk and FILE-tail. The formats web and darktable write a folder.",
    )
    add_extrapolate(parser)
    add_backend(parser)
    add_json(parser)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"must be HxW, height and width in pixels, not {shown(text)}")
    return int(match[1]), int(match[2])


def run(args: argparse.Namespace) -> int:
    """Run `tunable export`, and return its exit status."""
    if args.format not in FORMATS:
        raise TunableError(
            f"unknown format {shown(args.format)}{nearest(args.format, FORMATS)}; known: {', '.join(FORMATS)}"
        )
    model = opened(args)
    if args.format == WEB:
        return _web(args, model)
    for option, given in (("--picture", args.picture), ("--onnxruntime-web", args.onnxruntime_web)):
        if given:
            raise TunableError(f"{option} is for format web, not {args.format}")
    form, omega = args.form or FORMS[0], None
    if args.omega is not None:
        if not model.objectives:
            raise TunableError(f"{args.model} holds a plain network: it takes no --omega")
        omega = read_omega(args.omega, model.header, args)
        warn_of_untrained([omega], model.header)
    if args.format in PROGRAMS:
        for option, given in (("--form", args.form), ("--float16", args.float16)):
            if given:
                raise TunableError(f"{option} is for a graph, onnx or mindir, not for format {args.format}")
        check_writable(args.out, find(args.model))
        paths, report = export_for(model, args.format, args.out, omega, args.size)
    else:
        paths = targets(model, args.format, args.out, form)
        for path in paths:
            check_writable(path, find(args.model))
        report = checked_export(model, args.format, args.out, omega, form=form, half=args.float16, size=args.size)
    _say(args, report, paths)
    return 0


def _web(args: argparse.Namespace, model: Model) -> int:
    for option, given in (("--omega", args.omega), ("--size", args.size), ("--float16", args.float16)):
        if given:
            raise TunableError(f"{option} is for one file, not for format web")
    known = shipped(args.model)
    report = export_web(
        model,
        args.out,
        args.picture or (),
        form=args.form,
        start=known.omega if known else (),
        presets=known.presets if known else None,
        runtime=args.onnxruntime_web,
    )
    _say(args, report, sorted(Path(args.out).iterdir()))
    how = "open it" if args.picture else f"serve the folder, for example by `python -m http.server -d {args.out}`"
    logging.info("the page is %s; %s", Path(args.out, PAGE), how)
    return 0


def _say(args: argparse.Namespace, report: Report, paths: Sequence[Path]) -> None:
    files, limit = [str(path) for path in paths], TOLERANCES[report.limit].limit
    if args.json:
        print_json(
            {
                "files": files,
                "format": report.format,
                "form": report.form,
                "errors": report.errors,
                "worst": report.worst,
                "limit": limit,
            }
        )
    logging.info(
        "wrote %s: %s, %s; run %d times beside the network: worst relative error %.1e, limit %.0e",
        ", ".join(files),
        args.format,
        report.form,
        len(report.errors),
        report.worst,
        limit,
    )
