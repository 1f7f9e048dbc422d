"""`tunable restore MODEL IMAGE... --omega 0.7,0.3 -o OUT`: restore pictures of any size."""

import argparse
import logging
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tunable.backends.model import Model
from tunable.commands.omega_maps import add_omega_map, noted, settings_in
from tunable.commands.settings import add_preset, settings_asked
from tunable.commands.shared import (
    FORM_OF_OMEGA,
    add_backend,
    add_ema,
    add_extrapolate,
    add_json,
    add_max_pixels,
    add_model,
    add_model_option,
    add_strength,
    at_least,
    model_of,
    print_json,
    progress,
    warn_of_untrained,
)
from tunable.errors import DataError, OmegaError, TunableError, printable
from tunable.files import check_writable, file_digest
from tunable.images import encoders
from tunable.images.contact_sheets import cell_sheet, contact_sheet, enlarged, write_animation
from tunable.images.folders import Listing, find, named_apart, some
from tunable.images.pictures import (
    WRITTEN,
    Picture,
    from_network,
    has_alpha,
    holds_frames,
    read_frames,
    to_floats,
    to_levels,
    to_network,
    write,
    write_frames,
)
from tunable.images.restored import NAME, Record, made_in
from tunable.images.tiling import BLENDED_TILE, DEFAULT_TILE, WHOLE, default_tile, run_at_each
from tunable.models import find as find_model
from tunable.omega import MOST_SHOWN, format_omega
from tunable.training.ranks import share_of
from tunable.version import __version__

SHEET_PIXELS = 500_000_000  # of a contact sheet or all frames of an animation: 6 GB as floats
_Row = Iterable[Any]  # settings: omega (p,), or None of a plain network
_Settings = Sequence[Any]  # rows of a sheet, each of settings

