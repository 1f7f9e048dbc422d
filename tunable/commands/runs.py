"""`tunable runs DIR...`: trainings side by side, in a table and a plot."""

import argparse
import logging
from pathlib import Path

from tunable.commands.shared import add_json, print_json
from tunable.errors import TunableError, printable, shown
from tunable.files import check_writable
from tunable.reports import runs as report
from tunable.training.comparing import find_runs, table

EXAMPLES = (
    "tunable runs runs",
    "tunable runs runs/mini -o runs.csv -o runs.svg -o runs.html",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable runs`."""
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="The folder of a run, or a folder that holds such folders."
    )
    parser.add_argument(
        "-o",
        "--out",
        action="append",
        default=[],
        metavar="FILE",
        help="Also write the table (.csv), the plot of loss and validation against steps (.png, .svg), or a page with "
        "both (.html). May be given several times.",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run `tunable runs`, and return its exit status."""
    for path in args.out:
        if Path(path).suffix.lower() not in report.WRITERS:
            raise TunableError(f"-o wants a file that ends in {', '.join(report.WRITERS)}, not {shown(path)}")
        check_writable(path)
    runs = find_runs(args.folders)
    for path in args.out:
        report.WRITERS[Path(path).suffix.lower()](path, runs)
        logging.info("wrote %s", path)
    if args.json:
        print_json(table(runs))
    else:
        print(printable_lines(report.text(runs)), end="")
    return 0


def printable_lines(text: str) -> str:
    """Return lines with every character that is not printed as its escape."""
    return "".join(printable(line) + "\n" for line in text.splitlines())
