"""`tunable export MODEL --format onnx|mindir|dni -o FILE`: a file for other programs, checked by running it."""

import argparse
import logging
import re

from tunable.backends.model import load
from tunable.commands.shared import (
    FORM_OF_OMEGA,
    add_backend,
    add_extrapolate,
    add_json,
    add_model,
    print_json,
    read_omega,
    warn_of_untrained,
)
from tunable.errors import TunableError, shown
from tunable.exports.forms import FORMS
from tunable.exports.judging import SUFFIXES, checked_export, targets
from tunable.files import check_writable
from tunable.models import find
from tunable.tolerances import TOLERANCES

EXAMPLES = (
    "tunable export runs/mini/model.safetensors --format onnx -o net.onnx",
    "tunable export runs/mini/model.safetensors --format onnx --omega 0.7,0.3 -o plain.onnx",
    "tunable export denoise --format onnx --form heads -o heads.onnx",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable export`."""
    add_model(parser, "A weights file, or a checkpoint of a run")
    parser.add_argument(
        "--format",
        required=True,
        help=f"One of {', '.join(SUFFIXES)}. The format dni writes plain weights files, at omega = 0 and at each unit "
        "vector, for tools that interpolate weights.",
    )
    parser.add_argument(
        "--omega",
        metavar="A,B",
        help=f"Fold the network at this omega. Without it, omega stays an input of the file. {FORM_OF_OMEGA}",
    )
    parser.add_argument(
        "--form",
        default=FORMS[0],
        help="The shape of the input omega: with shared (the default) it is (1, p) for the whole batch, and with basis "
        "it is (n, p), one per sample. For a network with a tunable end: prepared writes FILE-trunk, which computes "
        "the features that no omega changes, and FILE-tail, which makes pictures of them; heads returns a base picture "
        "and difference pictures, of which every omega is a sum (the last layer alone must be tunable). With planes "
        "omega is a map: the one input (n, 3 + p, h, w) holds the picture's colours and a plane for each knob.",
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="Fix height and width in the file, in pixels, for example 256x384. By default they may vary.",
    )
    parser.add_argument("--float16", action="store_true", help="For onnx, compute and store weights in float16.")
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="FILE",
        help="The exported file to write. The format dni writes FILE-0, FILE-1, ... FILE-p, and the form prepared "
        "FILE-trunk and FILE-tail.",
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
    model = load(args.model, args.backend, args.device, args.mode)
    omega = None
    if args.omega is not None:
        if not model.objectives:
            raise TunableError(f"{args.model} holds a plain network: it takes no --omega")
        omega = read_omega(args.omega, model.header, args)
        warn_of_untrained([omega], model.header)
    for path in targets(model, args.format, args.out, args.form) if args.format in SUFFIXES else ():
        check_writable(path, find(args.model))
    report = checked_export(model, args.format, args.out, omega, form=args.form, half=args.float16, size=args.size)
    files = [str(path) for path in targets(model, args.format, args.out, args.form)]
    limit = TOLERANCES[report.limit].limit
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
        report.format,
        report.form,
        len(report.errors),
        report.worst,
        limit,
    )
    return 0
