"""Training: the multi-loss, one step at a time, state as arrays. The loop is tunable_core.run's."""

import numpy as np
import torch
from torch import nn

from torch_impl.objectives import make_loss
from torch_impl.optimizers import Optimizer
from tunable_core.backends import LossReport
from tunable_core.data import Batch
from tunable_core.recipe import Recipe


class Trainer:
    """Trains `network` in place with a recipe's objectives and optimizer.

    compiled  run loss and gradient through torch.compile
    """

    def __init__(self, network: nn.Module, recipe: Recipe, *, compiled: bool = False):
        self.network = network
        self._loss = make_loss(recipe)
        parameter = next(network.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self._plain = network.num_objectives == 0
        self._parameters = dict(network.named_parameters())
        self._optimizer = Optimizer(recipe.optimizer, self._parameters)
        self._forward = torch.compile(self._compute) if compiled else self._compute

    def _compute(self, sample, omega):
        restored = self.network(sample["degraded"], None if self._plain else omega)
        return self._loss(restored, sample, omega)

    def _backward(self, batch: Batch):
        sample = {name: self._tensor(value) for name, value in batch.sample.items()}
        loss, terms = self._forward(sample, self._tensor(batch.omega))
        loss.backward()
        found = [torch.zeros_like(value) if value.grad is None else value.grad for value in self._parameters.values()]
        self.network.zero_grad()
        return (loss.detach(), terms.detach()), found

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, self._dtype)

    def step(self, batch: Batch, learning_rate: float) -> tuple[float, np.ndarray]:
        """Take one step; return the loss before it and its p terms (batch means)."""
        (loss, terms), gradients = self._backward(batch)
        self._optimizer.prepare(learning_rate)
        self._optimizer.update(gradients)
        return loss.item(), terms.cpu().numpy()

    def gradients(self, batch: Batch) -> LossReport:
        """Loss and gradients on a batch, without moving anything."""
        (loss, terms), gradients = self._backward(batch)
        named = {name: value.cpu().numpy() for name, value in zip(self._parameters, gradients, strict=True)}
        return LossReport(loss.item(), terms.cpu().numpy(), named)

    def state(self) -> dict[str, np.ndarray]:
        """The optimizer's: `first.<name>`, `second.<name>` or `momentum.<name>`, and `step`."""
        return self._optimizer.state()

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned."""
        self._optimizer.load_state(state)
