"""`tunable convert FILE --from SOURCE -o OUT`: weights of another program as this project's."""

import logging

import yaml

from tunable_core import checkpoint
from tunable_core.backends import build, get_backend, requested
from tunable_core.convert import SOURCES, convert
from tunable_core.errors import TunableError
from tunable_core.files import check_writable


def add_arguments(parser):
    parser.add_argument("file", metavar="FILE", help=".ckpt, .safetensors, or .pth with --allow-pickle")
    parser.add_argument("--from", dest="source", required=True, metavar="SOURCE", help=", ".join(SOURCES))
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="the weights file to write (.safetensors)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an argument of the network that FILE cannot say",
    )
    parser.add_argument("--allow-pickle", action="store_true", help="read the tensors, and only these, of a pickle")


def run(args) -> int:
    check_writable(args.out)
    overrides = {}
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise TunableError(f"--set wants KEY=VALUE such as residual_scale=1, not {text!r}")
        overrides[name] = yaml.safe_load(value)
    tensors, header = convert(args.file, args.source, overrides, allow_pickle=args.allow_pickle)
    names = requested()
    if not names:
        raise TunableError("no framework is installed to try the weights in: pip install tunable-convolutions[torch]")
    for name in names:  # strict: every tensor is wanted and every wanted one is there
        build(header, tensors, get_backend(name, "cpu"), args.file)
    checkpoint.save(args.out, tensors, header)
    kind = f"tunable, {header.num_objectives} objectives" if header.objectives else "plain"
    logging.info("wrote %s: %s, %s; loads in %s", args.out, header.network.name, kind, " and ".join(names))
    return 0
