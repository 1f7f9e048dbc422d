"""Framework-neutral part of tunable convolutions: recipes, data, metrics, checkpoints, certificate, commands."""

import os

from tunable.errors import TunableError
from tunable.version import __version__

__all__ = ["Model", "TunableError", "__version__", "load"]

# onnxruntime, once imported, keeps data on its use and asks its maker's server; a value that the user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str):
    if name not in ("Model", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tunable.backends import model  # now, with numpy and all else: the command line first takes care of Ctrl-C

    return getattr(model, name)
