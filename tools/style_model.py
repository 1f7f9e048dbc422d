"""The network of styles that the recipe style_transfer/paintings trains, as the model `styles` that ships.

    python tools/style_model.py runs/styles/model.safetensors -o tunable/models/styles.safetensors --float16

Nothing is computed: every setting is the trained network's. With --float16 the kernels are stored in 16 bits, for a
file of half the size.
"""

import sys
from dataclasses import replace

from strength_model import main

from tunable.errors import TunableError
from tunable.weights.storage import Header


def style_header(trained: Header) -> Header:
    """The header of the trained network, which names this program too."""
    recipe = trained.known_recipe()
    if recipe is None or {each.kind for each in recipe.objectives} != {"style"}:
        raise TunableError("wants weights that a recipe with objectives of kind style trained")
    return replace(trained, writer=f"{Header.writer}, tools/style_model.py on weights of {trained.writer}")


if __name__ == "__main__":
    trained = "the weights file that `tunable train style_transfer/paintings` wrote"
    sys.exit(main(__doc__, trained, style_header, lambda tensors, header: tensors))
