"""A framework in numpy, to test the training loop without one, and what its tests share."""

import signal

import numpy as np

from tunable.backends.protocol import StepReport
from tunable.parameters.specs import ParameterSpec
from tunable.training.checkpoints import Checkpoints
from tunable.training.ranks import ALONE
from tunable.weights import storage

SPECS = [ParameterSpec("gain", (1,), "kernel", 1)]


class Numpy:
    """A framework whose network adds `gain`, trained with momentum: gain -= rate v, v = 0.9 v + mean(degraded).

    fault(step) is called in the middle of every step (1-based) and may raise, interrupt or return a loss; one
    that is not finite moves nothing.
    """

    name, mode, lag = "numpy", "eager", 1

    def __init__(self, fault=lambda step: None):
        self.fault, self.received = fault, []

    def facts(self):
        return {"numpy": "1", "mode": self.mode}

    def build(self, spec, num_objectives):
        return {"gain": np.zeros(1, np.float32)}

    def specs(self, network):
        return SPECS

    def parameters(self, network):
        return {name: value.copy() for name, value in network.items()}

    def assign(self, network, tensors):
        network.update({name: value.copy() for name, value in tensors.items()})

    def run(self, network, degraded, omega):
        return degraded + network["gain"]

    def trainer(self, network, recipe, stage=0):
        self.network, self.momentum = network, np.zeros(1, np.float32)
        return self

    def join(self):
        return ALONE

    def launch(self, batch, learning_rate, stop=False):
        report = self.step(batch, learning_rate)
        return lambda: report

    def step(self, batch, learning_rate):
        step = batch.index + 1
        self.received.append((batch, learning_rate))
        before = self.momentum
        self.momentum = np.float32(0.9) * self.momentum + batch.sample["degraded"].mean(dtype=np.float32)
        loss = self.fault(step)
        if loss is not None and not np.isfinite(loss):
            self.momentum = before
            return StepReport(loss, np.array([loss, loss]), taken=False)
        self.network["gain"] = self.network["gain"] - np.float32(learning_rate) * self.momentum
        return StepReport(1 / step if loss is None else loss, np.array([step, 2 * step]))

    def state(self):
        return {"first.gain": self.momentum.copy()}

    def load_state(self, state):
        self.momentum = state["first.gain"]


def checkpoints_in(out):
    return [path.name for path in Checkpoints(out).paths()]


def names(*steps):
    return [f"step-{step:08d}.safetensors" for step in steps]


def at(step, act):
    """A fault: `act()` at one step."""
    return lambda current: act() if current == step else None


def fail():
    raise RuntimeError("power cut")


def press():
    signal.raise_signal(signal.SIGINT)


def assert_same_run(out, whole):
    for name in ("metrics.csv", "validation.csv"):
        assert (out / name).read_text() == (whole / name).read_text()
    gain, expected = (storage.load(place / "model.safetensors")[0]["gain"] for place in (out, whole))
    np.testing.assert_array_equal(gain, expected)
    assert checkpoints_in(out)[-1] == checkpoints_in(whole)[-1]
