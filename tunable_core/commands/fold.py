"""`tunable fold MODEL --omega 0.7,0.3 -o FILE`: an ordinary network at a fixed omega."""

import logging

from tunable_core.backends import load
from tunable_core.commands.shared import add_backend, add_extrapolate, backend_of, read_omega
from tunable_core.errors import TunableError
from tunable_core.files import check_writable
from tunable_core.omega import format_omega


def add_arguments(parser):
    parser.add_argument("model", metavar="MODEL", help="a weights file of a tunable network")
    parser.add_argument("--omega", required=True, metavar="A,B", help="the setting to keep")
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help="the folded weights file (.safetensors)")
    add_extrapolate(parser)
    add_backend(parser)


def run(args) -> int:
    check_writable(args.out)
    model = load(args.model, backend_of(args))
    if not model.objectives:
        raise TunableError(f"{args.model} holds a plain network already: there is nothing to fold")
    omega = read_omega(args.omega, model.header, args.extrapolate)
    folded = model.fold(omega)
    folded.save(args.out)
    logging.info("wrote %s: a plain %s at omega %s", args.out, folded.header.network.name, format_omega(omega))
    return 0
