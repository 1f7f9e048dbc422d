"""The programs whose weights files become this project's, and what they call their tensors.

mindediting  MindEditing's tunable EDSR, NAFNet, SwinIR and StyleNet (MindSpore)
swinir       the official SwinIR, plain
nafnet       the official NAFNet, plain
compact      the official Compact (SRVGGNetCompact of Real-ESRGAN), plain

A source's reader renames the tensors of a file, and reads the arguments of the network from their shapes.
"""

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tunable.arrays import Tensors
from tunable.errors import CheckpointError, shown
from tunable.specs.residual import DIV2K_MEAN
from tunable.weights import architectures
from tunable.weights.architectures import Facts, Shapes

_BUFFER = re.compile(
    r"(^|\.)(relative_position_index|attn_mask|moving_mean|moving_variance|img_mean|img_std|num_batches_tracked)$"
    r"|^(sub|add)_mean\."
    r"|^(learning_rate|global_step|epoch_num|step_num|beta[12]_power|loss_scale)$"  # of MindSpore's training
)
_STRANGE = {  # tensors of other networks and of variants -> what they are
    r"\.attn\.(logit_scale|cpb_mlp\.|q_bias$)": "Swin2SR's attention, which is another",
    r"\.conv_block\.cab\.": "HAT, another network",
    r"(^|\.)absolute_pos_embed$": "positions added to the features (ape), which are not known here",
    r"(^|\.)(layers\.\d+\.conv|conv_after_body)\.0\.": "resi_connection 3conv; only 1conv is known here",
    r"(^|\.)conv_first\.1\.": "a pixel unshuffle before the first convolution, which is not known here",
    r"\.se\.\d\.": "the Baseline network of NAFNet's authors (squeeze and excitation), which is not known here",
    r"(^|\.)(body\.0\.(blks|fusion)|up\.0)\.": "NAFSSR, the stereo network, which is not known here",
    r"(\.weight_g|\.weight_orig|\.lora_\w+|\.parametrizations\..*)$": "weights that are computed from other tensors "
    "(weight or spectral norm, LoRA): merge them first",
}


def is_buffer(name: str) -> bool:
    """Return whether a tensor of a file, by its name there, follows from others or belongs to training."""
    return bool(_BUFFER.search(name))


def check_known(names: Iterable[str]) -> None:
    """Raise CheckpointError for the name of a tensor that networks have which are not known here."""
    for name, (pattern, what) in itertools.product(names, _STRANGE.items()):
        if re.search(pattern, name):
            raise CheckpointError(f"{name!r} is of {what}")


def is_swinir(names: Iterable[str]) -> bool:
    """Return whether tensors of these names, by their file, are a SwinIR's."""
    return any(name.startswith("layers.0.residual_group.") for name in names)


def _mindediting(facts: Facts) -> tuple[Tensors, dict[str, Any]]:
    """Kernels lie behind a leading axis of one, phi is called mlp, free parameters data, norms' scale and shift gamma
    and beta (NAFNet's are free parameters of these names)."""
    renamed, tensors = {}, facts.tensors
    for name, value in tensors.items():
        owner, _, local = name.rpartition(".")
        if owner.endswith(".mlp") and any(owner[:-4] + end in tensors for end in (".weight", ".data")):
            renamed[f"{owner[:-4]}.phi.{local}"] = value
        elif local == "data" or (local in ("weight", "bias") and owner + ".mlp.weight" in tensors):
            if value.shape[:1] != (1,):
                raise CheckpointError(f"tensor {name!r} has shape {value.shape}; a leading axis of one is wanted")
            renamed[f"{owner}.{'weight' if local == 'data' else local}"] = value[0]
        elif local in ("gamma", "beta"):
            renamed[f"{owner}.{'weight' if local == 'gamma' else 'bias'}"] = value
        else:
            renamed[name] = value.reshape(-1) if value.shape[:1] == (1,) else value  # a norm's [1, C, 1, 1]
    kinds = {
        "intro.weight": architectures.nafnet,
        "conv_in.conv.weight": architectures.style_unet,
        "conv_first.weight": architectures.swinir,
        "head.weight": architectures.edsr,
    }
    first = next((name for name in kinds if name in renamed), "intro.weight")
    arguments = kinds[first]
    if first == "conv_in.conv.weight":
        renamed = _renumbered_style(renamed)
    renamed = _swinir_names(renamed) if first == "conv_first.weight" else _upsample_names(renamed)
    if first not in renamed or not _is_kernel(first, renamed) or renamed[first].ndim != 5:
        raise CheckpointError(f"tensor {first!r} is not that of a tunable convolution")
    p = len(renamed[first])
    plain = {
        name: value[0] if _is_kernel(name, renamed) and np.ndim(value) and len(value) else value
        for name, value in renamed.items()
    }
    shapes = Shapes(plain, facts.foreign_name)
    if first == "conv_first.weight":
        renamed = scaled(renamed, facts.img_range)
    return renamed, {**arguments(shapes, facts), "num_objectives": p, "phi": "affine"}


