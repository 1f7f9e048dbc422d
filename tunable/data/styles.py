"""The pictures that objectives of kind `style` imitate."""

from pathlib import Path

import numpy as np
from PIL import Image

from tunable.errors import DataError
from tunable.images.pictures import read_bytes, to_network
from tunable.objectives.style import RELU3_3_SIZE, Style
from tunable.specs.reading import expand


def style_picture(spec: Style) -> np.ndarray:
    """Read the picture whose style an objective imitates.

    Args:
        spec: of the objective.

    Returns:
        float32 (1, 3, H, W) in 0..1; the longer side has at most `spec.size` pixels.

    Raises:
        DataError: for what is no picture, or is too small for VGG.
        RecipeError: for an unset variable in its path.
    """
    path = Path(expand(spec.image))
    picture = Image.fromarray(read_bytes(path))
    if max(picture.size) > spec.size:
        ratio = spec.size / max(picture.size)
        picture = picture.resize([max(round(side * ratio), 1) for side in picture.size], Image.Resampling.LANCZOS)
    if min(picture.size) < RELU3_3_SIZE:
        width, height = picture.size
        raise DataError(f"style picture {path} is {width}x{height}; at least {RELU3_3_SIZE} pixels a side are wanted")
    return to_network(np.asarray(picture, dtype=np.float32) / np.float32(255))
