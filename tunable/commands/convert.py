"""`tunable convert FILE... --from SOURCE -o OUT`: other programs' weights as this project's, plain ones as tunable."""

import argparse
import logging
from typing import Any

from tunable.backends.model import build
from tunable.backends.registry import get_framework, needs_framework, requested
from tunable.errors import BackendError, TunableError, nearest, shown
from tunable.files import check_writable
from tunable.specs.documents import read_yaml
from tunable.weights import storage
from tunable.weights.conversion import BLENDS, check_fits, read_network, tunable_header, tunable_tensors
from tunable.weights.sources import SOURCES

_PLAIN = ("plain", "endpoints", *BLENDS)


EXAMPLES = (
    "tunable convert swinir.safetensors --from swinir -o net.safetensors",
    "tunable convert net.safetensors --from plain --objectives fidelity,noise -o start.safetensors",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable convert`."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="A safetensors file, a MindSpore checkpoint, or a PyTorch file with --allow-pickle. `--from endpoints` "
        "takes several.",
    )
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="SOURCE",
        help=f"Where FILE comes from: {', '.join(SOURCES)}, {', '.join(_PLAIN)}. With plain, a plain weights file of "
        "this project gets knobs that change nothing until they are trained. With endpoints, the knobs interpolate "
        "several plain weights files of one network; with outputs they mix what these networks return, and with blend "
        "what one network returns with its input.",
    )
    parser.add_argument(
        "--objectives",
        metavar="A,B",
        help="The names of the knobs, for `--from plain`, `endpoints`, `outputs` and `blend`.",
    )
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="The weights file to write (.safetensors).")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="An argument of the network that FILE cannot say, for example img_range=255 for SwinIR, or nu=0.9, the "
        "part of what was removed that `--from blend` gives back.",
    )
    parser.add_argument(
        "--key",
        metavar="NAME",
        help="The name of the network to read where FILE holds several, for example params_ema.",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="Read a PyTorch file that is a pickle. Only its tensors are read, and nothing in it runs.",
    )


def run(args: argparse.Namespace) -> int:
    """Run `tunable convert`, and return its exit status."""
    check_writable(args.out, *args.files)
    overrides = {}
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise TunableError(f"--set wants KEY=VALUE such as residual_scale=1, not {text!r}")
        try:
            overrides[name] = read_yaml(value)
        except ValueError as error:
            raise TunableError(f"--set {text}: {shown(value)} is not a YAML value: {error}") from None
    names = requested()
    if not names:
        raise BackendError(f"trying the weights {needs_framework()}")
    known = (*SOURCES, *_PLAIN)
    if args.source not in known:
        raise TunableError(f"unknown source {args.source!r}{nearest(args.source, known)}; known: {', '.join(known)}")
    if args.source in _PLAIN:
        tensors, header = _from_plain(args, names[0], overrides)
        notes, assumed = [], []
    else:
        if len(args.files) > 1 or args.objectives:
            raise TunableError(f"--from {args.source} takes one file, and no --objectives")
        path = args.files[0]
        tensors, header, notes, assumed = read_network(
            path, args.source, overrides, key=args.key, allow_pickle=args.allow_pickle
        )
        check_fits(tensors, header, args.source, path)
    for name in names:  # strict: every tensor is wanted and every wanted one is there
        build(header, tensors, get_framework(name, "cpu"), args.files[0])
    for note in notes:
        logging.info("%s: %s", args.files[0], note)
    storage.save(args.out, tensors, header)
    kind = f"tunable, {header.num_objectives} objectives" if header.objectives else "plain"
    said = f"; assumed, for the file cannot say: {'; '.join(assumed)}" if assumed else ""
    logging.info("wrote %s: %s, %s; loads in %s%s", args.out, header.network.name, kind, " and ".join(names), said)
    return 0


def _from_plain(args: argparse.Namespace, backend: str, overrides: dict[str, Any]):
    nu = overrides.pop("nu", 0.9) if args.source == "blend" else 0.9
    if overrides or args.allow_pickle or args.key is not None:
        raise TunableError(f"--from {args.source} takes neither --set nor --allow-pickle nor --key")
    read = [storage.load(path) for path in args.files]
    objectives = args.objectives.split(",") if args.objectives is not None else None
    header = tunable_header([header for _, header in read], args.source, objectives, nu)
    chosen = get_framework(backend, "cpu")
    for path, (tensors, plain) in zip(args.files, read, strict=True):
        build(plain, tensors, chosen, path)
    specs = chosen.specs(chosen.build(header.network, header.num_objectives))
    return tunable_tensors([tensors for tensors, _ in read], specs), header
