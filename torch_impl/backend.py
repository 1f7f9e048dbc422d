"""This twin as a `Framework` of tunable.backends.protocol: numpy in, numpy out."""

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from torch_impl import exports, folding, ops
from torch_impl.control import STRATEGIES
from torch_impl.layers import Tunable
from torch_impl.networks import NETWORKS, Network, initialise, parameter_specs
from torch_impl.own import OwnNetwork
from torch_impl.timing import layer_call
from torch_impl.training import Trainer
from tunable.backends.model import load
from tunable.backends.protocol import Execution, Framework, LayerCall
from tunable.backends.registry import choose
from tunable.benchmark.layers import Layer
from tunable.parameters.specs import ParameterSpec
from tunable.specs.networks import NetworkSpec
from tunable.specs.recipe import Recipe
from tunable.training.ranks import Alone, join


class Backend(Execution):
    """PyTorch as a framework of the neutral package.

    Attributes:
        device: "cpu", "cuda" or "npu", or one of several, such as "cuda:1".
        mode: "eager"; "compile" for torch.compile; or "channels_last", eager with features laid out pixel by pixel.
    """

    name = "torch"
    modes = ("eager", "compile", "channels_last")
    formats = ("onnx",)
    pads_any_size = True
    _dtype = torch.float32

    def __init__(self, device: str | None = None, mode: str | None = None) -> None:
        super().__init__(str(ops.device_of(device)), choose(self.name, "mode", mode, self.modes))
        self.lean = "eager"
        ops.full_precision()

    def in_float64(self) -> "Backend":
        """Return the same framework in float64 on the CPU, which computes the truth for networks."""
        return _Float64("cpu", "eager")

    def facts(self) -> dict[str, str]:
        """Return versions, device and every switch that changes numbers, by name, to be printed."""
        return ops.facts(torch.device(self.device), self.mode)

    def build(self, spec: NetworkSpec, num_objectives: int) -> Network | OwnNetwork:
        """Build a network, with the weights of seed 0.

        Args:
            spec: its name and arguments.
            num_objectives: p; 0 for the plain form.

        Returns:
            A module of the framework, on this backend's device.
        """
        if spec.name == "import":
            return OwnNetwork(spec, num_objectives).to(self.device, self._dtype)
        network = (NETWORKS | STRATEGIES)[spec.name](num_objectives=num_objectives, **spec.arguments())
        initialise(network, 0)
        return network.to(self.device, self._dtype)

    def specs(self, network: Network | OwnNetwork) -> list[ParameterSpec]:
        """Return name, shape and role of every parameter, in the network's order."""
        return network.specs() if isinstance(network, OwnNetwork) else parameter_specs(network)

    def parameters(self, network: Network | OwnNetwork) -> dict[str, np.ndarray]:
        """Return a copy of every parameter by name, in the network's dtype."""
        if isinstance(network, OwnNetwork):
            return network.weights()
        return {name: value.detach().cpu().numpy().copy() for name, value in network.named_parameters()}

    def assign(self, network: Network | OwnNetwork, tensors: dict[str, np.ndarray]) -> None:
        """Set every parameter.

        Args:
            network: the network, which is changed in place.
            tensors: arrays by name, in the shapes that `specs` gives.
        """
        if isinstance(network, OwnNetwork):
            network.assign(tensors)
            return
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_(torch.from_numpy(tensors[name]))

    def run(self, network: Network, degraded: np.ndarray, omega: np.ndarray | None) -> np.ndarray:
        """Run a network, without gradients.

        Args:
            network: a tunable or a plain network.
            degraded: float32 pictures (n, c, h, w), 0 to 1.
            omega: (p,) for all pictures, (n, p), or a map (n, p, h, w); None for a plain network.

        Returns:
            The restored pictures (n, c, scale h, scale w), not clipped.
        """
        with torch.inference_mode():
            x = self._pictures(degraded)
            forward = torch.compile(network) if self.mode == "compile" else network
            return forward(x, self._omega(omega)).cpu().numpy()

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
        if self.mode == "compile":
            trunk, tail = torch.compile(trunk), torch.compile(tail)
        with torch.inference_mode():
            x = self._pictures(degraded)
            features = trunk(x)

        def at(omega: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return tail(x, self._tensor(omega), *features).cpu().numpy()

        return at

    def operators(self, network: Network, degraded: np.ndarray, omega: np.ndarray | None) -> Counter[str]:
        """Return how often a forward pass starts each operator, by name; arguments as for `run`.

        They are counted where torch dispatches them, in eager mode; what only makes a view is left out.
        """
        with torch.no_grad():
            return ops.operators_of(network, self._tensor(degraded), self._omega(omega))

    def trace(self, network: Network, degraded: np.ndarray, omega: np.ndarray) -> dict[str, LayerCall]:
        """Run a network and record every tunable layer by name, in calling order.

        Args:
            network: a tunable network.
            degraded: float32 pictures (n, c, h, w).
            omega: (p,) or (n, p).
        """
        calls = {}
        network = copy.deepcopy(network)  # on which no other thread runs: hooks would record that too
        for name, module in network.named_modules():
            if isinstance(module, Tunable):
                module.register_forward_hook(self._recorder(calls, name))
        with torch.no_grad():
            network(self._tensor(degraded), self._omega(omega))
        return calls

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
        channels_last = self.mode == "channels_last"
        compiled, ranks = self.mode == "compile", self.join()
        return Trainer(network, recipe, stage, compiled=compiled, channels_last=channels_last, ranks=ranks)

    def join(self) -> ops.Ranks | Alone:
        """Join the processes that a launcher started together with this one, if any, for training and measuring.

        Raises:
            BackendError: where the launcher is another framework's.
        """
        return join(self.name, lambda launch: ops.Ranks(launch, torch.device(self.device)))

    def layer_call(self, layer: Layer, form: str, num_objectives: int) -> Callable[[], None]:
        """Return a function that runs a layer once: tunable in a form, or the ordinary layer of its size."""
        return layer_call(layer, form, num_objectives, torch.device(self.device), self.mode)

    def fold(self, network: Network, omega: np.ndarray) -> nn.Module:
        """Return the plain network that equals a tunable one at omega (p,)."""
        return folding.fold(network, self._tensor(omega))

    def folds(self, network: Network) -> bool:
        """Return whether `fold` takes the network: it takes every one that this twin built, but no exported one."""
        return True

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
        exports.export_onnx(network, path, form, metadata, size)

    def _omega(self, omega: np.ndarray | None) -> torch.Tensor | None:
        return None if omega is None else self._tensor(omega)

    def _pictures(self, array: np.ndarray) -> torch.Tensor:
        pictures = self._tensor(array)
        return ops.pixel_by_pixel(pictures) if self.mode == "channels_last" else pictures

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self._dtype)

    @staticmethod
    def _recorder(calls: dict[str, LayerCall], name: str) -> Callable[..., None]:
        def record(module: Tunable, inputs: tuple[torch.Tensor, ...], output: torch.Tensor):
            tensors = {local: value.detach().cpu().numpy().copy() for local, value in module.named_parameters()}
            x = inputs[0].cpu().numpy().copy() if module.kind != "parameter" else None
            calls[name] = LayerCall(
                module.kind, module.formulation, tensors, module.options(), x, output.cpu().numpy().copy()
            )

        return record


class _Float64(Backend):
    """The truth for networks."""

    _dtype = torch.float64


_: type[Framework] = Backend  # it honours the whole protocol, which the type checker holds


def load_network(path: str | Path, device: str | None = None, *, allow_import: bool = False) -> Network:
    """Load a weights file as a plain torch.nn.Module, on its device and with its weights.

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
