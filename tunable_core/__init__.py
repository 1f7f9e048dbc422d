"""Framework-neutral part of tunable convolutions: recipes, data, metrics, checkpoints, certificate, commands."""

from tunable_core.backends import Model, load
from tunable_core.errors import TunableError
from tunable_core.version import __version__

__all__ = ["Model", "TunableError", "__version__", "load"]
