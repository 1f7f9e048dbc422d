"""The project's own golden file: outputs of small networks of every kind, in float64.

    python -m parity_tests.golden

writes golden.npz here, with torch in float64. It holds no weights: these are drawn from the networks' specs.
Whether the networks are right was settled by outputs of other people's programs (parity_tests/test_golden.py where
TUNABLE_GOLDEN is set, the same code as here); the file keeps them so where these are not at hand.
"""

import sys
import zlib
from pathlib import Path

import numpy as np

from tunable.backends.registry import get_framework
from tunable.files import atomic
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, StyleUNetSpec, SwinIRSpec, UNetSpec

FILE = Path(__file__).with_name("golden.npz")
SWIN = {"channels": 8, "depths": [2], "heads": [2], "window": 4, "features": 6}
NETWORKS = {
    "resnet x4": ResNetSpec(
        channels=6, blocks=1, upscale=4, head_relu=True, residual_scale=0.3, mean=True, phi="affine"
    ),
    "swinir": SwinIRSpec(phi="affine", **SWIN),
    "swinir x3": SwinIRSpec(upscale=3, upsampler="pixelshuffle", **SWIN),
    "swinir x2 direct": SwinIRSpec(upscale=2, upsampler="pixelshuffledirect", **SWIN),
    "swinir x4 nearest": SwinIRSpec(upscale=4, upsampler="nearest+conv", **SWIN),
    "nafnet": NAFNetSpec(width=4, middle=1, encoder=[1, 1], decoder=[1, 1], phi="affine"),
    "style u-net": StyleUNetSpec(channels=4, scales=1, blocks=[2, 1, 2]),
    "u-net": UNetSpec(width=4, depth=2, phi="affine"),
    "compact": CompactSpec(channels=4, blocks=2, phi="affine"),
    "compact x3": CompactSpec(channels=4, blocks=1, upscale=3, tunable_slopes=True),
}
SHAPE = (2, 3, 7, 10)  # no multiple of a window or of a stride
OMEGAS = {"one": np.float32([0.8, 0.3]), "per sample": np.float32([[0.1, 0.9], [1.2, -0.4]])}


def picture() -> np.ndarray:
    return np.random.default_rng(31).uniform(size=SHAPE).astype(np.float32)


def weights(specs) -> dict[str, np.ndarray]:
    """Every tensor by its name's seed, none of them zero or one: kernels of deviation 1 / sqrt(fan-in), others 0.3."""
    tensors = {}
    for spec in specs:
        rng = np.random.default_rng(zlib.crc32(spec.name.encode()))
        deviation = 1 / np.sqrt(spec.fan_in) if spec.role == "kernel" else 0.3
        offset = 1 if spec.role == "one" else 0
        tensors[spec.name] = (offset + deviation * rng.standard_normal(spec.shape)).astype(np.float32)
    return tensors


def outputs(backend, name: str) -> dict[str, np.ndarray]:
    """Of a network at every omega."""
    network = backend.build(NETWORKS[name], 2)
    backend.assign(network, weights(backend.specs(network)))
    return {label: backend.run(network, picture(), omega) for label, omega in OMEGAS.items()}


def main() -> int:
    exact = get_framework("torch", "cpu").in_float64()
    recorded = {f"{name}/{label}": y for name in NETWORKS for label, y in outputs(exact, name).items()}
    with atomic(FILE) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **{name: np.float32(y) for name, y in recorded.items()})
    print(f"wrote {len(recorded)} outputs to {FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
