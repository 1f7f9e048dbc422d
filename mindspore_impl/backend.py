"""This twin as a `Framework` and an `Opener` of tunable.backends.protocol: numpy in, numpy out."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

import mindspore as ms
import numpy as np
from mindspore import nn

from mindspore_impl import exports, folding, ops
from mindspore_impl.control import STRATEGIES
from mindspore_impl.layers import Tunable
from mindspore_impl.networks import NETWORKS, Network, initialise, parameter_specs
from mindspore_impl.own import OwnNetwork
from mindspore_impl.timing import layer_call
from mindspore_impl.training import Trainer
from tunable.backends.model import load
from tunable.backends.protocol import Execution, Framework, LayerCall, Opener
from tunable.backends.registry import check_inputs, choose
from tunable.benchmark.layers import Layer
from tunable.exports.graphs import Graph
from tunable.parameters.specs import ParameterSpec
from tunable.specs.networks import NetworkSpec
from tunable.specs.recipe import Recipe
from tunable.training.ranks import Alone, join
from tunable.weights.storage import Header


class Backend(Execution):
    """MindSpore as a framework of the neutral package, and as what opens MINDIR files.

    Attributes:
        device: "cpu", "ascend", "gpu", or one of several, such as "ascend:1".
        mode: "graph" or "pynative".
    """

    name = "mindspore"
    modes = ("graph", "pynative")
    formats = ("onnx", "mindir")
    pads_any_size = False
    opens = (".mindir",)
    _compiled = WeakKeyDictionary()  # network -> sizes of inputs for which it was compiled, in whichever backend

    def __init__(self, device: str | None = None, mode: str | None = None) -> None:
        super().__init__(ops.device_of(device), choose(self.name, "mode", mode, self.modes))
        # A graph on a CPU keeps what its kernels prepare for the shapes of their inputs.
        self.lean = "pynative" if self.device.startswith("cpu") else "graph"
        ops.full_precision()

    def in_float64(self) -> None:
        """Return None, since MindSpore's convolutions compute in float32 and float16 only."""
        return None

    def facts(self) -> dict[str, str]:
        """Return versions, device and every switch that changes numbers, by name, to be printed."""
        return ops.facts(self.device, self.mode)

    @ops.alone()
    def build(self, spec: NetworkSpec, num_objectives: int) -> Network | OwnNetwork:
        """Build a network, with the weights of seed 0.

        Args:
            spec: its name and arguments.
            num_objectives: p; 0 for the plain form.

        Returns:
            A module of the framework, on this backend's device.
        """
        if spec.name == "import":
            return OwnNetwork(spec, num_objectives)
        network = (NETWORKS | STRATEGIES)[spec.name](num_objectives=num_objectives, **spec.arguments())
        initialise(network, 0)
        return network

    def specs(self, network: Network | OwnNetwork) -> list[ParameterSpec]:
        """Return name, shape and role of every parameter, in the network's order."""
        return network.specs() if isinstance(network, OwnNetwork) else parameter_specs(network)

    @ops.alone()
    def parameters(self, network: Network | OwnNetwork) -> dict[str, np.ndarray]:
        """Return a copy of every parameter by name, in the network's dtype."""
        if isinstance(network, OwnNetwork):
            return network.weights()
        return {name: value.asnumpy().copy() for name, value in network.parameters_and_names()}

    @ops.alone()
    def assign(self, network: Network | OwnNetwork, tensors: dict[str, np.ndarray]) -> None:
        """Set every parameter.

        Args:
            network: the network, which is changed in place.
            tensors: arrays by name, in the shapes that `specs` gives.
        """
        if isinstance(network, OwnNetwork):
            network.assign(tensors)
            return
        for name, value in network.parameters_and_names():
            ops.assign(value, tensors[name])

    def run(
        self, network: Network | exports.ExportedNetwork, degraded: np.ndarray, omega: np.ndarray | None
    ) -> np.ndarray:
        """Run a network, without gradients.

        Args:
            network: a tunable or a plain network.
            degraded: float32 pictures (n, c, h, w), 0 to 1.
            omega: (p,) for all pictures, (n, p), or a map (n, p, h, w); None for a plain network.

        Returns:
            The restored pictures (n, c, scale h, scale w), not clipped.
        """
        mode = self._mode_for(network, degraded.shape)
        with ops.running(mode):
            if mode == "pynative":
                ops.make_room(degraded.shape)
            x = ms.Tensor(np.ascontiguousarray(degraded))
            return network(x, self._omega(omega)).asnumpy()

    def prepare(self, network: Network, degraded: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Compute what no omega changes, without gradients.

        Args:
            network: a network with a tunable end.
            degraded: float32 pictures (n, c, h, w), 0 to 1.

        Returns:
            A function of omega, as `run` takes it, which returns the restored pictures as `run` does.

        Raises:
            TunableError: for a network of which nothing can be prepared.
        """
        trunk, tail = network.parts()
        mode = self._mode_for(network, degraded.shape)
        with ops.running(mode):
            if mode == "pynative":
                ops.make_room(degraded.shape)
            x = ms.Tensor(np.ascontiguousarray(degraded))
            features = trunk(x)

        def at(omega: np.ndarray) -> np.ndarray:
            with ops.running(mode):
                if mode == "pynative":
                    ops.make_room(degraded.shape)
                return tail(x, ms.Tensor(np.ascontiguousarray(omega)), *features).asnumpy()

        return at

    @ops.alone()
    def operators(self, network: Network, degraded: np.ndarray, omega: np.ndarray | None) -> Counter[str]:
        """Return how often a forward pass starts each operator, by name; arguments as for `run`.

        They are those of the compiled graph; what reshapes, makes or reads tuples, or reads parameters is left out.
        """
        inputs = [ms.Tensor(degraded)] if omega is None else [ms.Tensor(degraded), self._omega(omega)]
        return exports.operators(network, *inputs)

    @ops.alone()
    def trace(self, network: Network, degraded: np.ndarray, omega: np.ndarray) -> dict[str, LayerCall]:
        """Run a network and record every tunable layer by name, in calling order.

        Args:
            network: a tunable network.
            degraded: float32 pictures (n, c, h, w).
            omega: (p,) or (n, p).
        """
        calls, handles = {}, []
        for name, cell in network.cells_and_names():
            if isinstance(cell, Tunable):
                handles.append(cell.register_forward_hook(self._recorder(calls, name)))
        try:
            with ops.running("pynative"):  # a compiled graph calls no hooks
                network(ms.Tensor(degraded), self._omega(omega))
        finally:
            for handle in handles:
                handle.remove()
        return calls

    @ops.alone()
    def trainer(self, network: Network, recipe: Recipe, stage: int = 0) -> Trainer:
        """Train a network in place with a recipe's objectives and optimizer, whose state is fresh.

        Args:
            network: of the recipe.
            recipe: the recipe.
            stage: the index of the stage, which says what is trained; 0 for a recipe that names none.

        Raises:
            RecipeError: where VGG's weights cannot be had.
            DataError: where a style's picture cannot be read.
        """
        return Trainer(network, recipe, stage, compiled=self.mode == "graph", ranks=self.join())

    @ops.alone()
    def join(self) -> ops.Ranks | Alone:
        """Join the processes that a launcher started together with this one, if any, for training and measuring.

        Raises:
            BackendError: where the launcher is another framework's.
        """
        return join(self.name, lambda launch: ops.Ranks(launch, self.device))

    def layer_call(self, layer: Layer, form: str, num_objectives: int) -> Callable[[], None]:
        """Return a function that runs a layer once: tunable in a form, or the ordinary layer of its size."""
        return layer_call(layer, form, num_objectives, self.device, self.mode)

    def fold(self, network: Network, omega: np.ndarray) -> nn.Cell:
        """Return the plain network that equals a tunable one at omega (p,)."""
        with ops.running("pynative"):  # each layer once: not worth a compilation
            return folding.fold(network, self._omega(omega))

    def folds(self, network: Network | exports.ExportedNetwork) -> bool:
        """Return whether `fold` takes the network: it takes every one that this twin built, but no exported one."""
        return not isinstance(network, exports.ExportedNetwork)

    @ops.alone()
    def export(
        self,
        network: Network,
        path: str | Path,
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
        write = exports.export_onnx if format == "onnx" else exports.export_mindir
        write(network, path, form, metadata, size)

    @ops.alone()
    def open(self, path: str | Path) -> tuple[exports.ExportedNetwork, Header]:
        """Read a MINDIR file.

        Returns:
            What `run` takes as network, and the file's header.

        Raises:
            CheckpointError: for a file that is missing, damaged, or none that this project exported.
        """
        network = exports.ExportedNetwork(path)
        header = Header.from_metadata(network.metadata, path, "an exported model")
        check_inputs(network.inputs, header, path)
        return network, header

    def graph(self, path: str | Path) -> Graph:
        """Return the operators and constants of a MINDIR file; CheckpointError if it cannot be read."""
        return exports.read_mindir(path)

    @ops.alone()
    def _mode_for(self, network: Network | exports.ExportedNetwork, size: tuple[int, ...]) -> str:
        """A graph keeps megabytes for a size of its inputs even when it is dropped, and takes seconds to compile: the
        first sizes that a network meets are compiled, others run without."""
        if self.mode != "graph" or isinstance(network, exports.ExportedNetwork):  # which drops its own graphs
            return self.mode
        compiled = self._compiled.setdefault(network, set())
        if len(compiled) < ops.MOST_SIZES:
            compiled.add(size)
        return "graph" if size in compiled else "pynative"

    def _omega(self, omega: np.ndarray | None) -> ms.Tensor | None:
        return None if omega is None else ms.Tensor(np.ascontiguousarray(omega))

    @staticmethod
    def _recorder(calls: dict[str, LayerCall], name: str) -> Callable[..., None]:
        def record(cell: Tunable, inputs: tuple[ms.Tensor, ...], output: ms.Tensor):
            tensors = {local: value.asnumpy().copy() for local, value in cell.parameters_and_names()}
            x = inputs[0].asnumpy().copy() if cell.kind != "parameter" else None
            calls[name] = LayerCall(cell.kind, cell.formulation, tensors, cell.options(), x, output.asnumpy().copy())

        return record


_: type[Framework] = Backend  # it honours the whole protocols, which the type checker holds
_: type[Opener] = Backend


def load_network(path: str | Path, device: str | None = None, *, allow_import: bool = False) -> Network:
    """Load a weights file as a plain mindspore.nn.Cell, on its device and with its weights.

    Args:
        path: a weights file of this project, or a checkpoint of a run.
        device: where the network shall be; None: an accelerator if there is one.
        allow_import: whether the module of a network of one's own, which the file names, may be imported and run.

    Returns:
        The network, called as network(x, omega), x (N, 3, H, W) and omega (p,), (N, p) or a map (N, p, H, W); a plain
        one as network(x).

    Raises:
        CheckpointError: for a file that is missing, damaged or no weights file.
        BackendError: for a device that the framework lacks.
    """
    return load(path, Backend(device), allow_import=allow_import).network
