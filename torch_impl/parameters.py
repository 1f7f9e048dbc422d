"""How networks of PyTorch hold their parameters: where, under which names, and what can become tunable."""

import copy
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from torch_impl import ops
from tunable import retrofit
from tunable.contents import reachable
from tunable.errors import TunableError
from tunable.weights import retrofitted

_STATISTICS = ("running_mean", "running_var")
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def places(network: nn.Module, kept: Mapping[str, str] = MappingProxyType({})) -> list[retrofit.Place]:
    """List every layer and free parameter of a network, in its order.

    Args:
        network: a copy of a user's network.
        kept: what `kept` returned of the network that was copied.

    Returns:
        The places; a tensor that two of them hold has its first name in both.
    """

    def unfit(value: nn.Parameter) -> str:
        return _unfit(value) or kept.get(names[id(value)], "")

    names = {id(value): name for name, value in network.named_parameters()}
    candidates = []
    for name, module in network.named_modules():
        direct = dict(module.named_parameters(recurse=False))
        usual = isinstance(module, ops.ORDINARY)
        framework = type(module).__module__.startswith("torch.nn.")
        obstacle = _obstacle(module, usual)
        inside = (
            [local for local in direct if local in ("weight", "bias")] if usual else list(direct) if framework else []
        )
        if direct and (usual or framework or obstacle):
            obstacle = obstacle or next(filter(None, (unfit(direct[local]) for local in inside)), "")
            tensors = {local: names[id(direct[local])] for local in inside}
            candidates.append(retrofit.Place(name, type(module).__name__, module, tensors, usual, obstacle))
        for local, value in direct.items():
            if local not in inside:
                tensors = {"weight": names[id(value)]}
                free = retrofit.below(name, local)
                candidates.append(retrofit.Place(free, "parameter", module, tensors, obstacle=obstacle or unfit(value)))
    return candidates


def _obstacle(module: nn.Module, usual: bool) -> str:
    """Why no parameter of a layer can become tunable, "" when they can."""
    if isinstance(module, torch.jit.ScriptModule):
        return "it is compiled by TorchScript: give the network it was made from"
    if isinstance(module, nn.RNNBase):
        return "its computation holds its weights by other ways than their names"
    if isinstance(module, parametrize.ParametrizationList):
        return "a parametrization computes with it: torch.nn.utils.parametrize.remove_parametrizations first"
    if usual and "weight" not in module._parameters:
        return "its weight is computed from other parameters: remove that first (remove_weight_norm, say)"
    return ""


def _unfit(value: torch.Tensor) -> str:
    if is_lazy(value):
        return "it has no shape yet: run the network once first"
    if value.is_meta:
        return "it has no values yet, being on the device meta"
    return "" if value.is_floating_point() else f"its values are {value.dtype}"


def copied(network: nn.Module) -> nn.Module:
    """Copy a network, sharing nothing with it, without the wrappers that compile it or spread it over devices."""
    if not isinstance(network, nn.Module):
        raise TunableError(f"the network must be a torch.nn.Module, not {type(network).__name__}")
    try:
        duplicate = copy.deepcopy(_unwrapped(network))
    except Exception as error:  # whatever a user's class raises
        raise TunableError(f"the network cannot be copied: {type(error).__name__} {error}") from None
    for module in list(duplicate.modules()):
        for name, child in module._modules.items():
            module._modules[name] = None if child is None else _unwrapped(child)
    return duplicate


def _unwrapped(module: nn.Module) -> nn.Module:
    while True:
        # "_orig_mod" is torch.compile's, whose class costs an import.
        inner = module.module if isinstance(module, _WRAPPERS) else module._modules.get("_orig_mod")
        if inner is None:
            return module
        module = inner


def kept(network: nn.Module) -> dict[str, str]:
    """Find the parameters that code can reach otherwise than as attributes of their layers.

    They stand in lists, dictionaries, other objects, closures and layers that are not registered, as they are or as
    views.

    Returns:
        For each of them, by name, why it cannot be tunable.
    """
    network = _unwrapped(network)
    known = {id(module) for module in network.modules()}
    places = [(name, _place(value)) for name, value in network.named_parameters() if not is_lazy(value)]
    stop = (nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    reasons = {}
    for path, module in network.named_modules():
        attributes = {
            name: value for name, value in vars(module).items() if name not in ("_parameters", "_modules", "_buffers")
        }
        for attribute, content in {**attributes, **module._buffers}.items():
            for where, value in reachable(retrofit.below(path, attribute), content, stop):
                values = [value]
                if isinstance(value, nn.Module):
                    values = [] if id(value) in known else [part for _, part in value.named_parameters()]
                spans = [_place(each) for each in values if isinstance(each, torch.Tensor | np.ndarray)]
                for name, place in places if spans else ():
                    if any(_overlap(place, span) for span in spans):
                        reasons.setdefault(name, retrofit.kept_reason(where))
    return reasons


def _place(value: torch.Tensor | np.ndarray) -> tuple[str, int, int]:
    """Where in a device's memory a tensor lies: from, to. Nowhere: 0, 0."""
    if isinstance(value, np.ndarray):
        first = value.ctypes.data
        return "cpu", first, first + value.nbytes
    try:
        first = value.data_ptr()
        last = sum((size - 1) * step for size, step in zip(value.shape, value.stride(), strict=True))
    except (RuntimeError, NotImplementedError):  # sparse, quantised, without memory
        return "", 0, 0
    return str(value.device), first, first + (last + 1) * value.element_size() if value.numel() and first else first


def _overlap(a: tuple[str, int, int], b: tuple[str, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def entries(network: nn.Module) -> dict[str, retrofit.Entry]:
    """Return the parameters of a network by name."""
    return {
        name: retrofit.Entry(value, tuple(value.shape))
        for name, value in network.named_parameters()
        if not is_lazy(value)
    }


def statistics(network: nn.Module) -> dict[str, retrofit.Entry]:
    """Return the running statistics of norms by name."""
    return {
        name: retrofit.Entry(value, tuple(value.shape))
        for name, value in network.named_buffers()
        if name.rpartition(".")[2] in _STATISTICS
    }


def digest(network: nn.Module, prefix: str = "") -> str:
    """Return a digest that tells the parameters of a network, under names with a prefix, from others."""
    return retrofitted.digest({prefix + name: array(each) for name, each in entries(network).items()})


def array(each: retrofit.Entry) -> np.ndarray:
    """Return a copy of a parameter's values: float64 where the parameter is float64, else float32."""
    value = each.value.detach()
    return (value if value.dtype == torch.float64 else value.float()).cpu().numpy().copy()


def set_value(each: retrofit.Entry, value: np.ndarray) -> None:
    """Set a parameter to a value of its shape, in place."""
    with torch.no_grad():
        each.value.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def mixes_samples(network: nn.Module) -> bool:
    """Return whether the outputs of one sample depend on the others, as they do with batch norms in training."""
    return any(isinstance(module, _BatchNorm) and module.training for module in network.modules())
