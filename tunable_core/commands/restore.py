"""`tunable restore MODEL IMAGE... --omega 0.7,0.3 -o OUT`: restore pictures of any size."""

import logging
from pathlib import Path

from tunable_core.backends import load
from tunable_core.commands.shared import add_backend, at_least, backend_of, progress
from tunable_core.errors import TunableError
from tunable_core.omega import check_range, format_omega, line, parse_omega
from tunable_core.pictures import SUFFIXES, from_network, list_pictures, read, to_network, write
from tunable_core.sweep import contact_sheet
from tunable_core.tiling import run_tiled


def add_arguments(parser):
    parser.add_argument("model", metavar="MODEL", help="a weights file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="pictures or folders of pictures")
    parser.add_argument("--omega", metavar="A,B", help="the knobs, one value per objective; none for a plain network")
    parser.add_argument(
        "-o", "--out", metavar="OUT", help="a file (one picture) or a folder; default: NAME_restored.png beside each"
    )
    parser.add_argument(
        "--sweep", type=at_least(2), metavar="N", help="write a contact sheet of N settings from (0, 1) to (1, 0)"
    )
    parser.add_argument(
        "--tile", type=at_least(16), default=1024, metavar="N", help="restore in tiles of N pixels (default 1024)"
    )
    parser.add_argument("--extrapolate", action="store_true", help="allow omega outside the trained range")
    add_backend(parser)


def run(args) -> int:
    model = load(args.model, backend_of(args))
    omegas = _omegas(args, model)
    paths = [path for image in args.images for path in _expand(image)]
    targets = _targets(args, paths)
    failures = []
    with progress("restore") as report:
        for done, (path, target) in enumerate(zip(paths, targets, strict=True), start=1):
            try:
                _restore(model, path, target, omegas, args)
            except TunableError as error:
                if len(paths) == 1:
                    raise
                failures.append(error)
            report(done, len(paths))
    for error in failures:
        logging.error("tunable restore: %s", error)
    if failures:
        logging.error("tunable restore: %d of %d pictures failed", len(failures), len(paths))
    return 1 if failures else 0


def _restore(model, path, target, omegas, args) -> None:
    picture = read(path)
    restored = [from_network(run_tiled(model, to_network(picture), omega, args.tile)) for omega in omegas]
    if args.sweep:
        labels = ["input", *(format_omega(omega) for omega in omegas)]
        write(target, contact_sheet([[picture, *restored]], labels))
    else:
        write(target, restored[0])
    logging.info("wrote %s", target)


def _omegas(args, model) -> list:
    p = len(model.objectives)
    if not p:
        if args.omega or args.sweep:
            raise TunableError("this network is plain: it takes no --omega or --sweep")
        return [None]
    if args.sweep:
        if args.omega:
            raise TunableError("give either --omega or --sweep")
        if p != 2:
            raise TunableError(f"--sweep is for two objectives; this network has {p}")
        return list(line(args.sweep))
    if not args.omega:
        raise TunableError(
            f"--omega is needed: {p} values for {', '.join(model.objectives)}, such as {','.join('1' + '0' * (p - 1))}"
        )
    omega = parse_omega(args.omega, p)
    return [omega if args.extrapolate else check_range(omega, model.header.omega_range)]


def _expand(image: str) -> list[Path]:
    return list_pictures(image) if Path(image).is_dir() else [Path(image)]


def _targets(args, paths: list[Path]) -> list[Path]:
    ending = "_sweep.png" if args.sweep else "_restored.png"
    if args.out is None:
        return [path.with_name(path.stem + ending) for path in paths]
    out = Path(args.out)
    if len(paths) == 1 and out.suffix.lower() in SUFFIXES and not out.is_dir():
        return [out]
    if out.exists() and not out.is_dir():
        raise TunableError(f"{out} is a file; {len(paths)} pictures need a folder")
    targets = [out / (path.stem + ending) for path in paths]
    if len(set(targets)) != len(targets):
        raise TunableError(
            f"several pictures would be written to the same name in {out}; restore their folders one by one"
        )
    return targets
