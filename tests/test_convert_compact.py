"""Files of the official Compact: what they are found to hold, and which variants are refused."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from tunable.errors import CheckpointError
from tunable.specs.networks import CompactSpec
from tunable.weights.conversion import convert, read_network


def compact(channels=4, blocks=2, upscale=2):
    """The official Compact."""
    rng, widths = np.random.default_rng(2), [3] + [channels] * (blocks + 1)
    shapes = {}
    for place, (before, after) in enumerate(zip(widths, [*widths[1:], 3 * upscale**2], strict=True)):
        shapes |= {f"body.{2 * place}.weight": (after, before, 3, 3), f"body.{2 * place}.bias": (after,)}
        shapes |= {f"body.{2 * place + 1}.weight": (after,)}
    del shapes[f"body.{2 * blocks + 3}.weight"]
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(("channels", "blocks", "upscale"), [(4, 2, 2), (6, 1, 1), (3, 3, 3), (5, 12, 4)])
def test_names_and_numbers_are_the_files(tmp_path, channels, blocks, upscale):
    """Its arguments come from the shapes, and its tensors keep their names and every bit, under `params` too."""
    tensors = compact(channels, blocks, upscale)
    save_file({f"params.{name}": value for name, value in tensors.items()}, tmp_path / "a.safetensors")
    converted = read_network(tmp_path / "a.safetensors", "compact")
    spec = CompactSpec(channels=channels, blocks=blocks, upscale=upscale, tunable=False)
    assert converted.header.network == spec and not converted.assumed
    assert converted.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(converted.tensors[name], value)


def without_slopes(tensors):
    """As with activations that hold no slopes."""
    return {name: value for name, value in tensors.items() if value.ndim != 1 or name.endswith("bias")}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (without_slopes(compact()), "its activations have no slopes; only PReLU is known here"),
        ({**compact(), "body.0.weight": np.zeros((4, 1, 3, 3), np.float32)}, "takes 1 channels per pixel"),
        (compact(upscale=5), "it enlarges 5 times"),
        ({**compact(), "body.6.weight": np.zeros((16, 4, 3, 3), np.float32)}, "16 channels for 3, no square times"),
        ({**compact(), "body.7.weight": np.zeros(4, np.float32)}, "its body has 8 parts with tensors"),
        (compact(blocks=0), "its body has 3 parts with tensors; five or more"),
    ],
)
def test_variants_of_compact_are_refused_by_name(tmp_path, refused, tensors, said):
    save_file(tensors, tmp_path / "a.safetensors")
    with refused(CheckpointError, "is not of a network of compact that is known here: ", said):
        convert(tmp_path / "a.safetensors", "compact")


@pytest.mark.parametrize("name", ["body.1.weight", "body.2.weight", "body.4.bias"])
def test_a_compact_of_other_shapes_is_refused(tunable, tmp_path, name):
    """One slope for all channels, for example: by one line, which names the tensor."""
    save_file({**compact(), name: np.ones(1, np.float32)}, tmp_path / "a.safetensors")
    status, _, err = tunable(
        "convert", tmp_path / "a.safetensors", "--from", "compact", "-o", tmp_path / "b.safetensors"
    )
    assert status == 2 and len(err.strip().splitlines()) == 1 and name in err
