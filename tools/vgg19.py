"""VGG-19's weights for the objectives `gan` and `style`, from the file that torchvision uses.

    python tools/vgg19.py vgg19-dcbb9e9d.pth -o vgg19.safetensors --allow-pickle

The file comes from https://download.pytorch.org/models/vgg19-dcbb9e9d.pth (548 MiB; nothing is downloaded here). Only
its convolutions up to conv5_4 are kept, 76 MiB. A recipe then says `vgg: {weights: vgg19.safetensors}`. A .safetensors
file with torchvision's names is read as well, and needs no --allow-pickle.
"""

import argparse
import sys
from pathlib import Path

from tunable.errors import CheckpointError, TunableError
from tunable.weights import storage, vgg
from tunable.weights.foreign import as_float32, read_foreign

STAGE_STARTS = (0, 5, 10, 19, 28)  # place of every stage's first convolution in torchvision's `features`


def torchvision_names() -> dict[str, str]:
    """conv1_1 -> features.0 ... conv5_4 -> features.34: each convolution is followed by a ReLU."""
    places = {}
    for name in vgg.conv_names("vgg19"):
        stage, index = int(name[4]), int(name[6])
        places[name] = f"features.{STAGE_STARTS[stage - 1] + 2 * (index - 1)}"
    return places


def convert(path: Path, out: Path, allow_pickle: bool) -> None:
    foreign, types = read_foreign(path, allow_pickle=allow_pickle)
    tensors = {}
    for name, place in torchvision_names().items():
        for part in ("weight", "bias"):
            if f"{place}.{part}" not in foreign:
                raise CheckpointError(f"{path} lacks tensor {place}.{part}; torchvision's VGG-19 has it")
            theirs = f"{place}.{part}"
            tensors[f"{name}.{part}"] = as_float32(theirs, foreign[theirs], types[theirs])
    storage.check_tensors(tensors, vgg.specs("vgg19"), path)
    storage.save_tensors(out, tensors, {"format": vgg.file_format("vgg19")})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="vgg19-dcbb9e9d.pth, or .safetensors with its names")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the file to write, *.safetensors")
    parser.add_argument("--allow-pickle", action="store_true", help="read the tensors, and only these, of a pickle")
    args = parser.parse_args()
    try:
        convert(args.file, args.out, args.allow_pickle)
    except TunableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
