"""The objective `features`, which compares pictures as LPIPS does, without its heads: its keys.

Its value looks through VGG, so it stands in `tunable.oracle.losses`.
"""

from typing import Literal

from tunable.objectives.base import Weight
from tunable.objectives.restoration import Distance
from tunable.objectives.style import RELU3_3_SIZE

FLOOR = 0.01  # of the squared length of a pixel's features, by which they are divided
CELLS = 4  # input pixels along each side of a window in which a grid is looked for
LARGEST = 8  # times that a network enlarges


class FeatureDistance(Distance):
    """rec_weight rec + vgg_weight vgg + grid_weight grid + shrunk_weight shrunk; `distance` is how `rec` measures.

    vgg is the squared distance of VGG's features of length one, averaged over the pixels and summed over the layers
    `tunable.specs.feature_network.UNITS`. grid is how much of a pattern that repeats with every pixel of the small
    picture a network that enlarges has drawn: such a network hides there what it cannot know of a texture. shrunk is
    the L1 distance of both pictures, each shrunk to the size of the small one: what the small picture told must stay.
    """

    kind: Literal["features"]
    rec_weight: Weight = 1.0
    vgg_weight: Weight = 1.0
    grid_weight: Weight = 0.0
    shrunk_weight: Weight = 0.0

    @property
    def least(self) -> int:
        """Pixels along each side that VGG, and a window of the grid, need."""
        return max(super().least, CELLS * LARGEST if self.grid_weight else RELU3_3_SIZE)
