"""A recipe's optimizer over the parameters of a network, with its state as arrays.

It is made of operators, not of MindSpore's optimizers, whose steps are not those that their names promise
(docs/framework_traps.md, "Meanings that differ from PyTorch").
"""

import math

import mindspore as ms
import numpy as np
from mindspore import ops as _ops

from mindspore_impl import ops
from tunable.backends.protocol import lag_on
from tunable.specs.optimizers import SGD, Adam, AdamW


@ms.jit_class
class Optimizer:
    """Moves named parameters as a recipe's section says (tunable.specs.optimizers).

    `prepare` and `update` make a step; `update` may be part of a compiled function.

    Args:
        settings: the section of the recipe.
        parameters: the parameters by name, which are moved in place.
        scale: the factor of the loss whose gradients `update` is given; None: 1.
    """

    def __init__(
        self,
        settings: Adam | AdamW | SGD,
        parameters: dict[str, ms.Parameter],
        scale: ops.LossScale | None = None,
    ) -> None:
        self._settings, self._names, self._scale = settings, tuple(parameters), scale
        self._parameters = ms.ParameterTuple(parameters.values())
        self._buffers = tuple(self._parameters.clone(kind, "zeros") for kind in settings.buffers)
        # On a CPU nobody waits for who asks whether a step is taken; elsewhere every value is selected on the device.
        self._branches = lag_on(ops.device_in_use()) == 1
        # A compiled graph reads numbers, not a recipe, and computes with float32 ones: here 1 - beta2 is still exact.
        self._clip_norm, self._decoupled = settings.clip_norm, settings.kind == "adamw"
        self._plain, self._l2 = settings.kind == "sgd", 0.0 if self._decoupled else settings.weight_decay
        if isinstance(settings, SGD):
            self._move, self._momentum, self._nesterov = self._descend, settings.momentum, settings.nesterov
        else:
            self._move, self._beta2, self._eps = self._adapt, settings.beta2, settings.eps
            self._new1, self._new2 = 1 - settings.beta1, 1 - settings.beta2
            self._log1, self._log2 = (math.log(max(beta, 1e-30)) for beta in (settings.beta1, settings.beta2))
        # What changes from step to step is a Parameter: a new value compiles nothing anew. In a graph names are unique.
        self._averages, self._least = settings.average > 0, ms.Tensor(1 - settings.average, ms.float32)
        self._rate, self._kept, self._steps = (  # the last are those that were taken: only the device knows at once
            ms.Parameter(ms.Tensor(0, ms.float32), name=f"{name}.{self._parameters[0].name}", requires_grad=False)
            for name in ("rate", "kept", "steps")
        )

    def prepare(self, learning_rate: float) -> None:
        """Begin the next step, with its learning rate."""
        ops.assign(self._rate, np.float32(learning_rate))
        if self._decoupled:  # what AdamW leaves of a weight
            ops.assign(self._kept, np.float32(1 - learning_rate * self._settings.weight_decay))

    def update(self, gradients: tuple[ms.Tensor, ...], loss: ms.Tensor | None = None) -> ms.Tensor:
        """Finish the step: move every parameter, or nothing where a gradient or the loss is not finite.

        Args:
            gradients: of every parameter in order.
            loss: whose gradients they are, (), or a sum of all that has to be finite besides.

        Returns:
            Whether the step was taken, (), on the device.
        """
        if self._scale is not None:
            gradients = self._scale.unscale(gradients)
        total = 0.0 if loss is None else loss * 0  # not finite where the loss is not
        for gradient in gradients:
            total = total + ops.sum_of_squares(gradient)
        finite = _ops.isfinite(total)
        if self._scale is not None:
            self._scale.adjust(finite)
        steps = self._steps + finite.astype(ms.float32)
        _ops.assign(self._steps, steps)
        if not self._branches:  # noqa: SIM114  joined they would be one branch on every device
            self._take(gradients, total, finite, steps)
        elif finite:
            self._take(gradients, total, finite, steps)
        return finite

    def state(self) -> dict[str, np.ndarray]:
        """Return the state as arrays, under the same names in both twins.

        Returns:
            `step`, (1,), the number of finished steps; and of every parameter, in its shape, `first.<name>` and
            `second.<name>` (Adam, AdamW) or `momentum.<name>` (SGD with momentum), and `average.<name>` where weights
            are averaged; with a scale what `LossScale.state` returns.
        """
        state = {"step": self._steps.asnumpy().reshape(1).copy()} | (self._scale.state() if self._scale else {})
        state.update({name: value.asnumpy().copy() for name, value in self._named_buffers().items()})
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned."""
        if self._scale:
            self._scale.load_state(state)
        ops.assign(self._steps, state["step"])
        for name, value in self._named_buffers().items():
            ops.assign(value, state[name])

    def _named_buffers(self):
        kinds = zip(self._settings.buffers, self._buffers, strict=True)
        return {f"{kind}.{name}": v for kind, buffers in kinds for name, v in zip(self._names, buffers, strict=True)}

    def _take(self, gradients: tuple[ms.Tensor, ...], squares: ms.Tensor, finite: ms.Tensor, steps: ms.Tensor):
        """Move every parameter, if `finite`, given the sum of the squares of all gradients and the count of steps."""
        if self._clip_norm is not None:
            gradients = self._shortened(gradients, squares)
        rate, root = self._corrected(steps)
        part = _ops.maximum(9 / (steps + 8), self._least)  # as `averaging`
        for i in range(len(self._parameters)):
            gradient = gradients[i]
            if self._l2:
                gradient = gradient + self._l2 * self._parameters[i]
            self._move(i, gradient, finite, rate, root)
            if self._averages:
                average = self._buffers[-1][i]
                self._put(average, average + part * (self._parameters[i] - average), finite)

    def _put(self, place: ms.Parameter, value: ms.Tensor, finite: ms.Tensor):
        """Assign a value, or where `finite` may be false, select it."""
        _ops.assign(place, value if self._branches else _ops.select(finite, value, place))

    def _shortened(self, gradients: tuple[ms.Tensor, ...], squares: ms.Tensor):
        """As torch.nn.utils.clip_grad_norm_ does it: ops.clip_by_global_norm lacks its 1e-6."""
        factor = _ops.minimum(self._clip_norm / (_ops.sqrt(squares) + 1e-6), ms.Tensor(1, ms.float32))
        shortened = ()
        for gradient in gradients:
            shortened = shortened + (gradient * factor,)
        return shortened

    def _corrected(self, steps: ms.Tensor):
        """The learning rate with the correction of first moments, and the root of that of second ones."""
        if self._plain:
            return self._rate, self._rate
        return self._rate / -_ops.expm1(self._log1 * steps), _ops.sqrt(-_ops.expm1(self._log2 * steps))

    def _adapt(self, i: int, gradient: ms.Tensor, finite: ms.Tensor, rate: ms.Tensor, root: ms.Tensor):
        """Adam; AdamW decays the weight by itself."""
        parameter, firsts, seconds = self._parameters[i], self._buffers[0], self._buffers[1]
        first = firsts[i] + self._new1 * (gradient - firsts[i])
        second = self._beta2 * seconds[i] + self._new2 * (gradient * gradient)
        self._put(firsts[i], first, finite)
        self._put(seconds[i], second, finite)
        weight = parameter * self._kept if self._decoupled else parameter
        self._put(parameter, weight - rate * (first / (_ops.sqrt(second) / root + self._eps)), finite)

    def _descend(self, i: int, gradient: ms.Tensor, finite: ms.Tensor, rate: ms.Tensor, root: ms.Tensor):
        """Gradient descent, with momentum if there is a buffer for it."""
        move = gradient
        if self._momentum:
            velocity = self._momentum * self._buffers[0][i] + gradient
            self._put(self._buffers[0][i], velocity, finite)
            move = gradient + self._momentum * velocity if self._nesterov else velocity
        self._put(self._parameters[i], self._parameters[i] - rate * move, finite)
