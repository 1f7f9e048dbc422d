"""One layer, ordinary or tunable, as a function that `tunable bench layers` times."""

from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.layers import TunableConv2d, TunableLinear
from tunable.benchmark.layer_timing import AGAIN, ORDINARY, SHARED
from tunable.benchmark.layers import Layer


def layer_call(layer: Layer, form: str, num_objectives: int, device: str, mode: str) -> Callable[[], None]:
    """Make a function that runs a layer once and returns when the device has done it.

    Args:
        layer: its kind, its sizes, and whether gradients are computed too.
        form: a name of tunable.forms.FORMS, or ORDINARY, AGAIN or SHARED of tunable.benchmark.layer_timing.
        num_objectives: p, for a tunable layer.
        device: where it runs.
        mode: one of the backend's modes.
    """
    plain = form in (ORDINARY, AGAIN)
    cell = _ordinary(layer) if plain else _tunable(layer, form, num_objectives)
    x = ms.Tensor(np.random.default_rng(0).uniform(size=layer.shape).astype(np.float32))
    shape = (num_objectives,) if form == SHARED else (layer.batch, num_objectives)
    inputs = (x,) if plain else (x, ms.Tensor(np.full(shape, 0.5, np.float32)))

    def mean(*tensors):
        return cell(*tensors).mean()

    backward = ms.value_and_grad(mean, 0, list(cell.get_parameters()))
    run = (ms.jit(backward) if mode == "graph" else backward) if layer.backward else cell

    def call():
        with ops.running(mode):
            outputs = run(*inputs)
        if device != "cpu":
            ms.runtime.synchronize()
        elif layer.backward:
            outputs[0].asnumpy()
        else:
            outputs.asnumpy()  # a CPU knows no other way to wait

    return call


def _ordinary(layer: Layer) -> nn.Cell:
    if layer.kind == "linear":
        return nn.Dense(layer.channels, layer.channels, has_bias=True)
    return ops.ordinary_conv(
        layer.channels,
        layer.channels,
        (layer.kernel, layer.kernel),
        stride=(1, 1),
        padding=(layer.kernel // 2, layer.kernel // 2),
        dilation=(1, 1),
        groups=layer.groups,
        bias=True,
    )


def _tunable(layer: Layer, form: str, num_objectives: int) -> nn.Cell:
    options = {"num_objectives": num_objectives, "phi": "affine", "seed": 0}
    if layer.kind == "linear":
        return TunableLinear(layer.channels, layer.channels, **options)
    options |= {"padding": layer.kernel // 2, "groups": layer.groups, "form": form}
    return TunableConv2d(layer.channels, layer.channels, layer.kernel, **options)
