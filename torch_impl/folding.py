"""Folding: an ordinary network that equals a tunable one at a fixed omega. The tunable network stays as it is."""

import torch
from torch import nn

from torch_impl.layers import Tunable
from torch_impl.networks import Network
from torch_impl.own import OwnNetwork
from torch_impl.retrofit import TunedNetwork
from tunable.omega import check_tensor
from tunable.parameters import strategies
from tunable.specs.control import Strategy


def folded_weights(network: nn.Module, omega: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return copies of the parameters that the plain form of a network has at omega (p,), by name."""
    weights = {}
    inside = set()
    for name, module in network.named_modules():
        if isinstance(module, Tunable):
            prefix = name + "." if name else ""
            inside.update(prefix + local for local, _ in module.named_parameters())
            folded = module.fold(omega)
            if isinstance(folded, nn.Parameter):
                weights[name] = folded
            else:
                weights.update({prefix + local: value for local, value in folded.named_parameters()})
    weights.update({name: value for name, value in network.named_parameters() if name not in inside})
    return {name: value.detach().clone() for name, value in weights.items()}


def fold(network: Network | TunedNetwork | OwnNetwork, omega: torch.Tensor) -> nn.Module:
    """Make an ordinary network that equals a tunable one at one omega.

    Args:
        network: the tunable network, or what make_tunable returned; it stays as it is.
        omega: (p,).

    Returns:
        A plain network of the same class with the framework's ordinary layers; of what was made tunable, a network of
        the class it was made from.

    Raises:
        OmegaError: for an omega of another shape.
        TunableError: for a control strategy that has no ordinary form.
    """
    if isinstance(network, TunedNetwork):
        return network.fold(omega)
    if isinstance(network, OwnNetwork) and isinstance(network.part, TunedNetwork):
        return network.around(network.part.fold(omega))
    check_tensor(omega, network.num_objectives, dims=(1,))
    plain = network.rebuilt(0)
    if isinstance(network, Network) and isinstance(network.spec, Strategy):
        values = {name: value.detach().cpu().numpy() for name, value in network.named_parameters()}
        plain_values = strategies.folded(network.spec, values, omega.cpu().numpy())
        weights = {name: torch.from_numpy(value) for name, value in plain_values.items()}
    else:
        weights = folded_weights(network, omega)
    if isinstance(network, OwnNetwork):
        weights |= dict(network.named_buffers())
    plain = plain.to(omega.device, next(iter(weights.values())).dtype)
    plain.load_state_dict(weights, strict=True)
    return plain
