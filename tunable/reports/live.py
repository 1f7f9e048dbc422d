"""Pictures with sliders in a page: what a slider asks for is computed, or shown, by the page itself.

Where a restored picture is affine in the knobs, base + sum_j (knob_j - anchor_j) difference_j, a page that holds base
and differences can make it for every position of the sliders (`blend`). For any other network a page can only show
pictures that were computed before it was written (`settings`). Neither needs a server, a framework, or another file.
"""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from tunable.errors import TunableError
from tunable.images.pictures import to_levels
from tunable.reports.page import png_url, render

STEPS = 16  # of a number that a page holds, to each of the 255 steps of 8 bits
LARGEST = np.iinfo(np.int16).max / (255 * STEPS)  # that it can hold: 8.03, where white is 1


@dataclass(frozen=True)
class Knob:
    """A slider.

    Attributes:
        name: its label.
        low: what its left end means.
        high: what its right end means.
        start: where it stands when the page opens.
        least: the number at its left end.
        most: the number at its right end.
    """

    name: str
    low: str = "0"
    high: str = "1"
    start: float = 0.5
    least: float = 0.0
    most: float = 1.0


@dataclass(frozen=True)
class Figure:
    """A picture with sliders, to be put into a page by the macro `figure` of live.html.j2; made by functions here.

    Attributes:
        title: says what it is.
        size: width and height in pixels.
        sliders: one dictionary each, of what the template writes.
        presets: label -> positions of the sliders.
        data: what the page's program reads: `planes`, `size`, `white` and `anchor` of a blend, `labels` of settings.
        pictures: data URLs of the computed pictures; () of a blend.
        before: data URL of the picture left of the handle, None: no handle.
        tools: whether there are buttons to save the picture and to see it pixel by pixel.
        paints: whether a brush is among them.
    """

    title: str
    size: tuple[int, int]
    sliders: Sequence[Mapping[str, Any]]
    presets: Mapping[str, Sequence[float]]
    data: Mapping[str, Any]
    pictures: Sequence[str] = field(default=())
    before: str | None = None
    tools: bool = False
    paints: bool = False


def blend(
    title: str,
    base: np.ndarray,
    differences: np.ndarray,
    knobs: Sequence[Knob],
    anchor: Sequence[float] | None = None,
    *,
    before: np.ndarray | None = None,
    presets: Mapping[str, Sequence[float]] | None = None,
    save_as: str | None = None,
    paints: bool = True,
) -> Figure:
    """Make a figure whose picture the page computes: base + sum_j (knob_j - anchor_j) difference_j, then clipped.

    Here knob_j is 0 at the left end of the slider and 1 at its right end, whatever numbers it shows.

    Numbers are held in steps of 1/4080. So a level differs from that of exact numbers by at most 1, and only where the
    exact value lies within (1 + sum_j |knob_j - anchor_j|) / 32 of the middle between two levels.

    Args:
        title: says what it is.
        base: (H, W, 3), not clipped, 0 to 1 where it can be shown.
        differences: (p, H, W, 3).
        knobs: p of them.
        anchor: (p,), the knobs at which the picture is `base`; None: all 0.
        before: (H, W, 3), the picture left of the handle; None: no handle.
        presets: label -> p numbers of the sliders; None: both ends of a single knob, else each knob at its right end
            and the others at their left.
        save_as: the name, without suffix, under which a reader saves the picture; with it come a view pixel by pixel,
            and a brush under whose paint other positions act. None: nothing of that.
        paints: whether the brush does.

    Raises:
        TunableError: for arrays of other shapes, for numbers that are not finite, or beyond 8.03.
    """
    base, differences = np.asarray(base), np.asarray(differences)
    anchor = [0.0] * len(knobs) if anchor is None else [float(value) for value in anchor]
    if base.ndim != 3 or base.shape[2] != 3 or not base.size:
        raise TunableError(f"the base of a blend must be (H, W, 3) of a pixel at least, not {base.shape}")
    expected = (len(knobs), *base.shape)
    if differences.shape != expected or len(anchor) != len(knobs):
        raise TunableError(
            f"a blend wants a difference and a value of anchor for each knob, {expected} and {len(knobs)}, not "
            f"{differences.shape} and {len(anchor)}"
        )
    height, width = base.shape[:2]
    planes = [_packed(plane) for plane in (base, *differences)]
    data = {"planes": planes, "size": [width, height], "white": 255 * STEPS, "anchor": anchor, "name": save_as}
    presets, tools = ends(knobs) if presets is None else presets, save_as is not None
    before_url = _before(before, base.shape)
    return Figure(
        title, (width, height), sliders(knobs), presets, data,
        before=before_url, tools=tools, paints=tools and paints,
    )  # fmt: skip


