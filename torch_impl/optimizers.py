"""A recipe's optimizer over the parameters of a network, which is PyTorch's own, with its state as arrays."""

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from torch_impl import ops
from tunable.specs.optimizers import SGD, Adam, AdamW, averaging

_KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
_FUSED = ("cuda",)  # where a rule decides on the device whether it takes a step; torch_npu has none for each kind
_BUFFERS = {"first": "exp_avg", "second": "exp_avg_sq", "momentum": "momentum_buffer", "average": "average"}


class Optimizer:
    """Moves named parameters as a recipe's section says (tunable.specs.optimizers).

    `prepare` and `update` make a step.

    Args:
        settings: the section of the recipe.
        parameters: the parameters by name, which are moved in place.
        scale: the factor of the loss whose gradients `update` is given; None: 1.
    """

    def __init__(
        self,
        settings: Adam | AdamW | SGD,
        parameters: dict[str, torch.nn.Parameter],
        scale: ops.LossScale | None = None,
    ) -> None:
        self._settings, self._parameters, self._scale = settings, parameters, scale
        (self._device,) = {value.device for value in parameters.values()}
        self._fused = self._device.type in _FUSED  # on a CPU nobody waits for who asks whether a step is taken
        options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": self._fused or None}
        if settings.kind == "sgd":
            options |= {"momentum": settings.momentum, "nesterov": settings.nesterov}
        else:
            options |= {"betas": (settings.beta1, settings.beta2), "eps": settings.eps}
        self._rule = _KINDS[settings.kind](parameters.values(), **options)
        # PyTorch makes its buffers at the first step. From zero, momentum v + g is the first gradient as well.
        for value in parameters.values():
            self._rule.state[value] = {_BUFFERS[kind]: torch.zeros_like(value) for kind in settings.buffers}
        self._count(0.0)

    def prepare(self, learning_rate: float) -> None:
        """Begin the next step, with its learning rate."""
        for group in self._rule.param_groups:
            group["lr"] = learning_rate

    def update(self, gradients: tuple[torch.Tensor, ...], loss: torch.Tensor | None = None) -> torch.Tensor:
        """Finish the step: move every parameter, or nothing where a gradient or the loss is not finite.

        Args:
            gradients: of every parameter in order, which may be changed in place.
            loss: whose gradients they are, (), or a sum of all that has to be finite besides.

        Returns:
            Whether the step was taken, (), on the device.
        """
        if self._scale:
            gradients = self._scale.unscale(gradients)
        for value, gradient in zip(self._parameters.values(), gradients, strict=True):
            value.grad = gradient
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = torch.isfinite(norm if loss is None else norm + loss)
        if self._scale:
            self._scale.adjust(finite)
        self._steps += finite
        if not self._fused and not finite:
            self._rule.zero_grad()
            return finite
        if self._settings.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters.values(), self._settings.clip_norm, norm)
        if self._fused:
            self._rule.found_inf = torch.logical_not(finite).float()  # as torch.amp.GradScaler tells it
        self._rule.step()
        self._rule.zero_grad()
        if self._settings.average:
            self._follow(self._settings.average, finite)
        return finite

    def state(self) -> dict[str, np.ndarray]:
        """Return the state as arrays, under the same names in both twins.

        Returns:
            `step`, (1,), the number of finished steps; and of every parameter, in its shape, `first.<name>` and
            `second.<name>` (Adam, AdamW) or `momentum.<name>` (SGD with momentum), and `average.<name>` where weights
            are averaged; with a scale what `LossScale.state` returns.
        """
        state = {"step": self._steps.cpu().numpy().reshape(1).copy()} | (self._scale.state() if self._scale else {})
        for kind in self._settings.buffers:
            for name, value in self._parameters.items():
                state[f"{kind}.{name}"] = self._rule.state[value][_BUFFERS[kind]].cpu().numpy().copy()
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned."""
        if self._scale:
            self._scale.load_state(state)
        self._count(float(state["step"][0]))
        for kind in self._settings.buffers:
            for name, value in self._parameters.items():
                self._rule.state[value][_BUFFERS[kind]].copy_(torch.from_numpy(state[f"{kind}.{name}"]))

    @torch.no_grad()
    def _follow(self, average: float, finite: torch.Tensor) -> None:
        """Let the averages follow the weights: by `averaging`, which a device computes of the steps it has counted."""
        weights: list[torch.Tensor] = list(self._parameters.values())
        averages = [self._rule.state[value]["average"] for value in weights]
        if not self._fused:
            decay = 1 - averaging(average, int(self._steps) - 1)
            get_ema_multi_avg_fn(decay)(averages, weights, int(self._steps))
            return
        part = (9 / (self._steps + 8)).clamp(min=1 - average) * finite
        for mean, value in zip(averages, weights, strict=True):
            mean += part * (value - mean)

    def _count(self, steps: float) -> None:
        self._steps = torch.tensor(steps, dtype=torch.float32, device=self._device)  # that were taken
        if self._settings.kind != "sgd":
            for buffers in self._rule.state.values():
                buffers["step"] = torch.tensor(steps, device=self._device if self._fused else "cpu")
