"""The command line: `tunable VERB`, one module per verb.

A verb's module has `EXAMPLES`, command lines that end its help, `add_arguments(parser)` and `run(args) -> int`, the
exit status: 0 done, 1 a check failed or some of several inputs failed, 2 usage or bad input, 128 + n ended by signal n.
Errors are one line on standard error.
"""

import argparse
import contextlib
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Collection
from typing import Any

from tunable.errors import CheckFailed, TunableError, nearest, one_line, printable, shorten, shown
from tunable.own import permitted, place
from tunable.training.interrupts import heeded, postponed
from tunable.version import __version__

VERBS = {
    "train": "train a recipe",
    "evaluate": "measure a network over omega and noise levels",
    "knobs": "certify what each knob does: range, steps back, dead zones, colours, seams",
    "analyze": "show how the kernels of every block move with omega, by PCA and t-SNE",
    "restore": "restore pictures of any size",
    "app": "serve a page in the browser with a slider for every knob",
    "verify": "compare frameworks and exports with exact arithmetic, and write the certificate",
    "fold": "make an ordinary network for one fixed omega",
    "export": "write a network for other programs, and check the file by running it",
    "convert": "read weights that another program wrote, or give knobs to plain weights",
    "info": "say what a weights file is",
    "runs": "compare trainings in a table and a plot",
    "bench": "time tunable networks against plain ones",
    "completion": "print the completion of a shell: verbs, options, recipes, models and files",
    "doctor": "show frameworks, devices, versions, precision switches and known traps",
    "demo": "train, restore, verify and report on photographs that ship with a dependency",
}
SHOW = "TUNABLE_TRACEBACK"  # environment variable: let a framework's error end in its traceback
_OWN = ("root", "tunable", "torch_impl", "mindspore_impl")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, one_line(f"{self.prog}: {' '.join(message.split())} (--help lists the arguments)") + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        with heeded():
            return _run(argv)
    except KeyboardInterrupt as error:
        verb = next((word for word in argv if word in VERBS), "")
        return _fail(verb, "interrupted", 128 + getattr(error, "number", signal.SIGINT))


def _run(argv: list[str]) -> int:
    chosen = next((word for word in argv if not word.startswith("-")), None)
    parser, modules = parser_of([chosen])
    for word in argv:
        try:
            if b"\0" in os.fsencode(word):
                parser.error(f"no argument can hold the character NUL, as {shown(word)} does")
        except UnicodeEncodeError:
            parser.error(f"the system has no such characters: {shown(word)}")
    if chosen is not None and chosen not in VERBS:
        parser.error(f"unknown verb {shown(chosen)}{nearest(chosen, VERBS)}; known: {', '.join(VERBS)}")
    args = parser.parse_args(argv)
    args.words = argv
    if args.verb is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        with _messages(), permitted(getattr(args, "allow_import", False)):
            status = modules[args.verb].run(args)
        sys.stdout.flush()
        return status
    except CheckFailed as error:
        return _fail(args.verb, error, 1)
    except TunableError as error:
        return _fail(args.verb, error, 2)
    except BrokenPipeError:  # whoever read the answer has seen enough
        _abandon_stdout()
        return 1
    except OSError as error:
        if error.filename is None:
            _abandon_stdout()
        return _fail(args.verb, f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), 2)
    except Exception as error:  # the framework's own (out of memory, a driver, a kernel), or a fault of this program
        if os.environ.get(SHOW):
            raise
        where = place(error)  # of somebody's own part
        line = f"{where}: {_first_line(error)}" if where else _first_line(error)
        return _fail(args.verb, f"{line} ({SHOW}=1 shows where)", 1)


def parser_of(chosen: Collection[str | None]) -> tuple[argparse.ArgumentParser, dict[str, Any]]:
    """Make the parser of the command line.

    Args:
        chosen: the verbs whose modules are imported, so that their arguments are known.

    Returns:
        The parser, and the modules by their verbs.
    """
    parser = _Parser(
        prog="tunable",
        description="Tunable convolutions: networks with knobs, in PyTorch and MindSpore.",
        epilog="`tunable VERB --help` explains a verb's options and ends with examples.",
    )
    parser.add_argument("--version", action="version", version=__version__, help="Print the version and exit.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    modules: dict[str, Any] = {}
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(
            verb,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,  # an example's lines stay as they are
        )
        if verb in chosen:
            with postponed():
                modules[verb] = importlib.import_module(f"tunable.commands.{verb}")
            modules[verb].add_arguments(verb_parser)
            verb_parser.epilog = "examples:\n" + "".join(f"  {line}\n" for line in modules[verb].EXAMPLES)
    return parser, modules


def _fail(verb: str, error: object, status: int) -> int:
    line = f"tunable {verb}".rstrip() + f": {' '.join(str(error).split())}"
    print(one_line(line), file=sys.stderr)
    return status


def _first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, MemoryError):
        return text or "out of memory"
    return text if text and isinstance(error, RuntimeError) else f"{type(error).__name__} {text}".rstrip()


class _Stderr(logging.Handler):
    """Standard error as it is at that moment: a progress bar may have taken its place."""

    def emit(self, record: logging.LogRecord) -> None:
        lines = self.format(record).splitlines() or [""]
        print(shorten("\n".join(map(printable, lines))), file=sys.stderr, flush=True)


@contextlib.contextmanager
def _messages():
    """Show the project's messages, and the warnings of others, on standard error.

    What standard output cannot write (half of a pair in a file's name, a letter that the terminal's set lacks) it
    writes as an escape.
    """
    handler, root = _Stderr(), logging.getLogger()
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.split(".")[0] in _OWN)
    level = root.level
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _abandon_stdout() -> None:
    """Drop what standard output still holds: the interpreter would complain of it when it ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