def _is_kernel(name: str, tensors: Tensors) -> bool:
    """Whether a tensor is stacked over the objectives: its layer has a phi."""
    owner = name.rpartition(".")[0]
    return ".phi." not in name and owner + ".phi.weight" in tensors


def _mindediting_name(name: str) -> str:
    return re.sub(r"^upsample\.1\.", "upsample.2.", name.replace(".phi.", ".mlp."))


def _official_swinir(facts: Facts) -> tuple[Tensors, dict[str, Any]]:
    mean = facts.tensors.pop("mean", None)  # some copies keep it as a tensor
    if mean is not None and not np.allclose(mean.ravel(), DIV2K_MEAN, atol=1e-4):
        raise CheckpointError(f"its mean colour is {mean.ravel().tolist()}; {DIV2K_MEAN} is wanted")
    renamed = _swinir_names(facts.tensors)
    arguments = architectures.swinir(Shapes(renamed, facts.foreign_name), facts)
    if facts.img_range is None and arguments["window"] == 7:
        raise CheckpointError(
            "its window of 7 is that of the official networks against JPEG artefacts, which compute in 0..255, "
            "and the file does not say in which range it does: --set img_range=255 (or 1)"
        )
    if facts.img_range is None:
        facts.assumed.append("img_range 1 (--set img_range=255 for one trained on 0..255)")
    facts.assumed.append(
        f"the mean colour of DIV2K, GELU, norms with eps 1e-5, pictures padded to windows of {arguments['window']}"
    )
    return scaled(renamed, facts.img_range), {**arguments, "shifted": _shifted(arguments, facts)}


def _shifted(arguments: dict[str, Any], facts: Facts) -> bool:
    """Whether windows shift: the original keeps a mask for every block that does, and never shifts where the pictures
    that it was built for (`img_size`) are no larger than a window."""
    block = "layers.{}.residual_group.blocks.{}.attn_mask"
    expected = {block.format(i, j) for i, depth in enumerate(arguments["depths"]) for j in range(1, depth, 2)}
    masks = {name for name in facts.buffers if name.endswith("attn_mask")}
    if masks and masks != expected:
        raise CheckpointError(
            f"{len(masks)} of its blocks have an attn_mask; every other one of a group is wanted, {len(expected)}"
        )
    if masks or not expected:
        return True
    if any(name.endswith("relative_position_index") for name in facts.buffers):
        facts.assume(
            "shifted",
            "windows that never shift, for no block has an attn_mask: img_size was no larger than a window "
            "(--set shifted=true if masks were left out)",
        )
        return False
    facts.assume("shifted", "windows that shift (--set shifted=false for img_size no larger than the window)")
    return True


def scaled(tensors: Tensors, img_range: float | None) -> Tensors:
    """The tensors for values in 0..1: the first convolution takes the factor, the last convolution its inverse."""
    if img_range is None:
        return tensors
    if isinstance(img_range, bool) or not isinstance(img_range, int | float) or not 1e-30 < img_range < 1e30:
        raise CheckpointError(f"img_range wants a number above zero such as 255, not {shown(img_range)}")
    last = "conv_last" if "conv_last.weight" in tensors else "upsample.0"
    factors = {"conv_first.weight": img_range, last + ".weight": 1 / img_range, last + ".bias": 1 / img_range}
    return {name: value * np.float64(factors[name]) if name in factors else value for name, value in tensors.items()}


