"""Mutants of convolutions, linear layers, free parameters and phi: kind -> name -> fault."""

import numpy as np

from parity_tests.mutants.tensors import (
    added_at_start,
    eleven_bits,
    groups_mixed,
    groups_reversed,
    leaky,
    of_first_kernel,
    of_first_sample,
    of_next_sample,
    ones,
    padded_as_same,
    reversed_along,
    rolled,
    zeros,
)
from parity_tests.mutants.ways import both, but, each, edited, given, replaced, returned

CONV, TRANSPOSED, LINEAR, AGGREGATE = "ops:conv", "ops:conv_transpose", "ops:linear", "ops:aggregate"
PHI, STEPS = "layers.phi:Phi.forward", "layers.phi:steps"
PARAMETER = "layers.parameter:TunableParameter.forward"
# What phi is made of, by twin.
DENSE = {"torch": "torch.nn:Linear.forward", "mindspore": "layers.phi:_Dense.forward"}
SOFTMAX = {"torch": "torch.nn:Softmax.forward", "mindspore": "ops:Softmax.forward"}
RELU = {"torch": "torch.nn:ReLU.forward", "mindspore": "mindspore.nn:ReLU.forward"}

CONVOLUTION_FAULTS = {
    "kernels in reverse order": given(CONV, alpha=lambda a: reversed_along(a.alpha, -1)),
    "omega ignored": given(CONV, alpha=lambda a: a.alpha * 0 + 0.5),
    "omega of the next sample": given(CONV, alpha=lambda a: of_next_sample(a.alpha)),
    "omega of the first sample for all": given(CONV, alpha=lambda a: of_first_sample(a.alpha)),
    "mean omega of the batch": given(CONV, alpha=lambda a: a.alpha if a.alpha.ndim == 1 else a.alpha.mean(0)),
    "bias dropped": given(CONV, bias=lambda a: None),
    "bias not mixed": given(CONV, bias=lambda a: of_first_kernel(a.bias)),
    "bias of the next channel": given(CONV, bias=lambda a: None if a.bias is None else rolled(a.bias, 1)),
    "kernel with its axes exchanged": given(CONV, weight=lambda a: a.weight.swapaxes(-1, -2)),
    "kernel turned round": given(CONV, weight=lambda a: reversed_along(a.weight, -1)),
    "input channels in reverse order": given(CONV, weight=lambda a: reversed_along(a.weight, 2)),
    "stride ignored": given(CONV, stride=lambda a: ones(a.stride)),
    "stride of the other axis": given(CONV, stride=lambda a: a.stride[::-1]),
    "padding ignored": given(CONV, padding=lambda a: zeros(a.padding)),
    "padding of the other axis": given(CONV, padding=lambda a: a.padding[::-1]),
    "padding `same`": given(CONV, x=padded_as_same),
    "picture shifted by a row": given(CONV, x=lambda a: rolled(a.x, 2)),
    "dilation ignored": given(CONV, dilation=lambda a: ones(a.dilation)),
    "dilation of the other axis": given(CONV, dilation=lambda a: a.dilation[::-1]),
    "stride and dilation exchanged": given(CONV, stride=lambda a: a.dilation, dilation=lambda a: a.stride),
    "groups read in reverse order": given(CONV, x=groups_reversed),
    "groups written channel by channel": returned(CONV, groups_mixed),
    "inputs of eleven bits": given(CONV, x=lambda a: eleven_bits(a.x)),
    "kernels of eleven bits": given(CONV, weight=lambda a: eleven_bits(a.weight)),
    "basis channels ordered (kernel, out)": each(
        torch=edited("ops:stacked", (".transpose(0, 1).flatten(0, 2)", ".flatten(0, 2)")),
        mindspore=edited("ops:stacked", ("second) + size).swapaxes(0, 1)", "second) + size)")),
    ),
    "basis of a depth-wise layer: its input after itself, not each channel": each(
        torch=edited(CONV, ("x.repeat_interleave(split // groups, 1)", "torch.cat([x] * (split // groups), 1)")),
        mindspore=edited(CONV, ("_ops.gather(x, _repeated(groups, split // groups), 1)", "_ops.concat([x] * k, 1)")),
    ),
    "basis weighed by the first sample": each(
        torch=edited("ops:_basis", ("* mix)", "* mix[:1])")),
        mindspore=edited("ops:_weighed", ("weights[:, i : i + 1]", "weights[:1, i : i + 1]")),
    ),
    "basis without its last kernel": each(
        torch=edited("ops:_basis", ("* mix).sum(2)", "* mix)[:, :, :-1].sum(2)")),
        mindspore=edited("ops:_weighed", ("range(k)", "range(k - 1)")),
    ),
    "loop with the first sample's kernel": each(
        torch=edited("ops:_aggregated", ("kernel[n],", "kernel[0],")),
        mindspore=edited(CONV, ("kernel[n],", "kernel[0],")),
    ),
    "loop over the first picture": each(
        torch=edited("ops:_aggregated", ("x[n : n + 1]", "x[:1]")),
        mindspore=edited(CONV, ("x[n : n + 1]", "x[:1]")),
    ),
    "stride of a point ignored": each(
        torch=edited("ops:_pointwise", ("x = x[(..., *(slice(None, None, step) for step in stride))]", "pass")),
        mindspore=edited("ops:_pointwise", ("x = _every(x, axis + 2, step)", "pass")),
    ),
    "padding of a point ignored": given(
        CONV, padding=lambda a: zeros(a.padding) if a.weight.shape[-1] == 1 else a.padding
    ),
    "reflected for replicated": given("ops:pad", mode=lambda a: "reflect"),
    "replicated for reflected": given("ops:pad", mode=lambda a: "replicate"),
    "borders of the other axis": given("ops:pad", padding=lambda a: a.padding[::-1]),
    "border mode ignored": but("layers.conv:TunableConv._run", padding_mode=lambda a: "zeros"),
    "border padded twice": edited("layers.conv:TunableConv._run", ("padding = (0,) * self.dims", "pass")),
    "depth taps among channels": each(
        mindspore=edited("ops:_convolve", ("transpose(0, 3, 1, 2, 4, 5)", "transpose(0, 3, 2, 1, 4, 5)"))
    ),
    "depth dilation ignored": each(mindspore=edited("ops:_convolve", ("tap * gap", "tap"))),
    "depth padding ignored": each(
        mindspore=edited("ops:_convolve", ("_padded(x, 2, padding[0], padding[0])", "_padded(x, 2, 0, 2 * padding[0])"))
    ),
    "every second entry from the second on": each(
        mindspore=edited("ops:_every", ("(axis + 1) + (0,)", "(axis + 1) + (1,)"))
    ),
    "no gradient to phi": given(AGGREGATE, alpha=lambda a: a.twin.constant(a.alpha)),
    "no gradient to kernels": given(AGGREGATE, tensor=lambda a: a.twin.constant(a.tensor)),
    "kernels weighed by shares": given(AGGREGATE, alpha=lambda a: a.alpha / (abs(a.alpha).sum(-1) + 1e-6)[..., None]),
    "kernels weighed by squares": given(AGGREGATE, alpha=lambda a: a.alpha * a.alpha),
}

