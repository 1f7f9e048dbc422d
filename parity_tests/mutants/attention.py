"""Mutants of norms and attention: kind -> name -> fault."""

from parity_tests.mutants.tensors import eleven_bits, of_next_sample, reversed_along
from parity_tests.mutants.ways import both, but, each, edited, given, replaced, returned, within

NORMALISE, SCALE = "ops:normalise", "ops:scale_and_shift"
WINDOWS = "layers.attention:WindowAttention.forward"
CHANNELS = "layers.attention:ChannelAttention.forward"
SIMPLE = "layers.attention:SimplifiedChannelAttention.forward"

_HEADS = "reshape(-1, count, pixels, 3 * self.heads, size)"


def same(x, omega=None):
    return x


def _softmax_over(axis):
    """Only where it has that axis: phi's has fewer."""

    def turned(x):
        return x.swapaxes(axis, -1) if x.ndim == 5 else x

    return both(given("ops:softmax", x=lambda a: turned(a.x)), returned("ops:softmax", lambda y, a: turned(y)))


NORM_FAULTS = {
    "eps x 10": given(NORMALISE, eps=lambda a: 10 * a.eps),
    "eps of MindSpore's default": given(NORMALISE, eps=lambda a: 1e-7),
    "eps outside the root": edited(NORMALISE, ("deviation = ", "deviation = eps + "), ("=True) + eps)", "=True))")),
    "eps squared": edited(NORMALISE, ("=True) + eps)", "=True) + eps**2)")),
    "mean not taken off": edited(NORMALISE, ("return centred", "return x")),
    "variance about zero": edited(NORMALISE, ("mean = x.mean", "mean = 0 * x.mean")),
    "variance unbiased": edited(
        NORMALISE, ("=True) + eps)", "=True) * x.shape[_AXES[kind][0]] / (x.shape[_AXES[kind][0]] - 1) + eps)")
    ),
    "no root": each(torch=edited(NORMALISE, ("torch.sqrt(", "(")), mindspore=edited(NORMALISE, ("_ops.sqrt(", "("))),
    "channels and pixels exchanged": given(
        NORMALISE,
        kind=lambda a: {"layer_norm2d": "instance_norm2d", "instance_norm2d": "layer_norm2d"}.get(a.kind, a.kind),
    ),
    "over channels and pixels": replaced(
        "ops:_AXES", {"layer_norm": (-1,), "layer_norm2d": (1, 2, 3), "instance_norm2d": (2, 3)}
    ),
    "over the batch too": replaced(
        "ops:_AXES", {"layer_norm": (-1,), "layer_norm2d": (1,), "instance_norm2d": (0, 2, 3)}
    ),
    "last axis and all before it": replaced(
        "ops:_AXES", {"layer_norm": (-2, -1), "layer_norm2d": (1,), "instance_norm2d": (2, 3)}
    ),
    "statistics constant": each(
        torch=edited(NORMALISE, ("mean = x.mean", "mean = x.detach().mean")),
        mindspore=edited(NORMALISE, ("mean = x.mean", "mean = _ops.stop_gradient(x).mean")),
    ),
    "scale dropped": given(SCALE, weight=lambda a: a.weight * 0 + 1),
    "scale counted from one": given(SCALE, weight=lambda a: 1 + a.weight),
    "shift dropped": given(SCALE, bias=lambda a: a.bias * 0),
    "scale and shift exchanged": given(SCALE, weight=lambda a: a.bias, bias=lambda a: a.weight),
    "shift scaled": given(SCALE, bias=lambda a: a.bias * a.weight),
    "scale of the next sample": given(SCALE, weight=lambda a: of_next_sample(a.weight)),
    "channels in reverse order": given(SCALE, weight=lambda a: reversed_along(a.weight, -1)),
    "scale not tunable": edited(
        "layers.norm:TunableNorm.forward", ("ops.aggregate(alpha, weight), ops", "weight[0], ops")
    ),
    "eps forgotten when folded": but("layers.norm:TunableNorm.fold", eps=lambda a: 1e-5),
}

