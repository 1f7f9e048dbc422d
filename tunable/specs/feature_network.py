"""Which VGG supplies the features of objectives of kind `gan` and `style`, as a recipe names it.

It is no part of a weights file; both twins build it from this section.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from tunable.specs.schema import Place, Section

WIDTH = 64  # channels of the first stage of VGG
MAKERS = {
    "vgg19": "python tools/vgg19.py vgg19-dcbb9e9d.pth -o vgg19.safetensors --allow-pickle",
    "vgg16": "python tools/vgg16.py -o vgg16.safetensors",
}
HOW = (
    f"make a file once, of VGG-19 from torchvision's vgg19-dcbb9e9d.pth: {MAKERS['vgg19']}; or of a VGG-16 tuned for "
    f"edges, for network: vgg16: {MAKERS['vgg16']}; or set vgg.seed for fixed random features"
)
# Which layer an objective reads: convI_J before its ReLU, reluI_J after it.
LAYERS = {"vgg19": {"gan": "conv5_4", "style": "relu3_3"}, "vgg16": {"gan": "conv5_3", "style": "relu3_3"}}


class VGG(Section):
    """Which VGG gives the features (`vgg:` in a recipe): its network, and one of `weights` and `seed`.

    Attributes:
        network: vgg19, the paper's, or vgg16, which has three convolutions less.
        weights: a file that tools/vgg19.py or tools/vgg16.py made.
        seed: of random weights instead, which stay as drawn; they see texture too but know no objects.
        width: channels of the first stage, 64 unless there is a `seed`.
    """

    network: Literal["vgg19", "vgg16"] = "vgg19"
    weights: Place | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    width: int = Field(default=WIDTH, ge=1, le=2 * WIDTH)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.weights is None) == (self.seed is None):
            raise ValueError(f"wants one of weights, a file, and seed; {HOW}")
        if self.weights is not None and self.width != WIDTH:
            raise ValueError(f"width {self.width} goes with seed; a file holds a VGG with {WIDTH} channels")
        return self
