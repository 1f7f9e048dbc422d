"""`tunable app [MODEL ...]`: a page in the browser with a slider for every knob."""

import argparse
import importlib.util
import logging
import socket
from functools import partial
from threading import Event

from tunable.backends.model import load
from tunable.commands.shared import add_allow_import, add_backend, add_max_pixels, at_least
from tunable.errors import BackendError, TunableError, needs
from tunable.models import MODELS, find

EXAMPLES = (
    "tunable app",
    "tunable app denoise --browser",
    "tunable app runs/mini/model.safetensors denoise --port 8000",
)
LOOPBACK = "127.0.0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable app`."""
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        default=list(MODELS),
        help="What the page offers to choose from: weights files, checkpoints, exported files (.onnx, .mindir), or "
        f"names of models that ship ({', '.join(MODELS)}). The default is all that ship.",
    )
    parser.add_argument(
        "--port", type=at_least(1, 65535), metavar="N", help="The port. The default is the first free one from 7860 on."
    )
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help=f"The address to listen on. The default, {LOOPBACK}, is seen from this machine alone. With any other, "
        "whoever reaches it can use the app.",
    )
    parser.add_argument("--browser", action="store_true", help="Open the page in the browser.")
    add_allow_import(parser)
    add_max_pixels(parser)
    add_backend(parser)


def run(args: argparse.Namespace) -> int:
    """Run `tunable app` until it is interrupted."""
    if importlib.util.find_spec("gradio") is None:
        raise BackendError(f"the app {needs('gradio', 'app')}")
    for model in args.models:  # before the import, which takes seconds
        find(model)
    if args.port is not None:
        _check_free(args.host, args.port)
    from tunable.app.page import Page
    from tunable.app.serving import serve

    choices = {"backend": args.backend, "device": args.device, "mode": args.mode}
    opened = partial(load, **choices, allow_import=args.allow_import)
    page = Page(list(dict.fromkeys(args.models)), opened, args.max_pixels)
    with serve(page, host=args.host, port=args.port, browser=args.browser) as address:
        logging.info("the app is at %s; Ctrl-C ends it", address)
        Event().wait()
    return 0


def _check_free(host: str, port: int) -> None:
    """Raise TunableError where nobody can listen there."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise TunableError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
