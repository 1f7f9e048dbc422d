"""The perceptual-adversarial objective of super-resolution (section 4.1.3): its keys.

Its value looks through networks of the recipe, so it stands in `tunable.oracle.losses`.
"""

from typing import Literal

from tunable.objectives.base import Weight
from tunable.objectives.features import CELLS, LARGEST
from tunable.objectives.restoration import Distance

CONV5_SIZE = 16  # pixels of a picture that leave one in the last stage of VGG


class Perceptual(Distance):
    """The sum of rec, vgg, adv, grid and shrunk, each times its weight (section 4.1.3, `gan`).

    `distance` is how `rec` measures. vgg is the L1 distance of the last convolution of VGG or of the recipe's
    `vgg.layer`; where that is units, it is what it is in `features`, and grid and shrunk are as there. adv says how
    much more real than the restored pictures the recipe's `discriminator` finds the clean ones.
    """

    kind: Literal["gan"]
    rec_weight: Weight = 0.01
    vgg_weight: Weight = 1.0
    adv_weight: Weight = 0.005
    grid_weight: Weight = 0.0
    shrunk_weight: Weight = 0.0

    @property
    def least(self) -> int:
        """Pixels along each side that VGG needs; the discriminator may need more."""
        return max(super().least, CELLS * LARGEST if self.grid_weight else CONV5_SIZE)
