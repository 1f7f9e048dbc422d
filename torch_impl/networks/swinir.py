"""SwinIR (Liang et al., ICCVW 2021), the network of the paper's Tables 2a and 5."""

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, LayerNorm, WindowAttention, call, conv2d, linear, norm
from torch_impl.networks.network import Network
from tunable.specs.formulations import Formulation
from tunable.specs.networks import SwinIRSpec
from tunable.specs.residual import DIV2K_MEAN, shuffles


class MLP(Composite):
    """Two linear layers, fc2(gelu(fc1(x))), with GELU by the error function."""

    def __init__(self, channels: int, hidden: int, *, num_objectives: int, formulation: Formulation) -> None:
        super().__init__(num_objectives)
        self.fc1 = linear(channels, hidden, num_objectives=num_objectives, formulation=formulation)
        self.fc2 = linear(hidden, channels, num_objectives=num_objectives, formulation=formulation)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the shape of x (N, ..., C); omega is (p,) or (N, p), None when plain."""
        return call(self.fc2, ops.gelu(call(self.fc1, x, omega)), omega)


class SwinBlock(Composite):
    """A block of Swin: x + attention(norm(x)), then x + MLP(norm(x)), on maps (N, H, W, C)."""

    def __init__(
        self,
        channels: int,
        *,
        num_objectives: int,
        formulation: Formulation,
        tunable_norms: bool,
        heads: int,
        window: int,
        shift: int,
        hidden: int,
    ) -> None:
        super().__init__(num_objectives)
        options = {"num_objectives": num_objectives, "formulation": formulation}
        norms = {**options, "num_objectives": num_objectives if tunable_norms else 0}
        self.norm1 = norm(LayerNorm, channels, **norms)
        self.attn = WindowAttention(
            channels, heads=heads, window=window, shift=shift, num_objectives=num_objectives, **formulation.keywords()
        )
        self.norm2 = norm(LayerNorm, channels, **norms)
        self.mlp = MLP(channels, hidden, **options)

    def forward(
        self, x: torch.Tensor, omega: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the shape of x (N, H, W, C); `mask` is the mask of shifted windows, the same for all blocks."""
        x = x + self.attn(self.norm1(x, omega), omega, mask)
        return x + self.mlp(self.norm2(x, omega), omega)


