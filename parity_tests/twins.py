"""Each twin behind numpy: run and differentiate its layers, losses and networks without naming its framework.

On the CPU, unless TUNABLE_DEVICE_TORCH (`cuda`) or TUNABLE_DEVICE_MINDSPORE (`ascend`) names a device to be proved.
"""

import gc
import importlib
import os
import pkgutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tunable.backends.registry import get_framework
from tunable.tolerances import CONTROL, relative_error


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    """The negative control: whether two outputs differ by CONTROL, which what is not finite does not do."""
    return CONTROL <= relative_error(a, b) < np.inf


class Twin:
    """What a test needs of a framework.

    name      torch or mindspore
    impl      the twin's package
    device    where it computes
    backend   its Backend there, in the mode that costs no compilation
    """

    def __init__(self, name: str, mode: str):
        self.name = name
        self.device = os.environ.get(f"TUNABLE_DEVICE_{name.upper()}", "cpu")
        self.backend = get_framework(name, self.device, mode)
        self.impl = importlib.import_module(f"{name}_impl")

    def in_mode(self, mode: str):
        """The backend in another mode."""
        return get_framework(self.name, self.device, mode)

    def module(self, name: str):
        """A module of the twin, `training` or `layers.phi`."""
        return importlib.import_module(f"{self.name}_impl.{name}")

    def layer(self, name: str) -> Any:
        """The class of a layer, in whichever file it stands: a new one is compared before users are promised it."""
        files = [self.module(f"layers.{file.name}") for file in pkgutil.iter_modules(self.module("layers").__path__)]
        return next(getattr(file, name) for file in files if hasattr(file, name))

    def run(self, layer: Any, x: np.ndarray | None, omega: np.ndarray) -> np.ndarray:
        """layer(x, omega), or layer(omega) for a parameter (x None)."""
        return self.array(layer(*self.tensors([omega] if x is None else [x, omega])))

    def gradients(self, layer: Any, x: np.ndarray | None, omega: np.ndarray, factor: np.ndarray):
        """The gradient of mean(layer(x, omega) factor) in `x`, `omega` and every parameter, by name."""
        (weight,) = self.tensors([factor])
        inputs = [omega] if x is None else [x, omega]

        def loss(*tensors):  # no lambda: MindSpore could not compile it
            return (layer(*tensors) * weight).mean()

        _, gradients = self.differentiate(loss, inputs, layer)
        names = ["omega"] if x is None else ["x", "omega"]
        return dict(zip([*names, *self.backend.parameters(layer)], gradients, strict=True))

    def tensors(self, arrays: Sequence[np.ndarray]) -> list:
        """Arrays as float32 tensors of the framework."""
        raise NotImplementedError

    def array(self, tensor: Any) -> np.ndarray:
        """A tensor or a parameter of the framework as an array."""
        raise NotImplementedError

    def parameters(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Arrays as parameters of the framework, each with its name."""
        raise NotImplementedError

    def compiled(self, function: Callable) -> Callable:
        """The function as a graph where the framework compiles more than networks."""
        return function

    def differentiate(
        self, function: Callable, arrays: Sequence[np.ndarray], module: Any = None
    ) -> tuple[float, list[np.ndarray]]:
        """The scalar function(*tensors), and its gradients in every array and in every parameter of `module`."""
        raise NotImplementedError

    def convolution(self, kind: str, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, **options) -> np.ndarray:
        """The framework's own ordinary convolution, options as in the twin's layer, a number per dimension.

        Zeros are padded; a transposed one is the gradient in u of sum(x convolution(u)).
        """
        raise NotImplementedError

    def modules(self, network: Any) -> list:
        """The network and everything inside it."""
        raise NotImplementedError

    def constant(self, tensor: Any) -> Any:
        """The same tensor, through which no gradient passes."""
        raise NotImplementedError


class Torch(Twin):
    def __init__(self):
        super().__init__("torch", "eager")
        self.torch = importlib.import_module("torch")
        self.torch.set_num_threads(1)  # with small tensors, and other work on the machine, threads wait for each other
        if self.device != "cpu":
            self.torch.set_default_device(self.device)  # layers are built there
        # For every export torch reads the source of the exporter's 500 operators again, which takes half a second.
        registry = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
        registry.from_torchlib = staticmethod(lru_cache(registry.from_torchlib))

    def tensors(self, arrays):
        return [self.torch.tensor(np.array(array, dtype=np.float32), device=self.device) for array in arrays]

    def array(self, tensor):
        return tensor.detach().cpu().numpy().copy()

    def parameters(self, arrays):
        return dict(zip(arrays, map(self.torch.nn.Parameter, self.tensors(arrays.values())), strict=True))

    def differentiate(self, function, arrays, module=None):
        places = [tensor.requires_grad_() for tensor in self.tensors(arrays)]
        value = function(*places)
        places += [] if module is None else module.parameters()
        gradients = self.torch.autograd.grad(value, places, allow_unused=True, materialize_grads=True)
        return value.item(), [self.array(gradient) for gradient in gradients]

    def convolution(self, kind, x, kernel, bias, **options):
        return self.array(getattr(self.torch.nn.functional, kind)(*self.tensors([x, kernel, bias]), **options))

    def modules(self, network):
        return list(network.modules())

    def constant(self, tensor):
        return tensor.detach()


class MindSpore(Twin):
    def __init__(self):
        super().__init__("mindspore", "pynative")
        self.ms = importlib.import_module("mindspore")
        # Each operator at once, not handed through a chain of threads: several times faster for small tensors, and
        # an error appears where it is made.
        self.ms.runtime.launch_blocking()
        # One thread here too: those of the pool spin while they wait, which costs several times what a small
        # convolution does.
        self.ms.device_context.cpu.op_tuning.threads_num(1)

    def tensors(self, arrays):
        return [self.ms.Tensor(np.array(array, dtype=np.float32)) for array in arrays]

    def array(self, tensor):
        return tensor.asnumpy().copy()

    def parameters(self, arrays):
        tensors = zip(arrays, self.tensors(arrays.values()), strict=True)
        return {name: self.ms.Parameter(tensor, name=name) for name, tensor in tensors}

    def compiled(self, function):
        return self.ms.jit(function)

    def differentiate(self, function, arrays, module=None):
        places, parameters = tuple(range(len(arrays))), None if module is None else list(module.get_parameters())
        value, gradients = self.ms.value_and_grad(function, places, parameters or None)(*self.tensors(arrays))
        gradients, rest = gradients if parameters else (gradients, ())
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)  # one input: its gradient stands alone
        return float(value.asnumpy()), [self.array(gradient) for gradient in (*gradients, *rest)]

    def convolution(self, kind, x, kernel, bias, *, stride, padding, dilation, groups, output_padding=None):
        nn, dims = self.ms.nn, x.ndim - 2
        sides = tuple(side for size in padding for side in (size, size))
        channels = kernel.shape[1] * groups, kernel.shape[0]
        if dims == 1:  # takes no tuples
            (stride,), (dilation,), sides = stride, dilation, padding[0]
        taps = kernel.shape[2] if dims == 1 else kernel.shape[2:]
        layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](*channels, taps, stride, "pad", sides, dilation, groups)
        layer.weight.set_data(self.ms.Tensor(kernel.reshape(layer.weight.shape)))
        offset = bias.reshape(1, -1, *[1] * dims)
        if output_padding is None:
            return self.array(layer(*self.tensors([x]))) + offset
        spans = zip(x.shape[2:], *(np.broadcast_to(v, dims) for v in (stride, padding, dilation)), strict=True)
        sizes = zip(spans, kernel.shape[2:], output_padding, strict=True)
        size = [(m - 1) * s - 2 * p + d * (k - 1) + a + 1 for (m, s, p, d), k, a in sizes]
        (weight,) = self.tensors([x])

        def adjoint(u):
            return (layer(u) * weight).sum()

        return self.differentiate(adjoint, [np.zeros((len(x), channels[0], *size))])[1][0] + offset

    def modules(self, network):
        return [cell for _, cell in network.cells_and_names()]

    def constant(self, tensor):
        return self.ms.ops.stop_gradient(tensor)


@lru_cache
def get_twin(name: str) -> Twin:
    """The twin of a backend; BackendError when its framework is missing."""
    kinds = {"torch": Torch, "mindspore": MindSpore}
    twin = kinds[name]() if name in kinds else get_framework(name)
    # What is loaded by now stays. MindSpore collects garbage before each compilation, and need not go through this.
    gc.collect()
    gc.freeze()
    return twin
