"""The networks of strangers_torch.py, as a user would have written them in MindSpore."""

import math

import mindspore as ms
import numpy as np
from mindspore import nn, ops


def conv(inputs, outputs, size, padding=0, stride=1, dilation=1, group=1, bias=True):
    options = {"pad_mode": "pad", "padding": padding, "dilation": dilation, "group": group, "has_bias": bias}
    return nn.Conv2d(inputs, outputs, size, stride, **options)


def softsign(x):
    """It bends like tanh, because MindSpore's own tanh is not exact on a CPU."""
    return x / (1 + ops.abs(x))


class UNet(nn.Cell):
    def __init__(self):
        super().__init__()
        self.first = conv(3, 6, 3, 1)
        self.down = conv(6, 8, 4, 1, stride=2)
        self.up = nn.Conv2dTranspose(8, 6, 2, 2, pad_mode="valid", has_bias=True)
        self.last = conv(12, 3, 3, 1)

    def construct(self, x):
        a = ops.relu(self.first(x))
        b = ops.relu(self.up(ops.relu(self.down(a))))
        return self.last(ops.concat([a, b], 1))


class DepthWise(nn.Cell):
    def __init__(self):
        super().__init__()
        self.expand = conv(3, 8, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.spatial = conv(8, 8, 3, 2, dilation=2, group=8, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.squeeze = conv(8, 3, 1)
        self.scale = ms.Parameter(ms.Tensor(np.full((1, 3, 1, 1), 0.5, np.float32)))

    def construct(self, x):
        y = ops.relu(self.norm1(self.expand(x)))
        y = ops.relu(self.norm2(self.spatial(y)))
        return x + self.scale * self.squeeze(y)


class Attention(nn.Cell):
    def __init__(self):
        super().__init__()
        self.positions = ms.Parameter(ms.Tensor(np.linspace(-1, 1, 96, dtype=np.float32).reshape(12, 8)))
        self.norm1 = nn.LayerNorm((8,), epsilon=1e-5)
        self.qkv = nn.Dense(8, 24)
        self.proj = nn.Dense(8, 8)
        self.norm2 = nn.LayerNorm((8,), epsilon=1e-5)
        self.mlp = nn.SequentialCell(nn.Dense(8, 16), nn.GELU(approximate=False), nn.Dense(16, 8))

    def construct(self, x):
        x = x + self.positions
        qkv = self.qkv(self.norm1(x)).reshape(-1, 12, 3, 2, 4).transpose(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = ops.softmax(ops.matmul(q, k.swapaxes(-2, -1)) / math.sqrt(4), -1)
        x = x + self.proj(ops.matmul(weights, v).swapaxes(1, 2).reshape(-1, 12, 8))
        return x + self.mlp(self.norm2(x))


class Tied(nn.Cell):
    def __init__(self):
        super().__init__()
        self.there = nn.Dense(10, 10)
        self.back = nn.Dense(10, 10)
        self.back.weight = self.there.weight

    def construct(self, x):
        return self.back(softsign(self.there(x)))


class Reused(nn.Cell):
    def __init__(self):
        super().__init__()
        self.head = conv(3, 6, 3, 1)
        self.step = conv(6, 6, 3, 1)
        self.again = self.step
        self.tail = conv(6, 3, 3, 1)

    def construct(self, x):
        y = self.head(x)
        y = y + softsign(self.step(y))
        y = y + softsign(self.again(y))
        return self.tail(y + softsign(self.step(y)))


class Heads(nn.Cell):
    def __init__(self):
        super().__init__()
        self.trunk = conv(3, 6, 3, 1)
        self.image = conv(6, 3, 3, 1)
        self.score = nn.Dense(6, 2)

    def construct(self, x):
        y = ops.relu(self.trunk(x))
        return {"image": self.image(y), "scores": (self.score(y.mean((2, 3))), y)}


class Sequences(nn.Cell):
    def __init__(self):
        super().__init__()
        self.there = nn.Conv1d(2, 6, 4, 2, pad_mode="pad", padding=1, has_bias=True)
        self.back = nn.Conv1dTranspose(6, 2, 4, 2, pad_mode="pad", padding=1, has_bias=True)

    def construct(self, x):
        return x + self.back(ops.relu(self.there(x)))


class Volumes(nn.Cell):
    def __init__(self):
        super().__init__()
        self.there = nn.Conv3d(2, 4, 3, pad_mode="pad", padding=1, has_bias=True)
        self.back = nn.Conv3d(4, 2, (1, 3, 3), pad_mode="pad", padding=(0, 0, 1, 1, 1, 1), has_bias=True)

    def construct(self, x):
        return self.back(ops.relu(self.there(x)))


class Guided(nn.Cell):
    def __init__(self):
        super().__init__()
        self.of_image = conv(3, 6, 3, 1)
        self.of_guide = conv(1, 6, 5, 2)
        self.norm = nn.GroupNorm(2, 6)
        self.last = conv(6, 4, 1)

    def construct(self, x, guide):
        y = ops.relu(self.norm(self.of_image(x) * self.of_guide(guide)))
        y = self.last(y)
        return y[:, :3], y[:, 3:]


class Reached(nn.Cell):
    def __init__(self):
        super().__init__()
        self.code = conv(3, 8, 3, 1)

    def construct(self, x):
        y = ops.relu(self.code(x))
        matrix = self.code.weight.reshape(8, -1)
        return ops.conv2d(y, matrix.mean(1).reshape(1, 8, 1, 1)) + ops.square(matrix).mean()


class Mixer(nn.Cell):
    def __init__(self):
        super().__init__()
        self.pixels = nn.SequentialCell(nn.Dense(16, 12), nn.GELU(approximate=False), nn.Dense(12, 16))
        self.bend = nn.PReLU(4)
        self.channels = nn.Dense(4, 4, has_bias=False)

    def construct(self, x):
        y = self.bend(x + self.pixels(x.reshape(x.shape[0], 4, 16)).reshape(x.shape))
        return x + self.channels(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def chain():
    return nn.SequentialCell(conv(4, 8, 3, 1, group=2), nn.ReLU(), nn.SequentialCell(conv(8, 4, 3, 1), nn.Sigmoid()))


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
