"""The optimizers of tunable_core.optimizers in numpy float64, which the twins answer to, and faults for them.

fault(twin, settings, monkeypatch) -> the settings to build with; the twin's Optimizer is broken where they cannot.
"""

import numpy as np

from tunable_core.optimizers import SGD, Adam, AdamW

Tensors = dict[str, np.ndarray]


class Reference:
    """Kingma and Ba's Algorithm 1, Loshchilov and Hutter's decoupled decay, Sutskever's momentum as PyTorch has it.

    state  as a twin's trainer names it
    """

    def __init__(self, settings: Adam | AdamW | SGD):
        self.settings, self.steps, self.state = settings, 0, {}

    def step(self, weights: Tensors, gradients: Tensors, rate: float) -> Tensors:
        """The weights after a step."""
        self.steps += 1
        s, move = self.settings, self._descend if self.settings.kind == "sgd" else self._adapt
        weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        gradients = {name: np.asarray(value, np.float64) for name, value in gradients.items()}
        norm = np.sqrt(sum(np.sum(value**2) for value in gradients.values()))
        factor = 1 if s.clip_norm is None else min(1, s.clip_norm / (norm + 1e-6))
        moved = {}
        for name, w in weights.items():
            decay = 0 if s.kind == "adamw" else s.weight_decay
            kept = 1 - rate * s.weight_decay if s.kind == "adamw" else 1
            moved[name] = kept * w - rate * move(name, factor * gradients[name] + decay * w)
        return moved

    def _adapt(self, name, g):
        s = self.settings
        first, second = (self.state.get(f"{kind}.{name}", 0) for kind in ("first", "second"))
        first, second = s.beta1 * first + (1 - s.beta1) * g, s.beta2 * second + (1 - s.beta2) * g**2
        self.state |= {f"first.{name}": first, f"second.{name}": second}
        mean, square = first / (1 - s.beta1**self.steps), second / (1 - s.beta2**self.steps)
        return mean / (np.sqrt(square) + s.eps)

    def _descend(self, name, g):
        m = self.settings.momentum
        if not m:
            return g
        held = self.state.get(f"momentum.{name}")
        velocity = self.state[f"momentum.{name}"] = g if held is None else m * held + g
        return g + m * velocity if self.settings.nesterov else velocity


def told(**changes):
    """The twin is told something else."""
    return lambda twin, settings, monkeypatch: settings.model_copy(update=changes)


def no_bias_correction(twin, settings, monkeypatch):
    """As MindSpore's nn.AdamWeightDecay: every step as if it were the millionth."""
    optimizer = twin.module("optimizers").Optimizer
    real = optimizer.prepare

    def prepare(self, learning_rate):
        steps = self._steps
        if twin.name == "torch":
            self._count(10**6)
        self._steps = 10**6
        real(self, learning_rate)
        self._steps = steps + 1

    monkeypatch.setattr(optimizer, "prepare", prepare)
    return settings


def momentum_as_average(twin, settings, monkeypatch):
    """v = momentum v + (1 - momentum) g, the convention of MindSpore's running means."""
    optimizer = twin.module("optimizers").Optimizer
    real = optimizer.update
    new = 1 - settings.momentum
    monkeypatch.setattr(optimizer, "update", lambda self, gradients: real(self, [new * g for g in gradients]))
    return settings.model_copy(update={"clip_norm": new * settings.clip_norm, "weight_decay": settings.weight_decay})


def nothing_moves(twin, settings, monkeypatch):
    """As MindSpore's mint.optim on a CPU."""
    monkeypatch.setattr(twin.module("optimizers").Optimizer, "update", lambda self, gradients: None)
    return settings


_ADAM = {
    "beta1 wrong": told(beta1=0.89),
    "beta2 wrong": told(beta2=0.99),
    "no bias correction": no_bias_correction,
    "decay decoupled": told(kind="adamw"),
}
_SGD = {
    "momentum wrong": told(momentum=0.89),
    "momentum as an average": momentum_as_average,
    "Nesterov": told(nesterov=True),
}
_BOTH = {"clipping ignored": told(clip_norm=None), "no decay": told(weight_decay=0.0), "nothing moves": nothing_moves}
FAULTS = {"adam": {**_ADAM, **_BOTH}, "sgd": {**_SGD, **_BOTH}}
