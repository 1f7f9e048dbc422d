"""Three knobs for photographs, out of the networks that the recipes photo/* and denoise_deblur/unet train.

    python tools/photo_model.py runs/photo_longer/model.safetensors -o tunable/models/photo.safetensors --float16
    python tools/photo_model.py runs/deblur/model.safetensors -o tunable/models/deblur.safetensors --float16

The trained network adds to its input z what its last convolution `tail` makes: clean(z) at (1, 0), and sharp(z) at
(0, 1), the clean picture with sharper details, or without its blur. The network written here returns

    z + strength luma(clean(z) - z) + colour chroma(clean(z) - z) + detail luma(sharp(z) - clean(z))

where luma(x) is BT.601's luma of x in all three colours, and chroma(x) = x - luma(x); `detail` is called `sharpness` if
sharp(z) is without blur. It has the same layers; only `tail` is another one, computed from the trained one. Nothing is
trained here, and the sum is exact at every setting. With --float16 the kernels in front of `tail` are stored in 16
bits, for a file of half the size.
"""

import sys

import numpy as np
from strength_model import LAST, main

from tunable.arrays import Tensors
from tunable.errors import TunableError
from tunable.objectives.restoration import PARTS, NoisePreservation, Sharpening
from tunable.parameters.layouts import layout
from tunable.specs.formulations import Last
from tunable.specs.recipe import Omega
from tunable.trained import Part
from tunable.weights.storage import Header

LUMA = np.repeat(np.array(PARTS["luma"]), 3, 0)  # (3, 3): of three colours their luma, three times
CHROMA = np.eye(3) - LUMA


# The kinds of the objectives of a recipe, and the name of the third knob that is computed from its network.
THIRD = {("noise", "blur"): "detail", ("residue", "rec"): "sharpness"}


def photo_header(trained: Header) -> Header:
    """The header of the network with three knobs: what trained the other one, with these objectives."""
    recipe, network = trained.known_recipe(), trained.network
    third = THIRD.get(tuple(each.kind for each in recipe.objectives)) if recipe else None
    if network.name != "unet" or network.where != Last(last=1) or recipe is None or third is None:
        raise TunableError("wants weights that a recipe photo/* or denoise_deblur/unet trained")
    gamma = next((each.gamma for each in recipe.objectives if isinstance(each, Sharpening)), 1.0)
    objectives = [
        NoisePreservation(name="strength", kind="noise", nu=1, residual="remove", space="luma"),
        NoisePreservation(name="colour", kind="noise", nu=1, residual="remove", space="chroma"),
        Sharpening(name=third, kind="blur", noise_objective="strength", gamma=gamma),
    ]
    names = tuple(each.name for each in objectives)
    return Header(
        network,
        names,
        ((0.0, 1.0),) * len(names),
        recipe.model_copy(update={"objectives": objectives, "omega": Omega()}),
        writer=f"{Header.writer}, tools/photo_model.py on weights of {trained.writer}",
        history=trained.history,
        trained=(Part(omega="anywhere", share=1),),
    )


def photo_tensors(trained: Tensors, header: Header) -> Tensors:
    """The tensors of the network with three knobs: those of the other one, and another `tail`."""
    tensors = {}
    for name, shape in layout(header.network, header.num_objectives):
        value = tensors[name] = trained[name].astype(np.float32)
        if name.startswith(f"{LAST}."):
            clean, sharp = (value[0] + value[1 + knob] for knob in range(2))  # (3, ...), at (1, 0) and at (0, 1)
            knobs = [(LUMA, clean), (CHROMA, clean), (LUMA, sharp - clean)]
            parts = [np.tensordot(colours, kernels, 1) for colours, kernels in knobs]
            tensors[name] = np.stack([0 * clean, *parts]).astype(np.float32)
            assert tensors[name].shape == shape
    return tensors


if __name__ == "__main__":
    trained = "the weights file that `tunable train photo/unet`, photo/longer or denoise_deblur/unet wrote"
    sys.exit(main(__doc__, trained, photo_header, photo_tensors))
