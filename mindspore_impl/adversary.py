"""Adversarial training: the discriminator of a recipe, which learns beside the network (section 4.1.3)."""

import mindspore as ms
import numpy as np
from mindspore import ops as _ops

from mindspore_impl import ops
from mindspore_impl.networks import Discriminator, initialise
from mindspore_impl.objectives import relativistic
from mindspore_impl.optimizers import Optimizer
from tunable.specs.recipe import Recipe
from tunable.training.ranks import ALONE, Alone

_PREFIX = "discriminator."


@ms.jit_class
class Adversary:
    """The discriminator of a recipe with its optimizer (section 4.1.3).

    `prepare`, `judge` and `update` make a step, the last after the network's own; a compiled function may
    hold the last two.

    Args:
        recipe: a recipe with an objective of kind `gan`; its section `discriminator` says what is built.
        like: a parameter of the network that is trained; the discriminator stands on its device, in its dtype.
        ranks: the processes that train together.
    """

    def __init__(self, recipe: Recipe, like: ms.Parameter, ranks: ops.Ranks | Alone = ALONE) -> None:
        settings = recipe.discriminator
        self.network = Discriminator(widths=settings.widths(), hidden=settings.hidden)
        initialise(self.network, recipe.seed)
        self.network.update_parameters_name(_PREFIX)  # in one graph with the network's, whose names may be the same
        self._parameters = dict(self.network.parameters_and_names())
        self._optimizer = Optimizer(settings.optimizer, self._parameters)
        self._ratio = settings.optimizer.learning_rate / recipe.optimizer.learning_rate
        self._zero, self._nan = ms.Tensor(0, ms.float32), ms.Tensor(np.nan, ms.float32)
        backward = ms.value_and_grad(self._loss, None, list(self._parameters.values()))
        self._backward, self._several, self._ranks = ranks.parallel(self.network, backward), ranks.size > 1, ranks

    def prepare(self, learning_rate: float) -> None:
        """Begin the next step.

        Args:
            learning_rate: of the network's step, as the schedule has it; the discriminator's own is in proportion.
        """
        self._optimizer.prepare(self._ratio * learning_rate)

    def judge(self, clean: ms.Tensor, restored: ms.Tensor) -> tuple[ms.Tensor, tuple[ms.Tensor, ...]]:
        """Evaluate how well the discriminator tells restored pictures from clean ones.

        Args:
            clean: clean pictures, (N, 3, H, W).
            restored: restored ones of the same shape, through which no gradient passes.

        Returns:
            The discriminator's loss, (), and its gradients, which `update` takes.
        """
        loss, gradients = self._backward(clean, _ops.stop_gradient(restored))
        if self._several:
            (loss,) = self._ranks.means(loss)
        return loss, gradients

    def update(self, gradients: tuple[ms.Tensor, ...], taken: ms.Tensor) -> None:
        """Finish the step: learn to tell restored pictures from clean ones.

        Args:
            gradients: what `judge` returned.
            taken: whether the network's step was taken, (); if not, the discriminator does not move either.
        """
        self._optimizer.update(gradients, _ops.select(taken, self._zero, self._nan))

    def state(self) -> dict[str, np.ndarray]:
        """Return the state as arrays, under the same names in both twins.

        Returns:
            `discriminator.weights.<name>` of every parameter, and what `Optimizer.state` returns after
            `discriminator.`, such as `discriminator.step` and `discriminator.first.<name>`.
        """
        tensors = {f"weights.{name}": value.asnumpy().copy() for name, value in self._parameters.items()}
        return {_PREFIX + name: value for name, value in (tensors | self._optimizer.state()).items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned.

        Args:
            state: arrays by name; those whose name does not begin with `discriminator.` are not looked at.
        """
        entries = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
        for name, value in self._parameters.items():
            ops.assign(value, entries[f"weights.{name}"])
        self._optimizer.load_state(entries)

    def _loss(self, clean: ms.Tensor, restored: ms.Tensor):
        return relativistic(self.network(restored), self.network(clean)).mean()
