"""A framework whose network is a formula, and recipes whose models are measured."""

import numpy as np

PLAIN = {"name": "resnet", "channels": 4, "blocks": 1, "tunable": False}


JOINT = {
    "task": "denoise_deblur",
    "objectives": [
        {"name": "noise", "kind": "noise", "residual": "remove"},
        {"name": "blur", "kind": "blur", "noise_objective": "noise", "gamma": 3},
    ],
    "data": {
        "train": "bundled",
        "degradation": [{"kind": "gaussian_blur", "sigma": [0, 4]}, {"kind": "gaussian_noise", "sigma": [5, 30]}],
    },
}


ENLARGING = {
    "task": "super_resolution",
    "network": {"name": "resnet", "channels": 4, "blocks": 1, "upscale": 2},
    "objectives": [{"name": "a", "kind": "rec"}, {"name": "b", "kind": "rec", "distance": "l2"}],
    "data": {"train": "bundled", "patch": 8, "batch": 3, "degradation": [{"kind": "bicubic", "scale": 2}]},
}


class Formula:
    """A framework whose network is formula(degraded, omega)."""

    name = "formula"

    def __init__(self, formula):
        self.formula = formula

    def facts(self):
        return {"formula": "1"}

    def run(self, network, degraded, omega):
        return self.formula(degraded, omega).astype(np.float32)