TRANSPOSED_FAULTS = {
    "kernels in reverse order": given(TRANSPOSED, alpha=lambda a: reversed_along(a.alpha, -1)),
    "omega of the next sample": given(TRANSPOSED, alpha=lambda a: of_next_sample(a.alpha)),
    "bias dropped": given(TRANSPOSED, bias=lambda a: None),
    "bias not mixed": given(TRANSPOSED, bias=lambda a: of_first_kernel(a.bias)),
    "kernel not turned round": given(TRANSPOSED, weight=lambda a: reversed_along(a.weight, -1)),
    "stride ignored": given(TRANSPOSED, stride=lambda a: ones(a.stride)),
    "padding ignored": given(TRANSPOSED, padding=lambda a: zeros(a.padding)),
    "padding of the other axis": given(TRANSPOSED, padding=lambda a: a.padding[::-1]),
    "dilation ignored": given(TRANSPOSED, dilation=lambda a: ones(a.dilation)),
    "dilation of the other axis": given(TRANSPOSED, dilation=lambda a: a.dilation[::-1]),
    "output padding forgotten": given(TRANSPOSED, output_padding=lambda a: zeros(a.output_padding)),
    "output padding at the start": returned(TRANSPOSED, added_at_start),
    "groups read in reverse order": given(TRANSPOSED, x=groups_reversed),
    "groups written channel by channel": returned(TRANSPOSED, groups_mixed),
    "inputs of eleven bits": given(TRANSPOSED, x=lambda a: eleven_bits(a.x)),
    "basis channels ordered (out, kernel)": each(
        torch=edited("ops:stacked", ("kernels.movedim(0, 1)", "kernels.movedim(0, 2)"))
    ),
    "input channels among output channels": each(
        mindspore=edited("ops:exchanged", ("parts = parts.swapaxes(axis + 1, axis + 2)", "pass"))
    ),
}

