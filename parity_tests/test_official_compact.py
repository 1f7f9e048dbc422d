"""The official Compact (SRVGGNetCompact of Real-ESRGAN), written here from its published description in torch alone.

A convolution from 3 channels and a PReLU, `num_conv` times a convolution and a PReLU, a convolution to
3 upscale^2 channels, a pixel shuffle, and the input enlarged to its nearest neighbours added.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tunable.backends.model import build, load
from tunable.commands import main
from tunable.specs.networks import CompactSpec
from tunable.tolerances import CONTROL, TOLERANCES, relative_error
from tunable.weights import storage

LIMIT = TOLERANCES["network"].limit
PICTURE = np.random.default_rng(6).uniform(size=(2, 3, 9, 11)).astype(np.float32)


class Official(nn.Module):
    """In float64, by the official names."""

    def __init__(self, channels: int, blocks: int, upscale: int):
        super().__init__()
        layers = []
        for before in [3] + [channels] * blocks:
            layers += [nn.Conv2d(before, channels, 3, 1, 1), nn.PReLU(num_parameters=channels)]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, 3 * upscale**2, 3, 1, 1))
        self.upscale = upscale
        self.double()

    def restored(self, weights: dict, x: np.ndarray) -> np.ndarray:
        self.load_state_dict({name: torch.as_tensor(np.asarray(value)) for name, value in weights.items()}, strict=True)
        x = torch.from_numpy(x).double()
        with torch.no_grad():
            y = nn.PixelShuffle(self.upscale)(self.body(x))
            return (y + functional.interpolate(x, scale_factor=self.upscale, mode="nearest")).numpy()


def weights_of(network: Official, seed: int) -> dict:
    """Random weights; slopes are positive and negative."""
    draw = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(draw.normal(0, 0.3, value.shape).astype(np.float32))
        for name, value in network.state_dict().items()
    }


def converted(weights: dict, folder, name: str):
    """A file as Real-ESRGAN's are, converted by the command."""
    torch.save({"params": weights}, folder / f"{name}.pth")
    out = folder / f"{name}.safetensors"
    assert main(["convert", str(folder / f"{name}.pth"), "--from", "compact", "--allow-pickle", "-o", str(out)]) == 0
    return out


@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_equal_to_the_official_network(twin, tmp_path, upscale):
    official = Official(5, 2, upscale)
    weights = weights_of(official, 1)
    model = load(converted(weights, tmp_path, "net"), twin.backend)
    assert model.header.network == CompactSpec(channels=5, blocks=2, upscale=upscale, tunable=False)
    assert relative_error(model.run(PICTURE), official.restored(weights, PICTURE)) <= LIMIT
    changed = {**weights, "body.1.weight": weights["body.1.weight"] + 0.1}
    assert relative_error(model.run(PICTURE), official.restored(changed, PICTURE)) > CONTROL


def test_end_points_are_mixed_as_by_the_official_denoising_strength(twin, tmp_path):
    """Real-ESRGAN's -dn mixes every weight of two files, slopes too; what is folded there loads in its network."""
    official = Official(4, 2, 2)
    ends = [weights_of(official, seed) for seed in (1, 2)]
    paths = [converted(weights, tmp_path, f"net{seed}") for seed, weights in enumerate(ends)]
    out, folded = tmp_path / "both.safetensors", tmp_path / "folded.safetensors"
    assert main(["convert", *map(str, paths), "--from", "endpoints", "-o", str(out)]) == 0
    model = load(out, twin.backend)
    assert model.header.network.tunable_slopes
    for strength in (0, 0.3, 1):
        omega = np.float32([strength, 1 - strength])
        mixed = {name: omega[0] * ends[0][name] + omega[1] * ends[1][name] for name in ends[0]}
        wanted = official.restored(mixed, PICTURE)
        assert relative_error(model.run(PICTURE, omega), wanted) <= LIMIT
        setting = ",".join(str(value) for value in omega)
        assert main(["fold", str(out), "--omega", setting, "--backend", twin.name, "-o", str(folded)]) == 0
        tensors, header = storage.load(folded)
        assert relative_error(official.restored(tensors, PICTURE), wanted) <= LIMIT
        assert relative_error(build(header, tensors, twin.backend).run(PICTURE), wanted) <= LIMIT
