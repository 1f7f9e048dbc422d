"""One knob for a network that enlarges, out of what the recipe super_resolution/upscale trains.

    python tools/enlarging_model.py runs/upscale/model.safetensors -o tunable/models/upscale4.safetensors --float16

The trained network makes faithful(z) at (1, 0) and sharp(z) at (0, 1), and only its last convolution depends on omega.
The network written here returns

    faithful(z) + 0.6 sharpness (sharp(z) - faithful(z))

Sharpness 1 stops on the way to sharp(z), which shows a fine pattern of dots in textures.
Its last convolution alone is another one, computed from the trained one. Nothing is trained here, and the sum is exact
at every setting. With --float16 the kernels in front of it are stored in 16 bits, for a file of half the size.
"""

import sys

import numpy as np
from strength_model import main

from tunable.arrays import Tensors
from tunable.errors import TunableError
from tunable.objectives.features import FeatureDistance
from tunable.parameters.layouts import layout, tunable_layers
from tunable.specs.formulations import Last
from tunable.specs.recipe import Omega
from tunable.trained import Part
from tunable.weights.storage import Header

KNOB, SHARE = "sharpness", 0.6  # how far its end is on the way from faithful to sharp


def knob_header(trained: Header) -> Header:
    """The header of the network with one knob: what trained the other one, with the second objective alone."""
    recipe, network = trained.known_recipe(), trained.network
    objectives = recipe.objectives if recipe else []
    fits = network.where == Last(last=1) and network.phi == "base" and network.differences == "full"
    fits = fits and not network.anchor and not network.bump
    if not fits or network.scale == 1 or [one.kind for one in objectives] != ["rec", "features"]:
        raise TunableError("wants weights that the recipe super_resolution/upscale trained")
    knob = next(one for one in objectives if isinstance(one, FeatureDistance)).model_copy(update={"name": KNOB})
    return Header(
        network,
        (KNOB,),
        ((0.0, 1.0),),
        recipe.model_copy(update={"objectives": [knob], "omega": Omega()}),
        writer=f"{Header.writer}, tools/enlarging_model.py on weights of {trained.writer}",
        history=trained.history,
        trained=(Part(omega="anywhere", share=1),),
    )


def knob_tensors(trained: Tensors, header: Header) -> Tensors:
    """The tensors of the network with one knob: those of the other one, and another last convolution."""
    (last,) = tunable_layers(header.network, 1) or ()
    tensors = {}
    for name, shape in layout(header.network, header.num_objectives):
        value = tensors[name] = trained[name].astype(np.float32)
        if name.startswith(f"{last}."):
            faithful, sharp = (value[0] + value[1 + knob] for knob in range(2))
            tensors[name] = np.stack([faithful, SHARE * (sharp - faithful)]).astype(np.float32)
            assert tensors[name].shape == shape
    return tensors


if __name__ == "__main__":
    sys.exit(
        main(__doc__, "the weights file that `tunable train super_resolution/upscale` wrote", knob_header, knob_tensors)
    )
