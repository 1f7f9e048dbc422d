"""Training steps as a paper's own script has them: the task of denoise/mini without this package's trainer.

tools/loop_cost.py sets the loop beside them. Each has one method, step(batch, rate) -> loss.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tunable.data.patches import Batch


def _arrays(batch: Batch) -> list[np.ndarray]:
    values = batch.sample["clean"], batch.sample["degraded"], batch.omega
    return [np.ascontiguousarray(value, np.float32) for value in values]


class Torch:
    """With `backward` and `torch.optim.Adam`.

    Args:
        network: tunable, changed in place.
        nu: of the noise objective.
    """

    def __init__(self, network: Any, nu: float) -> None:
        import torch

        self.network, self.nu, self._torch = network, nu, torch
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(self, batch: Batch, rate: float) -> float:
        torch = self._torch
        clean, degraded, omega = map(torch.from_numpy, _arrays(batch))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        restored = self.network(degraded, omega)
        noisy = clean + omega[:, 1].reshape(-1, 1, 1, 1) * self.nu * (degraded - clean)
        terms = torch.stack([(restored - target).abs().mean((1, 2, 3)) for target in (clean, noisy)], 1)
        loss = ((omega * terms).sum(1) / omega.sum(1).clamp(min=1e-3)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class MindSpore:
    """With `value_and_grad` and `nn.Adam`, compiled to one graph; arguments as `Torch`."""

    def __init__(self, network: Any, nu: float) -> None:
        import mindspore as ms
        from mindspore import ops

        move = self._adam(network)

        def loss_of(clean, degraded, omega):
            restored = network(degraded, omega)
            noisy = clean + omega[:, 1].reshape(-1, 1, 1, 1) * nu * (degraded - clean)
            terms = ops.stack([(restored - target).abs().mean((1, 2, 3)) for target in (clean, noisy)], 1)
            return ((omega * terms).sum(1) / omega.sum(1).clip(1e-3, None)).mean()

        differentiate = ms.value_and_grad(loss_of, None, ms.ParameterTuple(network.trainable_params()))

        @ms.jit
        def step(clean, degraded, omega):
            loss, gradients = differentiate(clean, degraded, omega)
            return ops.depend(loss, move(gradients))

        self._step, self._tensor, self._assign = step, ms.Tensor, ops.assign

    def _adam(self, network: Any) -> Callable:
        from mindspore import nn

        optimizer = nn.Adam(network.trainable_params(), learning_rate=1e-3)
        self._rate = optimizer.learning_rate
        return optimizer

    def step(self, batch: Batch, rate: float) -> float:
        self._assign(self._rate, self._tensor(np.float32(rate)))  # by set_data a graph reads it one step late
        return float(self._step(*map(self._tensor, _arrays(batch))).asnumpy())


class MindSporeFormula(MindSpore):
    """With the Adam of its paper, which `nn.Adam` is not (docs/framework_traps.md), written in operators."""

    def _adam(self, network: Any) -> Callable:
        import mindspore as ms
        from mindspore import ops

        weights = ms.ParameterTuple(network.trainable_params())
        firsts, seconds = (weights.clone(f"by_hand_{name}", "zeros") for name in ("first", "second"))
        rate, steps = (ms.Parameter(ms.Tensor(0, ms.float32), name=f"by_hand_{name}") for name in ("rate", "steps"))
        self._rate, count, new1, new2 = rate, len(weights), 1 - 0.9, 1 - 0.999
        log1, log2 = math.log(0.9), math.log(0.999)

        def move(gradients):
            step = steps + 1
            ops.assign(steps, step)
            corrected, root = rate / -ops.expm1(log1 * step), ops.sqrt(-ops.expm1(log2 * step))
            for i in range(count):
                first = firsts[i] + new1 * (gradients[i] - firsts[i])
                second = 0.999 * seconds[i] + new2 * (gradients[i] * gradients[i])
                ops.assign(firsts[i], first)
                ops.assign(seconds[i], second)
                ops.assign(weights[i], weights[i] - corrected * (first / (ops.sqrt(second) / root + 1e-8)))
            return step

        return move


BY_HAND = {
    "torch": {"by hand": Torch},
    "mindspore": {"by hand": MindSpore, "by hand, Adam of operators": MindSporeFormula},
}
