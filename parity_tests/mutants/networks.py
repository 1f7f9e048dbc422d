"""Mutants of networks, folding and what carries weights: kind -> name -> fault."""

import numpy as np

from parity_tests.mutants.tensors import eleven_bits, of_next_sample, reversed_along
from parity_tests.mutants.ways import each, edited, given, returned

BLOCK, RESNET = "networks.resnet:ResidualBlock.forward", "networks.resnet:ResNet.compute"
REFUSED = ("(omega is not None) != bool(self.num_objectives)", "False")
PART = "layers:conv2d"  # as networks import it
CONV_FOLD = "layers.conv:TunableConv.fold"


def _unmixed(place, name):
    """Folded with the first kernel or bias instead of the mixed one."""

    def unmixed(folded, a):
        kernels = getattr(a.self, name)
        return folded if kernels is None else _with(folded, name, a.twin.array(kernels)[0], a.twin)

    return returned(place, unmixed)


def _folded_with(option, value):
    """A convolution folded with an option at a fixed value, where it has that option."""
    told = f"**{{k: {value} if k == '{option}' else v for k, v in self.options().items()}}"
    return edited(CONV_FOLD, ("**self.options()", told))


def _remembered(a):
    """The first omega of its shape that ever came."""
    held = a.self.__dict__.setdefault("held", {})
    return None if a.omega is None else held.setdefault(a.omega.shape, a.omega)


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
    "long skip dropped": edited(RESNET, ("y + first", "y")),
    "long skip of the picture behind it": edited(
        RESNET, ("y = call(self.tail, y, omega)", "y = call(self.tail, y - first, omega) + x")
    ),
    "blocks skipped": edited(RESNET, ("y = block(y, omega)", "y = block(first, omega)")),
    "blocks in reverse order": edited(RESNET, ("in self.body", "in list(self.body)[::-1]")),
    "one block for all": edited(RESNET, ("y = block(y, omega)", "y = self.body[0](y, omega)")),
    "short skip dropped": edited(BLOCK, ("return x + ", "return ")),
    "ReLU dropped": each(torch=edited(BLOCK, ("torch.relu(", "(")), mindspore=edited(BLOCK, ("_ops.relu(", "("))),
    "a leak of a hundredth": each(
        torch=edited(BLOCK, ("torch.relu(", "torch.nn.functional.leaky_relu(")),
        mindspore=edited(BLOCK, ("_ops.relu(", "(lambda v: _ops.leaky_relu(v, 0.01))(")),
    ),
    "ReLU after the block": each(
        torch=edited(BLOCK, ("return x + ", "return torch.relu(x) + ")),
        mindspore=edited(BLOCK, ("return x + ", "return _ops.relu(x) + ")),
    ),
    "one convolution for both": edited(BLOCK, ("self.conv2", "self.conv1")),
    "omega of the next sample behind the head": edited(
        RESNET, ("y = first", "y = first\n    omega = omega[[*range(1, len(omega)), 0]] if omega.ndim == 2 else omega")
    ),
    "omega of the next sample's omega": given(
        "networks:Network.forward", omega=lambda a: None if a.omega is None else of_next_sample(a.omega)
    ),
    "bias of parts forgotten": given("networks.resnet:conv2d", bias=lambda a: False),
    "phi of parts forgotten": given("networks.resnet:conv2d", phi=lambda a: "base"),
    "tunable parts: stride forgotten": edited(PART, ('"stride": stride, "padding"', '"stride": 1, "padding"')),
    "tunable parts: groups forgotten": edited(
        PART, ('"padding": padding, "groups": groups', '"padding": padding, "groups": 1')
    ),
    "ordinary parts: stride forgotten": edited(PART, ("(stride,) * 2", "(1,) * 2")),
    "ordinary parts: padding always half": edited(PART, ("(padding,) * 2", "(kernel_size // 2,) * 2")),
    "tunable linear parts: bias always": edited("layers:linear", ("bias=bias, phi", "phi")),
    "free parts: value forgotten": edited("layers:parameter", ("value=value", "value=0")),
    "call without omega not refused": each(
        torch=edited("networks.network:Network.forward", REFUSED),
        mindspore=edited("networks.network:Network.__call__", REFUSED),
    ),
}

