"""One layer, ordinary or tunable, as a function that `tunable bench layers` times."""

from collections.abc import Callable

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import TunableConv2d, TunableLinear
from tunable.benchmark.layer_timing import AGAIN, ORDINARY, SHARED
from tunable.benchmark.layers import Layer


def layer_call(layer: Layer, form: str, num_objectives: int, device: torch.device, mode: str) -> Callable[[], None]:
    """Make a function that runs a layer once and returns when the device has done it.

    Args:
        layer: its kind, its sizes, and whether gradients are computed too.
        form: a name of tunable.forms.FORMS, or ORDINARY, AGAIN or SHARED of tunable.benchmark.layer_timing.
        num_objectives: p, for a tunable layer.
        device: where it runs.
        mode: one of the backend's modes.
    """
    plain = form in (ORDINARY, AGAIN)
    module = (_ordinary(layer) if plain else _tunable(layer, form, num_objectives)).to(device)
    x = torch.rand(layer.shape, device=device, requires_grad=layer.backward)
    omega = torch.full((num_objectives,) if form == SHARED else (layer.batch, num_objectives), 0.5, device=device)
    inputs = (x,) if plain else (x, omega)
    if mode == "compile":
        ops.compile_every_shape()
        run = torch.compile(module, dynamic=False)
    else:
        run = module
    places = [x, *module.parameters()]

    def call():
        if layer.backward:
            torch.autograd.grad(run(*inputs).mean(), places)
        else:
            with torch.inference_mode():
                run(*inputs)
        ops.synchronize(device)

    return call


def _ordinary(layer: Layer) -> nn.Module:
    if layer.kind == "linear":
        return nn.Linear(layer.channels, layer.channels)
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


def _tunable(layer: Layer, form: str, num_objectives: int) -> nn.Module:
    options = {"num_objectives": num_objectives, "phi": "affine", "seed": 0}
    if layer.kind == "linear":
        return TunableLinear(layer.channels, layer.channels, **options)
    options |= {"padding": layer.kernel // 2, "groups": layer.groups, "form": form}
    return TunableConv2d(layer.channels, layer.channels, layer.kernel, **options)