LINEAR_FAULTS = {
    "kernels in reverse order": given(LINEAR, alpha=lambda a: reversed_along(a.alpha, -1)),
    "omega ignored": given(LINEAR, alpha=lambda a: a.alpha * 0 + 0.5),
    "omega of the next sample": given(LINEAR, alpha=lambda a: of_next_sample(a.alpha)),
    "omega of the first sample for all": given(LINEAR, alpha=lambda a: of_first_sample(a.alpha)),
    "bias dropped": given(LINEAR, bias=lambda a: None),
    "bias not mixed": given(LINEAR, bias=lambda a: of_first_kernel(a.bias)),
    "matrix transposed where it is square": given(
        LINEAR, weight=lambda a: a.weight.swapaxes(-1, -2) if a.weight.shape[-1] == a.weight.shape[-2] else a.weight
    ),
    "inputs of eleven bits": given(LINEAR, x=lambda a: eleven_bits(a.x)),
}

PARAMETER_FAULTS = {
    "the first kernel alone": returned(PARAMETER, lambda y, a: y * 0 + a.self.weight[0]),
    "value to start from forgotten": returned(
        "layers.parameter:TunableParameter.roles", lambda roles, a: dict.fromkeys(roles, ("zero", 0))
    ),
}


def unbiased(y, a):
    return y - a.self.bias


def without_first(alpha, a):
    """The alpha of the first kernel is zero."""
    return alpha - alpha * a.twin.tensors([np.eye(alpha.shape[-1])[0]])[0]


def same(self, x):
    return x


def sigmoid(self, x):
    return 1 / (1 + (-x).exp())


def leaking(self, x):
    return leaky(x)


def transposed(self, omega):
    return omega @ self.weight + self.bias


PHI_FAULTS = {
    "matrix transposed": each(**{name: replaced(place, transposed) for name, place in DENSE.items()}),
    "without its bias": each(
        torch=returned(DENSE["torch"], unbiased), mindspore=returned(DENSE["mindspore"], unbiased)
    ),
    "base without its one": returned(PHI, lambda alpha, a: without_first(alpha, a) if a.self.base else alpha),
    "base one last": returned(PHI, lambda alpha, a: rolled(alpha, -1) if a.self.base else alpha),
    "omega kept in [0, 1]": given(PHI, omega=lambda a: a.omega.clip(0, 1)),
    "se without softmax": each(**{name: replaced(place, same) for name, place in SOFTMAX.items()}),
    "se with softmax over the batch": both(
        each(
            torch=given(SOFTMAX["torch"], input=lambda a: a.input.swapaxes(0, -1)),
            mindspore=given(SOFTMAX["mindspore"], logits=lambda a: a.logits.swapaxes(0, -1)),
        ),
        each(**{name: returned(place, lambda y, a: y.swapaxes(0, -1)) for name, place in SOFTMAX.items()}),
    ),
    "se with sigmoid for softmax": each(**{name: replaced(place, sigmoid) for name, place in SOFTMAX.items()}),
    "se without ReLU": each(**{name: replaced(place, same) for name, place in RELU.items()}),
    "se with a leak of a hundredth": each(**{name: replaced(place, leaking) for name, place in RELU.items()}),
}


