"""Three paintings in the public domain, for configs/style_transfer/paintings.yaml, out of a package of Debian's.

    apt-get download gcompris-qt-data
    python tools/paintings.py gcompris-qt-data_*.deb -o paintings

Writes great_wave.png (K. Hokusai, The Great Wave off Kanagawa, about 1830), composition.png (W. Kandinsky, Composition
VIII, 1923) and auvers.png (V. van Gogh, Village Street in Auvers, 1890), some 600 pixels wide. Their painters died more
than 70 years ago. The package has them as the pieces of jigsaw puzzles, with the place of each piece; its photographs
are those of the WebMuseum. Needs dpkg-deb.
"""

import argparse
import io
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import runs
from PIL import Image

from tunable.errors import DataError

RESOURCES = "usr/share/gcompris-qt/rcc/paintings.rcc"
PUZZLES = {"great_wave": "board7_0.qml", "composition": "board19_0.qml", "auvers": "board22_0.qml"}
FOLDER, ZLIB = 2, 1  # flags of an entry
PIECE = re.compile(r'image/([\w-]+\.webp)",\s*"x" : "([\d.]+)",\s*"y" : "([\d.]+)"')


def resources(data: bytes) -> dict[str, bytes]:
    """The files in a container of Qt (`rcc`), by their names without folders."""
    if data[:4] != b"qres":
        raise DataError(f"{RESOURCES} of the package is no resource file of Qt")
    version, tree, content, names = struct.unpack(">4I", data[4:20])
    length, found = (22 if version >= 2 else 14), {}

    def walk(index: int) -> None:
        name_at, flags, first, second = struct.unpack_from(">IHII", data, tree + index * length)
        if flags & FOLDER:
            for child in range(second, second + first):
                walk(child)
            return
        (letters,) = struct.unpack_from(">H", data, names + name_at)
        start = names + name_at + 6
        name = data[start : start + 2 * letters].decode("utf-16-be")
        (size,) = struct.unpack_from(">I", data, content + second)
        raw = data[content + second + 4 : content + second + 4 + size]
        found[name] = zlib.decompress(raw[4:]) if flags & ZLIB else raw

    walk(0)
    return found


def painting(files: dict[str, bytes], puzzle: str) -> Image.Image:
    """Put the pieces of a puzzle where they belong; x and y are the centre of each, as shares of the board."""
    text = files[puzzle].decode("utf-8")
    (board,) = re.findall(r'"width": (\d+),\s*"height": (\d+)', text)
    width, height = (int(side) for side in board)
    whole = Image.new("RGBA", (width, height))
    for name, *centre in PIECE.findall(text):
        piece = Image.open(io.BytesIO(files[name])).convert("RGBA")
        left, top = (float(share) for share in centre)
        place = round(left * width - piece.width / 2), round(top * height - piece.height / 2)
        whole.alpha_composite(piece, (max(0, place[0]), max(0, place[1])))
    solid = np.asarray(whole)[:, :, 3] > 127
    rows, columns = (np.flatnonzero(solid.mean(axis) > 0.5) for axis in (1, 0))
    return whole.crop((columns[0] + 2, rows[0] + 2, columns[-1] - 1, rows[-1] - 1)).convert("RGB")


def make(package: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
        path = Path(folder, RESOURCES)
        if not path.is_file():
            raise DataError(f"{package} holds no {RESOURCES}: gcompris-qt-data 3.1 is wanted")
        files = resources(path.read_bytes())
    out.mkdir(parents=True, exist_ok=True)
    for name, puzzle in PUZZLES.items():
        painting(files, puzzle).save(out / f"{name}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", type=Path, help="gcompris-qt-data of Debian, a .deb file")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the three pictures")
    args = parser.parse_args()
    sys.exit(runs.guarded(make, args.package, args.out))
