"""Pictures that tests of their forms start from."""

import numpy as np
from PIL import ImageCms

COLOURS = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREYS = COLOURS[:16] + b"GRAY" + COLOURS[20:]


def photograph(size=96):
    """uint8 (H, W, 3) with fine coloured detail, as JPEG's chroma at half resolution would lose it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    smooth = np.stack([x, y, (x + y) / 2], axis=2)
    return np.rint(255 * np.clip(smooth + 0.08 * rng.standard_normal((size, size, 3)), 0, 1)).astype(np.uint8)
