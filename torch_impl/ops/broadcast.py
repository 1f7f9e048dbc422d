"""Arrays that are combined with larger ones."""

import torch


def expanded(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """x, of a shape that broadcasts to that of `like`, with which it is combined: as it is, torch broadcasts well."""
    return x
