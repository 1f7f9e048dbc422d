"""One training step at a time: the multi-loss, its gradients, the optimizer, and their state as arrays.

The loop around it is tunable.training.loop's.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from torch_impl import ops
from torch_impl.adversary import Adversary
from torch_impl.networks.network import parameter_specs
from torch_impl.objectives import make_loss
from torch_impl.optimizers import Optimizer
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
        compiled: whether loss and gradient run through torch.compile.
        channels_last: whether features are laid out pixel by pixel.
        ranks: the processes that train together.

    Raises:
        RecipeError: where VGG's weights cannot be had.
        DataError: where a style's picture cannot be read.
        BackendError: where the device cannot compute in the recipe's precision.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        stage: int = 0,
        *,
        compiled: bool = False,
        channels_last: bool = False,
        ranks: ops.Ranks | Alone = ALONE,
    ) -> None:
        self.network, self._ranks = network, ranks
        parameter = next(network.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self.lag = lag_on(self._device.type)
        self._adversary = Adversary(recipe, parameter, ranks) if recipe.adversarial else None
        self._loss = make_loss(recipe, parameter, self._adversary and self._adversary.network)
        self._plain, self._channels_last = network.num_objectives == 0, channels_last
        every = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._parameters = {name: every[name] for name in recipe.trained_at(stage, every)}
        self._frozen = {name: every[name] for name in every if name not in self._parameters}
        self._buffers = recipe.optimizer.buffers
        self._run, scaling = ops.in_precision(network, recipe.precision, parameter), recipe.precision.loss_scale
        self._scale = ops.LossScale(scaling, parameter) if scaling else None
        self._optimizer = Optimizer(recipe.optimizer, self._parameters, self._scale)
        self._parts = recipe.optimizer.accumulate
        factors = frozen(parameter_specs(network)) if recipe.initial.freeze else {}
        self._factors = [self._tensor(factors[name]) for name in self._parameters if factors]
        # Batches of a run have one size; sizes left open, as a second trainer would make them, fail in Inductor.
        forward = torch.compile(self._compute, dynamic=False) if compiled else self._compute
        self._forward = ranks.parallel(network, forward)

    def _compute(self, sample: dict[str, torch.Tensor], omega: torch.Tensor):
        degraded = ops.pixel_by_pixel(sample["degraded"]) if self._channels_last else sample["degraded"]
        restored = self._run(degraded, None if self._plain else omega)
        loss, terms = self._loss(restored, sample, omega)
        return loss, terms.detach(), restored.detach()

    def _backward(self, sample: dict[str, torch.Tensor], omega: torch.Tensor):
        loss, terms, restored = self._forward(sample, omega)
        parameters = tuple(self._parameters.values())
        scaled = self._scale.scale(loss) if self._scale else loss
        return (loss.detach(), terms, restored), ops.gradients(scaled, parameters)

    def _accumulated(self, batch: Batch):
        """What `_backward` returns for a batch in parts: means, but the output is that of the last part."""
        first, *others = batch.parts(self._parts)
        (loss, terms, restored), gradients = self._backward(*self._tensors(first))
        for part in others:
            (more, beside, restored), added = self._backward(*self._tensors(part))
            loss, terms, gradients = loss + more, terms + beside, tuple(map(torch.add, gradients, added))
        return (loss / self._parts, terms / self._parts, restored), tuple(value / self._parts for value in gradients)

    def _tensors(self, batch: Batch):
        return {name: self._tensor(value) for name, value in batch.sample.items()}, self._tensor(batch.omega)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return ops.moved(array, self._device, self._dtype)

    def step(self, batch: Batch, learning_rate: float) -> StepReport:
        """Take one optimizer step on a batch; with a discriminator, its step after the network's.

        Args:
            batch: pictures (N, 3, h, w) by name, and omega (N, p) or (p,).
            learning_rate: of this step.

        Returns:
            The losses before the step.
        """
        return self.launch(batch, learning_rate)()

    def launch(self, batch: Batch, learning_rate: float, stop: bool = False) -> Callable[[], StepReport]:
        """Begin a step as `step` takes it, without waiting for the device.

        Args:
            batch: as for `step`.
            learning_rate: of this step.
            stop: whether this process asks all to stop after the step.

        Returns:
            What waits for the step and reads its losses.
        """
        if self._parts > 1:
            sample, ((loss, terms, restored), gradients) = {}, self._accumulated(batch)
        else:
            sample, omega = self._tensors(batch)
            (loss, terms, restored), gradients = self._backward(sample, omega)
        if self._factors:  # of what is frozen 0
            gradients = tuple(map(torch.mul, gradients, self._factors))
        self._optimizer.prepare(learning_rate)
        asked = None
        if self._ranks.size > 1:  # before the update: all processes decide alike whether to take the step
            asked, loss, terms = self._ranks.means(loss.new_full((), float(stop)), loss, terms)
        judged = None
        if self._adversary is None:
            finite = self._optimizer.update(gradients, loss)
        else:  # both move or neither does
            self._adversary.prepare(learning_rate)
            judged, beside = self._adversary.judge(sample["clean"], restored)
            finite = self._optimizer.update(gradients, loss + judged + torch.nn.utils.get_total_norm(beside))
            self._adversary.update(beside, finite)

        def report() -> StepReport:
            discriminator = None if judged is None else judged.item()
            stopping = asked is not None and asked.item() > 0
            return StepReport(loss.item(), terms.cpu().numpy(), discriminator, bool(finite), stopping)

        return report

    def gradients(self, batch: Batch) -> LossReport:
        """Evaluate the loss and its gradients on a batch, without moving anything.

        Args:
            batch: as for `step`.

        Returns:
            The loss, its terms, and the gradient in every parameter by name.
        """
        (loss, terms, _), gradients = self._accumulated(batch)
        if self._scale:
            gradients = self._scale.unscale(gradients)
        named = {name: value.cpu().numpy() for name, value in zip(self._parameters, gradients, strict=True)}
        return LossReport(loss.item(), terms.cpu().numpy(), named)

    def apply(self, gradients: dict[str, np.ndarray], learning_rate: float) -> None:
        """Move every parameter by one step of the optimizer on given gradients; a discriminator stays as it is.

        Args:
            gradients: of every parameter by its name, in its shape.
            learning_rate: of this step.
        """
        self._optimizer.prepare(learning_rate)
        tensors = tuple(self._tensor(gradients[name]).clone() for name in self._parameters)
        self._optimizer.update(tuple(map(self._scale.scale, tensors)) if self._scale else tensors)

    def state(self) -> dict[str, np.ndarray]:
        """Return the optimizer's state as arrays, under the same names in both twins.

        Returns:
            What `Optimizer.state` returns, and with a discriminator what `Adversary.state` returns.
        """
        values = {name: value.detach().cpu().numpy() for name, value in self._frozen.items()}
        return resting(values, self._buffers) | self._optimizer.state() | self._beside()

    def _beside(self) -> dict[str, np.ndarray]:
        return self._adversary.state() if self._adversary else {}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned.

        Args:
            state: arrays by name; with a discriminator its state, too.
        """
        self._optimizer.load_state(state)
        if self._adversary:
            self._adversary.load_state(state)
