"""Mixed precision: a network that computes in a type of half the bits, and the scale of its loss."""

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops as _ops
from mindspore._c_expression.amp import AmpLevel, create_amp_strategy
from mindspore.train import amp

from mindspore_impl.ops.device import device_in_use
from mindspore_impl.ops.parameters import assign
from tunable.errors import BackendError
from tunable.specs.precision import Dynamic, Precision, Static

_KINDS = {"bfloat16": ms.bfloat16, "float16": ms.float16}
# MindSpore's levels O1 to O3 rewrite cells, and round omega at every one that they rewrite. By operators, as its level
# `auto` is, they mean the same, and sums of kernels are none of the operators. A norm is made of means and a root.
_PRODUCTS = [one.__name__ for one in amp.AMP_AUTO_WHITE_LIST]
_DELICATE = [one.__name__ for one in amp.AMP_AUTO_BLACK_LIST] + ["ReduceMean", "MeanExt", "Sqrt"]
_EXACT = {"O1": [], "O2": _DELICATE, "O3": []}


def in_precision(function: Callable[..., ms.Tensor], precision: Precision, like: ms.Tensor) -> Callable[..., ms.Tensor]:
    """Let a function compute in a recipe's precision.

    Args:
        function: what makes a tensor of tensors, the first of them pictures.
        precision: the section of the recipe.
        like: a tensor on the device, and in the type, of what the function makes.

    Returns:
        The function itself in float32; else one that returns the type of `like`.

    Raises:
        BackendError: where the device has no kernels of the type.
    """
    if not precision.mixed:
        return function
    kind, whole = _KINDS[precision.kind], like.dtype
    _check(kind)
    enters = kind if precision.level in ("O2", "O3") else whole

    def run(x: ms.Tensor, *others: ms.Tensor) -> ms.Tensor:
        return function(x, *others)

    if precision.level == "auto":
        lowered: Any = ms.amp.auto_mixed_precision(run, "auto", kind)
    else:
        lowered = _by_operators(run, kind, _EXACT[precision.level])

    def mixed(x: ms.Tensor, *others: ms.Tensor) -> ms.Tensor:
        return lowered(x.astype(enters), *others).astype(whole)

    return mixed


def _by_operators(function: Callable[..., Any], kind: Any, exact: list[str]) -> Any:
    """The function with products in a type and the operators `exact` in float32; others take what they are given."""
    products, exactly = ([(name, []) for name in names] for names in (_PRODUCTS, exact))
    strategy = create_amp_strategy(AmpLevel.AmpAuto, kind, products, exactly)
    setattr(function, "amp_strategy", strategy)  # noqa: B010  a graph reads it there; no function declares it
    return amp._set_amp_decorator(function, AmpLevel.AmpAuto, kind, products, exactly)


def _check(kind: Any) -> None:
    """Convolve in a type: what a device lacks is learnt before the first step."""
    x = ms.Tensor(np.ones((1, 2, 4, 4), np.float32)).astype(kind)
    try:
        _ops.conv2d(x, x, None, 1, "pad", 0, 1, 1).asnumpy()
    except (RuntimeError, TypeError):
        raise BackendError(
            f"mindspore on {device_in_use()} has no convolution in {str(kind).lower()}; bfloat16 wants an Ascend "
            "910B or newer (--device ascend), and float16 runs on every device"
        ) from None


@ms.jit_class
class LossScale:
    """The factor of the loss, by which small gradients are more than 0 in float16 (mindspore.amp's loss scalers).

    Args:
        settings: the section of the recipe.
        like: a tensor on the device.
    """

    def __init__(self, settings: Static | Dynamic, like: ms.Tensor) -> None:
        self._changes = isinstance(settings, Dynamic)
        if isinstance(settings, Dynamic):
            self._scaler = ms.amp.DynamicLossScaler(settings.scale, settings.growth, settings.window)
        else:
            self._scaler = ms.amp.StaticLossScaler(settings.scale)

    def scale(self, tensor: ms.Tensor) -> ms.Tensor:
        """Multiply a loss, or a gradient of one, by the factor."""
        return tensor * self._scaler.scale_value  # its own way compiles a graph for each shape, in PyNative too

    def unscale(self, gradients: Sequence[ms.Tensor]) -> tuple[ms.Tensor, ...]:
        """Divide gradients of the scaled loss by the factor."""
        factor = 1 / self._scaler.scale_value
        return tuple([gradient * factor for gradient in gradients])

    def adjust(self, finite: ms.Tensor) -> None:
        """Adjust the factor to whether all gradients of a step are finite, ()."""
        self._scaler.adjust(finite)

    def state(self) -> dict[str, np.ndarray]:
        """Return what changes: `loss_scale`, the factor, and `loss_scale_steps`, how many steps it has stood; (1,)."""
        return {name: value.asnumpy().astype(np.float32).reshape(1) for name, value in self._parameters().items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state that `state` of either twin returned."""
        for name, value in self._parameters().items():
            assign(value, state[name])

    def _parameters(self) -> dict[str, ms.Parameter]:
        scaler = self._scaler
        return {"loss_scale": scaler.scale_value, "loss_scale_steps": scaler.counter} if self._changes else {}
