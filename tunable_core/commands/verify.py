"""`tunable verify MODEL`: the parity certificate."""

import logging

from tunable_core.backends import BACKENDS, get_backend, requested
from tunable_core.certificate import verify
from tunable_core.commands.shared import add_json, at_least, print_json
from tunable_core.errors import CheckFailed, TunableError
from tunable_core.files import check_writable, write_text
from tunable_core.reports import certificate as report


def add_arguments(parser):
    parser.add_argument("model", metavar="MODEL", help="a weights file of a tunable network")
    parser.add_argument(
        "--backends", metavar="A,B", help="frameworks to compare, e.g. torch,mindspore; default: all installed"
    )
    parser.add_argument(
        "--grid", type=at_least(2), metavar="N", help="omega: all points of N steps per axis (default 5)"
    )
    pack = parser.add_mutually_exclusive_group()
    pack.add_argument("--record", metavar="PACK", help="also write the float64 truth (needs torch) for other machines")
    pack.add_argument(
        "--against", metavar="PACK", help="judge by a recorded truth, its inputs and omega: needs one framework only"
    )
    parser.add_argument("--html", metavar="FILE", help="also write the certificate as a self-contained page")
    add_json(parser)


def run(args) -> int:
    names = [part.strip() for part in args.backends.split(",") if part.strip()] if args.backends else requested()
    if not names:
        raise TunableError(f"wants at least one framework: one of {', '.join(BACKENDS)}")
    if args.against and args.grid:
        raise TunableError(f"--grid {args.grid} has no meaning with --against: the pack says which omega are judged")
    for path in (args.html, args.record):
        if path:
            check_writable(path)
    backends = [get_backend(name) for name in dict.fromkeys(names)]
    certificate = verify(
        args.model,
        backends,
        points=args.grid or 5,
        record=args.record,
        against=args.against,
        progress=lambda stage: logging.info("verify: %s", stage),
    )
    if args.html:
        write_text(args.html, report.page(certificate))
    if args.json:
        print_json(certificate.to_dict())
    else:
        report.print_table(certificate)
    if not certificate.passed:
        failed = sum(not row.passed for row in certificate.rows)
        raise CheckFailed(f"{failed} of {len(certificate.rows)} comparisons failed")
    return 0
