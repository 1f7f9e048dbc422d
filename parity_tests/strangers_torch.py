"""Networks of shapes that the package has never seen, as a user would have written them in PyTorch.

Their MindSpore twins stand in strangers_mindspore.py under the same names, with parameters of the same names.
"""

import math

import torch
from torch import nn
from torch.nn import functional


def softsign(x):
    return x / (1 + torch.abs(x))


class UNet(nn.Module):
    """Strided down, transposed up, a skip by concatenation."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.down = nn.Conv2d(6, 8, 4, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.last = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x):
        a = torch.relu(self.first(x))
        b = torch.relu(self.up(torch.relu(self.down(a))))
        return self.last(torch.cat([a, b], 1))


class DepthWise(nn.Module):
    """Depth-wise and point-wise convolutions, batch norms, a free scale of each channel."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(3, 8, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.spatial = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.squeeze = nn.Conv2d(8, 3, 1)
        self.scale = nn.Parameter(torch.full((1, 3, 1, 1), 0.5))

    def forward(self, x):
        y = torch.relu(self.norm1(self.expand(x)))
        y = torch.relu(self.norm2(self.spatial(y)))
        return x + self.scale * self.squeeze(y)


class Attention(nn.Module):
    """A transformer block on 12 tokens of 8 numbers, with a free table of positions."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.linspace(-1, 1, 96).reshape(12, 8))
        self.norm1 = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)
        self.norm2 = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x):
        x = x + self.positions
        q, k, v = self.qkv(self.norm1(x)).reshape(-1, 12, 3, 2, 4).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1) / math.sqrt(4)).softmax(-1) @ v
        x = x + self.proj(mixed.transpose(1, 2).reshape(-1, 12, 8))
        return x + self.mlp(self.norm2(x))


class Tied(nn.Module):
    """Two layers with one weight: what maps back is what maps there."""

    def __init__(self):
        super().__init__()
        self.there = nn.Linear(10, 10)
        self.back = nn.Linear(10, 10)
        self.back.weight = self.there.weight

    def forward(self, x):
        return self.back(softsign(self.there(x)))


class Reused(nn.Module):
    """One layer three times, under two names."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.step = nn.Conv2d(6, 6, 3, padding=1)
        self.again = self.step
        self.tail = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        y = self.head(x)
        y = y + softsign(self.step(y))
        y = y + softsign(self.again(y))
        return self.tail(y + softsign(self.step(y)))


class Heads(nn.Module):
    """A dictionary of outputs, one of them a tuple."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Conv2d(3, 6, 3, padding=1)
        self.image = nn.Conv2d(6, 3, 3, padding=1)
        self.score = nn.Linear(6, 2)

    def forward(self, x):
        y = torch.relu(self.trunk(x))
        return {"image": self.image(y), "scores": (self.score(y.mean((2, 3))), y)}


class Sequences(nn.Module):
    """One dimension: strided there and transposed back."""

    def __init__(self):
        super().__init__()
        self.there = nn.Conv1d(2, 6, 4, stride=2, padding=1)
        self.back = nn.ConvTranspose1d(6, 2, 4, stride=2, padding=1)

    def forward(self, x):
        return x + self.back(torch.relu(self.there(x)))


class Volumes(nn.Module):
    """Three dimensions."""

    def __init__(self):
        super().__init__()
        self.there = nn.Conv3d(2, 4, 3, padding=1)
        self.back = nn.Conv3d(4, 2, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x):
        return self.back(torch.relu(self.there(x)))


class Guided(nn.Module):
    """Two inputs and two outputs."""

    def __init__(self):
        super().__init__()
        self.of_image = nn.Conv2d(3, 6, 3, padding=1)
        self.of_guide = nn.Conv2d(1, 6, 5, padding=2)
        self.norm = nn.GroupNorm(2, 6)
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, x, guide):
        y = torch.relu(self.norm(self.of_image(x) * self.of_guide(guide)))
        y = self.last(y)
        return y[:, :3], y[:, 3:]


class Reached(nn.Module):
    """An autoencoder that reaches into its layer and uses the weight for the way back."""

    def __init__(self):
        super().__init__()
        self.code = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        y = torch.relu(self.code(x))
        matrix = self.code.weight.flatten(1)
        return functional.conv2d(y, matrix.mean(1).reshape(1, 8, 1, 1)) + matrix.square().mean()


class Mixer(nn.Module):
    """Linear layers across pixels and across channels; parametric ReLUs."""

    def __init__(self):
        super().__init__()
        self.pixels = nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 16))
        self.bend = nn.PReLU(4)
        self.channels = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        y = self.bend(x + self.pixels(x.flatten(2)).reshape(x.shape))
        return x + self.channels(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def chain():
    """A plain sequence with groups."""
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.ReLU(), nn.Sequential(nn.Conv2d(8, 4, 3, padding=1), nn.Sigmoid())
    )


NETWORKS = {
    "chain": chain,
    "unet": UNet,
    "depthwise": DepthWise,
    "attention": Attention,
    "tied": Tied,
    "reused": Reused,
    "heads": Heads,
    "sequences": Sequences,
    "volumes": Volumes,
    "guided": Guided,
    "reached": Reached,
    "mixer": Mixer,
}
