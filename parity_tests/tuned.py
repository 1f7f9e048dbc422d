"""What the tests of make_tunable share: strangers with knobs, their ordinary forms, omegas and gradients."""

import numpy as np

from parity_tests import strangers
from tunable import retrofit
from tunable.tolerances import TOLERANCES

NAMES = tuple(strangers.INPUTS)
SOME = ("unet", "attention", "tied", "heads")
OMEGAS = {
    "origin": (0, 0),
    "corner": (1, 0),
    "inside": (0.3, 0.8),
    "outside": (-0.5, 1.5),
    "per sample": ((0.3, 0.8), (1, 0.1)),
}
NETWORK, GRADIENT = TOLERANCES["network"].limit, TOLERANCES["layer gradient"].limit


def omega_of(label: str) -> np.ndarray:
    return np.array(OMEGAS[label], np.float32)


def call(twin, network, arrays, *omega) -> dict[str, np.ndarray]:
    """The outputs of a network, by place."""
    outputs = strangers.flat(network(*twin.tensors([*arrays, *omega])))
    return {place: twin.array(value) for place, value in outputs.items()}


def made(twin, name, where=None, phi="base", **options):
    """The network of this name with knobs, its weights moved away from the start; what its file holds."""
    network = twin.impl.make_tunable(strangers.build(name, twin.name), 2, where=where, phi=phi, **options)
    rng = np.random.default_rng(3)
    far = 0.3 if phi == "se" else 0.05  # a softmax keeps alphas, and so outputs, closer together
    tensors = {
        local: (value + (0 if "running" in local else far) * rng.standard_normal(value.shape)).astype(np.float32)
        for local, value in sorted(network.weights().items())
    }
    network.assign(tensors)
    return network, tensors


def ordinary(twin, name, weights: dict[str, np.ndarray]):
    """The ordinary network of this name with these weights."""
    network, parameters = strangers.build(name, twin.name), twin.module("parameters")
    for local, each in {**parameters.entries(network), **parameters.statistics(network)}.items():
        parameters.set_value(each, weights[local].astype(np.float32))
    return network


def rows(arrays, n):
    return [array[n : n + 1] for array in arrays]


def gradients(twin, network, x, omega, weights):
    """Of a smooth loss: in x and omega, and in every tensor of the file."""
    factors = dict(zip(weights, twin.tensors(weights.values()), strict=True))

    def loss(*tensors):
        outputs = strangers.flat(network(*tensors))
        return sum((outputs[place] * factor).mean() for place, factor in factors.items())

    stored = [each for parts in network._stored().values() for each in parts]
    owned = Trained(twin, network)
    _, derivatives = twin.differentiate(loss, [*x, omega], owned)
    by_value = dict(zip(map(id, owned.values), derivatives[len(x) + 1 :], strict=True))
    trained = {
        id(each.value): by_value[id(each.value)].reshape(each.shape) for each in stored if id(each.value) in by_value
    }
    names = {
        local: retrofit.stacked([trained[id(each.value)] for each in parts])
        for local, parts in network._stored().items()
        if all(id(each.value) in trained for each in parts) and "running" not in local
    }
    return derivatives[: len(x)], derivatives[len(x)], names


def adapted(twin, given, rank):
    network = twin.impl.make_tunable(given, 2, train="differences", rank=rank)
    rng = np.random.default_rng(3)
    tensors = {
        local: (value + 0.05 * rng.standard_normal(value.shape)).astype(np.float32)
        for local, value in sorted(network.weights().items())
    }
    network.assign(tensors)
    return network, tensors


class Trained:
    """The parameters of a network that are trained, as the twins list them."""

    def __init__(self, twin, network):
        listed = network.parameters() if twin.name == "torch" else network.get_parameters()
        self.values = [value for value in listed if value.requires_grad]

    def parameters(self):
        return self.values

    get_parameters = parameters
