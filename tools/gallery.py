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
from pydantic import TypeAdapter

import tunable
from tunable.data.degradations import Degradation, degrade
from tunable.data.patches import BUNDLED_TEST, bundled
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_levels, to_network
from tunable.models import MODELS

SIDE, PAINTED = 192, 288  # pixels of a cell, and of one in a style
STRENGTHS = (0, 25, 50, 75, 100)
NOISES = (15, 25, 50)
PRESETS = ("clean", "natural", "grain")
KNOBS = {"strength": (1, 0, 0), "colour": (0, 1, 0), "both": (1, 1, 0), "both, and detail": (1, 1, 1)}
CAMERA = [  # photons and reading in linear light, then JPEG
    {"kind": "linear_light", "steps": [{"kind": "poisson_gaussian", "gain": 3.8, "sigma": 2.5}]},
    {"kind": "jpeg", "quality": 90},
]
OUT_OF_FOCUS = [{"kind": "gaussian_blur", "sigma": 1.5}, {"kind": "gaussian_noise", "sigma": 5}]


def noisy(clean: np.ndarray, sigma: float) -> np.ndarray:
    """Add white Gaussian noise of `sigma` levels of 255, as 8 bits hold it."""
    drawn = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    return np.round(np.clip(clean + drawn, 0, 1) * 255).astype(np.float32) / 255


def degraded(clean: np.ndarray, steps: list[dict]) -> np.ndarray:
    """Degrade a picture (H, W, 3) by the steps of a recipe, with the noise of seed 0."""
    pipeline = TypeAdapter(list[Degradation]).validate_python(steps)
    return from_network(degrade(to_network(clean), pipeline, np.random.default_rng(0))[0])


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
    model, photo, deblur = (tunable.load(name, device="cpu") for name in ("denoise", "photo", "deblur"))
    cleans = [middle(read(path)) for path in bundled(BUNDLED_TEST)]

    def restored(picture: np.ndarray, strength: float) -> np.ndarray:
        return from_network(model.run(to_network(picture), omega=[strength / 100, 1 - strength / 100]))

    def save(name: str, rows: list[list[np.ndarray]], columns: list[str], labels: list[str] | None = None) -> None:
        sheet = contact_sheet(rows, columns, labels)
        Image.fromarray(to_levels(sheet)).save(out / f"{name}.webp", quality=82, method=6)

    rows = [[noisy(clean, 25), *(restored(noisy(clean, 25), s) for s in STRENGTHS[1:]), clean] for clean in cleans]
    save("strength", rows, ["noisy", *(f"strength {s}" for s in STRENGTHS[1:]), "truth"])

    def settled(what: tunable.Model, picture: np.ndarray, omega: tuple[float, ...]) -> np.ndarray:
        return from_network(what.run(to_network(picture), omega=omega))

    presets = [MODELS["photo"].presets[name] for name in PRESETS]
    images = [degraded(clean, CAMERA) for clean in cleans]
    save(
        "photo",
        [
            [image, restored(image, 100), *(settled(photo, image, omega) for omega in presets), clean]
            for image, clean in zip(images, cleans, strict=True)
        ],
        ["noisy, JPEG", "denoise", *(f"photo, {name}" for name in PRESETS), "truth"],
    )
    rows = [[image, *(settled(photo, image, omega) for omega in KNOBS.values())] for image in images]
    save("knobs", rows, ["noisy, JPEG", *KNOBS])

    images = [degraded(clean, OUT_OF_FOCUS) for clean in cleans]
    rows = [
        [image, *(settled(deblur, image, (1, 1, sharpness)) for sharpness in (0, 0.5, 1)), clean]
        for image, clean in zip(images, cleans, strict=True)
    ]
    save("deblur", rows, ["out of focus", *(f"sharpness {sharpness}" for sharpness in ("0", "0.5", "1")), "truth"])

    styles, painted = tunable.load("styles", device="cpu"), MODELS["styles"].presets
    larger = [middle(read(path), PAINTED) for path in bundled(BUNDLED_TEST)]
    rows = [[clean, *(settled(styles, clean, omega) for omega in painted.values())] for clean in larger]
    save("styles", rows, ["photograph", *painted])

    clean = cleans[0]
    rows = [[noisy(clean, sigma) for sigma in NOISES], [restored(noisy(clean, sigma), 100) for sigma in NOISES]]
    save("noise", rows, [f"sigma {sigma}" for sigma in NOISES], ["noisy", "restored, strength 100"])

    ramp = np.broadcast_to(np.linspace(0, 1, SIDE, dtype=np.float32), (SIDE, SIDE))
    image = noisy(cleans[1], 25)
    mapped = tunable.restore(model, image, omega=np.stack([ramp, 1 - ramp]))
    save("map", [[image, np.repeat(ramp[..., None], 3, 2), mapped]], ["noisy", "the map: white is 100", "restored"])

    images = [compressed(noisy(clean, 25)) for clean in cleans]
    rows = [[image, restored(image, 100), restored(image, 60), settled(photo, image, presets[0])] for image in images]
    save("compressed", rows, ["noisy, then JPEG", "denoise, 100", "denoise, 60", "photo"])
    return 0


def middle(picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Cut the middle square of a picture."""
    height, width = picture.shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


if __name__ == "__main__":
    sys.exit(main())