class ResidualGroup(Composite):
    """Blocks in a row, every other one shifted by half a window where `shifted`.

    The keywords `block` are what SwinBlock takes besides.
    """

    def __init__(self, channels: int, *, num_objectives: int, depth: int, window: int, shifted: bool, **block) -> None:
        super().__init__(num_objectives)
        shifts = [window // 2 if shifted and i % 2 else 0 for i in range(depth)]
        block |= {"num_objectives": num_objectives, "window": window}
        self.blocks = nn.ModuleList([SwinBlock(channels, shift=shift, **block) for shift in shifts])

    def forward(
        self, x: torch.Tensor, omega: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the shape of x (N, H, W, C); `mask` is the mask of shifted windows, the same for all blocks."""
        for block in self.blocks:
            x = block(x, omega, mask)
        return x


class ResidualSwinLayer(Composite):
    """A residual layer, x + conv(group(x)), on maps (N, H, W, C); `group` is what ResidualGroup takes besides."""

    def __init__(self, channels: int, *, num_objectives: int, formulation: Formulation, **group) -> None:
        super().__init__(num_objectives)
        options = {"num_objectives": num_objectives, "formulation": formulation}
        self.residual_group = ResidualGroup(channels, **group, **options)
        self.conv = conv2d(channels, channels, 3, **options)

    def forward(
        self, x: torch.Tensor, omega: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the shape of x (N, H, W, C); `mask` is the mask of shifted windows, the same for all blocks."""
        y = ops.channels_first(self.residual_group(x, omega, mask))
        return x + ops.channels_last(call(self.conv, y, omega))


class SwinIR(Network, spec=SwinIRSpec):
    """SwinIR (Liang et al., ICCVW 2021), the network of the paper's Tables 2a and 5.

    Groups of window attention stand between convolutions. Pictures may have any size: inside they are reflected to a
    multiple of the window.
    """

    def build(self, spec: SwinIRSpec) -> None:
        """Make the layers that the specification asks for; SwinIRSpec says what each field means."""
        options = {"num_objectives": self.num_objectives, "formulation": spec.formulation}
        norms = {**options, "num_objectives": self.num_objectives if spec.tunable_norms else 0}
        channels, features = spec.channels, spec.features
        self.window = spec.window
        self.upscale = spec.upscale
        self.upsampler = spec.upsampler
        self.conv_first = conv2d(3, channels, 3, **options)
        self.patch_embed = PatchEmbed(channels, **norms)
        groups = {"window": spec.window, "shifted": spec.shifted, "tunable_norms": spec.tunable_norms, **options}
        groups["hidden"] = int(channels * spec.mlp_ratio)
        self.layers = nn.ModuleList(
            [
                ResidualSwinLayer(channels, depth=depth, heads=heads, **groups)
                for depth, heads in zip(spec.depths, spec.heads, strict=True)
            ]
        )
        self.norm = norm(LayerNorm, channels, **norms)
        self.conv_after_body = conv2d(channels, channels, 3, **options)
        self.factors = shuffles(spec.upscale) if spec.upsampler == "pixelshuffle" else []
        self.stages = [["conv_first", "patch_embed", "layers", "norm", "conv_after_body"]]
        self.stages += [["conv_before_upsample", "upsample", "conv_up", "conv_hr", "conv_last"]]
        if spec.upsampler == "pixelshuffledirect":
            self.upsample = nn.ModuleList([conv2d(channels, 3 * spec.upscale**2, 3, **options)])
            return
        if spec.upsampler:
            self.conv_before_upsample = conv2d(channels, features, 3, **options)
        if spec.upsampler == "pixelshuffle":
            self.upsample = nn.ModuleList([conv2d(features, features * f**2, 3, **options) for f in self.factors])
        if spec.upsampler == "nearest+conv":
            self.conv_up = nn.ModuleList([conv2d(features, features, 3, **options) for _ in range(spec.upscale // 2)])
            self.conv_hr = conv2d(features, features, 3, **options)
        self.conv_last = conv2d(features if spec.upsampler else channels, 3, 3, **options)

    def begin(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the padded input, its mean subtracted, twice: one is added where nothing is enlarged."""
        x = ops.shift_colours(ops.pad_to_multiple(x, self.window, "reflect"), DIV2K_MEAN, -1)
        return x, x

    def stage(
        self, place: int, features: tuple[torch.Tensor, ...], omega: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the padded input and the features."""
        x, y = features
        if place == 0:
            first = call(self.conv_first, y, omega)
            return x, call(self.conv_after_body, self.features_of(first, omega), omega) + first
        return x, self.enlarged(x, y, omega)

    def end(self, x: torch.Tensor, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return (N, 3, upscale H, upscale W)."""
        height, width = x.shape[2:]
        y = ops.shift_colours(features[1], DIV2K_MEAN, 1)
        return y[:, :, : height * self.upscale, : width * self.upscale]

    def features_of(self, x: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
        """Return the features (N, C, H, W) that the groups of blocks make of features x of the same shape."""
        y = ops.channels_last(x)
        mask = ops.shift_mask(y, self.window, self.window // 2)
        y = self.patch_embed(y, omega)
        for layer in self.layers:
            y = layer(y, omega, mask)
        return ops.channels_first(self.norm(y, omega))

    def enlarged(self, x: torch.Tensor, y: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
        """Return the picture (N, 3, upscale H, upscale W), made of the features y (N, C, H, W) of the input x."""
        if self.upsampler == "":
            return x + call(self.conv_last, y, omega)
        if self.upsampler == "pixelshuffledirect":
            return ops.pixel_shuffle(call(self.upsample[0], y, omega), self.upscale)
        y = ops.leaky_relu(call(self.conv_before_upsample, y, omega), 0.01)
        if self.upsampler == "pixelshuffle":
            for factor, layer in zip(self.factors, self.upsample, strict=True):
                y = ops.pixel_shuffle(call(layer, y, omega), factor)
            return call(self.conv_last, y, omega)
        for layer in self.conv_up:
            y = ops.leaky_relu(call(layer, ops.nearest(y, 2), omega), 0.2)
        return call(self.conv_last, ops.leaky_relu(call(self.conv_hr, y, omega), 0.2), omega)


class PatchEmbed(Composite):
    """Normalises the features of every pixel, where Swin embeds patches: SwinIR's patches are single pixels."""

    def __init__(self, channels: int, *, num_objectives: int, formulation: Formulation) -> None:
        super().__init__(num_objectives)
        self.norm = norm(LayerNorm, channels, num_objectives=num_objectives, formulation=formulation)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Return the shape of x (N, H, W, C); omega is (p,) or (N, p), None when plain."""
        return self.norm(x, omega)
