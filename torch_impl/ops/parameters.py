"""Parameters: made, set, frozen."""

import numpy as np
import torch
from torch import nn


def fresh_seed() -> int:
    """A seed from the framework's own generator, for layers built by hand (torch.manual_seed governs it)."""
    return int(torch.randint(2**31, ()))


def freeze(module: nn.Module, tensors: dict[str, np.ndarray], like: torch.Tensor) -> nn.Module:
    """The module with these parameters, none of them to be trained, where `like` is and in its dtype."""
    module.to(like.device, like.dtype).requires_grad_(False)
    for name, value in module.named_parameters():
        value.copy_(torch.from_numpy(tensors[name]))
    return module
