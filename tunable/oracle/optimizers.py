"""The optimizers of a recipe in numpy float64, which the twins answer to."""

import numpy as np

from tunable.specs.optimizers import SGD, Adam, AdamW

Tensors = dict[str, np.ndarray]


class ExactOptimizer:
    """Adam, AdamW and gradient descent as `tunable.specs.optimizers` defines them.

    Kingma and Ba's Algorithm 1, Loshchilov and Hutter's decoupled decay, and Sutskever's momentum as PyTorch has it.

    Attributes:
        steps: the number of steps taken.
        state: `first.<name>` and `second.<name>`, or `momentum.<name>`, as a twin's trainer names them.
    """

    def __init__(self, settings: Adam | AdamW | SGD):
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
        s, move = self.settings, self._descend if self.settings.kind == "sgd" else self._adapt
        weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        gradients = {name: np.asarray(value, np.float64) for name, value in gradients.items()}
        norm = np.sqrt(sum(np.sum(value**2) for value in gradients.values()))
        factor = 1 if s.clip_norm is None else min(1, s.clip_norm / (norm + 1e-6))
        moved = {}
        for name, w in weights.items():
            decay = 0 if s.kind == "adamw" else s.weight_decay
            kept = 1 - learning_rate * s.weight_decay if s.kind == "adamw" else 1
            moved[name] = kept * w - learning_rate * move(name, factor * gradients[name] + decay * w)
        return moved

    def _adapt(self, name: str, g: np.ndarray) -> np.ndarray:
        s = self.settings
        assert not isinstance(s, SGD), "gradient descent has no second moments"
        first, second = (self.state.get(f"{kind}.{name}", 0) for kind in ("first", "second"))
        first, second = s.beta1 * first + (1 - s.beta1) * g, s.beta2 * second + (1 - s.beta2) * g**2
        self.state |= {f"first.{name}": first, f"second.{name}": second}
        mean, square = first / (1 - s.beta1**self.steps), second / (1 - s.beta2**self.steps)
        return mean / (np.sqrt(square) + s.eps)

    def _descend(self, name: str, g: np.ndarray) -> np.ndarray:
        s = self.settings
        assert isinstance(s, SGD), "only gradient descent has a momentum"
        m = s.momentum
        if not m:
            return g
        velocity = self.state[f"momentum.{name}"] = m * self.state.get(f"momentum.{name}", 0) + g
        return g + m * velocity if s.nesterov else velocity
