"""Weights of other programs as this project's: names and shapes say what network they are of; and plain weights of
this project as tunable ones.

mindediting  MindEditing's tunable EDSR, NAFNet, SwinIR and StyleNet (MindSpore)
swinir       the official SwinIR, plain
nafnet       the official NAFNet, plain
plain        this project's, plain: tunable with phi base, its differences zero
endpoints    two or more of them, of one network: tunable with phi identity, norms too, which interpolates them

What a file cannot say (constants of the network) is that program's own by default; `overrides` change it. Objectives
have no names there: omega_1, omega_2, ...
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tunable_core.checkpoint import Header
from tunable_core.errors import CheckpointError, TunableError, nearest
from tunable_core.foreign_files import read_foreign
from tunable_core.initial import ParameterSpec
from tunable_core.networks import NetworkSpec

Tensors = dict[str, np.ndarray]
_UNUSED = re.compile(
    r"(^|\.)(relative_position_index|attn_mask|moving_mean|moving_variance|img_mean|img_std|num_batches_tracked)$"
    r"|^(sub|add)_mean\."
)


def convert(
    path: str | Path, source: str, overrides: dict[str, Any] | None = None, *, allow_pickle: bool = False
) -> tuple[Tensors, Header]:
    """The tensors and the header of a foreign weights file.

    source     mindediting, swinir or nafnet
    overrides  arguments of the network to set, by name

    Raises TunableError for an unknown source or argument, CheckpointError for a file that cannot be read or is not
    of that source.
    """
    if source not in SOURCES:
        raise TunableError(f"unknown source {source!r}{nearest(source, SOURCES)}; known: {', '.join(SOURCES)}")
    foreign = read_foreign(path, allow_pickle=allow_pickle)
    tensors = {name: value for name, value in foreign.items() if not _UNUSED.search(name)}
    try:
        tensors, values = SOURCES[source](tensors)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not of a network of {source} that is known here: {type(error).__name__} {error}"
        ) from None
    p = values.pop("num_objectives", 0)
    try:
        spec = TypeAdapter(NetworkSpec).validate_python({**values, "tunable": p > 0, **(overrides or {})})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise TunableError(f"{path}: network {where}: {_said(first)}") from None
    names = tuple(f"omega_{i + 1}" for i in range(p))
    header = Header(spec, names, ((0.0, 1.0),) * p, writer=f"{Header.writer}, converted from {source}")
    return {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}, header


def tunable_header(headers: list[Header], source: str, objectives: list[str] | None = None) -> Header:
    """The header of the tunable network that plain ones become.

    headers     of one file (plain), or of one per objective (endpoints)
    objectives  their names; for plain they say how many, for endpoints None is omega_1, omega_2, ...

    Raises TunableError where the files or the names do not fit.
    """
    first = headers[0]
    for number, header in enumerate(headers, 1):
        if header.objectives:
            raise TunableError(f"file {number} holds a tunable network; {source} wants plain ones")
        if (found := _plain_facts(header)) != (wanted := _plain_facts(first)):
            raise TunableError(f"files 1 and {number} hold different networks: {wanted} and {found}")
    if source == "endpoints":
        if len(headers) < 2:
            raise TunableError("endpoints wants two weights files or more, one for each objective")
        objectives = objectives or [f"omega_{i + 1}" for i in range(len(headers))]
        if len(objectives) != len(headers):
            raise TunableError(f"{len(objectives)} objectives are named for {len(headers)} files")
    elif len(headers) > 1 or not objectives:
        raise TunableError("plain wants one weights file, and --objectives with the names of its knobs to be")
    if len(set(objectives)) < len(objectives) or not all(objectives):
        raise TunableError(f"objectives want different names, not {','.join(objectives)!r}")
    changes = {"tunable": True, "phi": "base" if source == "plain" else "identity"}
    if source == "endpoints" and "tunable_norms" in type(first.network).model_fields:
        changes["tunable_norms"] = True
    spec = first.network.model_copy(update=changes)
    writer = f"{Header.writer}, converted from {source}"
    return Header(spec, tuple(objectives), ((0.0, 1.0),) * len(objectives), writer=writer)


def _plain_facts(header: Header) -> dict[str, Any]:
    return header.network.model_dump(exclude={"phi", "tunable", "tunable_norms"})


def tunable_tensors(files: list[Tensors], specs: list[ParameterSpec]) -> Tensors:
    """Plain weights as those of a tunable network with these specs: stacked, or in front of zeros when there is one."""
    found = {}
    for spec in specs:
        name = spec.name if spec.name in files[0] else spec.name.removesuffix(".weight")  # of a free parameter
        values = [tensors[name] for tensors in files]
        if values[0].shape == spec.shape:  # a norm that omega does not set: of the one plain file
            found[spec.name] = values[0]
        else:
            missing = spec.shape[0] - len(values)
            found[spec.name] = np.stack([*values, *[np.zeros_like(values[0])] * missing])
    return found


def _said(error: dict) -> str:
    """What pydantic found; its own checks do not say what they received."""
    message = error["msg"].removeprefix("Value error, ")
    return message if error["type"] == "value_error" else f"{message}, not {error['input']!r}"


def _mindediting(tensors: Tensors) -> tuple[Tensors, dict]:
    """Kernels lie behind a leading axis of one, phi is called mlp, free parameters data, norms' scale and shift gamma
    and beta (NAFNet's are free parameters of these names)."""
    found = {}
    for name, value in tensors.items():
        owner, _, local = name.rpartition(".")
        if owner.endswith(".mlp") and any(owner[:-4] + end in tensors for end in (".weight", ".data")):
            found[f"{owner[:-4]}.phi.{local}"] = value
        elif local == "data" or (local in ("weight", "bias") and owner + ".mlp.weight" in tensors):
            found[f"{owner}.{'weight' if local == 'data' else local}"] = value[0]
        elif local in ("gamma", "beta"):
            found[f"{owner}.{'weight' if local == 'gamma' else 'bias'}"] = value
        else:
            found[name] = value.reshape(-1) if value.shape[:1] == (1,) else value  # a norm's [1, C, 1, 1]
    kinds = {
        "intro.weight": _nafnet_values,
        "conv_in.conv.weight": _style_values,
        "conv_first.weight": _swinir_values,
        "head.weight": _edsr_values,
    }
    first, values = next((name, values) for name, values in kinds.items() if name in found)
    p = len(found[first])
    if first == "conv_in.conv.weight":
        found = _renumbered_style(found)
    renamed = _swinir_names(found) if first == "conv_first.weight" else _upsample_names(found)
    plain = {name: value[0] if _is_kernel(name, renamed) else value for name, value in renamed.items()}
    return renamed, {**values(plain), "num_objectives": p, "phi": "affine"}


def _is_kernel(name: str, tensors: Tensors) -> bool:
    """Whether a tensor is stacked over the objectives: its layer has a phi."""
    owner = name.rpartition(".")[0]
    return ".phi." not in name and owner + ".phi.weight" in tensors


def _official_swinir(tensors: Tensors) -> tuple[Tensors, dict]:
    renamed = _swinir_names(tensors)
    return renamed, _swinir_values(renamed)


def _official_nafnet(tensors: Tensors) -> tuple[Tensors, dict]:
    """Two of its layers stand in sequences of their own; beta and gamma have a leading axis of one."""
    renamed = {}
    for name, value in tensors.items():
        name = re.sub(r"\.sca\.1\.", ".sca.", re.sub(r"^ups\.(\d+)\.0\.", r"ups.\1.", name))
        renamed[name] = value[0] if name.endswith((".beta", ".gamma")) else value
    return renamed, _nafnet_values(renamed)


SOURCES: dict[str, Callable[[Tensors], tuple[Tensors, dict]]] = {
    "mindediting": _mindediting,
    "swinir": _official_swinir,
    "nafnet": _official_nafnet,
}


def _upsample_names(tensors: Tensors) -> Tensors:
    """Convs of the upsampling stand at 0 and 2 of a sequence, pixel shuffles between them."""
    return {re.sub(r"^upsample\.2\.", "upsample.1.", name): value for name, value in tensors.items()}


def _swinir_names(tensors: Tensors) -> Tensors:
    renamed = {}
    for name, value in _upsample_names(tensors).items():
        name = name.replace("conv_before_upsample.0.", "conv_before_upsample.").replace("conv_HR.", "conv_hr.")
        renamed[re.sub(r"^conv_up(\d)\.", lambda found: f"conv_up.{int(found[1]) - 1}.", name)] = value
    return renamed


def _renumbered_style(tensors: Tensors) -> Tensors:
    """Enlargements have numbers of their own in the sequence, and no tensors; the last conv has no norm."""
    numbers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("encoder_decoder.")})
    renamed = {}
    for name, value in tensors.items():
        first, *rest = name.split(".")
        if first == "encoder_decoder":
            rest[0] = str(numbers.index(int(rest[0])))
        if first == "conv_out":
            rest = rest[1:]
        renamed[".".join([first, *rest])] = value
    return renamed


