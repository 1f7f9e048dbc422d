"""This twin as a `Framework` of tunable.backends.protocol: numpy in, numpy out."""

import copy
from pathlib import Path

import numpy as np
import torch

from torch_impl import exports, folding, ops
from torch_impl.layers import Tunable
from torch_impl.networks import NETWORKS, Network, initialise, parameter_specs
from torch_impl.timing import layer_call
from torch_impl.training import Trainer
from tunable.backends.model import load
from tunable.backends.protocol import Execution, Framework, LayerCall
from tunable.backends.registry import choose


class Backend(Execution):
    """PyTorch on `cpu` or `cuda`; modes: eager, compile."""

    name = "torch"
    modes = ("eager", "compile")
    formats = ("onnx",)
    pads_any_size = True
    _dtype = torch.float32

    def __init__(self, device: str | None = None, mode: str | None = None):
        super().__init__(str(ops.device_of(device)), choose(self.name, "mode", mode, self.modes))
        self.lean = "eager"
        ops.full_precision()

    def in_float64(self) -> "Backend":
        return _Float64("cpu", "eager")

    def facts(self) -> dict[str, str]:
        return ops.facts(torch.device(self.device), self.mode)

    def build(self, spec, num_objectives: int):
        network = NETWORKS[spec.name](num_objectives=num_objectives, **spec.arguments())
        initialise(network, 0)
        return network.to(self.device, self._dtype)

    def specs(self, network):
        return parameter_specs(network)

    def parameters(self, network) -> dict[str, np.ndarray]:
        return {name: value.detach().cpu().numpy().copy() for name, value in network.named_parameters()}

    def assign(self, network, tensors: dict[str, np.ndarray]) -> None:
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_(torch.from_numpy(tensors[name]))

    def run(self, network, degraded: np.ndarray, omega: np.ndarray | None) -> np.ndarray:
        with torch.inference_mode():
            x = self._tensor(degraded)
            forward = torch.compile(network) if self.mode == "compile" else network
            return forward(x, self._omega(omega)).cpu().numpy()

    def trace(self, network, degraded: np.ndarray, omega: np.ndarray) -> dict[str, LayerCall]:
        calls = {}
        network = copy.deepcopy(network)  # on which no other thread runs: hooks would record that too
        for name, module in network.named_modules():
            if isinstance(module, Tunable):
                module.register_forward_hook(self._recorder(calls, name))
        with torch.no_grad():
            network(self._tensor(degraded), self._omega(omega))
        return calls

    def trainer(self, network, recipe) -> Trainer:
        return Trainer(network, recipe, compiled=self.mode == "compile")

    def layer_call(self, layer, form: str, num_objectives: int):
        return layer_call(layer, form, num_objectives, torch.device(self.device), self.mode)

    def fold(self, network, omega: np.ndarray):
        return folding.fold(network, self._tensor(omega))

    def folds(self, network) -> bool:
        return True

    def export(self, network, path, format: str, form: str, metadata: dict[str, str], size=None) -> None:
        exports.export_onnx(network, path, form, metadata, size)

    def _omega(self, omega: np.ndarray | None) -> torch.Tensor | None:
        return None if omega is None else self._tensor(omega)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self._dtype)

    @staticmethod
    def _recorder(calls: dict[str, LayerCall], name: str):
        def record(module, inputs, output):
            tensors = {local: value.detach().cpu().numpy().copy() for local, value in module.named_parameters()}
            x = inputs[0].cpu().numpy().copy() if module.kind != "parameter" else None
            calls[name] = LayerCall(
                module.kind, module.phi_form, tensors, module.options(), x, output.cpu().numpy().copy()
            )

        return record


class _Float64(Backend):
    """The truth for networks."""

    _dtype = torch.float64


_: type[Framework] = Backend  # it honours the whole protocol, which the type checker holds


def load_network(path: str | Path, device: str | None = None) -> Network:
    """The torch.nn.Module in a weights file, with its weights.

    Args:
        path: a weights file of this project, or a checkpoint of a run.
        device: where it shall be; None: an accelerator if there is one.

    Returns:
        The network, called as network(x, omega), x (N, 3, H, W) and omega (p,) or (N, p); a plain one as network(x).

    Raises:
        CheckpointError: for a file that is missing, damaged or no weights file.
    """
    return load(path, Backend(device)).network
