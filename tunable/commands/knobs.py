"""`tunable knobs MODEL --data DIR`: the knob certificate: range, steps back, dead zones, colours and seams."""

import argparse
from pathlib import Path

from tunable.commands.shared import (
    add_backend,
    add_ema,
    add_json,
    add_max_pixels,
    add_model,
    at_least,
    model_of,
    numbers,
    present,
    progress,
)
from tunable.data.patches import say_what_is_used
from tunable.errors import CheckFailed
from tunable.files import check_writable
from tunable.omega import parse_omega
from tunable.reports import knobs as report
from tunable.response import Tolerances, certify
from tunable.response.judging import DEAD_ZONE
from tunable.response.paths import KINDS, TRAINED

EXAMPLES = (
    "tunable knobs docs/results/denoise_mini/torch.safetensors --data bundled --crop 256 -o certificate",
    "tunable knobs docs/results/denoise_mini/torch.safetensors --data bundled --sigma 25 --paths axes",
)
JSON = "knobs.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable knobs`."""
    usual = Tolerances()
    add_model(parser, "A weights file, a checkpoint of a run, or an exported file, of a tunable network")
    add_ema(parser)
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="A folder of clean pictures, one picture, or the word bundled for two photographs of scikit-image.",
    )
    parser.add_argument("--recursive", action="store_true", help="Use the pictures in sub-folders too.")
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="Use the first N pictures, at least 1.")
    parser.add_argument(
        "--crop",
        type=at_least(64),
        metavar="N",
        help="Use the central NxN pixels of each picture, at least 64, which is faster.",
    )
    parser.add_argument(
        "--sigma",
        type=numbers,
        metavar="A,B,...",
        help="Standard deviations of the noise in 1/255, at least 0. The default is that of `tunable evaluate`.",
    )
    parser.add_argument(
        "--rho",
        type=numbers,
        metavar="A,B,...",
        help="Standard deviations of the blur in pixels, at least 0. The default is that of `tunable evaluate`.",
    )
    parser.add_argument(
        "--paths",
        choices=KINDS,
        default=TRAINED,
        help="Along what each knob is turned: axes (the other knobs stand at 0, 1/2 and 1), edges (another knob is "
        "turned down), or trained, the default: axes if the network was trained along one, else edges.",
    )
    parser.add_argument(
        "--most-back",
        type=_percent,
        default=usual.back,
        metavar="PERCENT",
        help=f"Fail a knob that steps back by more than this share of its range (default {100 * usual.back:g}).",
    )
    parser.add_argument(
        "--most-dead",
        type=_percent,
        default=usual.dead,
        metavar="PERCENT",
        help="Fail a knob with more than this share of its travel in dead zones, where a tenth of the travel changes "
        f"less than {100 * DEAD_ZONE:g} %% of the range (default {100 * usual.dead:g}).",
    )
    parser.add_argument(
        "--least-range",
        metavar="A,B",
        help="Fail a knob whose measure has a smaller range. Give one value per knob, in order or by name, in the unit "
        "of its measure. The default is 0.1 dB of PSNR, 0.5/255 of change, and 0.02 of the others.",
    )
    parser.add_argument(
        "--most-cast",
        type=_number,
        default=usual.cast,
        metavar="N",
        help=f"Fail a mean shift of a colour beyond N/255 where the network was trained (default {usual.cast:g}).",
    )
    parser.add_argument(
        "--most-seam", type=_number, metavar="N", help="Fail a seam of tiles beyond N/255. The default fails none."
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="DIR",
        help=f"Write {', '.join(report.FILES)} and {JSON} into this folder.",
    )
    add_max_pixels(parser)
    add_backend(parser)
    add_json(parser)


def _number(text: str) -> float:
    values = numbers(text)
    if len(values) != 1:
        raise argparse.ArgumentTypeError(f"wants one number, not {len(values)}")
    return values[0]


def _percent(text: str) -> float:
    return _number(text) / 100


def run(args: argparse.Namespace) -> int:
    """Run `tunable knobs`, and return its exit status."""
    for name in (*report.FILES, JSON) if args.out else ():
        check_writable(Path(args.out) / name)
    model = model_of(args)
    least = None
    if args.least_range and model.objectives:
        least = tuple(parse_omega(args.least_range, model.objectives).tolist())
    tolerances = Tolerances(args.most_back, args.most_dead, least, args.most_cast, args.most_seam)
    if Path(args.data).is_dir():
        say_what_is_used("knobs", [args.data], args.recursive)
    with progress(f"knobs ({model.backend.name})", unit="measurements") as report_progress:
        certificate = certify(
            model,
            args.data,
            source=args.model,
            sigmas=args.sigma,
            rhos=args.rho,
            along=args.paths,
            tolerances=tolerances,
            limit=args.limit,
            crop=args.crop,
            recursive=args.recursive,
            max_pixels=args.max_pixels,
            progress=report_progress,
        )
    present(args, certificate, report, JSON)
    if not certificate.passed:
        found = len(certificate.faults)
        raise CheckFailed(f"{found} fault{'s' if found > 1 else ''}, the first: {certificate.faults[0]}")
    return 0
