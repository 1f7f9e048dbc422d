"""A knob for strength on a plain denoiser: the blend with the input, inside a tunable network, exactly.

    python tools/strength_model.py runs/unet/model.safetensors -o tunable/models/denoise.safetensors --float16

The plain U-Net returns z + net(z), where net ends in the convolution `tail`. The tunable one returns

    z + (1 - nu omega_noise) net(z) = (1 - nu omega_noise) plain(z) + nu omega_noise z

which is the best answer to the objective `noise` that this denoiser can give (docs/models.md). Its `tail` alone
depends on omega: its kernel and its bias are those of the plain network, scaled by 1 - nu omega_noise. Nothing is
trained here. With --float16 the kernels in front of `tail` are stored in 16 bits, for a file of half the size.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tunable.arrays import Tensors
from tunable.errors import TunableError
from tunable.objectives.restoration import NoisePreservation
from tunable.parameters.layouts import layout, tunable_layers
from tunable.specs.formulations import Last
from tunable.trained import Part
from tunable.weights import storage
from tunable.weights.storage import Header

LAST = "tail"


def strength_header(plain: Header) -> Header:
    """The header of the tunable network: what trained the plain one, and the line on which the knob is exact."""
    recipe = plain.known_recipe()
    if plain.network.name != "unet" or plain.objectives or recipe is None:
        raise TunableError("wants the weights of a plain unet, with the recipe that trained it")
    names = tuple(objective.name for objective in recipe.objectives)
    if [(each.name, each.kind) for each in recipe.objectives] != [("fidelity", "rec"), ("noise", "noise")]:
        raise TunableError(f"wants a recipe with the objectives fidelity (rec) and noise (noise), not {names}")
    changes = {"tunable": True, "phi": "base", "differences": "scale", "where": Last(last=1)}
    return Header(
        plain.network.model_copy(update=changes),
        names,
        ((0.0, 1.0),) * 2,
        recipe,
        writer=f"{Header.writer}, tools/strength_model.py on weights of {plain.writer}",
        history=plain.history,
        trained=(Part(omega="sum 1", share=1),),
    )


def strength_tensors(plain: Tensors, header: Header) -> Tensors:
    """The tensors of the tunable network: those of the plain one, and the differences of its last convolution."""
    tensors = {}
    noise = next(each for each in header.known_recipe().objectives if isinstance(each, NoisePreservation))
    place = header.objectives.index(noise.name)
    for name, shape in layout(header.network, header.num_objectives):
        if not name.startswith(f"{LAST}."):
            tensors[name] = plain[name]
            continue
        value = tensors[name] = np.zeros(shape, np.float32)  # (2, 3) gain; base and two differences (3, 3) bias
        if name == f"{LAST}.gain":
            value[place] = -noise.nu
        else:
            value[0] = plain[name]
        if name == f"{LAST}.bias":
            value[1 + place] = -noise.nu * plain[name]
    return tensors


def halved(tensors: Tensors, header: Header) -> Tensors:
    """Kernels in front of the tunable layer in float16; all else as it is, so that the knobs stay exact."""
    last = tunable_layers(header.network, header.num_objectives) or ()
    kernels = {name for name, value in tensors.items() if value.ndim == 4 and name.rpartition(".")[0] not in last}
    return {name: value.astype(np.float16) if name in kernels else value for name, value in tensors.items()}


def main(about: str, trained: str, new_header: Callable[[Header], Header], new_tensors: Callable) -> int:
    """Read a weights file, --out and --float16, and write the network that is computed from it.

    about    the program's docstring
    trained  what the weights file must be
    new_header, new_tensors    of the other network: (header) -> header, (tensors, new header) -> tensors
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("trained", type=Path, help=trained)
    parser.add_argument("-o", "--out", type=Path, required=True, help="the weights file to write, *.safetensors")
    parser.add_argument(
        "--float16", action="store_true", help="store the kernels in front of the last convolution in 16 bits"
    )
    args = parser.parse_args()
    try:
        tensors, header = storage.load(args.trained)
        header = new_header(header)
        tensors = new_tensors(tensors, header)
        storage.save(args.out, halved(tensors, header) if args.float16 else tensors, header)
    except TunableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    plain = "the weights file of a plain unet that removes noise"
    sys.exit(main(__doc__, plain, strength_header, strength_tensors))
