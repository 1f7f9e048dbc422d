"""The official SwinIR as a function of its state dict, for tests: written after its paper and its formula, in torch.

y = (net((x - mean) r)) / r + mean with the range r (`img_range`); blocks whose number in their group is odd shift their
windows by half a window, unless the pictures that the network was built for (`img_size`) are no larger than one.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

MEAN = (0.4488, 0.4371, 0.4040)


def state(
    *, channels=8, depths=(2,), heads=2, window=4, hidden=16, upsampler="", upscale=1, features=6, seed=0, shifted=True
) -> dict[str, np.ndarray]:
    """Seeded weights by the official names, with the buffers of img_size 2 window, or window where not `shifted`."""
    rng, tensors = np.random.default_rng(seed), {}

    def add(name, outputs, *inputs, gain=1.0):
        scale = gain / math.sqrt(math.prod(inputs))
        tensors[name + ".weight"] = (scale * rng.standard_normal((outputs, *inputs))).astype(np.float32)
        tensors[name + ".bias"] = (0.1 * rng.standard_normal(outputs)).astype(np.float32)

    def norm(name):
        tensors[name + ".weight"] = (1 + 0.1 * rng.standard_normal(channels)).astype(np.float32)
        tensors[name + ".bias"] = (0.1 * rng.standard_normal(channels)).astype(np.float32)

    add("conv_first", channels, 3, 3, 3)
    norm("patch_embed.norm")
    for i, depth in enumerate(depths):
        for j in range(depth):
            block = f"layers.{i}.residual_group.blocks.{j}"
            norm(block + ".norm1")
            table = rng.standard_normal(((2 * window - 1) ** 2, heads))
            tensors[block + ".attn.relative_position_bias_table"] = table.astype(np.float32)
            tensors[block + ".attn.relative_position_index"] = pairs(window).numpy()
            if j % 2 and shifted:
                tensors[block + ".attn_mask"] = mask(2 * window, 2 * window, window).numpy()
            add(block + ".attn.qkv", 3 * channels, channels)
            add(block + ".attn.proj", channels, channels)
            norm(block + ".norm2")
            add(block + ".mlp.fc1", hidden, channels)
            add(block + ".mlp.fc2", channels, hidden)
        add(f"layers.{i}.conv", channels, channels, 3, 3)
    norm("norm")
    add("conv_after_body", channels, channels, 3, 3)
    if upsampler in ("pixelshuffle", "nearest+conv"):
        add("conv_before_upsample.0", features, channels, 3, 3)
    if upsampler == "pixelshuffle":
        for i, factor in enumerate([3] if upscale == 3 else [2] * int(math.log2(upscale))):
            add(f"upsample.{2 * i}", features * factor**2, features, 3, 3)
    if upsampler == "nearest+conv":
        for i in range(max(int(math.log2(upscale)), 1)):
            add(f"conv_up{i + 1}", features, features, 3, 3)
        add("conv_hr", features, features, 3, 3)
    if upsampler == "pixelshuffledirect":
        add("upsample.0", 3 * upscale**2, channels, 3, 3)
    else:
        add("conv_last", 3, features if upsampler else channels, 3, 3)
    return tensors


def restored(weights, x, *, heads=2, window=4, upsampler="", upscale=1, img_range=1.0, shifted=True) -> np.ndarray:
    """The network's output on x (N, 3, H, W), in float64."""
    weights = {name: torch.from_numpy(value).double() for name, value in weights.items()}
    height, width = x.shape[2:]
    down, across = -height % window, -width % window
    x = F.pad(torch.from_numpy(x).double(), (0, across, 0, down), mode="reflect")
    mean = torch.tensor(MEAN, dtype=torch.float64).reshape(1, 3, 1, 1)
    x = (x - mean) * img_range

    def conv(name, y):
        return F.conv2d(y, weights[name + ".weight"], weights[name + ".bias"], padding=1)

    first = conv("conv_first", x)
    y = conv("conv_after_body", _features(weights, first, heads, window, shifted)) + first
    if upsampler in ("pixelshuffle", "nearest+conv"):
        y = F.leaky_relu(conv("conv_before_upsample.0", y), 0.01)
    if upsampler == "pixelshuffle":
        for i, factor in enumerate([3] if upscale == 3 else [2] * int(math.log2(upscale))):
            y = F.pixel_shuffle(conv(f"upsample.{2 * i}", y), factor)
    if upsampler == "nearest+conv":
        for i in range(int(math.log2(upscale))):
            y = F.leaky_relu(conv(f"conv_up{i + 1}", F.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
        y = F.leaky_relu(conv("conv_hr", y), 0.2)
    if upsampler == "pixelshuffledirect":
        y = F.pixel_shuffle(conv("upsample.0", y), upscale)
    else:
        y = conv("conv_last", y) + (0 if upsampler else x)
    return (y / img_range + mean)[:, :, : height * upscale, : width * upscale].numpy()


def _features(weights, x, heads, window, shifted):
    n, channels, height, width = x.shape

    def norm(name, y):
        return F.layer_norm(y, (channels,), weights[name + ".weight"], weights[name + ".bias"], 1e-5)

    def linear(name, y):
        return F.linear(y, weights[name + ".weight"], weights[name + ".bias"])

    y = norm("patch_embed.norm", x.permute(0, 2, 3, 1))
    i = 0
    while f"layers.{i}.conv.weight" in weights:
        group, j = y, 0
        while (block := f"layers.{i}.residual_group.blocks.{j}") + ".norm1.weight" in weights:
            shift = window // 2 if shifted and j % 2 else 0
            z = torch.roll(norm(block + ".norm1", group), (-shift, -shift), (1, 2))
            z = z.reshape(n, height // window, window, width // window, window, channels)
            z = z.transpose(2, 3).reshape(-1, window**2, channels)
            qkv = linear(block + ".attn.qkv", z).reshape(len(z), window**2, 3, heads, -1).permute(2, 0, 3, 1, 4)
            table = weights[block + ".attn.relative_position_bias_table"]
            bias = table[pairs(window).reshape(-1)].reshape(window**2, window**2, heads).permute(2, 0, 1)
            scores = qkv[0] @ qkv[1].transpose(-1, -2) / math.sqrt(channels // heads) + bias
            if shift:
                scores = scores + mask(height, width, window).double().repeat(n, 1, 1)[:, None]
            z = (scores.softmax(-1) @ qkv[2]).transpose(1, 2).reshape(len(z), window**2, channels)
            z = linear(block + ".attn.proj", z).reshape(n, height // window, width // window, window, window, channels)
            z = torch.roll(z.transpose(2, 3).reshape(n, height, width, channels), (shift, shift), (1, 2))
            group = group + z
            hidden = F.gelu(linear(block + ".mlp.fc1", norm(block + ".norm2", group)))
            group = group + linear(block + ".mlp.fc2", hidden)
            j += 1
        kernel, bias = weights[f"layers.{i}.conv.weight"], weights[f"layers.{i}.conv.bias"]
        y = y + F.conv2d(group.permute(0, 3, 1, 2), kernel, bias, padding=1).permute(0, 2, 3, 1)
        i += 1
    return norm("norm", y).permute(0, 3, 1, 2)


def pairs(window: int) -> torch.Tensor:
    """Row of the bias table for every pair of pixels of a window, (window^2, window^2)."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.reshape(-1), x.reshape(-1)
    return (y[:, None] - y[None] + window - 1) * (2 * window - 1) + x[:, None] - x[None] + window - 1


def mask(height: int, width: int, window: int) -> torch.Tensor:
    """-100 between pixels of a shifted window that the shift brought together, (windows, window^2, window^2)."""
    region = torch.zeros(height, width)
    edges = (slice(0, -window), slice(-window, -(window // 2)), slice(-(window // 2), None))
    for number, (rows, columns) in enumerate((r, c) for r in edges for c in edges):
        region[rows, columns] = number
    region = region.reshape(height // window, window, width // window, window).transpose(1, 2).reshape(-1, window**2)
    return (region[:, None] != region[:, :, None]).float() * -100
