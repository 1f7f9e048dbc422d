"""`tunable restore MODEL IMAGE... --omega 0.7,0.3 -o OUT`: restore pictures of any size."""

import argparse
import logging
from pathlib import Path

from PIL import Image

from tunable_core.commands.shared import (
    add_backend,
    add_extrapolate,
    add_json,
    at_least,
    model_of,
    print_json,
    progress,
    read_omega,
)
from tunable_core.errors import DataError, TunableError
from tunable_core.files import check_writable
from tunable_core.omega import format_omega, sweep, tour
from tunable_core.pictures import (
    ALPHA_SUFFIXES,
    SUFFIXES,
    from_network,
    list_pictures,
    read_picture,
    to_network,
    write,
)
from tunable_core.sweep import cell_sheet, contact_sheet, write_animation
from tunable_core.tiling import BLENDED_TILE, DEFAULT_TILE, WHOLE, default_tile, run_tiled


def add_arguments(parser):
    parser.add_argument("model", metavar="MODEL", help="a weights file, or an exported one (.onnx, .mindir)")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="pictures, or folders of pictures (these need -o)")
    parser.add_argument("--omega", metavar="A,B", help="the knobs, one value per objective; none for a plain network")
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="the restored picture, or a folder; default: NAME_restored.png (NAME_sweep.png) beside each; pictures of "
        "more than 8 bits per channel are written with 16 as PNG and TIFF, everything else and sheets with 8",
    )
    parser.add_argument(
        "--sweep",
        type=_points,
        metavar="N|NxN",
        help="write a contact sheet: N settings of one knob; of two, from (0, 1) to (1, 0), or NxN of both; "
        "of three, the triangle with N on an edge",
    )
    parser.add_argument("--animate", action="store_true", help="with --sweep N: an animated .webp instead of a sheet")
    parser.add_argument(
        "--tile",
        type=at_least(16),
        metavar="N",
        help=f"restore in tiles of N pixels, to bound the memory (default {DEFAULT_TILE}; where a pixel depends on the "
        f"whole picture, whole up to {WHOLE:,} pixels, else {BLENDED_TILE} and blended; of files of one size: theirs)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out pictures whose restored file is there: go on with a folder"
    )
    add_extrapolate(parser)
    add_backend(parser)
    add_json(parser)


def run(args) -> int:
    paths, targets = _plan(args)
    model = model_of(args)
    omegas = _omegas(args, model)
    written, failed = [], []
    if args.resume:
        there = sum(target.is_file() for target in targets)
        if there:
            logging.info("resume: %d of %d pictures are restored already", there, len(paths))
        left = [(path, target) for path, target in zip(paths, targets, strict=True) if not target.is_file()]
        paths, targets = [path for path, _ in left], [target for _, target in left]
    if paths and model.folds and not args.sweep:
        model, omegas = model.fold(omegas[0][0]), [[None]]  # kernels are mixed once, not for every tile
    with progress("restore") as report:
        for done, (path, target) in enumerate(zip(paths, targets, strict=True), start=1):
            try:
                _restore(model, path, target, omegas, args)
                written.append({"picture": str(path), "restored": str(target)})
            except TunableError as error:
                if len(paths) == 1:
                    raise
                failed.append({"picture": str(path), "error": str(error)})
            if len(paths) > 1:
                report(done, len(paths))
    if args.json:
        print_json({"written": written, "failed": failed})
    for failure in failed:
        logging.error("tunable restore: %s", failure["error"])
    if failed:
        logging.error("tunable restore: %d of %d pictures failed", len(failed), len(paths))
    return 0 if not failed else 1 if written else 2


def _points(text: str) -> tuple[int, bool]:
    """N or NxN -> N, and whether it is a square."""
    first, cross, second = text.partition("x")
    if cross and first != second:
        raise argparse.ArgumentTypeError(f"must be N or NxN, not {text!r}")
    return at_least(2)(first), bool(cross)