def of_the_first_sample(a):
    return a.alpha if a.alpha.ndim == 1 else of_first_sample(a.alpha)


DIFFERENCES_FAULTS = {
    "anchor forgotten": but(PHI, anchor=lambda a: None),
    "anchor added": edited(STEPS, ("weights - ", "weights + ")),
    "products of what the anchor leaves": edited(
        STEPS, ("weights - _with_products(anchor, products)", "_with_products(omega - anchor, products)")
    ),
    "squares for products": edited("layers.phi:_with_products", ("omega[..., j : j + 1]", "omega[..., i : i + 1]")),
    "products in reverse order": given(STEPS, products=lambda a: a.products[::-1]),
    "points in reverse order": given("ops:low_rank", up=lambda a: reversed_along(a.up, 0)),
    "ranks in reverse order": given("ops:low_rank", up=lambda a: reversed_along(a.up, 2)),
    "factors of the next group": given("ops:low_rank", down=lambda a: rolled(a.down, 1)),
    "factors not exchanged": each(
        torch=edited("ops:with_low_rank", ("exchanged(down, groups, 1) if transposed else down", "down")),
        mindspore=edited("ops:with_low_rank", ("exchanged(down, groups, 1) if transposed else down", "down")),
    ),
    "low rank of the first sample": given("ops:low_rank", alpha=of_the_first_sample),
    "beside: points in reverse order": given("ops:with_low_rank_outputs", up=lambda a: reversed_along(a.up, 0)),
    "beside: features of the first sample": given(
        "ops:with_low_rank_outputs", features=lambda a: a.features * 0 + a.features[:1]
    ),
    "beside: one omega for all": given("ops:with_low_rank_outputs", alpha=of_the_first_sample),
    "beside: base kernel dropped": given("ops:with_low_rank_outputs", y=lambda a: a.y * 0),
    "beside: groups mixed": given("ops:with_low_rank_outputs", features=lambda a: rolled(a.features, 1)),
    "beside: bias of the first sample": given("ops:with_bias", bias=lambda a: of_first_kernel(a.bias)),
    "beside: bias dropped": given("ops:with_bias", bias=lambda a: a.bias * 0),
    "scale without its one": edited("ops:scales", ("return 1 + aggregate", "return aggregate")),
    "scale of the next channel": returned("ops:scales", lambda y, a: rolled(y, -1)),
    "scale of input channels": each(
        torch=edited("ops:with_scale", ("exchanged(weight[0], groups) if transposed else weight[0]", "weight[0]")),
        mindspore=edited("ops:with_scale", ("exchanged(weight[0], groups) if transposed else weight[0]", "weight[0]")),
    ),
}


POINTS = "ops:at_outputs"

MAP_FAULTS = {
    "turned to its side": given(POINTS, alpha=lambda a: reversed_along(a.alpha, -1)),
    "biases of the next setting": given(POINTS, tensor=lambda a: rolled(a.tensor, 0)),
    "channels of the next": returned(POINTS, lambda y, a: rolled(y, 1)),
    "phi of the mean of the map": given(
        "layers.tunable:Tunable.alpha",
        omega=lambda a: a.omega if a.omega.ndim < 3 else a.omega * 0 + a.omega.mean(-1)[..., None],
    ),
    "phi along another axis": edited("layers.tunable:Tunable.alpha", ("omega.ndim < 3", "omega.ndim < 9")),
    "attention at a corner of the map": given(
        "layers.attention:pooled", omega=lambda a: a.omega if a.omega.ndim < 3 else a.omega[..., :1, :1]
    ),
}


LAYERS = {
    "map": MAP_FAULTS,
    "differences": DIFFERENCES_FAULTS,
    "convolution": CONVOLUTION_FAULTS,
    "transposed": TRANSPOSED_FAULTS,
    "linear": LINEAR_FAULTS,
    "parameter": PARAMETER_FAULTS,
    "phi": PHI_FAULTS,
}
