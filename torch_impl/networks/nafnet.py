"""NAFNet (Chen et al., ECCV 2022), the network of the paper's Table 2b."""

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, LayerNorm2d, call, conv2d, norm, parameter, value_at
from torch_impl.layers.maps import at_scale, pooled
from torch_impl.networks.network import Network
from tunable.specs.formulations import Formulation
from tunable.specs.networks import NAFNetSpec


class NAFBlock(Composite):
    """A block without activations: gated convolutions with channel attention, then a gated pair of 1x1 convolutions.

    beta and gamma scale the two residuals per channel, from zero.
    """

    def __init__(self, channels: int, *, num_objectives: int, formulation: Formulation, tunable_norms: bool) -> None:
        super().__init__(num_objectives)
        options = {"num_objectives": num_objectives, "formulation": formulation}
        norms = {**options, "num_objectives": num_objectives if tunable_norms else 0}
        self.norm1 = norm(LayerNorm2d, channels, eps=1e-6, **norms)
        self.conv1 = conv2d(channels, 2 * channels, 1, **options)
        self.conv2 = conv2d(2 * channels, 2 * channels, 3, groups=2 * channels, **options)
        self.sca = conv2d(channels, channels, 1, **options)
        self.conv3 = conv2d(channels, channels, 1, **options)
        self.norm2 = norm(LayerNorm2d, channels, eps=1e-6, **norms)
        self.conv4 = conv2d(channels, 2 * channels, 1, **options)
        self.conv5 = conv2d(channels, channels, 1, **options)
        self.beta = parameter((channels, 1, 1), **options)
        self.gamma = parameter((channels, 1, 1), **options)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the part's output, of the shape of x (N, C, H, W); omega, also a map of it, is None when plain."""
        y = call(self.conv2, call(self.conv1, self.norm1(x, omega), omega), omega)
        y = ops.gate(y)
        y = y * call(self.sca, ops.global_mean(y), pooled(omega))
        y = call(self.conv3, y, omega)
        x = x + y * value_at(self.beta, omega)
        y = ops.gate(call(self.conv4, self.norm2(x, omega), omega))
        y = call(self.conv5, y, omega)
        return x + y * value_at(self.gamma, omega)

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of beta and gamma when plain; see ParameterSpec."""
        return {"beta": ("zero", 0), "gamma": ("zero", 0)}


class NAFNet(Network, spec=NAFNetSpec):
    """NAFNet (Chen et al., ECCV 2022), the network of the paper's Table 2b.

    A U-Net of NAFBlocks, whose output is added to its input. Pictures may have any size: inside they are extended by
    zeros to a multiple of 2 to the number of stages.
    """

    def build(self, spec: NAFNetSpec) -> None:
        """Make the layers that the specification asks for; NAFNetSpec says what each field means."""
        options = {"num_objectives": self.num_objectives, "formulation": spec.formulation}
        parts = {**options, "tunable_norms": spec.tunable_norms}
        width = spec.width
        self.multiple = 2 ** len(spec.encoder)
        self.intro = conv2d(3, width, 3, **options)
        self.ending = conv2d(width, 3, 3, **options)
        encoders, downs, ups, decoders = [], [], [], []
        for blocks in spec.encoder:
            encoders.append(nn.ModuleList([NAFBlock(width, **parts) for _ in range(blocks)]))
            downs.append(conv2d(width, 2 * width, 2, stride=2, padding=0, **options))
            width *= 2
        self.middle_blks = nn.ModuleList([NAFBlock(width, **parts) for _ in range(spec.middle)])
        for blocks in spec.decoder:
            ups.append(conv2d(width, 2 * width, 1, bias=False, **options))
            width //= 2
            decoders.append(nn.ModuleList([NAFBlock(width, **parts) for _ in range(blocks)]))
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        self.downs = nn.ModuleList(downs)
        self.ups = nn.ModuleList(ups)
        self.stages = [["intro"]]
        self.stages += [[f"encoders.{stage}", f"downs.{stage}"] for stage in range(len(spec.encoder))]
        self.stages += [["middle_blks"]]
        self.stages += [[f"ups.{stage}", f"decoders.{stage}"] for stage in range(len(spec.decoder))]
        self.stages += [["ending"]]

    def begin(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the padded input twice: one is added at the end."""
        padded = ops.pad_to_multiple(x, self.multiple, "zeros")
        return padded, padded

    def stage(
        self, place: int, features: tuple[torch.Tensor, ...], omega: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the padded input, what is still to be added, the largest first, and the features."""
        kept, y, depth = features[:-1], features[-1], len(self.encoders)
        if place == 0:
            return (*kept, call(self.intro, y, self._at(omega, 0)))
        if place <= depth:
            y = self._through(self.encoders[place - 1], y, self._at(omega, place - 1))
            return (*kept, y, call(self.downs[place - 1], y, self._at(omega, place)))
        if place == depth + 1:
            return (*kept, self._through(self.middle_blks, y, self._at(omega, depth)))
        if place <= 2 * depth + 1:
            index, halvings = place - depth - 2, 2 * depth + 1 - place
            y = ops.pixel_shuffle(call(self.ups[index], y, self._at(omega, halvings + 1)), 2) + kept[-1]
            return (*kept[:-1], self._through(self.decoders[index], y, self._at(omega, halvings)))
        return (*kept, call(self.ending, y, self._at(omega, 0)))

    def end(self, x: torch.Tensor, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the shape of x (N, 3, H, W)."""
        padded, y = features
        return (y + padded)[:, :, : x.shape[2], : x.shape[3]]

    def _at(self, omega: torch.Tensor | None, halvings: int) -> torch.Tensor | None:
        """omega, of a map the one for layers whose pixels are those of the picture halved so often."""
        return at_scale(omega, 2**halvings, self.multiple)

    def _through(self, blocks: nn.Module, y: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
        for block in blocks.children():
            y = block(y, omega)
        return y
