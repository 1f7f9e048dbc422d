"""Counting the operators that a forward pass starts: what a GPU or an NPU pays for beside the arithmetic.

A network is counted in its plain form and, for two objectives, with the kernels mixed layer by layer and at once
(tunable.forms), whatever `auto` takes on this device.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tunable.backends.protocol import Framework
from tunable.benchmark.network_timing import PER_SAMPLE, PLAIN, SHARED
from tunable.specs.networks import NetworkSpec

AT_ONCE = ", mixed at once"


def count(backend: Framework, spec: NetworkSpec) -> list[dict[str, str | int]]:
    """Count the operators of a forward pass.

    Args:
        backend: which framework; torch counts what is dispatched, MindSpore what the compiled graph holds.
        spec: the tunable network.

    Returns:
        A row per case: `case`, `operators`, and `beside_plain`, those that the plain network does not have.
    """
    pictures, rows = np.random.default_rng(0).uniform(size=(2, 3, 16, 16)).astype(np.float32), []
    omega = np.array([[0.7, 0.3], [0.2, 0.9]], np.float32)
    cases = [(PLAIN, None, "layer")]
    cases += [(SHARED, omega[0], "layer"), (SHARED + AT_ONCE, omega[0], "network")]
    cases += [(PER_SAMPLE, omega, "layer"), (PER_SAMPLE + AT_ONCE, omega, "network")]
    for case, setting, mixing in cases:
        with _mixed(mixing):
            network = backend.build(spec, 0 if setting is None else 2)
        operators = backend.operators(network, pictures, setting).total()
        plain = rows[0]["operators"] if rows else operators
        rows.append({"case": case, "operators": operators, "beside_plain": operators - plain})
    return rows


@contextmanager
def _mixed(mixing: str) -> Iterator[None]:
    before = os.environ.get("TUNABLE_MIX")
    os.environ["TUNABLE_MIX"] = mixing
    try:
        yield
    finally:
        del os.environ["TUNABLE_MIX"]
        if before is not None:
            os.environ["TUNABLE_MIX"] = before