ATTENTION_FAULTS = {
    "q not scaled": edited(WINDOWS, ("q / math.sqrt(size)", "q")),
    "q over d, not its root": edited(WINDOWS, ("q / math.sqrt(size)", "q / size")),
    "scaled by all channels": edited(WINDOWS, ("math.sqrt(size)", "math.sqrt(channels)")),
    "q and k exchanged": edited(WINDOWS, ("q, k, v =", "k, q, v =")),
    "k and v exchanged": edited(WINDOWS, ("q, k, v =", "q, v, k =")),
    "heads before q, k, v": edited(
        WINDOWS,
        ("pixels, 3 * self.heads, size)", f"pixels, self.heads, 3, size).swapaxes(3, 4).{_HEADS}"),
    ),
    "size before heads": edited(
        WINDOWS,
        ("pixels, 3 * self.heads, size)", f"pixels, 3, size, self.heads).swapaxes(4, 5).{_HEADS}"),
    ),
    "heads joined in another order": edited(
        WINDOWS, (".swapaxes(2, 3).reshape(-1, count, pixels, channels)", ".reshape(-1, count, pixels, channels)")
    ),
    "position bias dropped": returned("ops:relative_bias", lambda bias, a: bias * 0),
    "position bias with pixels exchanged": returned("ops:relative_bias", lambda bias, a: bias.swapaxes(-1, -2)),
    "position bias of another head": returned("ops:relative_bias", lambda bias, a: reversed_along(bias, 2)),
    "position bias of the next sample": given(
        "ops:relative_bias", table=lambda a: a.table if a.table.ndim == 2 else reversed_along(a.table, 0)
    ),
    "mask dropped": returned("ops:shift_mask", lambda mask, a: mask * 0),
    "mask the other way round": returned("ops:shift_mask", lambda mask, a: -100 - mask),
    "mask of a tenth": returned("ops:shift_mask", lambda mask, a: mask / 10),
    "mask of another shift": given("ops:shift_mask", shift=lambda a: a.window - a.shift),
    "mask of the next window": returned("ops:shift_mask", lambda mask, a: reversed_along(mask, 0)),
    "shift the other way": given("ops:roll", shift=lambda a: -a.shift),
    "not shifted back": edited(WINDOWS, ("ops.roll(y, self.shift) if self.shift else y", "y")),
    "not shifted, only masked": given("ops:roll", shift=lambda a: 0),
    "shift of rows alone": each(
        torch=edited("ops:roll", ("(shift, shift), (1, 2)", "(shift,), (1,)")),
        mindspore=edited("ops:roll", ("at = -shift % x.shape[2]", "at = 0")),
    ),
    "windows column by column": edited("ops:to_windows", ("x.swapaxes(2, 3)", "x.swapaxes(2, 3).swapaxes(1, 2)")),
    "pixels column by column": edited("ops:to_windows", ("x.swapaxes(2, 3)", "x.swapaxes(2, 3).swapaxes(3, 4)")),
    "stripes for windows": edited("ops:to_windows", ("x.swapaxes(2, 3)", "x")),
    "softmax over the queries": _softmax_over(-2),
    "softmax over the heads": _softmax_over(2),
    "softmax dropped": replaced("ops:softmax", same),
    "weights of eleven bits": returned("ops:softmax", lambda weights, a: eleven_bits(weights)),
    "proj forgotten": but(WINDOWS, proj=lambda a: same),
    "sum over the pixels": returned("ops:global_mean", lambda mean, a: mean * a.x.shape[2] * a.x.shape[3]),
    "mean over rows alone": returned("ops:global_mean", lambda mean, a: mean * 0 + a.x[:, :, :1, :1]),
    "mean over the batch": returned("ops:global_mean", lambda mean, a: mean * 0 + mean.mean(0)),
    "channel attention without ReLU": within(CHANNELS, replaced("framework:relu", same)),
    "channel attention without sigmoid": within(CHANNELS, replaced("framework:sigmoid", same)),
    "channel attention of hard sigmoid": within(
        CHANNELS, replaced("framework:sigmoid", lambda x: (x / 6 + 0.5).clip(0, 1))
    ),
    "channel attention with a residual": returned(CHANNELS, lambda y, a: a.x + y),
    "simplified attention added": edited(SIMPLE, ("return x * ", "return x + ")),
}


ATTENTION = {"norm": NORM_FAULTS, "attention": ATTENTION_FAULTS}