def _official_nafnet(facts: Facts) -> tuple[Tensors, dict[str, Any]]:
    """Two of its layers stand in sequences of their own; beta and gamma have a leading axis of one."""
    renamed = {}
    for name, value in facts.tensors.items():
        name = re.sub(r"\.sca\.1\.", ".sca.", re.sub(r"^ups\.(\d+)\.0\.", r"ups.\1.", name))
        renamed[name] = value[0] if name.endswith((".beta", ".gamma")) and value.shape[:1] == (1,) else value
    facts.assumed.append("averages over the whole picture (NAFNetLocal's are local), norms with eps 1e-6")
    return renamed, architectures.nafnet(Shapes(renamed, facts.foreign_name), facts)


def _nafnet_name(name: str) -> str:
    return re.sub(r"\.sca\.", ".sca.1.", re.sub(r"^ups\.(\d+)\.", r"ups.\1.0.", name))


def _official_compact(facts: Facts) -> tuple[Tensors, dict[str, Any]]:
    """Its names and shapes are this project's."""
    return facts.tensors, architectures.compact(Shapes(facts.tensors, facts.foreign_name), facts)


def _upsample_names(tensors: Tensors) -> Tensors:
    """Convs of the upsampling stand at 0, 2 and 4 of a sequence, pixel shuffles between them."""
    return {re.sub(r"^upsample\.([24])\.", lambda match: f"upsample.{int(match[1]) // 2}.", name): value
            for name, value in tensors.items()}  # fmt: skip


def _swinir_names(tensors: Tensors) -> Tensors:
    renamed = {}
    for name, value in _upsample_names(tensors).items():
        name = name.replace("conv_before_upsample.0.", "conv_before_upsample.").replace("conv_HR.", "conv_hr.")
        renamed[re.sub(r"^conv_up(\d)\.", lambda match: f"conv_up.{int(match[1]) - 1}.", name)] = value
    return renamed


def _swinir_name(name: str) -> str:
    name = re.sub(r"^upsample\.([12])\.", lambda match: f"upsample.{2 * int(match[1])}.", name)
    name = re.sub(r"^conv_up\.(\d)\.", lambda match: f"conv_up{int(match[1]) + 1}.", name)
    return name.replace("conv_before_upsample.", "conv_before_upsample.0.")


def _renumbered_style(tensors: Tensors) -> Tensors:
    """Enlargements have numbers of their own in the sequence, and no tensors; the last conv has no norm."""
    numbers = sorted({int(match[1]) for name in tensors if (match := re.match(r"encoder_decoder\.(\d+)\.", name))})
    renamed = {}
    for name, value in tensors.items():
        first, *rest = name.split(".")
        if first == "encoder_decoder" and rest[0].isdigit():
            rest[0] = str(numbers.index(int(rest[0])))
        if first == "conv_out":
            rest = rest[1:]
        renamed[".".join([first, *rest])] = value
    return renamed


class Source(NamedTuple):
    """How a program's files are read.

    Attributes:
        marks: names that tell its networks; every network has one of them.
        read: turns the facts of a file into its tensors by this project's names, and the arguments of the network;
            `num_objectives` among these for a tunable network.
        foreign_name: gives the program's name of a tensor from this project's.
    """

    marks: tuple[str, ...]
    read: Callable[[Facts], tuple[Tensors, dict[str, Any]]]
    foreign_name: Callable[[str], str]


SOURCES: dict[str, Source] = {
    "mindediting": Source(
        tuple(first + ".mlp.weight" for first in ("intro", "conv_in.conv", "conv_first", "head")),
        _mindediting,
        _mindediting_name,
    ),
    "swinir": Source(
        ("layers.0.residual_group.blocks.0.attn.relative_position_bias_table",), _official_swinir, _swinir_name
    ),
    "nafnet": Source(("intro.weight",), _official_nafnet, _nafnet_name),
    "compact": Source(("body.0.weight",), _official_compact, str),
}
