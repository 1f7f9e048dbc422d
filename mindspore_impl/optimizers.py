"""A recipe's optimizer over the parameters of a network, its state as arrays.

Made of operators, not of MindSpore's optimizers: nn.AdamWeightDecay has no bias correction, those of mint move nothing
on a CPU, nn.Momentum ignores use_nesterov there, and none of nn decays a parameter with `beta` or `gamma` in its name.
"""

import mindspore as ms
import numpy as np
from mindspore import ops as framework

from mindspore_impl import ops
from tunable_core.optimizers import SGD, Adam, AdamW


@ms.jit_class
class Optimizer:
    """Moves named parameters as a recipe's section says (tunable_core.optimizers).

    `prepare` and `update` make a step; `update` may be part of a compiled function.
    """

    def __init__(self, settings: Adam | AdamW | SGD, parameters: dict[str, ms.Parameter]):
        self._settings, self._names, self._steps = settings, tuple(parameters), 0
        self._parameters = ms.ParameterTuple(parameters.values())
        self._buffers = tuple(self._parameters.clone(kind, "zeros") for kind in settings.buffers)
        # A compiled graph reads numbers, not a recipe.
        self._clip_norm, self._decoupled = settings.clip_norm, settings.kind == "adamw"
        self._l2 = 0.0 if self._decoupled else settings.weight_decay
        if settings.kind == "sgd":
            self._move, self._momentum, self._nesterov = self._descend, settings.momentum, settings.nesterov
        else:
            self._move, self._betas, self._adam = self._adapt, (settings.beta1, settings.beta2), framework.Adam()
        # What changes from step to step is a Parameter: a new value compiles nothing anew.
        self._rate, self._kept, self._power1, self._power2, self._eps = (
            ms.Parameter(ms.Tensor(0, ms.float32), name=name, requires_grad=False)
            for name in ("rate", "kept", "power1", "power2", "eps")
        )

    def prepare(self, learning_rate: float) -> None:
        """Begin the next step."""
        settings = self._settings
        self._steps += 1
        values = [(self._rate, learning_rate)]
        if settings.kind != "sgd":
            # MindSpore's eps acts before the bias correction, 30 times too large at the first step: it is given
            # less. And the powers of beta come from the step, so that a resumed run has the same bits.
            values += [
                (self._power1, settings.beta1**self._steps),
                (self._power2, settings.beta2**self._steps),
                (self._eps, settings.eps * np.sqrt(1 - settings.beta2**self._steps)),
                (self._kept, 1 - learning_rate * settings.weight_decay),
            ]
        for held, value in values:
            ops.assign(held, np.float32(value))

    def update(self, gradients: tuple[ms.Tensor, ...]) -> None:
        """Finish it: move every parameter, given their gradients in order."""
        factor = 1.0 if self._clip_norm is None else self._shortening(gradients)
        for i in range(len(self._parameters)):
            gradient = gradients[i]
            if self._clip_norm is not None:
                gradient = gradient * factor
            if self._l2:
                gradient = gradient + self._l2 * self._parameters[i]
            self._move(i, gradient)

    def state(self) -> dict[str, np.ndarray]:
        """`step`, the number of finished ones, and `first.<name>`, `second.<name>` or `momentum.<name>`."""
        state = {"step": np.full(1, self._steps, np.float32)}
        state.update({name: value.asnumpy().copy() for name, value in self._named_buffers().items()})
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned."""
        self._steps = int(state["step"][0])
        for name, value in self._named_buffers().items():
            ops.assign(value, state[name])

    def _named_buffers(self):
        kinds = zip(self._settings.buffers, self._buffers, strict=True)
        return {f"{kind}.{name}": v for kind, held in kinds for name, v in zip(self._names, held, strict=True)}

    def _shortening(self, gradients):
        """The factor of torch.nn.utils.clip_grad_norm_; ops.clip_by_global_norm has no 1e-6."""
        total = 0.0
        for gradient in gradients:
            total = total + (gradient * gradient).sum()
        return framework.minimum(self._clip_norm / (framework.sqrt(total) + 1e-6), ms.Tensor(1, ms.float32))

    def _adapt(self, i, gradient):
        """Adam; the weight decays by itself in AdamW."""
        parameter, (first, second) = self._parameters[i], self._buffers
        if self._decoupled:
            framework.assign(parameter, parameter * self._kept)
        powers, betas = (self._power1, self._power2), self._betas
        self._adam(parameter, first[i], second[i], *powers, self._rate, *betas, self._eps, gradient)

    def _descend(self, i, gradient):
        """Gradient descent, with momentum if there is a buffer for it."""
        move = gradient
        if self._momentum:
            velocity = self._momentum * self._buffers[0][i] + gradient
            framework.assign(self._buffers[0][i], velocity)
            move = gradient + self._momentum * velocity if self._nesterov else velocity
        framework.assign(self._parameters[i], self._parameters[i] - self._rate * move)
