"""tools/wider.py: a wider network that computes what the narrow one does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small import small

from tunable.backends.model import load
from tunable.specs.networks import UNetSpec
from tunable.weights import storage

PROGRAM = Path(__file__).parent.parent / "tools" / "wider.py"


def wider(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, PROGRAM, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("width", [5, 8])
def test_the_wider_network_computes_the_same(width, tmp_path, backend, rng):
    """From 3 channels: copied once, twice or three times, and through both halves of a concatenation."""
    narrow, wide = tmp_path / "narrow.safetensors", tmp_path / "wide.safetensors"
    small(UNetSpec(width=3, depth=2, tunable=False), 0).save(narrow)
    done = wider(narrow, "--width", width, "--noise", 0, "-o", wide)
    assert not done.returncode, done.stderr
    x = rng.random((1, 3, 22, 18), np.float32)
    network, answer = load(wide, backend), load(narrow, backend).run(x)
    assert network.header.network.width == width and "tools/wider.py" in network.header.writer
    assert np.abs(answer - x).max() > 0.1
    np.testing.assert_allclose(network.run(x), answer, rtol=0, atol=1e-5)


def test_copies_are_told_apart(tmp_path, backend, rng):
    """With noise the answer moves, and little beside what the network does."""
    narrow, wide = tmp_path / "narrow.safetensors", tmp_path / "wide.safetensors"
    small(UNetSpec(width=3, depth=2, tunable=False), 0).save(narrow)
    assert not wider(narrow, "--width", 6, "-o", wide).returncode
    x = rng.random((1, 3, 24, 24), np.float32)
    answer = load(narrow, backend).run(x)
    moved = np.linalg.norm(load(wide, backend).run(x) - answer) / np.linalg.norm(answer - x)
    assert 1e-3 < moved < 0.2
    kernel = storage.load(wide)[0]["encoders.0.conv1.weight"]
    assert not np.allclose(kernel[0], kernel[1], atol=1e-3)


@pytest.mark.parametrize(
    ("width", "p", "told"), [(6, 2, "wants the weights of a plain unet"), (2, 0, "less than the network's own, 3")]
)
def test_what_cannot_be_widened_is_refused(width, p, told, tmp_path):
    narrow, wide = tmp_path / "narrow.safetensors", tmp_path / "wide.safetensors"
    small(UNetSpec(width=3, depth=2, tunable=p > 0), p).save(narrow)
    done = wider(narrow, "--width", width, "-o", wide)
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1 and not wide.exists()
