"""`tunable verify MODEL`: the parity certificate."""

import argparse
import logging
import shlex

from tunable.backends.registry import BACKENDS, get_framework, needs_framework, requested
from tunable.certificate import verify
from tunable.certificate.sentences import summary
from tunable.commands.shared import add_json, add_model, at_least, print_json
from tunable.errors import BackendError, CheckFailed, TunableError
from tunable.exports.onnx_files import missing_packages, require_onnx
from tunable.files import check_writable, write_text
from tunable.models import find
from tunable.reports import certificate as report

EXPORTS = ("onnx", "mindir")  # formats whose files are run beside the frameworks


EXAMPLES = (
    "tunable verify runs/mini/model.safetensors --html certificate.html",
    "tunable verify runs/mini/model.safetensors --record mini.pack.safetensors",
    "tunable verify runs/mini/model.safetensors --against mini.pack.safetensors",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable verify`."""
    add_model(parser, "A weights file of a tunable network")
    parser.add_argument(
        "--backends",
        metavar="A,B",
        help="The frameworks to compare and the exports to run, separated by commas: torch, mindspore, onnx, mindir. "
        "The default is everything that is installed.",
    )
    parser.add_argument(
        "--grid",
        type=at_least(2),
        metavar="N",
        help="Judge a grid of omega with N points along each axis, at least 2 (default 5).",
    )
    pack = parser.add_mutually_exclusive_group()
    pack.add_argument(
        "--record",
        metavar="PACK",
        help="Also record the exact results in this file, for machines without torch. Recording needs torch.",
    )
    pack.add_argument(
        "--against",
        metavar="PACK",
        help="Judge by the exact results, the inputs and the omega in this file. Needs one framework only.",
    )
    parser.add_argument("--html", metavar="FILE", help="Also write the certificate as a self-contained page.")
    add_json(parser)


def chosen(text: str | None) -> tuple[list[str], tuple[str, ...]]:
    """Read which frameworks and formats of exports are judged; None means all that is installed."""
    if text is None:
        names = [*requested(), "mindir", *([] if missing_packages() else ["onnx"])]
    else:
        names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    frameworks, exports = [name for name in names if name not in EXPORTS], [n for n in names if n in EXPORTS]
    if not frameworks:
        wanted = needs_framework() if text is None else f"wants at least one framework: one of {', '.join(BACKENDS)}"
        raise BackendError(f"verify {wanted}")
    if "onnx" in exports:
        require_onnx()
    if "mindir" in exports and "mindspore" not in frameworks and text is not None:
        raise TunableError(f"mindir is written and run by mindspore, which is not among {', '.join(frameworks)}")
    return frameworks, tuple(exports)


def run(args: argparse.Namespace) -> int:
    """Run `tunable verify`, and return its exit status."""
    names, exports = chosen(args.backends)
    if args.against and args.grid:
        raise TunableError(f"--grid {args.grid} has no meaning with --against: the pack says which omega are judged")
    for path in (args.html, args.record):
        if path:
            check_writable(path, find(args.model), *filter(None, [args.against]))
    backends = [get_framework(name) for name in names]
    certificate = verify(
        find(args.model),
        backends,
        points=args.grid or 5,
        exports=exports,
        record=args.record,
        against=args.against,
        progress=lambda stage: logging.info("verify: %s", stage),
    )
    certificate.subject["command line"] = shlex.join(["tunable", *args.words])
    if args.html:
        write_text(args.html, report.page(certificate))
    if args.json:
        print_json({"summary": summary(certificate), **certificate.to_dict()})
    else:
        report.print_table(certificate)
    if not certificate.passed:
        failed = sum(not row.passed for row in certificate.rows)
        raise CheckFailed(f"{failed} of {len(certificate.rows)} comparisons failed")
    return 0
