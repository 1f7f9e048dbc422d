"""`tunable completion`: a script by which a shell completes verbs, options, names and files."""

import argparse
from collections.abc import Iterable

import shtab

from tunable.backends.registry import RUNTIMES
from tunable.commands import VERBS, parser_of
from tunable.models import MODELS
from tunable.specs.reading import shipped_recipes

EXAMPLES = ("tunable completion bash", "tunable completion zsh", "tunable completion fish")
SHELLS = ("bash", "zsh", "fish")
_FOLDERS = ("DIR",)
_FILES = ("FILE", "IMAGE", "OUT", "PACK")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable completion`."""
    parser.add_argument("shell", choices=SHELLS, help="The shell. The script goes to standard output.")


def run(args: argparse.Namespace) -> int:
    """Run `tunable completion`, and return its exit status."""
    parser, _ = parser_of(VERBS)
    completers = {
        "MODEL": _words("models", MODELS, files=True),
        "RECIPE": _words("recipes", shipped_recipes(), files=True),
        **dict.fromkeys(_FILES, shtab.FILE),
        **dict.fromkeys(_FOLDERS, shtab.DIRECTORY),
    }
    backends = _words("backends", RUNTIMES)
    for verb in _subparsers(parser):
        for action in verb._actions:  # argparse has no other list of them
            if completer := backends if action.dest == "backend" else completers.get(str(action.metavar)):
                setattr(action, "complete", completer)  # noqa: B010 (shtab's own way to say how a word is completed)
    print(shtab.complete(parser, args.shell))
    return 0


def _subparsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return list(verbs.choices.values())


def _words(name: str, words: Iterable[str], *, files: bool = False) -> dict:
    """What shtab takes for an argument that is one of `words`, or a file: a function for each shell."""
    function, text = f"_tunable_{name}", " ".join(words)
    return {
        "bash": function,
        "zsh": function,
        "fish": f"({function})",
        "preamble": {
            "bash": f"{function}() {{ compgen -W '{text}' -- $1;{' _shtab_compgen_files $1;' if files else ''} }}",
            "zsh": f"{function}() {{ _alternative '{name}:{name}:({text})'{' files:file:_files' if files else ''} }}",
            "fish": f"function {function}; printf '%s\\n' {text};"
            f"{' __fish_complete_path (commandline -ct);' if files else ''} end",
        },
    }