def _count(tensors: Tensors, pattern: str) -> int:
    """How many numbers follow a prefix: `body.(\\d+)`."""
    return len({found[1] for name in tensors if (found := re.match(pattern, name))})


def _edsr_values(tensors: Tensors) -> dict:
    factors = [2 if len(tensors[f"upsample.{i}.weight"]) == 4 * len(tensors["head.weight"]) else 3
               for i in range(_count(tensors, r"upsample\.(\d+)\."))]  # fmt: skip
    return {
        "name": "resnet",
        "channels": len(tensors["head.weight"]),
        "blocks": _count(tensors, r"body\.(\d+)\."),
        "upscale": int(np.prod(factors, dtype=int)),
        "head_relu": True,
        "residual_scale": 0.1,
        "mean": True,
    }


def _nafnet_values(tensors: Tensors) -> dict:
    stages = _count(tensors, r"downs\.(\d+)\.")
    return {
        "name": "nafnet",
        "width": len(tensors["intro.weight"]),
        "middle": _count(tensors, r"middle_blks\.(\d+)\."),
        "encoder": [_count(tensors, rf"encoders\.{i}\.(\d+)\.") for i in range(stages)],
        "decoder": [_count(tensors, rf"decoders\.{i}\.(\d+)\.") for i in range(stages)],
    }


