"""Mixed precision: a network that computes in a type of half the bits, and the scale of its loss."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from tunable.errors import BackendError
from tunable.specs.precision import Dynamic, Precision, Static

_KINDS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def in_precision(
    function: Callable[..., torch.Tensor], precision: Precision, like: torch.Tensor
) -> Callable[..., torch.Tensor]:
    """Let a function compute in a recipe's precision.

    Args:
        function: what makes a tensor of tensors.
        precision: the section of the recipe.
        like: a tensor on the device, and in the type, of what the function makes.

    Returns:
        The function itself in float32; else one that returns the type of `like`.

    Raises:
        BackendError: for a level that torch does not know, and where the device has no kernels of the type.
    """
    if not precision.mixed:
        return function
    if precision.level != "auto":
        raise BackendError(
            f"precision.level {precision.level} is MindSpore's; torch has auto (torch.autocast) and O0 (float32)"
        )
    kind = _KINDS[precision.kind]
    _check(kind, like.device)

    def mixed(*inputs: torch.Tensor | None) -> torch.Tensor:
        with torch.autocast(like.device.type, kind):
            output = function(*inputs)
        return output.to(like.dtype)

    return mixed


def _check(kind: torch.dtype, device: torch.device) -> None:
    """Convolve in a type, and back: what a device lacks is learnt before the first step."""
    name = str(kind).removeprefix("torch.")
    try:
        x, kernel = (torch.ones(shape, dtype=kind, device=device, requires_grad=True) for shape in ((1, 2, 4, 4),) * 2)
        torch.autograd.grad(functional.conv2d(x, kernel).sum(), (x, kernel))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise BackendError(
            f"torch on {device.type} has no convolution in {name} ({reason}); NVIDIA GPUs have float16, and bfloat16 "
            "from compute capability 8.0 on (--device cuda)"
        ) from None


class LossScale:
    """The factor of the loss, by which small gradients are more than 0 in float16.

    It is torch.amp.GradScaler's but for what a run needs: it does not fall below 1, and grows by steps that were taken.

    Args:
        settings: the section of the recipe.
        like: a tensor on the device.
    """

    def __init__(self, settings: Static | Dynamic, like: torch.Tensor) -> None:
        self._changing = settings if isinstance(settings, Dynamic) else None
        self._factor = torch.tensor(settings.scale, dtype=torch.float32, device=like.device)
        self._steps = torch.zeros((), dtype=torch.int32, device=like.device)

    def scale(self, tensor: torch.Tensor) -> torch.Tensor:
        """Multiply a loss, or a gradient of one, by the factor."""
        return tensor * self._factor

    def unscale(self, gradients: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Divide gradients of the scaled loss by the factor."""
        factor = 1 / self._factor
        return tuple(gradient * factor for gradient in gradients)

    def adjust(self, finite: torch.Tensor) -> None:
        """Adjust the factor to whether a step was taken, (): all of it was finite."""
        if self._changing is None:
            return
        growth, grown = self._changing.growth, self._factor * self._changing.growth
        steps = self._steps + 1
        grows = (steps == self._changing.window) & torch.isfinite(grown)
        self._factor = torch.where(
            finite, torch.where(grows, grown, self._factor), (self._factor / growth).clamp(min=1)
        )
        self._steps = steps % self._changing.window * finite

    def state(self) -> dict[str, np.ndarray]:
        """Return what changes: `loss_scale`, the factor, and `loss_scale_steps`, how many steps it has stood; (1,)."""
        named = {"loss_scale": self._factor, "loss_scale_steps": self._steps} if self._changing else {}
        return {name: value.cpu().numpy().astype(np.float32).reshape(1) for name, value in named.items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned."""
        if self._changing:
            self._factor = torch.full_like(self._factor, float(state["loss_scale"][0]))
            self._steps = torch.full_like(self._steps, int(state["loss_scale_steps"][0]))