def sliders(knobs: Sequence[Knob]) -> list[dict[str, Any]]:
    """Return what the template writes of knobs, a hundred steps each."""
    return [{**asdict(knob), "step": (knob.most - knob.least) / 100} for knob in knobs]


def ends(knobs: Sequence[Knob]) -> dict[str, list[float]]:
    """Return the presets of knobs that have none: both ends of a single one, else each at its right end alone."""
    if len(knobs) == 1:
        return {knobs[0].low: [knobs[0].least], knobs[0].high: [knobs[0].most]}
    return {one.name: [knob.most if knob is one else knob.least for knob in knobs] for one in knobs}


def settings(
    title: str, pictures: Sequence[np.ndarray], labels: Sequence[str], knob: Knob, *, before: np.ndarray | None = None
) -> Figure:
    """Make a figure of pictures that were computed; its slider stops at each, and stands nowhere between.

    Args:
        title: says what it is.
        pictures: n of them, (H, W, 3), floats in 0..1 or levels, in the order of the knob from 0 to 1.
        labels: n, what the settings are.
        knob: the slider, whose `start` is rounded to one of them.
        before: (H, W, 3), the picture left of the handle; None: no handle.

    Raises:
        TunableError: for fewer than two pictures, pictures of different shapes, or another number of labels.
    """
    shapes = {np.shape(picture) for picture in pictures}
    if len(pictures) < 2 or len(shapes) > 1 or len(labels) != len(pictures):
        raise TunableError(
            "settings want two pictures at least, of one shape, and a label for each; "
            f"received {len(pictures)} of shapes {sorted(shapes)}, and {len(labels)} labels"
        )
    shape, most = shapes.pop(), len(pictures) - 1
    slider = {**asdict(knob), "least": 0, "most": most, "step": 1, "start": round(knob.start * most)}
    urls = [_png(picture) for picture in pictures]
    presets = {knob.low: [0], knob.high: [most]}
    data = {"labels": list(labels)}
    return Figure(title, (shape[1], shape[0]), [slider], presets, data, urls, _before(before, shape))


def page(title: str, figures: Sequence[Figure]) -> str:
    """Write a page that holds figures and nothing else."""
    return render("live_page.html.j2", title=title, figures=figures)


def _before(picture: np.ndarray | None, shape: tuple[int, ...]) -> str | None:
    if picture is not None and picture.shape != shape:
        raise TunableError(f"the picture before must be {shape} like the one after, not {picture.shape}")
    return None if picture is None else _png(picture)


def _png(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(to_levels(np.asarray(picture))).save(file, "png", optimize=True)
    return png_url(file.getvalue())


def _packed(plane: np.ndarray) -> str:
    """Numbers (H, W, 3) as base64 of deflated bytes, which the page's `unpack` reads.

    They are rounded to int16, and each becomes its difference to the pixel on its left; first come all high bytes,
    then all low ones, for smooth high bytes deflate well.
    """
    if not np.abs(plane).max() <= LARGEST:  # nor NaN
        raise TunableError(f"a page holds numbers of at most {LARGEST:.2f}, where white is 1; one here is not")
    numbers = np.rint(np.asarray(plane, np.float64) * (255 * STEPS)).astype(np.int16)
    steps = np.diff(numbers, axis=1, prepend=np.int16(0)).astype(">i2")  # modulo 2^16
    return base64.b64encode(zlib.compress(steps.reshape(-1, 1).view(np.uint8).T.tobytes(), 9)).decode()
