"""What the app shows of a photograph: a region at every setting, at once, and the whole picture when it is asked for.

A region is restored inside a piece with the network's margin around it, and so it shows the pixels of the whole
restored picture. Where a network looks at all of a picture, the piece is the picture, or of a large one a part, which
shows about what the whole does. What no omega changes of it is computed once; then a moved slider costs a sum where the
last layer alone is tunable (heads), the tail of the network where it has one, and else the network.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tunable.backends.model import Model
from tunable.errors import TunableError
from tunable.images.contact_sheets import cell_sheet, enlarged
from tunable.images.pictures import from_network, read_picture, to_floats, to_levels, to_network
from tunable.images.tiling import WHOLE, heads_tiled, run_tiled
from tunable.omega import format_omega, sweep

SIDE = 512  # pixels of a region along each side, at most, as it is shown
AROUND = 128  # pixels around a region, of a large picture and a network that looks at all of it
OVERVIEW = 1024  # pixels of the whole picture, as it is shown, along its longer side
SWEEP = 5  # settings along an edge of what is shown side by side


@dataclass(frozen=True)
class Photograph:
    """A picture that somebody opened.

    Attributes:
        path: its file.
        levels: (H, W, 3), uint8 or uint16.
        overview: uint8, as it is shown in whole, at most OVERVIEW pixels along each side.
        frames: how many pictures its file holds, of which this is the first.
    """

    path: Path
    levels: np.ndarray
    overview: np.ndarray
    frames: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.levels.shape[0], self.levels.shape[1]

    @property
    def shrunk(self) -> float:
        """Pixels of the picture for one of the overview, along each side."""
        return max(self.size) / max(self.overview.shape[:2])


def open_photograph(path: str | Path, max_pixels: int | None = None) -> Photograph:
    """Read a picture.

    Args:
        path: the file.
        max_pixels: larger ones are refused before they take memory; None: the limit of `read_picture`.

    Raises:
        DataError: for what is no picture, or too large.
    """
    picture = read_picture(path, max_pixels)
    return Photograph(Path(path), picture.levels, overview(picture.levels), picture.frames)


def overview(levels: np.ndarray, size: Sequence[int] | None = None) -> np.ndarray:
    """Return a picture (H, W, 3) as bytes, shrunk for its overview.

    Args:
        levels: of the picture.
        size: height and width of the overview; None: OVERVIEW pixels along the longer side, or the picture's where
            these are fewer.
    """
    image = Image.fromarray(to_levels(to_floats(levels)))
    if size is None:
        image.thumbnail((OVERVIEW, OVERVIEW), Image.Resampling.LANCZOS)
    elif image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(image)


class Region:
    """A part of a photograph, restored at any setting.

    Args:
        model: of any backend.
        photograph: of which this is a part.
        centre: (row, column) of the pixel in its middle, which is moved as far inside as the region needs.
        side: pixels of the photograph along each side, at most; None: as many as the network makes SIDE of.

    Attributes:
        before: bytes (scale h, scale w, 3), as it was, enlarged by bicubic interpolation to what is made of it.
        place: its rows and columns in the photograph.
        exact: whether it shows what the whole restored picture has there, to rounding.

    Raises:
        TunableError: as `Model.run`.
    """

    def __init__(self, model: Model, photograph: Photograph, centre: tuple[int, int], side: int | None = None) -> None:
        """Compute what no omega changes; the class says what is raised."""
        network, size = model.header.network, photograph.size
        side = side or max(SIDE // network.scale, 1)
        places = [_span(at, length, side) for at, length in zip(centre, size, strict=True)]
        whole = network.halo is None and math.prod(size) <= WHOLE
        self.exact = network.halo is not None or whole
        margin = max(size) if whole else AROUND if network.halo is None else network.halo
        multiple = network.padding_multiple
        outer = [
            slice(max(place.start - margin, 0) // multiple * multiple, min(place.stop + margin, length))
            for place, length in zip(places, size, strict=True)
        ]
        self._model, self.place = model, (places[0], places[1])
        self._outer, self._scale = outer, network.scale
        self._inner = tuple(
            slice((place.start - around.start) * network.scale, (place.stop - around.start) * network.scale)
            for place, around in zip(places, outer, strict=True)
        )
        self.before = enlarged(to_levels(to_floats(photograph.levels[self.place])), network.scale)
        self._restore = self._restorer(to_network(to_floats(photograph.levels[outer[0], outer[1]])))

    def _restorer(self, piece: np.ndarray) -> Callable[[Any], np.ndarray]:
        model = self._model
        if not model.objectives:
            made = run_tiled(model, piece, None)
            return lambda omega: made
        if model.has_heads:
            return heads_tiled(model, piece).at
        try:
            return model.prepare(piece).at
        except TunableError:  # tunable from its first layers on, or an exported file of one part
            return lambda omega: run_tiled(model, piece, omega)

    def at(self, omega: np.ndarray | None) -> np.ndarray:
        """Restore the region.

        Args:
            omega: (p,), or a map (p, H, W) of the whole photograph; None for a plain network.

        Returns:
            Bytes (scale h, scale w, 3).

        Raises:
            OmegaError: for an omega that the network does not take.
        """
        if omega is not None and omega.ndim == 3:
            omega = np.ascontiguousarray(omega[None, :, self._outer[0], self._outer[1]])
        rows, columns = self._inner
        return to_levels(from_network(self._restore(omega)[:, :, rows, columns]))


def _span(at: int, length: int, side: int) -> slice:
    side = min(side, length)
    start = min(max(at - side // 2, 0), length - side)
    return slice(start, start + side)


def painted_map(
    inside: np.ndarray, outside: np.ndarray, painted: np.ndarray, size: tuple[int, int]
) -> np.ndarray | None:
    """Return a map of omega from what was painted on the overview.

    Args:
        inside: omega (p,) where the paint is opaque.
        outside: omega (p,) where there is none.
        painted: opacity (h, w), 0 to 1.
        size: height and width of the photograph.

    Returns:
        (p, H, W) float32; None where nothing is painted.
    """
    if not painted.any():
        return None
    mask = Image.fromarray(painted.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    share = np.asarray(mask)
    return outside[:, None, None] + (inside - outside)[:, None, None] * share


def sweep_sheet(model: Model, region: Region, start: Sequence[float] = ()) -> np.ndarray:
    """Return a contact sheet of the region at several settings, bytes (H, W, 3).

    Args:
        model: whose settings are swept.
        region: what is shown.
        start: (p,), the model's default, if it has one.

    Raises:
        TunableError: for a plain network, which has one setting.
    """
    if not model.objectives:
        raise TunableError("a plain network has no settings to show side by side")
    rows = sweep(len(model.objectives), SWEEP, start=start)
    pictures = [[to_floats(region.at(omega)) for omega in row] for row in rows]
    return to_levels(cell_sheet(pictures, [[format_omega(omega) for omega in row] for row in rows]))