def _style_values(tensors: Tensors) -> dict:
    parts = _count(tensors, r"encoder_decoder\.(\d+)\.")
    middle = [i for i in range(parts) if f"encoder_decoder.{i}.conv1.weight" in tensors]
    before = middle[0] if middle else parts // 2
    widths = [len(tensors[f"encoder_decoder.{i}.conv.weight"]) for i in range(before)]
    channels = len(tensors["conv_in.conv.weight"])
    scales = len(set(widths) - {channels})
    after = parts - before - len(middle)
    return {
        "name": "style_unet",
        "channels": channels,
        "scales": scales,
        "blocks": (before // scales, len(middle), after // scales),
    }


def _swinir_values(tensors: Tensors) -> dict:
    group = "layers.{}.residual_group.blocks."
    groups = _count(tensors, r"layers\.(\d+)\.")
    channels = len(tensors["conv_first.weight"])

    def table(i):
        """The relative position bias table of a group's first block, (rows, heads)."""
        name = group.format(i) + "0.attn.relative_position_bias_table"
        return tensors[name] if name in tensors else tensors[name + ".weight"]

    values = {
        "name": "swinir",
        "channels": channels,
        "depths": [_count(tensors, group.format(i).replace(".", r"\.") + r"(\d+)\.") for i in range(groups)],
        "heads": [table(i).shape[-1] for i in range(groups)],
        "window": (int(round(np.sqrt(table(0).shape[-2]))) + 1) // 2,
        "mlp_ratio": len(tensors[group.format(0) + "0.mlp.fc1.weight"]) / channels,
    }
    if "conv_hr.weight" in tensors:
        ups = _count(tensors, r"conv_up\.(\d+)\.")
        return {**values, "upsampler": "nearest+conv", "upscale": 2**ups, "features": len(tensors["conv_hr.weight"])}
    if "conv_before_upsample.weight" in tensors:
        features = len(tensors["conv_before_upsample.weight"])
        factors = [
            int(round(np.sqrt(len(tensors[f"upsample.{i}.weight"]) / features)))
            for i in range(_count(tensors, r"upsample\.(\d+)\."))
        ]
        upscale = int(np.prod(factors))
        return {**values, "upsampler": "pixelshuffle", "upscale": upscale, "features": features}
    if "upsample.0.weight" in tensors:
        upscale = int(round(np.sqrt(len(tensors["upsample.0.weight"]) / 3)))
        return {**values, "upsampler": "pixelshuffledirect", "upscale": upscale}
    return values
