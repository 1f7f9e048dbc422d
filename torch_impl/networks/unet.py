"""A U-Net without norms and attention, small enough to restore photographs on a CPU."""

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, call, conv2d
from torch_impl.layers.maps import at_scale
from torch_impl.networks.network import Network
from tunable.specs.formulations import Formulation
from tunable.specs.networks import UNetSpec


class DoubleConv(Composite):
    """Two convolutions, relu(conv2(relu(conv1(x)))), both 3x3; the first changes the number of channels."""

    def __init__(self, in_channels: int, out_channels: int, *, num_objectives: int, formulation: Formulation) -> None:
        super().__init__(num_objectives)
        self.conv1 = conv2d(in_channels, out_channels, 3, num_objectives=num_objectives, formulation=formulation)
        self.conv2 = conv2d(out_channels, out_channels, 3, num_objectives=num_objectives, formulation=formulation)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return (N, out, H, W) for x (N, in, H, W); omega is (p,), (N, p) or (N, p, H, W), None when plain."""
        y = torch.relu(call(self.conv1, x, omega))
        return torch.relu(call(self.conv2, y, omega))


class UNet(Network, spec=UNetSpec):
    """A U-Net without norms and attention, small enough to restore photographs on a CPU.

    Every scale has two 3x3 convolutions on the way down, whose output is concatenated on the way up to what comes from
    below, and two more there. The input is added to the output of the last convolution. Pictures may have any size:
    inside they are padded by replication to a multiple of 2^depth. With the defaults and num_objectives 0 it has
    1,898,243 parameters.
    """

    def build(self, spec: UNetSpec) -> None:
        """Make the layers that the specification asks for; UNetSpec says what each field means."""
        options = {"num_objectives": self.num_objectives, "formulation": spec.formulation}
        self.multiple = spec.padding_multiple
        widths = [spec.width * 2**scale for scale in range(spec.depth)]
        encoders, downs, ups, decoders = [], [], [], []
        for before, channels in zip([3, *widths], widths, strict=False):
            encoders.append(DoubleConv(before, channels, **options))
            downs.append(conv2d(channels, channels, 2, stride=2, padding=0, **options))
        for channels in reversed(widths):
            ups.append(conv2d(2 * channels, channels, 1, **options))
            decoders.append(DoubleConv(2 * channels, channels, **options))
        self.encoders = nn.ModuleList(encoders)
        self.downs = nn.ModuleList(downs)
        self.middle = DoubleConv(widths[-1], 2 * widths[-1], **options)
        self.ups = nn.ModuleList(ups)
        self.decoders = nn.ModuleList(decoders)
        self.tail = conv2d(spec.width, 3, 3, **options)
        self.stages = [[f"encoders.{scale}", f"downs.{scale}"] for scale in range(spec.depth)]
        self.stages += [["middle"]]
        self.stages += [[f"ups.{scale}", f"decoders.{scale}"] for scale in range(spec.depth)]
        self.stages += [["tail"]]

    def begin(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the padded input twice: one is added at the end."""
        padded = ops.pad_to_multiple(x, self.multiple, "replicate")
        return padded, padded

    def stage(
        self, place: int, features: tuple[torch.Tensor, ...], omega: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the padded input, what is still to be concatenated, the largest first, and the features."""
        kept, y, depth = features[:-1], features[-1], len(self.encoders)
        if place < depth:
            y = self.encoders[place](y, self._at(omega, place))
            return (*kept, y, call(self.downs[place], y, self._at(omega, place + 1)))
        if place == depth:
            return (*kept, self.middle(y, self._at(omega, depth)))
        if place <= 2 * depth:
            index, halvings = place - depth - 1, 2 * depth - place
            y = call(self.ups[index], y, self._at(omega, halvings + 1))
            y = ops.nearest(y, 2)  # as the 1x1 after it, for a quarter of the work
            return (*kept[:-1], self.decoders[index](torch.cat([kept[-1], y], 1), self._at(omega, halvings)))
        return (*kept, call(self.tail, y, self._at(omega, 0)))

    def end(self, x: torch.Tensor, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the shape of x (N, 3, H, W)."""
        padded, y = features
        return (padded + y)[:, :, : x.shape[2], : x.shape[3]]

    def _at(self, omega: torch.Tensor | None, halvings: int) -> torch.Tensor | None:
        """omega, of a map the one for layers whose pixels are those of the picture halved so often."""
        return at_scale(omega, 2**halvings, self.multiple)
