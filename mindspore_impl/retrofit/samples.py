"""Single samples of what a network takes, and the outputs for single samples as one batch again."""

from typing import Any

import mindspore as ms
from mindspore import ops as _ops


def _sample(value: Any, n: int) -> Any:
    """Inputs of the sample n alone, its axis kept: every tensor in tuples, lists and dictionaries."""
    if isinstance(value, dict):
        sample = {}
        for key in value:
            sample[key] = _sample(value[key], n)
        return sample
    if isinstance(value, (tuple, list)):
        parts = []
        for part in value:
            parts.append(_sample(part, n))
        return tuple(parts)
    if isinstance(value, ms.Tensor):
        return value[n : n + 1]
    return value


def _joined(values: list[Any]) -> Any:
    """The outputs of single samples as one output; ValueError, which a graph can raise, unless each has one row."""
    first = values[0]
    if isinstance(first, dict):
        joined = {}
        for key in first:
            parts = []
            for value in values:
                parts.append(value[key])
            joined[key] = _joined(parts)
        return joined
    if isinstance(first, (tuple, list)):
        joined = []
        for index in range(len(first)):
            parts = []
            for value in values:
                parts.append(value[index])
            joined.append(_joined(parts))
        return tuple(joined)
    if first.ndim == 0 or first.shape[0] != 1:
        raise ValueError("with omega per sample the network's outputs must have one row per sample")
    return _ops.concat(values, 0)
