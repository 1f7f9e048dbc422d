"""Optimizers as a recipe names them. Names, meaning and defaults are PyTorch's, but for Adam's learning rate; the twins
run them.

Every step: the gradients are shortened (`clip_norm`), decayed and averaged, and each weight moves. A parameter that the
loss does not depend on has the gradient 0, and is decayed like any other. With `average` an exponential moving average
of every weight follows it: after step n (from 0) it is a + (1 - d) (w - a) with d = min(average, n / (n + 9)), so that
it begins as the first step's weights.

With `accumulate` the gradients of a batch are the means of those of its parts, which fit into less memory.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tunable.arrays import Tensors
from tunable.specs.documents import is_mapping
from tunable.specs.samplers import named
from tunable.specs.schema import Section

KIND = "adam"  # what a recipe means that names no kind


# How long all gradients together may be; longer ones are shortened to it (torch.nn.utils.clip_grad_norm_).
_ClipNorm = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
_Accumulate = Annotated[int, Field(ge=1, le=2**16)]  # in how many equal parts a batch is computed, one after another
_Average = Annotated[float, Field(ge=0, lt=1)]  # the decay of an exponential moving average of the weights; 0: none


def averaging(average: float, step: int) -> float:
    """Return how much of the way to the weights their average goes after a step, which is counted from 0."""
    return 1 - min(average, step / (step + 9))


class _Moments(Section):
    """What Adam and AdamW have in common: two moments of every gradient."""

    learning_rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    clip_norm: _ClipNorm = None
    average: _Average = 0.0
    accumulate: _Accumulate = 1

    @property
    def buffers(self) -> tuple[str, ...]:
        """What is kept for every parameter between steps."""
        return ("first", "second", "average") if self.average else ("first", "second")


class Adam(_Moments):
    """Adam (D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015), with eps outside the root.

    Attributes:
        weight_decay: times the weight, what is added to its gradient (L2).
    """

    kind: Literal["adam"] = "adam"


class AdamW(_Moments):
    """AdamW (I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019).

    Attributes:
        weight_decay: times learning rate and weight, what is taken from the weight itself.
    """

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)


class SGD(Section):
    """Gradient descent. With momentum: v = momentum v + g, at the first step g, and the weight moves by -rate v.

    Attributes:
        weight_decay: times the weight, what is added to its gradient (L2).
        nesterov: whether the weight moves by -rate (g + momentum v) instead.
    """

    kind: Literal["sgd"] = "sgd"
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    clip_norm: _ClipNorm = None
    average: _Average = 0.0
    accumulate: _Accumulate = 1

    @property
    def buffers(self) -> tuple[str, ...]:
        """What is kept for every parameter between steps."""
        return ("momentum",) * (self.momentum > 0) + ("average",) * (self.average > 0)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov wants a momentum above 0, not 0")
        return self


Optimizer = Annotated[Adam | AdamW | SGD, Field(discriminator="kind")]


def resting(values: Tensors, buffers: Sequence[str]) -> Tensors:
    """Return what the state of an optimizer holds of parameters that do not move.

    Args:
        values: their values by name.
        buffers: what is kept for every parameter, as an optimizer's section says.

    Returns:
        Zeros, and as averages the values themselves, as `<buffer>.<name>`.
    """
    return {
        f"{kind}.{name}": value.copy() if kind == "average" else np.zeros_like(value)
        for kind in buffers
        for name, value in values.items()
    }


def with_kind(value: Any) -> Any:
    """Let a recipe write `optimizer: adamw` for `{kind: adamw}`, and leave the kind out: Adam."""
    value = named(value)
    return {"kind": KIND, **value} if is_mapping(value) else value
