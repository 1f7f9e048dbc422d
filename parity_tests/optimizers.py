"""The optimizers of tunable.specs.optimizers in numpy float64, which the twins answer to, and faults for them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tunable.specs.optimizers import SGD, Adam, AdamW

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


def no_bias_correction(twin, optimizer):
    """As MindSpore's nn.AdamWeightDecay: every step as if it were the millionth."""
    real = optimizer.prepare

    def prepare(learning_rate):
        steps = optimizer._steps
        if twin.name == "torch":
            optimizer._count(10**6)
        optimizer._steps = 10**6
        real(learning_rate)
        optimizer._steps = steps + 1

    optimizer.prepare = prepare


def momentum_as_average(twin, optimizer):
    """v = momentum v + (1 - momentum) g, the convention of MindSpore's running means."""
    real, settings = optimizer.update, optimizer._settings
    new = 1 - settings.momentum
    optimizer._clip_norm = new * settings.clip_norm  # so that clipping does not undo it
    optimizer._settings = settings.model_copy(update={"clip_norm": optimizer._clip_norm})
    optimizer.update = lambda gradients: real([new * gradient for gradient in gradients])


def nothing_moves(twin, optimizer):
    """As MindSpore's mint.optim on a CPU."""
    optimizer.update = lambda gradients: None


class Fault(NamedTuple):
    """An optimizer that is told something else, or a sound one that is broken: broken(twin, optimizer)."""

    told: dict[str, Any] = {}
    broken: Callable = lambda twin, optimizer: None


SOUND = Fault()
_BOTH = {
    "clipping ignored": Fault({"clip_norm": None}),
    "no decay": Fault({"weight_decay": 0.0}),
    "nothing moves": Fault(broken=nothing_moves),
}
FAULTS = {
    "adam": {
        "beta1 wrong": Fault({"beta1": 0.89}),
        "beta2 wrong": Fault({"beta2": 0.99}),
        "no bias correction": Fault(broken=no_bias_correction),
        "decay decoupled": Fault({"kind": "adamw"}),
        **_BOTH,
    },
    "sgd": {
        "momentum wrong": Fault({"momentum": 0.89}),
        "momentum as an average": Fault(broken=momentum_as_average),
        "Nesterov": Fault({"nesterov": True}),
        **_BOTH,
    },
}  # recipe's kind -> name -> fault