EXAMPLES = (
    "tunable restore docs/images/noisy.jpg --model denoise --strength 70 -o restored.png",
    "tunable restore docs/images/noisy.jpg --model denoise --omega-map docs/images/mask.png -o masked.png",
    "tunable restore docs/results/denoise_mini/torch.safetensors docs/images/noisy.jpg --sweep 5",
    "tunable restore runs/mini/model.safetensors docs/images/noisy.jpg --omega 0.7,0.3 -o restored.png",
    "tunable restore runs/mini/model.safetensors my/photographs --omega 1,0 -o out --resume",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable restore`."""
    add_model(parser)
    add_ema(parser)
    images = parser.add_argument(
        "images", metavar="IMAGE", nargs="+", default=[], help="Pictures, or folders of pictures. Folders need -o."
    )
    add_model_option(parser, images)
    parser.add_argument(
        "--recursive",
        action="store_true",
        help="Restore the pictures in sub-folders too, and keep their tree under -o.",
    )
    parser.add_argument(
        "--omega", metavar="A,B", help=f"The setting of the knobs. A plain network takes none. {FORM_OF_OMEGA}"
    )
    add_strength(parser)
    add_preset(parser)
    add_omega_map(parser)
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="The file to write, or a folder. A folder that is named like a picture needs a slash at its end. The "
        "default is NAME_restored.png (or NAME_sweep.png) beside each picture. PNG and TIFF keep more than 8 bits per "
        "channel, as 16. TIFF keeps the pages of a file, and PNG, WebP and AVIF keep the frames of an animation.",
    )
    parser.add_argument(
        "--quality",
        type=at_least(1, 100),
        metavar="N",
        help="The quality of JPEG, AVIF and WebP, 1 to 100. The default is 98 for JPEG and AVIF, with colours in full "
        "resolution, and WebP without loss.",
    )
    parser.add_argument(
        "--sweep",
        type=_points,
        metavar="N|NxN",
        help="Write a contact sheet of several settings, N at least 2. With one knob it shows N settings. With two it "
        "shows N settings from (0, 1) to (1, 0), or with NxN every pair of N settings. With three it shows a triangle "
        "with N settings on an edge.",
    )
    parser.add_argument(
        "--animate", action="store_true", help="With --sweep N, write an animated .webp instead of a sheet."
    )
    parser.add_argument(
        "--tile",
        type=at_least(16),
        metavar="N",
        help=f"Restore in tiles of N pixels a side, at least 16, to bound the memory. The default is {DEFAULT_TILE}, "
        "or eight times the margin of a tile where that is more. Where every pixel depends on the whole picture, the "
        f"default is no tiles up to {WHOLE:,} pixels, and blended tiles of {BLENDED_TILE} above. An exported file of "
        "one size has tiles of that size, and takes no other.",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="With a folder as -o, keep what the same command has made of the same pictures, and make the rest. The "
        f"file {NAME} in that folder notes what was made.",
    )
    add_max_pixels(parser)
    add_extrapolate(parser)
    add_backend(parser)
    add_json(parser)


_OTHERS = (".heic", ".heif", ".jxl", ".svg", ".raw", ".dng", ".exr", ".hdr")  # pictures that even Pillow does not write

# What does not change a picture, of all that can be said on the command line.
_NEUTRAL = (
    "words",  # the command as it was given
    "verb",
    "model",
    "chosen",
    "images",
    "recursive",
    "omega",
    "strength",
    "preset",
    "omega_map",
    "extrapolate",
    "out",
    "resume",
    "json",
    "backend",
    "device",
    "max_pixels",
)


def run(args: argparse.Namespace) -> int:
    """Run `tunable restore`, and return its exit status."""
    if args.chosen is not None:
        args.model, args.images = args.chosen, [args.model, *args.images]
    paths, targets, folder = _plan(args)
    paths, targets = share_of(paths), share_of(targets)
    if args.resume and folder is None:
        raise TunableError("--resume goes on with a folder of restored pictures: name it with -o")
    model = model_of(args)
    omegas = settings_asked(args, model)
    warn_of_untrained(settings_in(omegas), model.header)
    written, failed = [], []
    record = Record(folder, _settings(args, model, omegas)) if folder else None
    if args.resume and record:
        paths, targets = _left(record, paths, targets)
    if paths and model.folds and not args.sweep and np.ndim(omegas[0][0]) == 1:
        model, omegas = model.fold(omegas[0][0]), [[None]]  # kernels are mixed once, not for every tile
    try:
        with progress("restore") as report:
            for done, (path, target) in enumerate(zip(paths, targets, strict=True), start=1):
                try:
                    _restore(model, path, target, omegas, args)
                    if record:
                        record.add(path, target)
                    written.append({"picture": str(path), "restored": str(target)})
                except TunableError as error:
                    if len(paths) == 1:
                        raise
                    failed.append({"picture": str(path), "error": str(error)})
                if len(paths) > 1:
                    report(done, len(paths))
    except KeyboardInterrupt:
        if folder:
            logging.info("stopped after %d of %d pictures; --resume continues", len(written), len(paths))
        raise
    if args.json:
        print_json({"written": written, "failed": failed})
    for failure in failed:
        logging.error("tunable restore: %s", failure["error"])
    if failed:
        logging.error("tunable restore: %d of %d pictures failed", len(failed), len(paths))
    return 0 if not failed else 1 if written else 2


def _settings(args: argparse.Namespace, model: Model, omegas: _Settings) -> dict:
    """All that a restored picture depends on, but for the picture itself."""
    options = {key: value for key, value in vars(args).items() if key not in _NEUTRAL}
    backend = {
        "backend": model.backend.name,
        "device": model.backend.device.partition(":")[0],
        "mode": model.backend.mode,
    }
    model_is, knobs = file_digest(find_model(args.model)), noted(omegas)
    return {**options, **backend, "model": model_is, "omega": knobs, "writer": __version__}


def _left(record: Record, paths: Sequence[Path], targets: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The pictures that are still to be restored, and what they become; says how many are kept."""
    left = [pair for pair in zip(paths, targets, strict=True) if not record.holds(*pair)]
    again = [target.name for _, target in left if target.is_file()]
    kept = len(paths) - len(left)
    if kept or again:
        why = f"; {len(again)} made by other settings or of another picture are made again ({some(again)})"
        logging.info(f"resume: {kept} of {len(paths)} pictures are restored already" + (why if again else ""))
    return [path for path, _ in left], [target for _, target in left]


def _points(text: str) -> tuple[int, bool]:
    """N or NxN -> N, and whether it is a square."""
    first, cross, second = text.partition("x")
    if cross and first != second:
        raise argparse.ArgumentTypeError(f"must be N or NxN, not {text!r}")
    return at_least(2, MOST_SHOWN)(first), bool(cross)


def _restore(model: Model, path: Path, target: Path, rows: _Settings, args: argparse.Namespace) -> None:
    pictures = read_frames(path, args.max_pixels)
    picture = next(pictures)
    levels = picture.levels
    check_writable(target)
    lengths, header = levels.shape[:2], model.header
    if not args.sweep:
        scale = header.network.scale
        encoders.check_size(target, lengths[1] * scale, lengths[0] * scale)
    together = not args.sweep and holds_frames(target, picture)
    if picture.frames > 1 and not together:
        logging.warning(_left_out(path, target, picture, args))
    tile = default_tile(model, lengths)
    if header.network.halo is None and not (args.tile or header.size) and tile < max(lengths):
        logging.info(
            f"{path} has more than {WHOLE:,} pixels: blended tiles of {tile}, each with its own averages; "
            f"--tile {max(lengths)}: whole"
        )
    shown = 1 + sum(map(len, rows))
    if args.sweep and shown * math.prod(lengths) * header.network.scale**2 > SHEET_PIXELS:
        raise DataError(
            f"{path}: {shown} pictures of {lengths[1]}x{lengths[0]} on a sheet are more than {SHEET_PIXELS} pixels, "
            "the limit: a smaller picture or fewer settings are wanted"
        )

    def at(omegas: _Row, levels: np.ndarray = levels) -> list[np.ndarray]:
        try:
            return [from_network(one) for one in run_at_each(model, to_network(levels), omegas, args.tile)]
        except (DataError, OmegaError) as error:
            raise type(error)(f"{path}: {error}") from None

    if not args.sweep:
        frames = [picture, *pictures] if together else [picture]
        done = [frame._replace(levels=at(rows[0], frame.levels)[0]) for frame in frames]
        write_frames(target, done, quality=args.quality)
        if picture.alpha is not None and to_floats(picture.alpha).min() < 1 and not has_alpha(target):
            logging.warning("%s is without the transparency of %s: its format has none", target, path)
        logging.info("wrote %s", target)
        return
    made = iter(at([omega for row in rows for omega in row]))
    restored = [[next(made) for _ in row] for row in rows]
    if args.animate:
        write_animation(target, restored[0], [_knobs(model, omega) for omega in rows[0]], args.quality)
    else:
        title = printable(f"{path.name}: omega = ({', '.join(model.objectives)})")
        labels = [[format_omega(omega) for omega in row] for row in rows]
        given = enlarged(to_levels(to_floats(levels)), header.network.scale)  # as large as what is made of it
        if len(rows) == 1:
            sheet = contact_sheet([[given, *restored[0]]], ["input", *labels[0]], [title])
        else:
            sheet = cell_sheet([[given], *restored], [[title], *labels])
        write(target, sheet, quality=args.quality)
    logging.info("wrote %s", target)


def _left_out(path: Path, target: Path, picture: Picture, args: argparse.Namespace) -> str:
    what = "frames" if picture.animated else "pages"
    first = f"{target} shows the first of the {picture.frames} {what} of {path}"
    if args.sweep:
        return first
    holders = encoders.ANIMATED if picture.animated else ("TIFF",)
    return f"{first}: -o NAME.{' or NAME.'.join(holder.lower() for holder in holders)} holds all"


def _knobs(model: Model, omega: np.ndarray) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(model.objectives, omega, strict=True))


def _plan(args: argparse.Namespace) -> tuple[list[Path], list[Path], Path | None]:
    """The pictures to restore, the file that each becomes, and the folder of these if -o is one.

    TunableError rather than overwrite one's own input.
    """
    out = None if args.out is None else Path(args.out)
    named: dict[Path, Path] = {}  # picture -> where it becomes a file, without suffix and within -o
    for image in map(Path, args.images):
        if not image.is_dir():
            named.setdefault(image, Path(image.name))
            continue
        if out is None:
            raise TunableError(f"{image} is a folder: say with -o where its restored pictures go")
        listing = find(image, args.recursive, without=out)
        if image.resolve() == out.resolve():
            listing.leave(made_in(image), "restored here before")
        logging.info(listing.describe() + _advice(listing, args))
        for path in listing.pictures:
            named.setdefault(path, path.relative_to(image))
    paths = list(named)
    if out is not None and _names_picture(args, one=len(args.images) == 1 and not Path(args.images[0]).is_dir()):
        if len(paths) != 1:
            raise TunableError(f"-o {out} names one picture; several need a folder")
        targets, folder = [_one(args, out)], None
    else:
        if out is not None and out.exists() and not out.is_dir():
            raise TunableError(f"-o {out} is a file, but neither a folder nor named like a picture")
        places = list(named.values()) if out else paths
        targets, folder = [(out or Path()) / place for place in _targets(args, places)], out
    lossless = next((target for target in targets if encoders.format_of(target) not in encoders.WITH_QUALITY), None)
    if args.quality and lossless:
        raise TunableError(f"--quality is of JPEG, WebP and AVIF; {lossless} is written without loss")
    sources = {path.resolve() for path in paths}
    for target in targets:
        if target.resolve() in sources:
            raise TunableError(f"{target} is one of the pictures to restore; choose another -o")
    return paths, targets, folder


def _advice(listing: Listing, args: argparse.Namespace) -> str:
    there = not args.recursive and any("sub-folders" in reason for reason in listing.left_out)
    return "; --recursive restores those in sub-folders too" if there else ""


def _names_picture(args: argparse.Namespace, one: bool) -> bool:
    """Whether -o is to be a file: no folder, and its ending a picture's; for one picture, anything like a format's."""
    suffix = Path(args.out).suffix.lower()
    if args.out.endswith(("/", os.sep)) or Path(args.out).is_dir():
        return False
    like = one and re.fullmatch(r"\.[a-z][a-z0-9]{1,4}", suffix)
    return bool(like) or suffix in WRITTEN or suffix in _OTHERS or suffix in Image.registered_extensions()


def _one(args: argparse.Namespace, out: Path) -> Path:
    if out.suffix.lower() not in WRITTEN:
        raise TunableError(
            f"cannot write {out}: the suffix must be one of {', '.join(WRITTEN)}; a folder of that name is {out}/"
        )
    if args.animate and out.suffix.lower() != ".webp":
        raise TunableError(f"an animation is a .webp, not {out}")
    return out


def _targets(args: argparse.Namespace, places: list[Path]) -> list[Path]:
    """The file that each picture becomes; says where several would become one."""
    ending = "_restored.png" if not args.sweep else "_sweep.webp" if args.animate else "_sweep.png"
    targets, renamed = named_apart(places, ending)
    if renamed:
        logging.info(
            "%d pictures would share their names with others: theirs keep the suffix (%s)", len(renamed), some(renamed)
        )
    return targets
