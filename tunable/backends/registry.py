"""Which backends there are and which are installed: the only place that imports a twin."""

import importlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np

from tunable.backends.protocol import Framework, Opener, Runtime
from tunable.errors import BackendError, CheckpointError, nearest, needs, shown
from tunable.training.interrupts import postponed
from tunable.training.ranks import launched
from tunable.weights import storage

_TWINS = {"torch": ("torch", "torch_impl.backend"), "mindspore": ("mindspore", "mindspore_impl.backend")}
BACKENDS = tuple(_TWINS)
_MODULES = {**_TWINS, "onnx": ("onnxruntime", "tunable.backends.onnx_runtime")}  # the last opens exported files only
RUNTIMES = tuple(_MODULES)
_EXPORTED = {".onnx": "onnx", ".mindir": "mindspore"}  # suffix -> the backend that opens it


def installed() -> tuple[str, ...]:
    """Return the backends whose framework can be imported here."""
    return tuple(name for name, (module, _) in _TWINS.items() if importlib.util.find_spec(module))


def requested() -> tuple[str, ...]:
    """Return the backends that a run must cover: `TUNABLE_BACKENDS` (comma-separated), by default all installed."""
    text = os.environ.get("TUNABLE_BACKENDS", "")
    return tuple(part.strip() for part in text.split(",") if part.strip()) or installed()


def get_runtime(name: str, device: str | None = None, mode: str | None = None) -> Runtime:
    """Return a backend of any kind, to run what it opens or builds.

    Args:
        name: "torch", "mindspore" or "onnx".
        device: such as "cpu" or "cuda:1"; None: an accelerator if there is one.
        mode: one of the backend's `modes`; None: the first.

    Raises:
        BackendError: for an unknown name, a framework that is not installed, and a device or mode that it lacks.
    """
    return _module(name).Backend(device=device, mode=mode)


def get_framework(name: str, device: str | None = None, mode: str | None = None) -> Framework:
    """Return a framework; arguments and errors as for `get_runtime`, and BackendError for "onnx"."""
    module = _module(name)
    if name not in _TWINS:
        raise BackendError(f"backend {name!r} only runs exported files: `tunable export` makes them")
    return module.Backend(device=device, mode=mode)


def get_opener(path: str | Path, device: str | None = None, mode: str | None = None) -> Opener:
    """Return the backend that opens exported files with this suffix; other arguments and errors as `get_runtime`."""
    name = backend_for(path)
    if name is None:
        raise BackendError(f"{path} is no exported file: its suffix must be one of {', '.join(_EXPORTED)}")
    return _module(name).Backend(device=device, mode=mode)


def _module(name: str) -> ModuleType:
    """Import the module of a backend."""
    if name not in _MODULES:
        raise BackendError(f"unknown backend {name!r}{nearest(name, _MODULES)}; known: {', '.join(_MODULES)}")
    module, twin = _MODULES[name]
    if importlib.util.find_spec(module) is None:
        raise BackendError(f"backend {name!r} {needs(module, module)}")
    try:
        with postponed():
            return importlib.import_module(twin)
    except (ImportError, OSError) as error:  # a broken installation: a library that is missing or does not fit
        reason = " ".join(str(error).split())
        raise BackendError(f"backend {name!r}: {module} is installed but cannot be imported: {reason}") from None


def read_pickle(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read every tensor of a PyTorch pickle and its type, as torch_impl.pickles; BackendError without torch."""
    if "torch" not in installed():
        raise BackendError(f"{path} {needs('torch', 'torch')}")
    with postponed():
        pickles = importlib.import_module("torch_impl.pickles")
    return pickles.read_pickle(path)


def needs_framework() -> str:
    """Return what `needs` says where no framework is installed."""
    return needs(" or ".join(BACKENDS), BACKENDS[0])


def default_backend() -> str:
    """Return the framework whose launcher started this process, else the first installed or in `TUNABLE_BACKENDS`.

    Raises:
        BackendError: where there is none.
    """
    launch = launched()
    name = launch.framework if launch else next(iter(requested()), None)
    if name is None:
        raise BackendError(f"this {needs_framework()}")
    return name


def backend_for(path: str | Path) -> str | None:
    """Return the backend that opens an exported file of this suffix; None for weights files."""
    return _EXPORTED.get(Path(path).suffix.lower())


def choose(name: str, kind: str, received: str | None, known: tuple[str, ...]) -> str:
    """Choose a device or a mode of a backend.

    Args:
        name: the backend's, for messages.
        kind: "device" or "mode".
        received: what is asked for; None: the first of `known`.
        known: what there is.

    Raises:
        BackendError: for one that is not known.
    """
    if received is None:
        return known[0]
    if received not in known:
        raise BackendError(
            f"backend {name!r} has no {kind} {received!r}{nearest(received, known)}; known: {', '.join(known)}"
        )
    return received


def check_inputs(inputs: dict[str, tuple], header: storage.Header, source: str | Path) -> None:
    """Check that an exported graph takes what its header says.

    Args:
        inputs: the shapes of its inputs by name, in order; a size that may vary is no positive integer.
        header: what the file says of itself.
        source: the file, for messages.

    Raises:
        CheckpointError: for inputs of other names, ranks or sizes.
    """
    p = header.num_objectives
    expected = ["image", "omega"] if p and not header.part else ["image"]
    if list(inputs) != expected:
        raise CheckpointError(f"{source} has inputs {shown(list(inputs))}, but its header wants {expected}")
    image, channels = inputs["image"], 3 + p if header.part == "planes" else 3
    if len(image) != 4 or image[1] != channels or header.size and image[2:] != header.size:
        fixed = (*image[:1], channels, *(header.size or ("h", "w")))
        raise CheckpointError(f"{source} takes pictures {shown(image)}, but its header wants {shown(fixed)}")
    if "omega" in expected and inputs["omega"][1:] != (p,):
        raise CheckpointError(f"{source} takes omega {shown(inputs['omega'])}, but its header wants (n, {p})")
