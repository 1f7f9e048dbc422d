"""The networks of strangers_torch.py and strangers_mindspore.py in numpy terms: their inputs, and what they must give.

The truth for a network with knobs is its own ordinary network, in torch and float64, with the kernels' sum of one omega
computed here, by numpy, from the tensors of the weights file.
"""

import importlib
import zlib

import numpy as np

from tunable import oracle
from tunable.specs.formulations import Formulation

INPUTS = {
    "chain": [(2, 4, 9, 8)],
    "unet": [(2, 3, 8, 12)],
    "depthwise": [(2, 3, 9, 8)],
    "attention": [(2, 12, 8)],
    "tied": [(2, 10)],
    "reused": [(2, 3, 7, 8)],
    "heads": [(2, 3, 8, 8)],
    "sequences": [(2, 2, 16)],
    "volumes": [(2, 2, 4, 5, 6)],
    "guided": [(2, 3, 8, 7), (2, 1, 8, 7)],
    "reached": [(2, 3, 8, 8)],
    "mixer": [(2, 4, 4, 4)],
}


def build(name: str, framework: str, seed: int = 0):
    """The network of a framework in evaluation mode, its weights equal in both."""
    networks = importlib.import_module(f"parity_tests.strangers_{framework}").NETWORKS
    parameters = importlib.import_module(f"{framework}_impl.parameters")
    network = networks[name]()
    for local, each in parameters.entries(network).items():
        rng = np.random.default_rng([seed, zlib.crc32(local.encode())])
        noise = rng.standard_normal(each.shape).astype(np.float32)
        one_dimension = len(each.shape) == 1  # a bias or what a norm has
        value = 0.1 * noise + (local.endswith("weight")) if one_dimension else 0.3 * noise
        parameters.set_value(each, value)
    return network.eval() if framework == "torch" else network.set_train(False)


def inputs(name: str, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.standard_normal(shape).astype(np.float32) for shape in INPUTS[name]]


def flat(output) -> dict[str, object]:
    """The tensors of an output by where they stand in it."""
    if isinstance(output, dict):
        return {f"{key}{rest}": value for key, part in output.items() for rest, value in flat(part).items()}
    if isinstance(output, tuple | list):
        return {f"[{i}]{rest}": value for i, part in enumerate(output) for rest, value in flat(part).items()}
    return {"": output}


def exact(name: str, weights: dict[str, np.ndarray], arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of the ordinary network with these weights, by torch in float64."""
    import torch

    network = build(name, "torch").double()
    named = dict(network.named_parameters()) | dict(network.named_buffers())
    with torch.no_grad():
        for local, value in weights.items():
            named[local].copy_(torch.from_numpy(value))
        outputs = network(*(torch.from_numpy(array).double() for array in arrays))
    return {place: value.numpy() for place, value in flat(outputs).items()}


def mixed(tensors: dict[str, np.ndarray], plan, omega: np.ndarray) -> dict[str, np.ndarray]:
    """The ordinary network's weights at omega (p,) from the tensors of a file, by the oracle, in float64."""
    files = {file: full for full, file in plan.tensors.items()}
    sums = {}
    for name, value in tensors.items():
        if name in files:
            prefix = name.rpartition(".")[0] + "."
            vectors = {
                key.removeprefix(prefix): part for key, part in tensors.items() if key.startswith(prefix + "phi.")
            }
            formulation = Formulation(plan.phi, anchor=plan.anchor, bump=plan.bump)
            sums[files[name]] = oracle.aggregate(oracle.phi(formulation, omega, vectors), value)
        elif ".phi." not in name:
            sums[name] = value.astype(np.float64)
    return sums
