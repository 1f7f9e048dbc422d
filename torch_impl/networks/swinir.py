"""SwinIR (Liang et al., ICCVW 2021), the network of the paper's Tables 2a and 5."""

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers import Composite, LayerNorm, WindowAttention, call, conv2d, linear, norm
from torch_impl.networks.network import Network
from tunable.specs.networks import DEFAULT_PHI, DIV2K_MEAN, shuffles


class MLP(Composite):
    """fc2(gelu(fc1(x))), GELU by the error function."""

    def __init__(self, channels: int, hidden: int, *, num_objectives: int, phi: str):
        super().__init__(num_objectives, channels=channels, hidden=hidden, phi=phi)
        self.fc1 = linear(channels, hidden, num_objectives=num_objectives, phi=phi)
        self.fc2 = linear(hidden, channels, num_objectives=num_objectives, phi=phi)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """x (N, ..., C) -> the same shape."""
        return call(self.fc2, ops.gelu(call(self.fc1, x, omega)), omega)


class SwinBlock(Composite):
    """x + attention(norm(x)), then x + MLP(norm(x)), on maps (N, H, W, C)."""

    def __init__(
        self,
        channels: int,
        *,
        num_objectives: int,
        phi: str,
        tunable_norms: bool,
        heads: int,
        window: int,
        shift: int,
        hidden: int,
    ):
        super().__init__(
            num_objectives,
            channels=channels,
            phi=phi,
            tunable_norms=tunable_norms,
            heads=heads,
            window=window,
            shift=shift,
            hidden=hidden,
        )
        options = {"num_objectives": num_objectives, "phi": phi}
        norms = {**options, "num_objectives": num_objectives if tunable_norms else 0}
        self.norm1 = norm(LayerNorm, channels, **norms)
        self.attn = WindowAttention(channels, heads=heads, window=window, shift=shift, **options)
        self.norm2 = norm(LayerNorm, channels, **norms)
        self.mlp = MLP(channels, hidden, **options)

    def forward(
        self, x: torch.Tensor, omega: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """mask: of shifted windows, the same for all blocks."""
        x = x + self.attn(self.norm1(x, omega), omega, mask)
        return x + self.mlp(self.norm2(x, omega), omega)


class ResidualGroup(Composite):
    """Blocks, every other one shifted by half a window where `shifted`."""

    def __init__(
        self,
        channels: int,
        *,
        num_objectives: int,
        phi: str,
        tunable_norms: bool,
        depth: int,
        heads: int,
        window: int,
        shifted: bool,
        hidden: int,
    ):
        super().__init__(
            num_objectives,
            channels=channels,
            phi=phi,
            tunable_norms=tunable_norms,
            depth=depth,
            heads=heads,
            window=window,
            shifted=shifted,
            hidden=hidden,
        )
        options = {"num_objectives": num_objectives, "phi": phi, "tunable_norms": tunable_norms}
        options |= {"heads": heads, "window": window, "hidden": hidden}
        self.blocks = nn.ModuleList(
            [SwinBlock(channels, shift=window // 2 if shifted and i % 2 else 0, **options) for i in range(depth)]
        )

    def forward(
        self, x: torch.Tensor, omega: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        for block in self.blocks:
            x = block(x, omega, mask)
        return x


class ResidualSwinLayer(Composite):
    """x + conv(group(x)), on maps (N, H, W, C)."""

    def __init__(
        self,
        channels: int,
        *,
        num_objectives: int,
        phi: str,
        tunable_norms: bool,
        depth: int,
        heads: int,
        window: int,
        shifted: bool,
        hidden: int,
    ):
        super().__init__(
            num_objectives,
            channels=channels,
            phi=phi,
            tunable_norms=tunable_norms,
            depth=depth,
            heads=heads,
            window=window,
            shifted=shifted,
            hidden=hidden,
        )
        options = {"num_objectives": num_objectives, "phi": phi}
        parts = {"tunable_norms": tunable_norms, "heads": heads, "window": window, "shifted": shifted, "hidden": hidden}
        self.residual_group = ResidualGroup(channels, depth=depth, **parts, **options)
        self.conv = conv2d(channels, channels, 3, **options)

    def forward(
        self, x: torch.Tensor, omega: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        y = ops.channels_first(self.residual_group(x, omega, mask))
        return x + ops.channels_last(call(self.conv, y, omega))


class SwinIR(Network):
    """Groups of window attention between convolutions; any size, inside reflected to a multiple of the window.

    num_objectives   p, or 0 for the plain form
    channels         of the features; depths, heads: blocks and attention heads of every group
    window           pixels a side; shifted: whether every other block's windows lie half a window further
    mlp_ratio        hidden channels of the MLPs over channels
    upscale, upsampler, features   tunable.specs.networks.SwinIRSpec
    phi              form of every layer's phi
    tunable_norms    whether omega sets the scales and shifts of the norms too
    """

    def __init__(
        self,
        *,
        num_objectives: int,
        channels: int = 180,
        depths: tuple[int, ...] = (6, 6, 6, 6, 6, 6),
        heads: tuple[int, ...] = (6, 6, 6, 6, 6, 6),
        window: int = 8,
        shifted: bool = True,
        mlp_ratio: float = 2.0,
        upscale: int = 1,
        upsampler: str = "",
        features: int = 64,
        phi: str = DEFAULT_PHI,
        tunable_norms: bool = False,
    ):
        super().__init__(
            num_objectives,
            channels=channels,
            depths=depths,
            heads=heads,
            window=window,
            shifted=shifted,
            mlp_ratio=mlp_ratio,
            upscale=upscale,
            upsampler=upsampler,
            features=features,
            phi=phi,
            tunable_norms=tunable_norms,
        )
        options = {"num_objectives": num_objectives, "phi": phi}
        norms = {**options, "num_objectives": num_objectives if tunable_norms else 0}
        self.window = window
        self.upscale = upscale
        self.upsampler = upsampler
        self.conv_first = conv2d(3, channels, 3, **options)
        self.patch_embed = PatchEmbed(channels, **norms)
        hidden = int(channels * mlp_ratio)
        self.layers = nn.ModuleList(
            [
                ResidualSwinLayer(
                    channels,
                    depth=d,
                    heads=h,
                    window=window,
                    shifted=shifted,
                    hidden=hidden,
                    tunable_norms=tunable_norms,
                    **options,
                )
                for d, h in zip(depths, heads, strict=True)
            ]
        )
        self.norm = norm(LayerNorm, channels, **norms)
        self.conv_after_body = conv2d(channels, channels, 3, **options)
        self.factors = shuffles(upscale) if upsampler == "pixelshuffle" else []
        if upsampler == "pixelshuffledirect":
            self.upsample = nn.ModuleList([conv2d(channels, 3 * upscale**2, 3, **options)])
            return
        if upsampler:
            self.conv_before_upsample = conv2d(channels, features, 3, **options)
        if upsampler == "pixelshuffle":
            self.upsample = nn.ModuleList([conv2d(features, features * f**2, 3, **options) for f in self.factors])
        if upsampler == "nearest+conv":
            self.conv_up = nn.ModuleList([conv2d(features, features, 3, **options) for _ in range(upscale // 2)])
            self.conv_hr = conv2d(features, features, 3, **options)
        self.conv_last = conv2d(features if upsampler else channels, 3, 3, **options)

    def compute(self, x: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
        """x (N, 3, H, W) -> (N, 3, upscale H, upscale W)."""
        height, width = x.shape[2:]
        x = ops.shift_colours(ops.extend(x, self.window, "reflect"), DIV2K_MEAN, -1)
        first = call(self.conv_first, x, omega)
        y = call(self.conv_after_body, self.features_of(first, omega), omega) + first
        y = self.enlarged(x, y, omega)
        return ops.shift_colours(y, DIV2K_MEAN, 1)[:, :, : height * self.upscale, : width * self.upscale]

    def features_of(self, x: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
        """The groups of blocks, (N, C, H, W) in and out."""
        y = ops.channels_last(x)
        mask = ops.shift_mask(y, self.window, self.window // 2)
        y = self.patch_embed(y, omega)
        for layer in self.layers:
            y = layer(y, omega, mask)
        return ops.channels_first(self.norm(y, omega))

    def enlarged(self, x: torch.Tensor, y: torch.Tensor, omega: torch.Tensor | None) -> torch.Tensor:
        """The picture from the features y of x."""
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
            y = ops.leaky_relu(call(layer, ops.nearest_x2(y), omega), 0.2)
        return call(self.conv_last, ops.leaky_relu(call(self.conv_hr, y, omega), 0.2), omega)


class PatchEmbed(Composite):
    """The norm of the pixels' features (SwinIR's patches are single pixels)."""

    def __init__(self, channels: int, *, num_objectives: int, phi: str):
        super().__init__(num_objectives, channels=channels, phi=phi)
        self.norm = norm(LayerNorm, channels, num_objectives=num_objectives, phi=phi)

    def forward(self, x: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """x (N, H, W, C)."""
        return self.norm(x, omega)
