"""The one table of tolerances: how far correct programs may differ, and why (DESIGN, decision 9).

Errors are relative: ||a - b|| / ||b|| over a whole tensor, b the float64 truth where there is one.
"""

from typing import NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    limit: float
    reason: str


TOLERANCES = {
    "weights": Tolerance(0.0, "the same file: equal to the last bit"),
    "layer": Tolerance(
        2e-6, "float32 sums of some hundred products against float64: about 1e-6 is the rounding itself"
    ),
    "layer gradient": Tolerance(
        5e-6, "as `layer`, under a smooth loss: two more products, and sums over batch and pixels that cancel in part"
    ),
    "layer output": Tolerance(1e-5, "inside the network: as `layer`, on inputs that differ by the rounding before it"),
    "network": Tolerance(1e-5, "rounding of some ten layers in two orders of summation"),
    "folded": Tolerance(1e-5, "the same kernels, summed before rather than during the call; then as `network`"),
    "loss": Tolerance(5e-6, "a mean over float32 pixels against float64"),
    "gradients": Tolerance(
        1e-5,
        "all parameters together; ReLU kinks flip for single values (the certificate's targets keep off L1 kinks)",
    ),
    "gradient": Tolerance(2e-4, "one parameter tensor against the float32-float64 gap of about 4e-5 that kinks cause"),
    "steps: loss": Tolerance(5e-6, "ten Adam steps at 1e-4 keep two float32 programs this close"),
    "steps: weights": Tolerance(
        1e-5, "as above; Adam turns rounding in near-zero gradients into steps of the learning rate"
    ),
}
CONTROL = 1e-3  # negative control: two different omega must differ by at least this, relative


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """||a - b|| / ||b|| in float64; inf when either is not finite or the shapes differ, ||a|| when b is 0."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    norm = np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / norm) if norm else float(np.linalg.norm(a))


def joint_error(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """The relative error of all tensors together, as if they were one."""
    if a.keys() != b.keys():
        return float("inf")
    return relative_error(np.concatenate([a[k].ravel() for k in b]), np.concatenate([b[k].ravel() for k in b]))
