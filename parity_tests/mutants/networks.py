"""Mutants of networks, folding and what carries weights: kind -> name -> fault."""

import numpy as np

from parity_tests.mutants.tensors import eleven_bits, leaky, of_next_sample, ones, relu, reversed_along
from parity_tests.mutants.ways import but, each, edited, given, replaced, returned, within
from tunable.specs.formulations import Formulation

BLOCK, RESNET = "networks.resnet:ResidualBlock.forward", "networks.resnet:ResNet.stage"
OF_BODY = "networks.resnet:ResNet.block"
REFUSED = ("(omega is not None) != bool(self.num_objectives)", "False")
PART = "layers:conv2d"  # as networks import it
CONV_FOLD, KERNEL = "layers.conv:TunableConv.fold", "layers.kernel:TunableKernel._make"
NORM_ROLES = "layers.norm:TunableNorm.roles"


def same(x, omega=None):
    return x


def _unmixed(place, name):
    """Folded with the first kernel or bias instead of the mixed one."""

    def unmixed(folded, a):
        kernels = getattr(a.self, name)
        return folded if kernels is None else _with(folded, name, a.twin.array(kernels)[0], a.twin)

    return returned(place, unmixed)


def _folded_with(option, value):
    """A convolution folded with an option at value(layer), where it has that option."""

    def options(a):
        given = a.self.options()
        return lambda: given | ({option: value(a.self)} if option in given else {})

    return but(CONV_FOLD, options=options)


def _first_alone(a):
    """New values of the first parameter, those that are there of the others."""
    name = next(iter(a.tensors))
    return {**a.self.parameters(a.network), name: a.tensors[name]}


def _fan_in_of_rows(specs, a):
    return [s._replace(fan_in=s.shape[0]) if s.role == "phi" and len(s.shape) == 2 else s for s in specs]


def _remembered(a):
    """The first omega of its shape that ever came."""
    memory = a.self.__dict__.setdefault("memory", {})
    return None if a.omega is None else memory.setdefault(a.omega.shape, a.omega)


def _rounded(folded, twin):
    """The folded layer with its kernel to eleven bits."""
    return _with(folded, "weight", eleven_bits(twin.array(folded.weight)), twin)


def _with(folded, name, value, twin):
    """The folded layer with another kernel or bias."""
    if twin.name == "torch":
        getattr(folded, name).data.copy_(twin.tensors([value])[0])
    else:
        twin.module("ops").assign(getattr(folded, name), value)
    return folded


