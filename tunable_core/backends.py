"""What a framework must supply to the neutral packages, and the only place that imports a twin.

A twin's `backend` module has one class `Backend` that follows the protocol below. Everything else
(commands, certificate, evaluation, training loop) is written once against it, with numpy arrays.
"""

import dataclasses
import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tunable_core import checkpoint
from tunable_core.data import Batch
from tunable_core.errors import BackendError, CheckpointError, OmegaError, TunableError, nearest, shown
from tunable_core.graphs import Graph
from tunable_core.initial import ParameterSpec
from tunable_core.interrupt import postponed
from tunable_core.networks import NetworkSpec
from tunable_core.omega import check_omega
from tunable_core.recipe import Recipe

_TWINS = {"torch": ("torch", "torch_impl.backend"), "mindspore": ("mindspore", "mindspore_impl.backend")}
BACKENDS = tuple(_TWINS)
_MODULES = {**_TWINS, "onnx": ("onnxruntime", "tunable_core.onnx_runtime")}  # the last only runs exported files
_EXPORTED = {".onnx": "onnx", ".mindir": "mindspore"}  # suffix -> the backend that opens it


class LayerCall(NamedTuple):
    """One call of a tunable layer inside a network, as `Backend.trace` records it.

    kind      a layer of the oracle: "conv2d", "linear", "parameter"
    phi       the form of the layer's phi
    tensors   its parameters by local name (weight, bias, phi.weight, ...)
    options   stride, padding, dilation, groups as the oracle takes them
    input     the layer's input, None for a parameter
    output    what the layer returned
    """

    kind: str
    phi: str
    tensors: dict[str, np.ndarray]
    options: dict[str, Any]
    input: np.ndarray | None
    output: np.ndarray


class LossReport(NamedTuple):
    """One evaluation of the multi-loss on a batch: its value, the p objectives (batch means), gradients by name."""

    loss: float
    terms: np.ndarray
    gradients: dict[str, np.ndarray]


class StepReport(NamedTuple):
    """A training step: the loss before it, its p objectives (batch means), the discriminator's loss if there is one."""

    loss: float
    terms: np.ndarray
    discriminator: float | None = None


