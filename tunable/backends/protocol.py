"""What runs networks, and what builds and trains them: the protocols that the neutral package is written against.

A `Runtime` runs a network. A `Framework` also builds, trains, traces and exports networks. An `Opener` is a runtime of
exported files. The class `Backend` of torch_impl.backend is a framework, the class of mindspore_impl.backend a
framework and an opener (of .mindir), and the class of tunable.backends.onnx_runtime an opener (of .onnx). Each of them
honours its protocols as a whole: no method is there only to refuse. Networks are the backend's own objects, which the
neutral package passes on without looking into them; everything else is numpy.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeGuard

from tunable.arrays import Array, Tensors
from tunable.benchmark.layers import Layer
from tunable.data.patches import Batch
from tunable.exports.graphs import Graph
from tunable.parameters.specs import ParameterSpec
from tunable.specs.formulations import Formulation
from tunable.specs.networks import NetworkSpec
from tunable.specs.recipe import Recipe
from tunable.training.ranks import Ranks
from tunable.weights.storage import Header


class LayerCall(NamedTuple):
    """One call of a tunable layer inside a network, as `Framework.trace` records it.

    Attributes:
        kind: a layer of the oracle: "conv2d", "linear", "parameter".
        formulation: how its kernels depend on omega.
        tensors: its parameters by local name (weight, bias, phi.weight, ...).
        options: stride, padding, dilation, groups as the oracle takes them.
        input: the layer's input; None for a parameter.
        output: what the layer returned.
    """

    kind: str
    formulation: Formulation
    tensors: Tensors
    options: dict[str, Any]
    input: Array | None
    output: Array


class LossReport(NamedTuple):
    """One evaluation of the multi-loss on a batch (Eq. 7).

    Attributes:
        loss: its value, the mean over the batch.
        terms: the p objectives (p,), batch means.
        gradients: the loss's gradient by the name of the parameter.
    """

    loss: float
    terms: Array
    gradients: Tensors


class StepReport(NamedTuple):
    """One training step.

    Attributes:
        loss: the multi-loss before the step.
        terms: the p objectives (p,) before it, batch means.
        discriminator: the discriminator's loss; None without one.
        taken: whether the loss and all gradients were finite; if not, the step moved nothing and was not counted.
        stop: whether a process of several asked all to stop after the step.
    """

    loss: float
    terms: Array
    discriminator: float | None = None
    taken: bool = True
    stop: bool = False


def lag_on(device: str) -> int:
    """Return the `lag` of a trainer on a kind of device, such as cpu.

    An accelerator may have 16 steps before it, so that it never waits for Python; on a CPU reading makes nobody wait.
    """
    return 1 if device == "cpu" else 16


class Trainer(Protocol):
    """A network being trained, one optimizer step at a time, and its state as arrays."""

    @property
    def lag(self) -> int:
        """How many steps may be launched before the losses of the first are read: 1 where reading makes nobody wait."""
        ...

    def launch(self, batch: Batch, learning_rate: float, stop: bool = False) -> Callable[[], StepReport]:
        """Begin a step as `step` takes it, without waiting for the device.

        Args:
            batch: as for `step`.
            learning_rate: of this step.
            stop: whether this process asks all to stop after the step; their reports say so.

        Returns:
            What waits for the step and reads its losses.
        """
        ...

    def step(self, batch: Batch, learning_rate: float) -> StepReport:
        """Take one optimizer step on a batch; with a discriminator, its step after the network's.

        Where the loss or a gradient is not finite, nothing moves.

        Args:
            batch: pictures (n, 3, h, w) and omega.
            learning_rate: of this step.
        """
        ...

    def gradients(self, batch: Batch) -> LossReport:
        """Evaluate the loss and its gradients on a batch, without moving anything."""
        ...

    def apply(self, gradients: Tensors, learning_rate: float) -> None:
        """Move every parameter by one step of the optimizer on given gradients; a discriminator stays as it is.

        Args:
            gradients: of every parameter by its name, in its shape.
            learning_rate: of this step.
        """
        ...

    def state(self) -> Tensors:
        """Return the optimizer's state, under equal names in every framework.

        Returns:
            `step`, and `first.<name>` and `second.<name>`, or `momentum.<name>`, of every parameter, and
            `average.<name>` where the recipe's optimizer averages weights (what a stage freezes has zeros, and itself
            as its average); `loss_scale` and `loss_scale_steps` where
            the loss has a dynamic scale. With a discriminator also its weights as `discriminator.weights.<name>` and
            its optimizer's state after `discriminator.`.
        """
        ...

    def load_state(self, state: Tensors) -> None:
        """Continue from a state that `state` returned, of this framework or of another."""
        ...


@dataclass(frozen=True)
class Execution:
    """Where and how a backend runs, which never changes: another mode is another backend.

    Attributes:
        device: such as "cpu", "cuda:0", "ascend".
        mode: one of the backend's `modes`.
    """

    device: str
    mode: str

    def with_mode(self, mode: str) -> Self:
        """Return the same backend on the same device in another mode."""
        return type(self)(self.device, mode)


class Runtime(Protocol):
    """What runs a network."""

    @property
    def name(self) -> str:
        """Its name in the registry: "torch", "mindspore", "onnx"."""
        ...

    @property
    def device(self) -> str:
        """Where it runs, such as "cpu" or "cuda:0"."""
        ...

    @property
    def mode(self) -> str:
        """How it runs, one of `modes`."""
        ...

    @property
    def modes(self) -> tuple[str, ...]:
        """All ways to run, the default first: eager, compile; graph, pynative; session, blocked."""
        ...

    @property
    def lean(self) -> str:
        """The mode that takes least memory on this device, for pictures that are restored whole."""
        ...

    def with_mode(self, mode: str) -> Self:
        """Return the same runtime on the same device in another mode; networks of this one run in it.

        Raises:
            BackendError: for a mode that is none of `modes`.
        """
        ...

    def facts(self) -> dict[str, str]:
        """Return versions, device, and every switch that changes numbers."""
        ...

    def run(self, network: Any, degraded: Array, omega: Array | None) -> Array:
        """Run a network, without gradients.

        Args:
            network: one of this runtime.
            degraded: float32 pictures (n, c, h, w), 0 to 1.
            omega: (p,) for all pictures, (n, p), or a map (n, p, h, w); None for a plain network.

        Returns:
            The restored pictures (n, c, scale h, scale w), not clipped.

        Raises:
            BackendError: where an exported file cannot run on these pictures.
        """
        ...

    def prepare(self, network: Any, degraded: Array) -> Callable[[Array], Array]:
        """Compute what no omega changes, without gradients.

        Args:
            network: a network with a tunable end.
            degraded: float32 pictures (n, c, h, w), 0 to 1.

        Returns:
            A function of omega, as `run` takes it, which returns the restored pictures as `run` does.

        Raises:
            TunableError: for a network of which nothing can be prepared.
        """
        ...

    def folds(self, network: Any) -> bool:
        """Return whether `fold` takes this tunable network: every one that a framework built, some exported ones."""
        ...

    def fold(self, network: Any, omega: Array) -> Any:
        """Return a plain network equal to a tunable one, which `folds`, at omega (p,)."""
        ...


class Opener(Runtime, Protocol):
    """A runtime of exported files."""

    @property
    def opens(self) -> tuple[str, ...]:
        """The suffixes of the files that `open` reads: ".onnx", ".mindir"."""
        ...

    def open(self, path: str | Path) -> tuple[Any, Header]:
        """Read an exported file.

        Returns:
            What `run` takes as network, and the file's header.

        Raises:
            CheckpointError: for a file that is missing, damaged, or none that this project exported.
        """
        ...

    def graph(self, path: str | Path) -> Graph:
        """Return the operators and constants of an exported file."""
        ...


class Framework(Runtime, Protocol):
    """A runtime that also builds, trains, traces and exports networks."""

    @property
    def formats(self) -> tuple[str, ...]:
        """What `export` writes: onnx, mindir."""
        ...

    @property
    def pads_any_size(self) -> bool:
        """Whether the graph of a network that pads its input can leave height and width open."""
        ...

    def in_float64(self) -> "Framework | None":
        """Return the same framework in float64 on the CPU, the truth for networks; None where it has no float64."""
        ...

    def build(self, spec: NetworkSpec, num_objectives: int) -> Any:
        """Build a network with arbitrary weights.

        Args:
            spec: its name and arguments.
            num_objectives: p; 0 for the plain form.
        """
        ...

    def specs(self, network: Any) -> list[ParameterSpec]:
        """Return name, shape and role of every parameter, in the network's order."""
        ...

    def parameters(self, network: Any) -> Tensors:
        """Return a copy of every parameter, float32."""
        ...

    def assign(self, network: Any, tensors: Tensors) -> None:
        """Set every parameter from tensors with the names and shapes that `specs` says."""
        ...

    def operators(self, network: Any, degraded: Array, omega: Array | None) -> Counter[str]:
        """Return how often a forward pass starts each operator, by name; arguments as for `run`.

        What computes nothing is left out: views, reshapes, tuples.
        """
        ...

    def trace(self, network: Any, degraded: Array, omega: Array) -> dict[str, LayerCall]:
        """Run a network and record every tunable layer by name, in calling order.

        Args:
            network: a tunable network.
            degraded: float32 pictures (n, c, h, w).
            omega: (p,) or (n, p).
        """
        ...

    def trainer(self, network: Any, recipe: Recipe, stage: int = 0) -> Trainer:
        """Train a network in place with a recipe's objectives and optimizer, whose state is fresh.

        Args:
            network: one of this framework, of the recipe.
            recipe: the recipe.
            stage: the index of the stage, which says what is trained; 0 for a recipe that names none.

        Raises:
            RecipeError: where VGG's weights cannot be had.
            DataError: where a style's picture cannot be read.
        """
        ...

    def join(self) -> Ranks:
        """Join the processes that a launcher started together with this one, if any, for training and measuring.

        Raises:
            BackendError: where the launcher is another framework's.
        """
        ...

    def layer_call(self, layer: Layer, form: str, num_objectives: int) -> Callable[[], None]:
        """Return a function that runs a layer once: tunable in a form, or the ordinary layer of its size."""
        ...

    def export(
        self,
        network: Any,
        path: Path,
        format: str,
        form: str,
        metadata: dict[str, str],
        size: tuple[int, int] | None = None,
    ) -> None:
        """Write a network as a graph, with inputs `image` (n, c, h, w) and, when tunable, `omega`.

        Args:
            network: a tunable or a plain network.
            path: the file.
            format: one of `formats`.
            form: `shared`, whose omega is (1, p), `basis`, whose omega is (n, p), `heads`, which takes no omega and
                returns base and differences (n, (1 + m) c, scale h, scale w), or `planes`, whose image (n, c + p, h, w)
                holds a map of omega too.
            metadata: the header, which stands in the file.
            size: fixed height and width of the pictures in pixels; None leaves them open.

        Raises:
            BackendError: where the framework cannot write this graph.
        """
        ...


def is_opener(runtime: Runtime) -> TypeGuard[Opener]:
    """Return whether a runtime opens exported files."""
    return hasattr(runtime, "open")


def is_framework(runtime: Runtime) -> TypeGuard[Framework]:
    """Return whether a runtime builds networks."""
    return hasattr(runtime, "build")
