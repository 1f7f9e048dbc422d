"""How networks of PyTorch hold their parameters: where, under which names, and what can become tunable."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from torch_impl import ops
from tunable_core import tuned
from tunable_core.errors import TunableError

_STATISTICS = ("running_mean", "running_var")


def places(network: nn.Module) -> list[tuned.Place]:
    """Every layer and free parameter of a network, in its order. A tensor held twice has its first name in both."""
    names = {id(value): name for name, value in network.named_parameters()}
    found = []
    for name, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        usual = isinstance(module, ops.ORDINARY)
        framework = type(module).__module__.startswith("torch.nn.")
        obstacle = _obstacle(module, usual)
        inside = [local for local in own if local in ("weight", "bias")] if usual else list(own) if framework else []
        if own and (usual or framework or obstacle):
            obstacle = obstacle or next(filter(None, (_unfit(own[local]) for local in inside)), "")
            tensors = {local: names[id(own[local])] for local in inside}
            found.append(tuned.Place(name, type(module).__name__, module, tensors, usual, obstacle))
        for local, value in own.items():
            if local not in inside:
                tensors = {"weight": names[id(value)]}
                free = tuned.below(name, local)
                found.append(tuned.Place(free, "parameter", module, tensors, obstacle=obstacle or _unfit(value)))
    return found


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
    return "" if value.is_floating_point() else f"its values are {value.dtype}"


def copied(network: nn.Module) -> nn.Module:
    """A copy that shares nothing with the network."""
    if not isinstance(network, nn.Module):
        raise TunableError(f"the network must be a torch.nn.Module, not {type(network).__name__}")
    try:
        return copy.deepcopy(network)
    except Exception as error:  # whatever a user's class raises
        raise TunableError(f"the network cannot be copied: {type(error).__name__} {error}") from None


def held(network: nn.Module) -> dict[str, tuned.Held]:
    """Parameters, by name."""
    return {
        name: tuned.Held(value, tuple(value.shape)) for name, value in network.named_parameters() if not is_lazy(value)
    }


def statistics(network: nn.Module) -> dict[str, tuned.Held]:
    """Running statistics of norms, by name."""
    return {
        name: tuned.Held(value, tuple(value.shape))
        for name, value in network.named_buffers()
        if name.rpartition(".")[2] in _STATISTICS
    }


def digest(network: nn.Module) -> str:
    """What tells its parameters from others."""
    return tuned.digest({name: array(each) for name, each in held(network).items()})


def array(each: tuned.Held) -> np.ndarray:
    """Its values, float32, a copy."""
    return each.value.detach().float().cpu().numpy().copy()


def set_value(each: tuned.Held, value: np.ndarray) -> None:
    """Take over a value in place."""
    with torch.no_grad():
        each.value.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def mixes_samples(network: nn.Module) -> bool:
    """Whether the outputs of one sample depend on the others: batch norms in training."""
    return any(isinstance(module, _BatchNorm) and module.training for module in network.modules())