def _restore(model, path, target, rows, args) -> None:
    levels, alpha, profile = read_picture(path)
    check_writable(target)
    lengths, header = levels.shape[:2], model.header
    tile = default_tile(model, lengths)
    if header.network.halo is None and not (args.tile or header.size) and tile < max(lengths):
        logging.info(
            f"{path} has more than {WHOLE:,} pixels: blended tiles of {tile}, each with its own averages; "
            f"--tile {max(lengths)}: whole"
        )

    def at(omega):
        try:
            return from_network(run_tiled(model, to_network(levels), omega, args.tile))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    restored = [[at(omega) for omega in row] for row in rows]
    if args.animate:
        write_animation(target, restored[0], [_knobs(model, omega) for omega in rows[0]])
    elif args.sweep:
        title = f"{path.name}: omega = ({', '.join(model.objectives)})"
        labels = [[format_omega(omega) for omega in row] for row in rows]
        if len(rows) == 1:
            write(target, contact_sheet([[levels, *restored[0]]], ["input", *labels[0]], [title]))
        else:
            write(target, cell_sheet([[levels], *restored], [[title], *labels]))
    else:
        write(target, restored[0][0], alpha, profile)
        if alpha is not None and target.suffix.lower() not in ALPHA_SUFFIXES:
            logging.warning("%s is without the transparency of %s: its format has none", target, path)
    logging.info("wrote %s", target)


def _knobs(model, omega) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(model.objectives, omega, strict=True))


def _omegas(args, model) -> list:
    """The settings, in the rows of a sheet."""
    p = len(model.objectives)
    if not p:
        if args.omega or args.sweep:
            raise TunableError(f"{args.model} holds a plain network: it takes no --omega or --sweep")
        return [[None]]
    if args.sweep:
        if args.omega:
            raise TunableError("give either --omega or --sweep")
        points, square = args.sweep
        if not args.animate:
            return sweep(p, points, square=square)
        if square:
            raise TunableError("--animate wants --sweep N, not NxN")
        return [tour(p, points)]
    if args.animate:
        raise TunableError("--animate wants --sweep N")
    if not args.omega:
        example = ",".join("1" + "0" * (p - 1))
        raise TunableError(f"--omega is needed: {p} values for {', '.join(model.objectives)}, such as {example}")
    return [[read_omega(args.omega, model.header, args.extrapolate)]]


def _plan(args) -> tuple[list[Path], list[Path]]:
    """The pictures to restore and the file that each becomes; TunableError rather than overwrite one's own input."""
    folders = [image for image in args.images if Path(image).is_dir()]
    if folders and args.out is None:
        raise TunableError(f"{folders[0]} is a folder: say with -o where its restored pictures go")
    paths = [path for image in args.images for path in (list_pictures(image) if image in folders else [Path(image)])]
    targets = _targets(args, paths, one=len(paths) == 1)
    if len(set(targets)) != len(targets):
        double = next(target for target in targets if targets.count(target) > 1)
        raise TunableError(f"several of the pictures would become {double}; restore them one by one, with -o")
    for target in targets:
        if target.resolve() in {path.resolve() for path in paths}:
            raise TunableError(f"{target} is one of the pictures to restore; choose another -o")
    return paths, targets


def _targets(args, paths: list[Path], one: bool) -> list[Path]:
    ending = "_restored.png" if not args.sweep else "_sweep.webp" if args.animate else "_sweep.png"
    if args.out is None:
        return [path.with_name(path.stem + ending) for path in paths]
    out = Path(args.out)
    if out.suffix.lower() in Image.registered_extensions() and not out.is_dir():  # the name of a picture
        if not one:
            raise TunableError(f"-o {out} names one picture; several need a folder")
        if out.suffix.lower() not in SUFFIXES:
            raise TunableError(f"cannot write {out}: the suffix must be one of {', '.join(SUFFIXES)}")
        if args.animate and out.suffix.lower() != ".webp":
            raise TunableError(f"an animation is a .webp, not {out}")
        return [out]
    if out.exists() and not out.is_dir():
        raise TunableError(f"-o {out} is a file, but neither a folder nor named like a picture")
    return [out / (path.stem + ending) for path in paths]
