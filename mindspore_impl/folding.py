"""Folding: an ordinary network that equals a tunable one at a fixed omega. The tunable network stays as it is."""

import mindspore as ms
import numpy as np
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.layers import Tunable
from mindspore_impl.networks import Network
from mindspore_impl.own import OwnNetwork
from mindspore_impl.retrofit import TunedNetwork
from tunable.omega import check_tensor
from tunable.parameters import strategies
from tunable.specs.control import Strategy


def folded_weights(network: nn.Cell, omega: ms.Tensor) -> dict[str, np.ndarray]:
    """Return copies of the parameters that the plain form of a network has at omega (p,), by name."""
    weights = {}
    inside = set()
    for name, cell in network.cells_and_names():
        if isinstance(cell, Tunable):
            prefix = name + "." if name else ""
            inside.update(prefix + local for local, _ in cell.parameters_and_names())
            folded = cell.fold(omega)
            if isinstance(folded, ms.Parameter):
                weights[name] = folded
            else:
                weights.update({prefix + local: value for local, value in folded.parameters_and_names()})
    weights.update({name: value for name, value in network.parameters_and_names() if name not in inside})
    return {name: value.asnumpy().copy() for name, value in weights.items()}


def fold(network: Network | TunedNetwork | OwnNetwork, omega: ms.Tensor) -> nn.Cell:
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
        values = {name: value.asnumpy() for name, value in network.parameters_and_names()}
        weights = strategies.folded(network.spec, values, omega.asnumpy())
    else:
        weights = folded_weights(network, omega)
    for name, value in plain.parameters_and_names():
        ops.assign(value, weights[name])
    return plain
