"""Faults of optimizers, which the suite must see."""

from collections.abc import Callable
from typing import Any, NamedTuple


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
