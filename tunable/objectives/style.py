"""The style objective (section 4.2), after Johnson et al., ECCV 2016: its keys.

Its value looks through VGG, so it stands in `tunable.oracle.losses`.
"""

from typing import Literal

from pydantic import Field

from tunable.objectives.base import Objective, Weight
from tunable.specs.schema import Place

RELU3_3_SIZE = 4  # pixels of a picture that leave one at this layer of VGG
# BT.601's U and V. By it V's green is -0.514986. The 7e-6 between stay: networks of `style` have been trained with it.
UV = ((-0.147138, -0.288862, 0.436), (0.615, -0.514993, -0.100014))


class Style(Objective):
    """gram_weight gram + vgg_weight vgg + tv_weight tv + uv_weight uv (section 4.2, `style`).

    Attributes:
        image: a picture in the style, which is shrunk to at most `size` pixels along its longer side.
    """

    kind: Literal["style"]
    image: Place
    size: int = Field(default=512, ge=RELU3_3_SIZE, le=2**16)
    gram_weight: Weight = 1.0
    vgg_weight: Weight = 1.0
    tv_weight: Weight = 1.0
    uv_weight: Weight = 1.0

    @property
    def least(self) -> int:
        """Pixels along each side that VGG needs."""
        return RELU3_3_SIZE