NETWORK_FAULTS = {
    "long skip dropped": edited(RESNET, ("y + features[1]", "y")),
    "long skip of the picture behind it": edited(
        RESNET,
        ("y + features[1]", "y"),
        ("call(self.tail, y, enlarged(omega, self.upscale))", "call(self.tail, y, enlarged(omega, self.upscale)) + x"),
    ),
    "blocks skipped": returned(RESNET, lambda y, a: a.features if 0 < a.place < len(a.self.body) else y),
    "blocks in reverse order": but(OF_BODY, body=lambda a: list(a.self.body)[::-1]),
    "one block for all": but(OF_BODY, body=lambda a: [a.self.body[0]] * len(a.self.body)),
    "short skip dropped": returned(BLOCK, lambda y, a: y - a.x),
    "ReLU dropped": within(BLOCK, replaced("framework:relu", same)),
    "a leak of a hundredth": within(BLOCK, replaced("framework:relu", leaky)),
    "ReLU after the block": returned(BLOCK, lambda y, a: y - a.x + relu(a.x)),
    "one convolution for both": but(BLOCK, conv2=lambda a: a.self.conv1),
    "omega of the next sample behind the head": edited(
        RESNET,
        (
            "len(self.body)\n",
            "len(self.body)\n    omega = omega[[*range(1, len(omega)), 0]] if place and omega.ndim == 2 else omega\n",
        ),
    ),
    "omega of the next sample's omega": given(
        "networks:Network.forward", omega=lambda a: None if a.omega is None else of_next_sample(a.omega)
    ),
    "bias of parts forgotten": given("networks.resnet:conv2d", bias=lambda a: False),
    "phi of parts forgotten": given("networks.resnet:conv2d", formulation=lambda a: Formulation()),
    "tunable parts: stride forgotten": within(PART, given("layers.conv:TunableConv.__init__", stride=lambda a: 1)),
    "tunable parts: groups forgotten": within(PART, given("layers.conv:TunableConv.__init__", groups=lambda a: 1)),
    "ordinary parts: stride forgotten": within(PART, given("ops:ordinary_conv", stride=lambda a: ones(a.stride))),
    "ordinary parts: padding always half": within(
        PART, given("ops:ordinary_conv", padding=lambda a: tuple(k // 2 for k in a.kernel_size))
    ),
    "tunable linear parts: bias always": within(
        "layers:linear", given("layers.linear:TunableLinear.__init__", bias=lambda a: True)
    ),
    "free parts: value forgotten": within(
        "layers:parameter", given("layers.parameter:TunableParameter.__init__", value=lambda a: 0)
    ),
    "call without omega not refused": each(
        torch=edited("networks.network:Network.forward", REFUSED),
        mindspore=edited("networks.network:Network.__call__", REFUSED),
    ),
}

FOLDING_FAULTS = {
    "at another omega": given("folding:fold", omega=lambda a: a.omega * 0.99),
    "omega in reverse order": given("folding:fold", omega=lambda a: reversed_along(a.omega, 0)),
    "phi forgotten": within(CONV_FOLD, but("layers.tunable:Tunable.mixed_into", alpha=lambda a: same)),
    "bias not mixed": _unmixed(CONV_FOLD, "bias"),
    "kernel not mixed": _unmixed(CONV_FOLD, "weight"),
    "stride forgotten": _folded_with("stride", lambda layer: (1,) * layer.dims),
    "padding forgotten": _folded_with("padding", lambda layer: (0,) * layer.dims),
    "dilation forgotten": _folded_with("dilation", lambda layer: (1,) * layer.dims),
    "output padding forgotten": _folded_with("output_padding", lambda layer: (0,) * layer.dims),
    "border mode forgotten": _folded_with("padding_mode", lambda layer: "zeros"),
    "linear bias not mixed": _unmixed("layers.linear:TunableLinear.fold", "bias"),
    "linear kernel not mixed": _unmixed("layers.linear:TunableLinear.fold", "weight"),
    "norm's shift not mixed": _unmixed("layers.norm:TunableNorm.fold", "bias"),
    "parameter at another omega": given("layers.parameter:TunableParameter.fold", omega=lambda a: a.omega * 0.99),
    "kernels of eleven bits": returned("layers.conv:TunableConv.fold", lambda folded, a: _rounded(folded, a.twin)),
    "the tunable network itself": returned("folding:fold", lambda plain, a: a.network),
}


def in_half_precision(a):
    return {name: value.astype(np.float16).astype(np.float32) for name, value in a.tensors.items()}


WEIGHTS_FAULTS = {
    "half precision": given("twin.backend:assign", tensors=in_half_precision),
    "parameters are views": each(
        torch=edited("backend:Backend.parameters", (".copy()", "")),
        mindspore=edited("backend:Backend.parameters", (".copy()", "")),
    ),
    "assigned to the first parameter alone": given("backend:Backend.assign", tensors=_first_alone),
    "fan-in without the kernel's size": edited(KERNEL, ("math.prod(kernel[1:])", "kernel[1]")),
    "fan-in of all channels": edited(KERNEL, ("math.prod(kernel[1:])", "math.prod(kernel[1:]) * self.groups")),
    "fan-in of a linear layer's outputs": returned(
        "layers.linear:TunableLinear.roles", lambda roles, a: roles | {"weight": ("kernel", a.self.out_features)}
    ),
    "scale of a norm starts at zero": returned(NORM_ROLES, lambda roles, a: roles | {"weight": ("zero", 0)}),
    "shift of a norm starts at one": returned(NORM_ROLES, lambda roles, a: roles | {"bias": ("one", 0)}),
    "fan-in of phi": returned("layers.tunable:Tunable.specs", _fan_in_of_rows),
    "start without its seed": given(
        "layers.tunable:Tunable.start", seed=lambda a: None if a.seed is None else a.seed + 1
    ),
    "omega remembered from the first call": given("backend:Backend._omega", omega=_remembered),
    "omega kept in [0, 1]": given(
        "backend:Backend.run", omega=lambda a: None if a.omega is None else a.omega.clip(0, 1)
    ),
    "omega in reverse order": given(
        "backend:Backend.run", omega=lambda a: None if a.omega is None else a.omega[..., ::-1].copy()
    ),
    "pictures in reverse order": given("backend:Backend.run", degraded=lambda a: a.degraded[::-1].copy()),
    "trace without the input of the call": edited("backend:Backend._recorder", ("inputs[0]", "output")),
}

SWIN, NAF, SWIN_BLOCK = (
    "networks.swinir:SwinIR",
    "networks.nafnet:NAFBlock.forward",
    "networks.swinir:SwinBlock.forward",
)
STYLE_BLOCK = "networks.style_unet:StyleBlock.forward"
COMPACT = "networks.compact:Compact"
UNET, DOUBLE = "networks.unet:UNet.stage", "networks.unet:DoubleConv.forward"
SHUFFLE = "functional.pixel_shuffle(x, factor)"
GELU = "0.5 * x * (1 + _erf(x * math.sqrt(0.5)))"

OTHER_NETWORK_FAULTS = {
    "GELU by tanh": each(
        torch=edited("ops:gelu", ('"none"', '"tanh"')),
        mindspore=edited("ops:gelu", (GELU, "0.5 * x * (1 + _ops.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))")),
    ),
    "pixel shuffle: colour the fastest digit": each(
        torch=edited(
            "ops:pixel_shuffle",
            (SHUFFLE, SHUFFLE.replace("x,", "x.unflatten(1, (factor**2, -1)).transpose(1, 2).flatten(1, 2),")),
        ),
        mindspore=edited(
            "ops:pixel_shuffle",
            (
                "pixel_shuffle(x, factor)",
                "pixel_shuffle(x.reshape(len(x), factor**2, -1, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape), factor)",
            ),
        ),
    ),
    "pixel shuffle: rows and columns exchanged": returned("ops:pixel_shuffle", lambda y, a: _exchanged(y, a.factor)),
    "colours shifted the other way": given("ops:shift_colours", sign=lambda a: -a.sign),
    "colours scaled the other way": given("ops:scale_colours", sign=lambda a: -a.sign),
    "every leak a hundredth": given("ops:leaky_relu", slope=lambda a: 0.01),
    "every leak a fifth": given("ops:leaky_relu", slope=lambda a: 0.2),
    "padded by zeros": given("ops:pad_to_multiple", mode=lambda a: "zeros"),
    "padded by reflection": given("ops:pad_to_multiple", mode=lambda a: "reflect"),
    "padded by replication": given("ops:pad_to_multiple", mode=lambda a: "replicate"),
    "gate: the first half alone": returned("ops:gate", lambda y, a: a.x[:, : y.shape[1]]),
    "global mean of the last column": returned("ops:global_mean", lambda y, a: a.x[:, :, -1:, -1:]),
    "mean of the colours forgotten behind the body": edited(f"{SWIN}.end", ("DIV2K_MEAN, 1)", "DIV2K_MEAN, 0)")),
    "Swin: long skip dropped": edited(f"{SWIN}.stage", (" + first", "")),
    "Swin: shift mask dropped": edited(f"{SWIN}.features_of", ("layer(y, omega, mask)", "layer(y, omega, mask * 0)")),
    "Swin: last norm dropped": but(f"{SWIN}.features_of", norm=lambda a: same),
    "Swin: picture not added": edited(f"{SWIN}.enlarged", ("return x + ", "return ")),
    "Swin: attention behind its own norm's input": but(SWIN_BLOCK, norm1=lambda a: same),
    "NAF: scales of the residuals exchanged": but(NAF, beta=lambda a: a.self.gamma),
    "NAF: channel attention not multiplied": edited(NAF, ("y = y * call(self.sca", "y = y + call(self.sca")),
    "NAF: one norm for both": but(NAF, norm2=lambda a: a.self.norm1),
    "style: short skip dropped": edited(STYLE_BLOCK, ("x + self.norm2", "self.norm2")),
    "style: norm dropped": but(STYLE_BLOCK, norm1=lambda a: same),
    "style: a block that does not reflect": given(
        "networks.style_unet:StyleBlock.__init__", padding_mode=lambda a: "zeros"
    ),
    "ordinary convolution that does not reflect": given("ops:ordinary_conv", padding_mode=lambda a: "zeros"),
    "U-Net: picture not added": edited("networks.unet:UNet.end", ("padded + y", "y")),
    "U-Net: skip dropped": edited(UNET, ("[kept[-1], y]", "[kept[-1] * 0, y]")),
    "U-Net: skip behind what comes from below": edited(UNET, ("[kept[-1], y]", "[y, kept[-1]]")),
    "Compact: picture not added": edited(f"{COMPACT}.end", ("return x + features[1]", "return features[1]")),
    "Compact: enlarged picture not added": returned("ops:nearest", lambda y, a: y * (a.factor != 3)),
    "Compact: every slope a quarter": given("ops:prelu", slope=lambda a: a.slope * 0 + 0.25),
    "Compact: slopes of the next channel": given("ops:prelu", slope=lambda a: reversed_along(a.slope, -1)),
    "Compact: slopes of the first omega": edited(
        "networks.compact:PReLU.forward", ("omega if self", "omega * 0 if self")
    ),
    "U-Net: ReLU of the second convolution dropped": each(
        torch=edited(DOUBLE, ("return torch.relu(", "return (")),
        mindspore=edited(DOUBLE, ("return _ops.relu(", "return (")),
    ),
}


def _exchanged(y, factor):
    """Inside every square of factor x factor pixels rows become columns."""
    n, c, height, width = y.shape
    y = y.reshape(n, c, height // factor, factor, width // factor, factor)
    return y.swapaxes(3, 5).reshape(n, c, height, width)


NETWORKS = {
    "network": NETWORK_FAULTS,
    "other network": OTHER_NETWORK_FAULTS,
    "folding": FOLDING_FAULTS,
    "weights": WEIGHTS_FAULTS,
}
