"""The style transfer network of the paper's Fig. 7 (section 4.2)."""

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, InstanceNorm2d, call, conv2d, norm
from torch_impl.layers.maps import at_scale
from torch_impl.networks.network import Network
from tunable.specs.formulations import Formulation
from tunable.specs.networks import IMAGENET_MEAN, IMAGENET_STD, StyleUNetSpec


class ConvBlock(Composite):
    """relu(norm(conv(x))); with `enlarge`, x is first enlarged by two, each pixel repeated."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        num_objectives: int,
        formulation: Formulation,
        tunable_norms: bool,
        padding_mode: str,
        stride: int = 1,
        enlarge: bool = False,
    ) -> None:
        super().__init__(num_objectives)
        self.enlarge = enlarge
        self.conv = conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding_mode=padding_mode,
            num_objectives=num_objectives,
            formulation=formulation,
        )
        norms = num_objectives if tunable_norms else 0
        self.norm = norm(InstanceNorm2d, out_channels, num_objectives=norms, formulation=formulation)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return (N, out, h, w) for x (N, in, H, W); a stride of 2 halves h and w, and `enlarge` doubles them."""
        if self.enlarge:
            x = ops.nearest(x, 2)
        return torch.relu(self.norm(call(self.conv, x, omega), omega))


class StyleBlock(Composite):
    """A residual block with instance norms, relu(x + norm2(conv2(relu(norm1(conv1(x))))))."""

    def __init__(
        self,
        channels: int,
        *,
        num_objectives: int,
        formulation: Formulation,
        tunable_norms: bool,
        padding_mode: str,
    ) -> None:
        super().__init__(num_objectives)
        options = {"num_objectives": num_objectives, "formulation": formulation}
        norms = {**options, "num_objectives": num_objectives if tunable_norms else 0}
        self.conv1 = conv2d(channels, channels, 3, padding_mode=padding_mode, **options)
        self.norm1 = norm(InstanceNorm2d, channels, **norms)
        self.conv2 = conv2d(channels, channels, 3, padding_mode=padding_mode, **options)
        self.norm2 = norm(InstanceNorm2d, channels, **norms)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the part's output, of the shape of x (N, C, H, W).

        omega is (p,), (N, p) or a map (N, p, H, W); None when plain.
        """
        y = torch.relu(self.norm1(call(self.conv1, x, omega), omega))
        return torch.relu(x + self.norm2(call(self.conv2, y, omega), omega))


class StyleUNet(Network, spec=StyleUNetSpec):
    """The style transfer network of the paper's Fig. 7 (section 4.2).

    Strided convolutions down, residual blocks, nearest-neighbour enlargement up, no skips. Pictures may have any size:
    inside they are reflected to a multiple of 2 to the number of scales.
    """

    def build(self, spec: StyleUNetSpec) -> None:
        """Make the layers that the specification asks for; StyleUNetSpec says what each field means."""
        options = {"num_objectives": self.num_objectives, "formulation": spec.formulation}
        options["padding_mode"] = spec.padding
        parts = {**options, "tunable_norms": spec.tunable_norms}
        self.multiple = 2**spec.scales
        self.normalise = spec.normalise
        self.global_residual = spec.global_residual
        channels = spec.channels
        down, middle, up = spec.blocks
        self.conv_in = ConvBlock(3, channels, spec.outer, **parts)
        layers = []
        for _ in range(spec.scales):
            layers.append(ConvBlock(channels, 2 * channels, stride=2, **parts))
            channels *= 2
            layers += [ConvBlock(channels, channels, **parts) for _ in range(down - 1)]
        layers += [StyleBlock(channels, **parts) for _ in range(middle)]
        for _ in range(spec.scales):
            layers.append(ConvBlock(channels, channels // 2, enlarge=True, **parts))
            channels //= 2
            layers += [ConvBlock(channels, channels, **parts) for _ in range(up - 1)]
        self.encoder_decoder = nn.ModuleList(layers)
        self.conv_out = conv2d(channels, 3, spec.outer, **options)
        self.halvings = [0, *(s + 1 for s in range(spec.scales) for _ in range(down)), *[spec.scales] * middle]
        self.halvings += [*(s for s in reversed(range(spec.scales)) for _ in range(up)), 0]
        self.stages = [["conv_in"], *([f"encoder_decoder.{place}"] for place in range(len(layers))), ["conv_out"]]

    def begin(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the padded input, normalised where the network does so."""
        y = ops.pad_to_multiple(x, self.multiple, "reflect")
        if self.normalise:
            y = ops.scale_colours(ops.shift_colours(y, IMAGENET_MEAN, -1), IMAGENET_STD, -1)
        return (y,)

    def stage(
        self, place: int, features: tuple[torch.Tensor, ...], omega: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the features."""
        omega = at_scale(omega, 2 ** self.halvings[place], self.multiple)
        if place == 0:
            return (self.conv_in(features[0], omega),)
        if place <= len(self.encoder_decoder):
            return (self.encoder_decoder[place - 1](features[0], omega),)
        return (call(self.conv_out, features[0], omega),)

    def end(self, x: torch.Tensor, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the shape of x (N, 3, H, W)."""
        y = features[0]
        if self.normalise:
            y = ops.scale_colours(y, IMAGENET_STD, 1)
        if self.global_residual:
            return x + y[:, :, : x.shape[2], : x.shape[3]]
        if self.normalise:
            y = ops.shift_colours(y, IMAGENET_MEAN, 1)
        return y[:, :, : x.shape[2], : x.shape[3]]
