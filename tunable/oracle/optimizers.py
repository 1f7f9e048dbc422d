"""The optimizers of a recipe in numpy float64, which the twins answer to."""

import numpy as np

from tunable.arrays import Tensors
from tunable.specs.optimizers import SGD, Adam, AdamW


class ExactOptimizer:
    """Adam, AdamW and gradient descent as `tunable.specs.optimizers` defines them.

    Kingma and Ba's Algorithm 1, Loshchilov and Hutter's decoupled decay, and Sutskever's momentum as PyTorch has it.

    Attributes:
        steps: the number of steps taken.
        state: `first.<name>` and `second.<name>`, or `momentum.<name>`, as a twin's trainer names them; with `average`
            of the settings also `average.<name>`.
    """

    def __init__(self, settings: Adam | AdamW | SGD) -> None:
        self.settings, self.steps = settings, 0
        self.state: Tensors = {}

    def step(self, weights: Tensors, gradients: Tensors, learning_rate: float) -> Tensors:
        """Take one step.

        Args:
            weights: before the step, by name.
            gradients: of every weight, in its shape.
            learning_rate: of this step.

        Returns:
            The weights after the step.
        """
        self.steps += 1
        s = self.settings
        weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        gradients = {name: np.asarray(value, np.float64) for name, value in gradients.items()}
        norm = np.sqrt(sum(np.sum(value**2) for value in gradients.values()))
        factor = 1 if s.clip_norm is None else min(1, s.clip_norm / (norm + 1e-6))
        decay, kept = (0, 1 - learning_rate * s.weight_decay) if s.kind == "adamw" else (s.weight_decay, 1)
        moved = {}
        for name, w in weights.items():
            g = factor * gradients[name] + decay * w
            moved[name] = kept * w - learning_rate * (
                self._descend(s, name, g) if isinstance(s, SGD) else self._adapt(s, name, g)
            )
            if s.average:
                new, d = np.asarray(moved[name]), min(s.average, (self.steps - 1) / (self.steps + 8))
                self.state[f"average.{name}"] = d * self.state.get(f"average.{name}", new) + (1 - d) * new
        return moved

    def _adapt(self, s: Adam | AdamW, name: str, g: np.ndarray) -> np.ndarray:
        first, second = (self.state.get(f"{kind}.{name}", 0) for kind in ("first", "second"))
        first, second = s.beta1 * first + (1 - s.beta1) * g, s.beta2 * second + (1 - s.beta2) * g**2
        self.state |= {f"first.{name}": first, f"second.{name}": second}
        mean, square = first / (1 - s.beta1**self.steps), second / (1 - s.beta2**self.steps)
        return mean / (np.sqrt(square) + s.eps)

    def _descend(self, s: SGD, name: str, g: np.ndarray) -> np.ndarray:
        if not s.momentum:
            return g
        velocity = self.state[f"momentum.{name}"] = s.momentum * self.state.get(f"momentum.{name}", 0) + g
        return g + s.momentum * velocity if s.nesterov else velocity
