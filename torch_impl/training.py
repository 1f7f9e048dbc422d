"""Training: the multi-loss, Adam, one step at a time, state as arrays. The loop is tunable_core.run's."""

import numpy as np
import torch
from torch import nn

from torch_impl.objectives import make_loss
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
        adam = recipe.optimizer
        self._optimizer = torch.optim.Adam(
            network.parameters(), lr=adam.learning_rate, betas=(adam.beta1, adam.beta2), eps=adam.eps
        )
        self._forward = torch.compile(self._compute) if compiled else self._compute

    def _compute(self, sample, omega):
        restored = self.network(sample["degraded"], None if self._plain else omega)
        return self._loss(restored, sample, omega)

    def _backward(self, batch: Batch):
        sample = {name: self._tensor(value) for name, value in batch.sample.items()}
        self._optimizer.zero_grad()
        loss, terms = self._forward(sample, self._tensor(batch.omega))
        loss.backward()
        return loss.detach(), terms.detach()

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, self._dtype)

    def step(self, batch: Batch, learning_rate: float) -> tuple[float, np.ndarray]:
        """Take one step; return the loss before it and its p terms (batch means)."""
        loss, terms = self._backward(batch)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        return loss.item(), terms.cpu().numpy()

    def gradients(self, batch: Batch) -> LossReport:
        """Loss and gradients on a batch, without moving anything."""
        loss, terms = self._backward(batch)
        gradients = {
            name: np.zeros(value.shape, np.float32) if value.grad is None else value.grad.cpu().numpy().copy()
            for name, value in self.network.named_parameters()
        }
        self._optimizer.zero_grad()
        return LossReport(loss.item(), terms.cpu().numpy(), gradients)

    def state(self) -> dict[str, np.ndarray]:
        """Adam's moments and step: `first.<name>`, `second.<name>`, `step`."""
        state = {"step": np.zeros(1, np.float32)}
        for name, value in self.network.named_parameters():
            held = self._optimizer.state.get(value, {})
            zero = torch.zeros_like(value)
            state["first." + name] = held.get("exp_avg", zero).cpu().numpy().copy()
            state["second." + name] = held.get("exp_avg_sq", zero).cpu().numpy().copy()
            state["step"][0] = float(held.get("step", 0))
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned."""
        for name, value in self.network.named_parameters():
            self._optimizer.state[value] = {
                "step": torch.tensor(float(state["step"][0])),
                "exp_avg": torch.from_numpy(state["first." + name].copy()).to(self._device),
                "exp_avg_sq": torch.from_numpy(state["second." + name].copy()).to(self._device),
            }