class Trainer(Protocol):
    """A network being trained: one optimizer step at a time, its state as arrays."""

    def step(self, batch: Batch, learning_rate: float) -> StepReport:
        """Take one step, the discriminator's after the network's if there is one."""

    def gradients(self, batch: Batch) -> LossReport:
        """Loss and gradients on a batch, without moving anything."""

    def state(self) -> dict[str, np.ndarray]:
        """Optimizer state, equal in name: `step`, and `first.<name>` and `second.<name>`, or `momentum.<name>`.

        With a discriminator also `discriminator.weights.<name>`, and its optimizer's state after `discriminator.`.
        """

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` returned."""


class Backend(Protocol):
    """A framework. Networks are the framework's own objects; everything else is numpy."""

    name: str
    device: str
    mode: str  # one of `modes`
    lean: str  # the mode that takes least memory on this device, for pictures that are restored whole
    modes: tuple[str, ...]  # ways to run, the default first: eager, compile; graph, pynative; session, blocked
    formats: tuple[str, ...]  # what `export` writes: onnx, mindir
    extends_any: bool  # whether the graph of a network that continues its input can leave height and width open
    opens: tuple[str, ...]  # suffixes of exported files that `open` reads

    def __init__(self, device: str | None = None, mode: str | None = None): ...

    def in_float64(self) -> "Backend":
        """The same framework computing in float64 on the CPU, the truth for networks; BackendError if it cannot."""

    def facts(self) -> dict[str, str]:
        """Versions, device, and every switch that changes numbers."""

    def build(self, spec: NetworkSpec, num_objectives: int) -> Any:
        """A network with arbitrary weights; 0 objectives: its plain form."""

    def specs(self, network: Any) -> list[ParameterSpec]:
        """Every parameter of the network."""

    def parameters(self, network: Any) -> dict[str, np.ndarray]:
        """A copy of every parameter."""

    def assign(self, network: Any, tensors: dict[str, np.ndarray]) -> None:
        """Set every parameter (already checked against `specs`)."""

    def run(self, network: Any, degraded: np.ndarray, omega: np.ndarray | None) -> np.ndarray:
        """The network's output, without gradients. degraded (N, C, H, W); omega (p,), (N, p) or None."""

    def trace(self, network: Any, degraded: np.ndarray, omega: np.ndarray) -> dict[str, LayerCall]:
        """Run the network and record every tunable layer by name, in calling order."""

    def trainer(self, network: Any, recipe: Recipe) -> Trainer:
        """Train this network in place with the recipe's objectives and optimizer."""

    def layer_call(self, layer: Any, form: str, num_objectives: int) -> Callable[[], None]:
        """A function that runs a tunable_core.layer_benchmark.Layer once in a form, or an ordinary one of its size."""

    def fold(self, network: Any, omega: np.ndarray) -> Any:
        """A plain network equal to `network` at omega (p,)."""

    def folds(self, network: Any) -> bool:
        """Whether `fold` takes this exported network."""

    def export(
        self,
        network: Any,
        path: Path,
        format: str,
        form: str,
        metadata: dict[str, str],
        size: tuple[int, int] | None = None,
    ) -> None:
        """Write the network as a graph in one of `formats`, `metadata` inside it.

        Inputs `image` (n, c, h, w) and, when tunable, `omega`: (1, p) in form `shared`, (n, p) in form `basis`.
        size: fixed h and w. BackendError where the framework cannot write this graph.
        """

    def open(self, path: str | Path) -> tuple[Any, checkpoint.Header]:
        """An exported file of one of the suffixes `opens`: what `run` runs, and its header. CheckpointError."""

    def graph(self, path: str | Path) -> Graph:
        """What such a file holds."""


def installed() -> tuple[str, ...]:
    """The backends whose framework can be imported here."""
    return tuple(name for name, (module, _) in _TWINS.items() if importlib.util.find_spec(module))


def requested() -> tuple[str, ...]:
    """The backends a run must cover: `TUNABLE_BACKENDS` (comma-separated), default all installed."""
    text = os.environ.get("TUNABLE_BACKENDS", "")
    return tuple(part.strip() for part in text.split(",") if part.strip()) or installed()


def get_backend(name: str, device: str | None = None, mode: str | None = None) -> Backend:
    """Import one twin; BackendError if it is unknown or its framework is missing."""
    if name not in _MODULES:
        raise BackendError(f"unknown backend {name!r}{nearest(name, _MODULES)}; known: {', '.join(_MODULES)}")
    module, twin = _MODULES[name]
    if importlib.util.find_spec(module) is None:
        raise BackendError(
            f"backend {name!r} needs {module}, which is not installed: pip install tunable-convolutions[{name}]"
        )
    try:
        with postponed():
            found = importlib.import_module(twin)
    except (ImportError, OSError) as error:  # a broken installation: a library that is missing or does not fit
        reason = " ".join(str(error).split())
        raise BackendError(f"backend {name!r}: {module} is installed but cannot be imported: {reason}") from None
    return found.Backend(device=device, mode=mode)


def read_pickle(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Every tensor of a PyTorch pickle and its type, as torch_impl.pickles; BackendError where torch is missing."""
    if "torch" not in installed():
        raise BackendError(f"{path} needs torch, which is not installed: pip install tunable-convolutions[torch]")
    with postponed():
        pickles = importlib.import_module("torch_impl.pickles")
    return pickles.read_pickle(path)


def backend_for(path: str | Path) -> str | None:
    """The backend that opens an exported file of this suffix; None for weights files."""
    return _EXPORTED.get(Path(path).suffix.lower())


def choose(name: str, kind: str, received: str | None, known: tuple[str, ...]) -> str:
    """The requested device or mode of backend `name`, the first known one when None; BackendError if unknown."""
    if received is None:
        return known[0]
    if received not in known:
        raise BackendError(
            f"backend {name!r} has no {kind} {received!r}{nearest(received, known)}; known: {', '.join(known)}"
        )
    return received


def check_inputs(found: dict[str, tuple], header: checkpoint.Header, source: str | Path) -> None:
    """Raise CheckpointError unless an exported graph takes what its header says.

    found  the shapes of its inputs by name, in order; sizes that may vary are no positive integers
    """
    wanted, p = ["image", "omega"] if header.objectives else ["image"], header.num_objectives
    if list(found) != wanted:
        raise CheckpointError(f"{source} has inputs {shown(list(found))}, but its header wants {wanted}")
    image = found["image"]
    if len(image) != 4 or header.size and image[2:] != header.size:
        fixed = (*image[:2], *(header.size or ("h", "w")))
        raise CheckpointError(f"{source} takes pictures {shown(image)}, but its header wants {shown(fixed)}")
    if p and found["omega"][1:] != (p,):
        raise CheckpointError(f"{source} takes omega {shown(found['omega'])}, but its header wants (n, {p})")


@dataclass
class Model:
    """A network with its weights in one framework, or an exported file: numpy in, numpy out."""

    backend: Backend
    network: Any
    header: checkpoint.Header
    exported: bool = False  # a graph without parameters, which runs and may fold, no more

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.header.objectives

    @property
    def folds(self) -> bool:
        """Whether there is an omega to `fold` at, and a way."""
        return bool(self.objectives) and (not self.exported or self.backend.folds(self.network))

    def run(self, degraded: np.ndarray, omega=None) -> np.ndarray:
        """Restore pictures.

        degraded  floats (N, C, H, W), 0..1; TunableError for whole numbers
        omega     (p,) or (N, p), any finite values; None for a plain network
        returns   float32 (N, C, scale H, scale W), not clipped
        """
        degraded = np.asarray(degraded)
        if degraded.dtype.kind in "iu":
            raise TunableError(
                f"pictures must be floats of 0 to 1, not {degraded.dtype}: divide those of 8 bits by 255"
            )
        degraded = degraded.astype(np.float32, copy=False)
        if degraded.ndim != 4:
            raise TunableError(f"pictures must be (N, C, H, W), not of shape {degraded.shape}")
        if self.header.size and degraded.shape[2:] != self.header.size:
            height, width = degraded.shape[2:]
            raise TunableError(
                "this file was exported for pictures of {}x{} pixels, height x width; ".format(*self.header.size)
                + f"one of {height}x{width} was received"
            )
        if not self.objectives:
            if omega is not None:
                raise OmegaError(f"a plain network takes no omega, but received {shown(omega)}")
        elif omega is None:
            raise OmegaError(f"a tunable network wants omega for {', '.join(self.objectives)}")
        else:
            omega = check_omega(omega, self.objectives, len(degraded))
        scale, (count, channels, height, width) = self.header.network.scale, degraded.shape
        wanted = (count, channels, scale * height, scale * width)
        if not count:  # not every framework computes with nothing
            return np.zeros(wanted, np.float32)
        restored = self.backend.run(self.network, degraded, omega)
        # A graph does what it likes, whatever its header says.
        if self.exported and (restored.shape != wanted or restored.dtype != np.float32):
            raise BackendError(
                f"the exported file makes {restored.dtype} of shape {restored.shape} of pictures {degraded.shape}; "
                f"its header promises float32 of shape {wanted}"
            )
        return restored

    def save(self, path: str | Path) -> None:
        """Write the weights file."""
        self._check_weights("save")
        checkpoint.save(path, self.backend.parameters(self.network), self.header)

    def fold(self, omega) -> "Model":
        """A plain model equal to this one at omega (p,)."""
        if not self.objectives:
            raise TunableError("this network is plain already: there is nothing to fold")
        if not self.folds:
            self._check_weights("fold")
        omega = check_omega(omega, self.objectives)
        if omega.ndim != 1:
            raise OmegaError(f"folding wants one omega ({len(self.objectives)},), not {omega.shape}")
        network = self.backend.fold(self.network, omega)
        spec = self.header.network.model_copy(update={"tunable": False})
        recipe = {**self.header.recipe, "folded_at": omega.tolist()}
        header = dataclasses.replace(
            self.header, network=spec, objectives=(), omega_range=(), recipe=recipe, trained=None
        )
        return dataclasses.replace(self, network=network, header=header)

    def _check_weights(self, verb: str) -> None:
        if self.exported:
            raise TunableError(f"an exported model only runs: to {verb} it, load the weights that it was made from")


def build(header: checkpoint.Header, tensors: dict[str, np.ndarray], backend: Backend, source="weights") -> Model:
    """Build the header's network in `backend` and give it `tensors` (strict; CheckpointError before it is built)."""
    checkpoint.check_network(tensors, header, source)
    network = backend.build(header.network, header.num_objectives)
    backend.assign(network, tensors)
    return Model(backend, network, header)


def load(
    path: str | Path, backend: str | Backend | None = None, device: str | None = None, mode: str | None = None
) -> Model:
    """Load a weights file into a framework, or an exported file: .onnx, .mindir.

    backend  None: "onnx" for .onnx, "mindspore" for .mindir, else "torch"
    """
    wanted = backend_for(path)
    backend = backend or wanted or "torch"
    chosen = get_backend(backend, device, mode) if isinstance(backend, str) else backend
    if wanted and Path(path).suffix.lower() in chosen.opens:
        return Model(chosen, *chosen.open(path), exported=True)
    if wanted:
        raise TunableError(f"{path} is an exported model: it runs with backend {wanted!r}, not {chosen.name!r}")
    tensors, header = checkpoint.load(path)
    return build(header, tensors, chosen, path)
