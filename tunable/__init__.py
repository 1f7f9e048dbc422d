"""Networks with knobs: trained once for several objectives, tuned at every call.

    import tunable

    model = tunable.load("model.safetensors")  # in PyTorch or MindSpore, whichever is installed
    restored = model.run(degraded, omega=[0.7, 0.3])  # numpy (N, 3, H, W) in and out, float32, 0..1

What belongs to one framework stands in `tunable.torch` and `tunable.mindspore`. Importing `tunable` imports neither.
"""

import os
from typing import TYPE_CHECKING

from tunable.errors import TunableError
from tunable.version import __version__

if TYPE_CHECKING:
    from tunable.api import evaluate, export, knobs, load, restore, train, verify
    from tunable.backends.model import Model

__all__ = [
    "Model",
    "TunableError",
    "__version__",
    "evaluate",
    "export",
    "knobs",
    "load",
    "restore",
    "train",
    "verify",
]

# onnxruntime, once imported, keeps data on its use and asks its maker's server; a value that the user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tunable import api  # now, with numpy and all else: the command line first takes care of Ctrl-C

    return getattr(api, name)
