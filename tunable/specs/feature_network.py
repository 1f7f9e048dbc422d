"""Which VGG supplies the features of objectives of kind `gan`, `features` and `style`, as a recipe names it.

It is no part of a weights file; both twins build it from this section.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tunable.errors import nearest, shown
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
LAYERS = {
    "vgg19": {"gan": "conv5_4", "style": "relu3_3", "features": "relu3_3"},
    "vgg16": {"gan": "conv5_3", "style": "relu3_3", "features": "relu3_3"},
}
UNITS = ("relu1_2", "relu2_2", "relu3_3")  # what objectives of kind `features` compare, and `gan` with layer: units
CONVS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}  # of each stage: the configurations E and D


def conv_names(network: str) -> list[str]:
    """Return the names of the convolutions in order, conv1_1 to conv5_4 or conv5_3."""
    return [f"conv{stage}_{i}" for stage, convs in enumerate(CONVS[network], 1) for i in range(1, convs + 1)]


class VGG(Section):
    """Which VGG gives the features (`vgg:` in a recipe): its network, and one of `weights` and `seed`.

    Attributes:
        network: vgg19, the paper's, or vgg16, which has three convolutions less.
        weights: a file that tools/vgg19.py or tools/vgg16.py made.
        seed: of random weights instead, which stay as drawn; they see texture too but know no objects.
        width: channels of the first stage, 64 unless there is a `seed`.
        layer: what objectives of kind `gan` read instead of the last convolution, such as conv3_3; or units, with
            which they compare features of length one in the layers UNITS, as those of kind `features` do.
        gram: layers whose Gram matrices objectives of kind `style` compare, with their weights; {}: relu3_3 alone.
    """

    network: Literal["vgg19", "vgg16"] = "vgg19"
    weights: Place | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    width: int = Field(default=WIDTH, ge=1, le=2 * WIDTH)
    layer: str | None = None
    gram: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.weights is None) == (self.seed is None):
            raise ValueError(f"wants one of weights, a file, and seed; {HOW}")
        if self.weights is not None and self.width != WIDTH:
            raise ValueError(f"width {self.width} goes with seed; a file holds a VGG with {WIDTH} channels")
        names = conv_names(self.network)
        if self.layer is not None and not self.units and self.layer.replace("relu", "conv") not in names:
            raise ValueError(
                f"layer wants one of {self.network}, {names[0]} to {names[-1]} or the ReLU after it, such as relu3_3, "
                f"or units, not {shown(self.layer)}{nearest(self.layer, [*names, 'units'])}"
            )
        known = [name.replace("conv", "relu") for name in names]
        known = known[: known.index(LAYERS["vgg19"]["style"]) + 1]
        if unknown := [name for name in self.gram if name not in known]:
            raise ValueError(
                f"gram wants layers from {known[0]} to {known[-1]}, not {shown(unknown[0])}{nearest(unknown[0], known)}"
            )
        return self

    @property
    def units(self) -> bool:
        """Whether objectives of kind `gan` compare features of length one."""
        return self.layer == "units"

    @property
    def gram_weights(self) -> dict[str, float]:
        """The layers whose Gram matrices styles compare, and their weights."""
        return self.gram or {self.layers["style"]: 1.0}

    def taps(self, kind: str) -> tuple[str, ...]:
        """Return the layers that objectives of a kind read beside their own."""
        return {"style": tuple(self.gram_weights), "features": UNITS, "gan": UNITS * self.units}.get(kind, ())

    @property
    def layers(self) -> dict[str, str]:
        """The layer that objectives read, by their kind."""
        layer = UNITS[-1] if self.units else self.layer
        return LAYERS[self.network] | ({"gan": layer} if layer else {})
