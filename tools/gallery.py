"""The pictures of docs/gallery.md, of photographs that scikit-image carries, by the models that ship.

    python tools/gallery.py --out docs/images/gallery

Every picture is small, the noise is that of one seed, and nothing is trained.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import tunable
from tunable.data.patches import BUNDLED_TEST, bundled
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_levels, to_network

SIDE = 192  # pixels of a cell
STRENGTHS = (0, 25, 50, 75, 100)
NOISES = (15, 25, 50)


def noisy(clean: np.ndarray, sigma: float) -> np.ndarray:
    """Add white Gaussian noise of `sigma` levels of 255, as 8 bits hold it."""
    drawn = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    return np.round(np.clip(clean + drawn, 0, 1) * 255).astype(np.float32) / 255


def compressed(picture: np.ndarray) -> np.ndarray:
    """Return a picture as JPEG of quality 60 leaves it."""
    file = io.BytesIO()
    Image.fromarray(to_levels(picture)).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file), np.float32) / 255


def main() -> int:
    """Write the pictures, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="The folder of the pictures.")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    model = tunable.load("denoise", device="cpu")
    cleans = [middle(read(path)) for path in bundled(BUNDLED_TEST)]

    def restored(picture: np.ndarray, strength: float) -> np.ndarray:
        return from_network(model.run(to_network(picture), omega=[strength / 100, 1 - strength / 100]))

    def save(name: str, rows: list[list[np.ndarray]], columns: list[str], labels: list[str] | None = None) -> None:
        sheet = contact_sheet(rows, columns, labels)
        Image.fromarray(to_levels(sheet)).save(out / f"{name}.webp", quality=82, method=6)

    rows = [[noisy(clean, 25), *(restored(noisy(clean, 25), s) for s in STRENGTHS[1:]), clean] for clean in cleans]
    save("strength", rows, ["noisy", *(f"strength {s}" for s in STRENGTHS[1:]), "truth"])

    clean = cleans[0]
    rows = [[noisy(clean, sigma) for sigma in NOISES], [restored(noisy(clean, sigma), 100) for sigma in NOISES]]
    save("noise", rows, [f"sigma {sigma}" for sigma in NOISES], ["noisy", "restored, strength 100"])

    ramp = np.broadcast_to(np.linspace(0, 1, SIDE, dtype=np.float32), (SIDE, SIDE))
    image = noisy(cleans[1], 25)
    mapped = tunable.restore(model, image, omega=np.stack([ramp, 1 - ramp]))
    save("map", [[image, np.repeat(ramp[..., None], 3, 2), mapped]], ["noisy", "the map: white is 100", "restored"])

    rows = [[image, restored(image, 100), restored(image, 60)] for image in (compressed(noisy(c, 25)) for c in cleans)]
    save("compressed", rows, ["noisy, then JPEG", "strength 100", "strength 60"])
    return 0


def middle(picture: np.ndarray) -> np.ndarray:
    """Cut the middle square of a picture."""
    height, width = picture.shape[:2]
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return picture[top : top + SIDE, left : left + SIDE]


if __name__ == "__main__":
    sys.exit(main())
