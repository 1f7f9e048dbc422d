"""`tunable evaluate MODEL --data DIR`: the table over omega, noise and blur, or of enlarged pictures, and its plot."""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tunable.backends.model import Model
from tunable.commands.shared import (
    FORM_OF_OMEGA,
    add_backend,
    add_ema,
    add_extrapolate,
    add_json,
    add_max_pixels,
    add_model,
    at_least,
    model_of,
    numbers,
    print_json,
    progress,
    read_omega,
    warn_of_untrained,
)
from tunable.data.pairs import partners
from tunable.data.patches import say_what_is_used
from tunable.errors import TunableError
from tunable.evaluation.measuring import evaluate, objectives_of, pictures_of, summarise
from tunable.evaluation.perceptual import VARIABLE, chosen
from tunable.evaluation.sentences import protocol
from tunable.files import check_writable
from tunable.omega import grid, line
from tunable.reports import tables
from tunable.training.ranks import ALONE, Launch, Ranks, launched

EXAMPLES = (
    "tunable evaluate runs/mini/model.safetensors --data bundled",
    "tunable evaluate runs/mini/model.safetensors --data my/photographs --sigma 15,25 --line 11 --out results",
    "tunable evaluate denoise --data my/clean --degraded my/noisy",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable evaluate`."""
    add_model(parser)
    add_ema(parser)
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="A folder of clean pictures, or the word bundled for two photographs that scikit-image carries.",
    )
    parser.add_argument(
        "--degraded",
        metavar="DIR",
        help="A folder of the same pictures as a camera or another program degraded them, each under the name of its "
        "clean picture. Without it, pictures are degraded by the measuring protocol.",
    )
    parser.add_argument("--recursive", action="store_true", help="Use the pictures in sub-folders too.")
    parser.add_argument(
        "--sigma",
        type=numbers,
        metavar="A,B,...",
        help="Standard deviations of the noise in 1/255, at least 0 (default 5,15,30). A network for super-resolution "
        "is measured without noise.",
    )
    parser.add_argument(
        "--rho",
        type=numbers,
        metavar="A,B,...",
        help="Standard deviations of the blur in pixels, at least 0 (default 0,1,2,3,4 for a network that was trained "
        "on blurred pictures, and 0 for others).",
    )
    points = parser.add_mutually_exclusive_group()
    points.add_argument(
        "--grid",
        type=at_least(2),
        metavar="N",
        help="Measure a grid of omega with N points along each axis, at least 2. This is the default for one objective "
        "and for more than two (5), and for an objective of kind blur (2, the corners).",
    )
    points.add_argument(
        "--line",
        type=at_least(2),
        metavar="N",
        help="Measure N points from (0, 1) to (1, 0), at least 2. This is the default for two objectives (5).",
    )
    points.add_argument(
        "--omega",
        action="append",
        metavar="A,B",
        help=f"Measure this omega. May be given several times. {FORM_OF_OMEGA}",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--metrics",
        type=lambda text: text.split(","),
        metavar="A,B,...",
        default=["psnr", "ssim"],
        help="What is measured: psnr (always), ssim, lpips and niqe (default psnr,ssim). lpips takes seconds for each "
        "picture and setting.",
    )
    which.add_argument(
        "--no-ssim", action="store_true", help="Leave SSIM out, which is faster: the same as --metrics psnr."
    )
    parser.add_argument(
        "--features",
        metavar="FILE",
        help="For lpips: the weights of VGG-16 that tools/vgg16.py made. Without it, the file that the environment "
        f"variable {VARIABLE} names.",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="Write table.csv, summary.csv, summary.md and plot.png into this folder."
    )
    add_max_pixels(parser)
    add_extrapolate(parser)
    add_backend(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run `tunable evaluate`, and return its exit status."""
    extra = {} if args.no_ssim else chosen(args.metrics, args.features)
    launch = launched()
    leads = launch is None or launch.rank == 0  # process 0 tells
    for name in tables.FILES if args.out and leads else ():
        check_writable(Path(args.out) / name)
    model = model_of(args)
    ranks = _ranks(model, launch)
    omegas = _omegas(args, model)
    given = {}
    if args.degraded:
        given = partners([args.data], [args.degraded], model.header.network.scale, args.recursive)
    paths = [*given] or pictures_of([args.data], args.recursive)
    beside = f"; degraded: {args.degraded}" if args.degraded else ""
    say_what_is_used("evaluate", [args.data], args.recursive, beside)
    warn_of_untrained([] if omegas is None else omegas, model.header)
    with progress(f"evaluate ({model.backend.name})", unit="measurements") as report:
        rows = evaluate(
            model,
            paths,
            omegas,
            args.sigma,
            args.rho,
            ssim="ssim" in args.metrics and not args.no_ssim,
            progress=report,
            max_pixels=args.max_pixels,
            given=given,
            ranks=ranks,
            extra=extra,
        )
    if not leads:
        return 0
    summary = summarise(rows)
    if args.out:
        tables.write(args.out, rows, summary, model)
        logging.info("wrote %s in %s", ", ".join(tables.FILES), args.out)
    if args.json:
        print_json({"model": args.model, "data": args.data, "protocol": protocol(summary), "summary": summary})
    else:
        print(tables.document(summary, model), end="")
    return 0


def _ranks(model: Model, launch: Launch | None) -> Ranks:
    """The processes that share the pictures; this one alone, where no launcher started it."""
    if launch is None:
        return ALONE
    join: Callable[[], Ranks] | None = getattr(model.backend, "join", None)  # a framework's; exported files have none
    if join is None:
        raise TunableError(f"{launch.launcher} shares the pictures of torch and mindspore, not of {model.backend.name}")
    return join()


def _omegas(args: argparse.Namespace, model: Model) -> np.ndarray | None:
    p = len(model.objectives)
    if not p:
        if args.grid or args.line or args.omega:
            raise TunableError("this network is plain: it takes no --grid, --line or --omega")
        return None
    if args.omega:
        return np.stack([read_omega(text, model.header, args) for text in args.omega])
    corners = any(spec.kind == "blur" for spec in objectives_of(model.header))  # as Table 3
    if args.line or (p == 2 and not args.grid and not corners):
        if p != 2:
            raise TunableError(f"--line is for two objectives; this network has {p}: use --grid")
        return line(args.line or 5)
    return grid(p, args.grid or (2 if corners else 5))
