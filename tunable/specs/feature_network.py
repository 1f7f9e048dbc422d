"""Which VGG-19 supplies the features of objectives of kind `gan` and `style`, as a recipe names it.

It is no part of a weights file; both twins build it from this section.
"""

from typing import Self

from pydantic import Field, model_validator

from tunable.specs.schema import Place, Section

WIDTH = 64  # channels of VGG-19's first stage
HOW = (
    "make it once from torchvision's vgg19-dcbb9e9d.pth: python tools/vgg19.py vgg19-dcbb9e9d.pth -o vgg19.safetensors "
    "--allow-pickle; or set vgg.seed for fixed random features"
)


class VGG(Section):
    """Which VGG-19 gives the features (`vgg:` in a recipe): one of `weights` and `seed`.

    Attributes:
        weights: a file that tools/vgg19.py made.
        seed: of random weights instead, which stay as drawn; they see texture too but know no objects.
        width: channels of the first stage, 64 unless there is a `seed`.
    """

    weights: Place | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    width: int = Field(default=WIDTH, ge=1, le=2 * WIDTH)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.weights is None) == (self.seed is None):
            raise ValueError(f"wants one of weights, a file, and seed; {HOW}")
        if self.weights is not None and self.width != WIDTH:
            raise ValueError(f"width {self.width} goes with seed; a file holds VGG-19 with {WIDTH} channels")
        return self
