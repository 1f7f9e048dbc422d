"""MindSpore's own arithmetic in graphs: as PyNative's, for known and unknown sizes, exported, without kept indices."""

import subprocess
import sys

import numpy as np
import pytest

from tunable.specs.networks import ResNetSpec


@pytest.mark.parametrize(
    ("shape", "like"),
    [
        ((2, 1, 5), (2, 3, 5)),
        ((5,), (2, 3, 5)),
        ((2, 3, 1), (2, 3, 5)),
        ((4, 1, 1), (2, 4, 3, 5)),
        ((2, 4, 1, 1), (2, 4, 3, 5)),
        ((1, 1, 2, 3, 3), (2, 4, 2, 3, 3)),
        ((4, 1, 3, 3), (2, 4, 2, 3, 3)),
        ((2, 3), (2, 3)),
    ],
)
def test_arithmetic_of_graphs(mindspore, shape, like, rng):
    """On a CPU the smaller tensor is repeated first: to the bit what broadcasting gives, either way round."""
    ms, ops = mindspore.ms, mindspore.impl.ops
    first, second = (rng.uniform(0.5, 2, size=size).astype(np.float32) for size in (shape, like))

    class Combined(ms.nn.Cell):
        def construct(self, a, b):
            return a + b, b + a, a - b, b - a, a * b, b * a, a / b, b / a

    def total(a, b):
        return (a * b).sum()

    small, large = mindspore.tensors([first, second])
    with ops.running("graph"):
        results = [mindspore.array(value) for value in Combined()(small, large)]
        gradients = ms.grad(total, (0, 1))(small, large)
    a, b = first, second
    for value, truth in zip(results, (a + b, b + a, a - b, b - a, a * b, b * a, a / b, b / a), strict=True):
        np.testing.assert_array_equal(value, truth)
    axes = tuple(range(len(like) - len(shape)))
    axes += tuple(n for n in range(len(axes), len(like)) if shape[n - len(like)] < like[n])
    by_hand = second.sum(axes, keepdims=True).reshape(shape), np.broadcast_to(first, like)
    for value, truth in zip(gradients, by_hand, strict=True):
        np.testing.assert_allclose(mindspore.array(value), truth, rtol=1e-6)


def test_arithmetic_of_unknown_sizes(mindspore, rng):
    """A graph for pictures of any size, and shapes that do not fit each other, are MindSpore's own affair."""
    ms, ops = mindspore.ms, mindspore.impl.ops

    class Scaled(ms.nn.Cell):
        def construct(self, x, y):
            return x * y

    network = Scaled()
    network.set_inputs(ms.Tensor(shape=[None] * 4, dtype=ms.float32), ms.Tensor(shape=[3, 1, 1], dtype=ms.float32))
    y = rng.uniform(size=(3, 1, 1)).astype(np.float32)
    with ops.running("graph"):
        for size in ((1, 3, 4, 5), (2, 3, 6, 7)):
            x = rng.uniform(size=size).astype(np.float32)
            np.testing.assert_array_equal(mindspore.array(network(*mindspore.tensors([x, y]))), x * y)
        with pytest.raises(ValueError, match="broadcast"):
            Scaled()(*mindspore.tensors([x, y[:2]]))


def test_an_exported_graph_broadcasts(mindspore, tmp_path):
    """It is for other machines, whether or not the network has run here before."""
    network = mindspore.backend.build(ResNetSpec(channels=2, blocks=1, phi="affine"), 2)
    graph = mindspore.in_mode("graph")
    graph.run(network, np.zeros((1, 3, 8, 8), np.float32), np.float32([0.3, 0.4]))
    graph.export(network, tmp_path / "net.mindir", "mindir", "shared", {}, (8, 8))
    operators = {node.op for node in graph.graph(tmp_path / "net.mindir").nodes}
    assert "Mul" in operators and not operators & {"Tile", "BroadcastTo"}


MEMORY = """
import resource, sys
import mindspore_impl
import mindspore as ms
import numpy as np
from mindspore_impl import ops

class Norms(ms.nn.Cell):
    def construct(self, x, weight):
        for _ in range(10):
            x = ops.scale_and_shift(ops.normalise(x, "layer_norm2d", 1e-6), weight, weight, "layer_norm2d")
        return x

class Arithmetic(ms.nn.Cell):
    def construct(self, x, weight):
        for _ in range(10):
            x = (x * weight + weight - weight) / weight
        return x

CELL, SHAPE = {"norms": (Norms, (16,)), "arithmetic": (Arithmetic, (16, 1, 1))}[sys.argv[1]]

x = ms.Tensor(np.random.default_rng(0).uniform(size=(1, 16, 512, 512)).astype(np.float32))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ops.running("graph"):
    CELL()(x, ms.Tensor(np.ones(SHAPE, np.float32))).asnumpy()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / x.nbytes)
"""


@pytest.mark.parametrize("cell", ["norms", "arithmetic"])
def test_a_graph_keeps_no_indices(mindspore, tmp_path, cell):
    """Ten norms of 17 MB: with lists of indices for the forty sums and products 160 times that; the means keep 40."""
    program = tmp_path / "memory.py"
    program.write_text(MEMORY)
    done = subprocess.run([sys.executable, program, cell], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 80
