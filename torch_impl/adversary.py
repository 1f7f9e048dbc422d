"""Adversarial training: the discriminator of a recipe, which learns beside the network (section 4.1.3)."""

import numpy as np
import torch

from torch_impl import ops
from torch_impl.networks import Discriminator, initialise
from torch_impl.objectives import relativistic
from torch_impl.optimizers import Optimizer
from tunable.specs.recipe import Recipe
from tunable.training.ranks import ALONE, Alone

_PREFIX = "discriminator."


class Adversary:
    """The discriminator of a recipe with its optimizer (section 4.1.3).

    `prepare`, `judge` and `update` make a step, the last after the network's own.

    Args:
        recipe: a recipe with an objective of kind `gan`; its section `discriminator` says what is built.
        like: a parameter of the network that is trained; the discriminator stands on its device, in its dtype.
        ranks: the processes that train together.
    """

    def __init__(self, recipe: Recipe, like: torch.Tensor, ranks: ops.Ranks | Alone = ALONE) -> None:
        settings = recipe.discriminator
        self.network = Discriminator(widths=settings.widths(), hidden=settings.hidden)
        initialise(self.network, recipe.seed)
        self.network.to(like.device, like.dtype)
        self._parameters = dict(self.network.named_parameters())
        self._optimizer = Optimizer(settings.optimizer, self._parameters)
        self._ratio = settings.optimizer.learning_rate / recipe.optimizer.learning_rate
        self._loss = ranks.parallel(self.network, self._compute)
        self._ranks = ranks

    def prepare(self, learning_rate: float) -> None:
        """Begin the next step.

        Args:
            learning_rate: of the network's step, as the schedule has it; the discriminator's own is in proportion.
        """
        self._optimizer.prepare(self._ratio * learning_rate)

    def judge(self, clean: torch.Tensor, restored: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Evaluate how well the discriminator tells restored pictures from clean ones.

        Args:
            clean: clean pictures, (N, 3, H, W).
            restored: restored ones of the same shape, through which no gradient passes.

        Returns:
            The discriminator's loss, (), and its gradients, which `update` takes.
        """
        loss = self._loss(clean, restored.detach())
        gradients = ops.gradients(loss, tuple(self._parameters.values()))
        (loss,) = self._ranks.means(loss.detach())
        return loss, gradients

    def update(self, gradients: tuple[torch.Tensor, ...], taken: torch.Tensor) -> None:
        """Finish the step: learn to tell restored pictures from clean ones.

        Args:
            gradients: what `judge` returned.
            taken: whether the network's step was taken, (); if not, the discriminator does not move either.
        """
        self._optimizer.update(gradients, torch.where(taken, 0.0, torch.nan))

    def state(self) -> dict[str, np.ndarray]:
        """Return the state as arrays, under the same names in both twins.

        Returns:
            `discriminator.weights.<name>` of every parameter, and what `Optimizer.state` returns after
            `discriminator.`, such as `discriminator.step` and `discriminator.first.<name>`.
        """
        tensors = {f"weights.{name}": value.detach().cpu().numpy().copy() for name, value in self._parameters.items()}
        return {_PREFIX + name: value for name, value in (tensors | self._optimizer.state()).items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned.

        Args:
            state: arrays by name; those whose name does not begin with `discriminator.` are not looked at.
        """
        entries = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
        with torch.no_grad():
            for name, value in self._parameters.items():
                value.copy_(torch.from_numpy(entries[f"weights.{name}"]))
        self._optimizer.load_state(entries)

    def _compute(self, clean: torch.Tensor, restored: torch.Tensor) -> torch.Tensor:
        return relativistic(self.network(restored), self.network(clean)).mean()
