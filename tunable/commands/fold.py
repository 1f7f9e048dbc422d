"""`tunable fold MODEL --omega 0.7,0.3 -o FILE`: an ordinary network at a fixed omega, one for each --omega."""

import argparse
import logging
from pathlib import Path

from tunable.backends.model import WeightsModel
from tunable.commands.shared import (
    FORM_OF_OMEGA,
    add_backend,
    add_ema,
    add_extrapolate,
    add_model,
    opened,
    read_omega,
    warn_of_untrained,
)
from tunable.errors import TunableError
from tunable.files import check_writable
from tunable.models import find
from tunable.omega import format_omega

EXAMPLES = ("tunable fold runs/mini/model.safetensors --omega 0.7,0.3 -o plain.safetensors",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable fold`."""
    add_model(parser, "A weights file of a tunable network")
    add_ema(parser)
    parser.add_argument(
        "--omega",
        required=True,
        action="append",
        metavar="A,B",
        help=f"The omega to keep. May be given several times. {FORM_OF_OMEGA}",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="FILE",
        help="The folded weights file to write (.safetensors). Several --omega write FILE-0, FILE-1, ...",
    )
    add_extrapolate(parser)
    add_backend(parser)


def run(args: argparse.Namespace) -> int:
    """Run `tunable fold`, and return its exit status."""
    out = Path(args.out)
    several = len(args.omega) > 1
    paths = [out.with_stem(f"{out.stem}-{i}") for i in range(len(args.omega))] if several else [out]
    for path in paths:
        check_writable(path, find(args.model))
    model = opened(args)
    if not model.objectives:
        raise TunableError(f"{args.model} holds a plain network already: there is nothing to fold")
    if not isinstance(model, WeightsModel):
        raise TunableError(f"{args.model} is an exported model: to fold it, load the weights that it was made from")
    omegas = [read_omega(text, model.header, args) for text in args.omega]
    warn_of_untrained(omegas, model.header)
    for path, omega in zip(paths, omegas, strict=True):
        folded = model.fold(omega)
        folded.save(path)
        logging.info("wrote %s: a plain %s at omega %s", path, folded.header.network.title, format_omega(omega))
    return 0
