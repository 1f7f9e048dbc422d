"""A wider U-Net that computes what a narrow one does, to train further: Net2Net's wider student (arXiv 1511.05641).

    tunable fold photo --omega 1,1,0 -o runs/photo_plain.safetensors
    python tools/wider.py runs/photo_plain.safetensors --width 28 -o runs/photo_wide_start.safetensors

Every channel of the narrow network is in the wide one at least once; what reads a channel that is there twice has its
kernel divided by two. So with --noise 0 both compute the same. Copies that are alike would learn alike, so every
kernel gets normal noise, of 0.05 times its own standard deviation unless told otherwise.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import runs

from tunable.arrays import Array, Tensors
from tunable.errors import TunableError
from tunable.parameters.layouts import layout
from tunable.weights import storage
from tunable.weights.storage import Header


def sources(narrow: int, wide: int) -> Array:
    """Which of the narrow network's channels each of the wide one's is a copy of; of 2 and 3: 0, 0, 1.

    The sources of two concatenated halves are the halves' own, as the U-Net's concatenations need.
    """
    return np.arange(wide) * narrow // wide


def widened(value: Array, shape: tuple[int, ...], noise: float, draws: np.random.Generator) -> Array:
    """A kernel (C', C, h, w) or bias (C') of the narrow network at the wide one's shape.

    noise    standard deviation of what is added to a kernel, as a part of the kernel's own
    """
    wide = value[sources(value.shape[0], shape[0])]
    if value.ndim > 1:
        read = sources(value.shape[1], shape[1])
        wide = wide[:, read] / np.bincount(read)[read][:, None, None]
        wide = wide + noise * wide.std() * draws.standard_normal(wide.shape)
    return wide.astype(np.float32)


def wider(tensors: Tensors, header: Header, width: int, noise: float) -> tuple[Tensors, Header]:
    """The tensors and the header of a plain U-Net of another width that starts where this one is."""
    if header.network.name != "unet" or header.objectives:
        raise TunableError("wants the weights of a plain unet: tunable fold MODEL --omega ... makes them")
    if width < header.network.width:
        raise TunableError(f"--width {width} is less than the network's own, {header.network.width}")
    network = header.network.model_copy(update={"width": width})
    draws = np.random.default_rng(0)
    return (
        {name: widened(tensors[name], shape, noise, draws) for name, shape in layout(network, 0)},
        Header(
            network,
            (),
            (),
            header.recipe,
            writer=f"{Header.writer}, tools/wider.py on weights of {header.writer}",
            history=header.history,
        ),
    )


def write(args: argparse.Namespace) -> None:
    """Write the wider network, and say how large its file is."""
    storage.save(args.out, *wider(*storage.load(args.narrow), args.width, args.noise))
    print(f"wrote {args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


def main() -> int:
    """Read a weights file, --width, --noise and --out, and write the wider network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("narrow", type=Path, help="the weights file of a plain unet")
    parser.add_argument("--width", type=int, required=True, help="channels of the wide network's first convolution")
    parser.add_argument("--noise", type=float, default=0.05, help="added to kernels, of their standard deviation")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the weights file to write, *.safetensors")
    return runs.guarded(write, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
