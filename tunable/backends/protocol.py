"""What a framework must supply to the neutral package.

A twin's `backend` module has one class `Backend` that follows this protocol. Everything else (commands, certificate,
evaluation, training loop) is written once against it, with numpy arrays.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tunable.data.patches import Batch
from tunable.exports.graphs import Graph
from tunable.parameters.specs import ParameterSpec
from tunable.specs.networks import NetworkSpec
from tunable.specs.recipe import Recipe
from tunable.weights import storage


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
        """A function that runs a `layer_timing.Layer` once in a form, or an ordinary one of its size."""

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

    def open(self, path: str | Path) -> tuple[Any, storage.Header]:
        """An exported file of one of the suffixes `opens`: what `run` runs, and its header. CheckpointError."""

    def graph(self, path: str | Path) -> Graph:
        """What such a file holds."""
