"""One training step at a time: the multi-loss, its gradients, the optimizer, and their state as arrays.

The loop around it is tunable.training.loop's.
"""

from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.adversary import Adversary
from mindspore_impl.networks.network import parameter_specs
from mindspore_impl.objectives import make_loss
from mindspore_impl.optimizers import Optimizer
from tunable.backends.protocol import LossReport, StepReport, lag_on
from tunable.data.patches import Batch
from tunable.parameters.starts import frozen
from tunable.specs.optimizers import resting
from tunable.specs.recipe import Recipe
from tunable.training.ranks import ALONE, Alone


class Trainer:
    """Trains a network in place with a recipe's objectives and optimizer.

    Args:
        network: the network of the recipe, tunable or plain.
        recipe: the recipe.
        stage: the index of its stage, which says what is trained.
        compiled: whether a whole step (forward, backward, update) runs as one graph.
        ranks: the processes that train together.

    Raises:
        RecipeError: where VGG's weights cannot be had.
        DataError: where a style's picture cannot be read.
        BackendError: where the device cannot compute in the recipe's precision.
    """

    def __init__(
        self,
        network: nn.Cell,
        recipe: Recipe,
        stage: int = 0,
        *,
        compiled: bool = False,
        ranks: ops.Ranks | Alone = ALONE,
    ) -> None:
        self.network, self._ranks = network, ranks
        parameter = next(network.get_parameters())
        self.lag = lag_on(ops.device_in_use())
        self._adversary = Adversary(recipe, parameter, ranks) if recipe.adversarial else None
        self._loss = make_loss(recipe, parameter, self._adversary and self._adversary.network)
        self._plain = network.num_objectives == 0
        every = {name: value for name, value in network.parameters_and_names() if value.requires_grad}
        self._parameters = {name: every[name] for name in recipe.trained_at(stage, every)}
        self._frozen = {name: every[name] for name in every if name not in self._parameters}
        self._buffers = recipe.optimizer.buffers
        self._run, scaling = ops.in_precision(network, recipe.precision, parameter), recipe.precision.loss_scale
        self._scale = ops.LossScale(scaling, parameter) if scaling else None
        self._optimizer = Optimizer(recipe.optimizer, self._parameters, self._scale)
        self._parts = recipe.optimizer.accumulate
        factors = frozen(parameter_specs(network)) if recipe.initial.freeze else {}
        self._factors = [ms.Tensor(factors[name]) for name in self._parameters if factors]
        self._backward, self._update, self._move, self._add, self._finish = self._functions(compiled)

    def _functions(self, compiled: bool):
        run, loss, plain, optimizer = self._run, self._loss, self._plain, self._optimizer
        adversary, factors, scale, share = self._adversary, self._factors, self._scale, 1 / self._parts
        ranks = self._ranks

        def compute(omega: ms.Tensor, sample: dict[str, ms.Tensor]):
            restored = run(sample["degraded"]) if plain else run(sample["degraded"], omega)
            value, terms = loss(restored, sample, omega)
            return value if scale is None else scale.scale(value), value, terms, restored

        differentiate = ms.value_and_grad(compute, None, list(self._parameters.values()), has_aux=True)
        differentiate = ranks.parallel(self.network, differentiate)

        def backward(omega: ms.Tensor, sample: dict[str, ms.Tensor]):
            (_, value, terms, restored), gradients = differentiate(omega, sample)
            return (value, terms, restored), gradients

        def take(value: ms.Tensor, gradients: tuple[ms.Tensor, ...]):
            if factors:  # of what is frozen 0
                gradients = tuple(gradient * factor for gradient, factor in zip(gradients, factors, strict=True))
            return optimizer.update(gradients, value)

        def update(asked: ms.Tensor | None, omega: ms.Tensor, sample: dict[str, ms.Tensor]):
            (value, terms, restored), gradients = backward(omega, sample)
            if asked is not None:  # before the update: all processes decide alike whether to take the step
                asked, value, terms = ranks.means(asked, value, terms)
            judged = ()
            if adversary is None:
                finite = take(value, gradients)
            else:  # both move or neither does
                loss_beside, beside = adversary.judge(sample["clean"], restored)
                total = value + loss_beside
                for gradient in beside:
                    total = total + ops.sum_of_squares(gradient)
                finite = take(total, gradients)
                adversary.update(beside, finite)
                judged = (loss_beside,)
            return value, terms, finite, *judged, *(() if asked is None else (asked,))

        def move(*gradients):
            return optimizer.update(gradients)

        def add(*tensors):
            """The sums of the first half and the second."""
            half = len(tensors) // 2
            return tuple([tensors[i] + tensors[half + i] for i in range(half)])

        def finish(asked: ms.Tensor | None, *sums):
            """The step of a batch whose loss, terms and gradients are sums over its parts."""
            means = tuple([one * share for one in sums])
            value, terms = means[0], means[1]
            if asked is not None:
                asked, value, terms = ranks.means(asked, value, terms)
            return value, terms, take(value, means[2:]), *(() if asked is None else (asked,))

        functions = backward, update, move, add, finish
        return tuple(ms.jit(function) for function in functions) if compiled else functions

    def _sums(self, batch: Batch) -> tuple[ms.Tensor, ...]:
        """Loss, terms and gradients of a batch, summed over its parts."""
        sums = ()
        for part in batch.parts(self._parts):
            (loss, terms, _), gradients = self._backward(*self._tensors(part))
            these = (loss, terms, *gradients)
            sums = self._add(*sums, *these) if sums else these
        return sums

    def _tensors(self, batch: Batch):
        return ms.Tensor(batch.omega), ms.mutable({name: ms.Tensor(value) for name, value in batch.sample.items()})

    @ops.alone()
    def step(self, batch: Batch, learning_rate: float) -> StepReport:
        """Take one optimizer step on a batch; with a discriminator, its step after the network's.

        Args:
            batch: pictures (N, 3, h, w) by name, and omega (N, p) or (p,).
            learning_rate: of this step.

        Returns:
            The losses before the step.
        """
        return self.launch(batch, learning_rate)()

    @ops.alone()
    def launch(self, batch: Batch, learning_rate: float, stop: bool = False) -> Callable[[], StepReport]:
        """Begin a step as `step` takes it, without waiting for the device.

        Args:
            batch: as for `step`.
            learning_rate: of this step.
            stop: whether this process asks all to stop after the step.

        Returns:
            What waits for the step and reads its losses.
        """
        self._optimizer.prepare(learning_rate)
        if self._adversary:
            self._adversary.prepare(learning_rate)
        whole, asked = self._parts == 1, ms.Tensor(float(stop), ms.float32) if self._ranks.size > 1 else None
        results = self._update(asked, *self._tensors(batch)) if whole else self._finish(asked, *self._sums(batch))
        loss, terms, finite, *judged = results
        asked = judged.pop() if asked is not None else None

        @ops.alone()
        def report() -> StepReport:
            discriminator = float(judged[0].asnumpy()) if judged else None
            stopping = asked is not None and bool(asked.asnumpy() > 0)
            return StepReport(float(loss.asnumpy()), terms.asnumpy(), discriminator, bool(finite.asnumpy()), stopping)

        return report

    @ops.alone()
    def gradients(self, batch: Batch) -> LossReport:
        """Evaluate the loss and its gradients on a batch, without moving anything.

        Args:
            batch: as for `step`.

        Returns:
            The loss, its terms, and the gradient in every parameter by name.
        """
        loss, terms, *gradients = (value / self._parts for value in self._sums(batch))
        if self._scale:
            gradients = self._scale.unscale(gradients)
        named = {name: value.asnumpy().copy() for name, value in zip(self._parameters, gradients, strict=True)}
        return LossReport(float(loss.asnumpy()), terms.asnumpy(), named)

    @ops.alone()
    def apply(self, gradients: dict[str, np.ndarray], learning_rate: float) -> None:
        """Move every parameter by one step of the optimizer on given gradients; a discriminator stays as it is.

        Args:
            gradients: of every parameter by its name, in its shape.
            learning_rate: of this step.
        """
        self._optimizer.prepare(learning_rate)
        tensors = tuple(ms.Tensor(gradients[name]) for name in self._parameters)
        self._move(*(map(self._scale.scale, tensors) if self._scale else tensors))

    @ops.alone()
    def state(self) -> dict[str, np.ndarray]:
        """Return the optimizer's state as arrays, under the same names in both twins.

        Returns:
            What `Optimizer.state` returns, and with a discriminator what `Adversary.state` returns.
        """
        values = {name: value.asnumpy() for name, value in self._frozen.items()}
        return resting(values, self._buffers) | self._optimizer.state() | self._beside()

    def _beside(self) -> dict[str, np.ndarray]:
        return self._adversary.state() if self._adversary else {}

    @ops.alone()
    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned.

        Args:
            state: arrays by name; with a discriminator its state, too.
        """
        self._optimizer.load_state(state)
        if self._adversary:
            self._adversary.load_state(state)
