"""`tunable analyze MODEL`: how the kernels of every block move with omega, by PCA and t-SNE (Figs. 8 and 9)."""

import argparse
from pathlib import Path

from tunable.analysis import analyze
from tunable.analysis.movement import POINTS
from tunable.commands.shared import add_json, add_model, at_least, present
from tunable.files import check_writable
from tunable.reports import analysis as report

EXAMPLES = (
    "tunable analyze docs/results/denoise_mini/torch.safetensors -o kernels",
    'tunable analyze denoise --layers "tail"',
)
JSON = "analysis.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable analyze`."""
    add_model(parser, "A weights file, a checkpoint of a run, or a file of make_tunable")
    parser.add_argument(
        "--layers",
        nargs="+",
        default=(),
        metavar="PATTERN",
        help='Only the layers of these names, such as "body.*". The default is all layers that omega sets.',
    )
    parser.add_argument(
        "--points",
        type=at_least(2),
        default=POINTS,
        metavar="N",
        help=f"Settings along each line between two corners that are laid out by t-SNE (default {POINTS}).",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="The seed of t-SNE (default 0).")
    parser.add_argument(
        "-o", "--out", metavar="DIR", help=f"Write {', '.join(report.FILES)} and {JSON} into this folder."
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run `tunable analyze`, and return its exit status."""
    for name in (*report.FILES, JSON) if args.out else ():
        check_writable(Path(args.out) / name)
    found = analyze(args.model, points=args.points, layers=args.layers, seed=args.seed)
    present(args, found, report, JSON)
    return 0