FOLDING_FAULTS = {
    "at another omega": given("folding:fold", omega=lambda a: a.omega * 0.99),
    "omega in reverse order": given("folding:fold", omega=lambda a: reversed_along(a.omega, 0)),
    "phi forgotten": edited("layers.tunable:Tunable.mixed_into", ("alpha = ", "alpha = omega; ")),
    "bias not mixed": _unmixed(CONV_FOLD, "bias"),
    "kernel not mixed": _unmixed(CONV_FOLD, "weight"),
    "stride forgotten": _folded_with("stride", "(1,) * self.dims"),
    "padding forgotten": _folded_with("padding", "(0,) * self.dims"),
    "dilation forgotten": _folded_with("dilation", "(1,) * self.dims"),
    "output padding forgotten": _folded_with("output_padding", "(0,) * self.dims"),
    "border mode forgotten": _folded_with("padding_mode", "'zeros'"),
    "linear bias not mixed": _unmixed("layers.linear:TunableLinear.fold", "bias"),
    "linear kernel not mixed": _unmixed("layers.linear:TunableLinear.fold", "weight"),
    "norm's shift not mixed": _unmixed("layers.norm:TunableNorm.fold", "bias"),
    "parameter at another omega": edited(
        "layers.parameter:TunableParameter.fold", ("self(omega)", "self(omega * 0.99)")
    ),
    "kernels of eleven bits": returned("layers.conv:TunableConv.fold", lambda folded, a: _rounded(folded, a.twin)),
    "the tunable network itself": edited("folding:fold", ("return plain", "return network")),
}


def in_half_precision(a):
    return {name: value.astype(np.float16).astype(np.float32) for name, value in a.tensors.items()}


WEIGHTS_FAULTS = {
    "half precision": given("twin.backend:assign", tensors=in_half_precision),
    "parameters are views": each(
        torch=edited("backend:Backend.parameters", (".copy()", "")),
        mindspore=edited("backend:Backend.parameters", (".copy()", "")),
    ),
    "assigned to the first parameter alone": each(
        torch=edited(
            "backend:Backend.assign", ("(torch.from_numpy(tensors[name]))", "(torch.from_numpy(tensors[name])); break")
        ),
        mindspore=edited("backend:Backend.assign", ("tensors[name])", "tensors[name]); break")),
    ),
    "fan-in without the kernel's size": edited("layers.conv:TunableConv.roles", ("math.prod(self.kernel_size) * ", "")),
    "fan-in of all channels": edited("layers.conv:TunableConv.roles", ("self._channels()[1]", "self.in_channels")),
    "fan-in of a linear layer's outputs": edited(
        "layers.linear:TunableLinear.roles", ('("kernel", self.in_features)', '("kernel", self.out_features)')
    ),
    "scale of a norm starts at zero": edited("layers.norm:TunableNorm.roles", ('("one", 0)', '("zero", 0)')),
    "shift of a norm starts at one": edited("layers.norm:TunableNorm.roles", ('("zero", 0)', '("one", 0)')),
    "fan-in of phi": edited("layers.tunable:Tunable.specs", ("value.shape[-1]", "value.shape[0]")),
    "start without its seed": edited("layers.tunable:Tunable.start", ("seed)", "seed + 1)")),
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
UNET, DOUBLE = "networks.unet:UNet.compute", "networks.unet:DoubleConv.forward"
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
    "mean of the colours forgotten behind the body": edited(f"{SWIN}.compute", ("DIV2K_MEAN, 1)", "DIV2K_MEAN, 0)")),
    "Swin: long skip dropped": edited(f"{SWIN}.compute", (" + first", "")),
    "Swin: shift mask dropped": edited(f"{SWIN}.features_of", ("layer(y, omega, mask)", "layer(y, omega, mask * 0)")),
    "Swin: last norm dropped": edited(f"{SWIN}.features_of", ("self.norm(y, omega)", "y")),
    "Swin: picture not added": edited(f"{SWIN}.enlarged", ("return x + ", "return ")),
    "Swin: attention behind its own norm's input": edited(
        SWIN_BLOCK, ("self.attn(self.norm1(x, omega)", "self.attn(x")
    ),
    "NAF: scales of the residuals exchanged": edited(NAF, ("self.beta", "self.gamma")),
    "NAF: channel attention not multiplied": edited(NAF, ("y = y * call(self.sca", "y = y + call(self.sca")),
    "NAF: one norm for both": edited(NAF, ("self.norm2", "self.norm1")),
    "style: short skip dropped": edited(STYLE_BLOCK, ("x + self.norm2", "self.norm2")),
    "style: norm dropped": edited(
        STYLE_BLOCK, ("self.norm1(call(self.conv1, x, omega), omega)", "call(self.conv1, x, omega)")
    ),
    "U-Net: picture not added": edited(UNET, ("padded + call", "call")),
    "U-Net: skip dropped": edited(UNET, ("[skip, y]", "[skip * 0, y]")),
    "U-Net: skip behind what comes from below": edited(UNET, ("[skip, y]", "[y, skip]")),
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
