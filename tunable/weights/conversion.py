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

import itertools
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tunable.errors import CheckpointError, TunableError, nearest, shown
from tunable.parameters.layouts import layout
from tunable.parameters.specs import ParameterSpec
from tunable.specs.networks import DIV2K_MEAN, NetworkSpec
from tunable.weights.foreign import FLOATS, Foreign, Found, as_float32, network_in, read_foreign
from tunable.weights.storage import Header

Tensors = dict[str, np.ndarray]

_UNUSED = re.compile(
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


class Converted(NamedTuple):
    """A foreign file as one of this project, and what a user should know of it.

    notes    what was found where, and as what numbers
    assumed  what the file cannot say
    """

    tensors: Tensors
    header: Header
    notes: list[str]
    assumed: list[str]


def convert(
    path: str | Path, source: str, overrides: dict[str, Any] | None = None, **options
) -> tuple[Tensors, Header]:
    """The tensors and the header of a foreign weights file: `read_network` without its words."""
    return read_network(path, source, overrides, **options)[:2]


def read_network(
    path: str | Path,
    source: str,
    overrides: dict[str, Any] | None = None,
    *,
    key: str | None = None,
    allow_pickle: bool = False,
) -> Converted:
    """What a foreign weights file holds.

    source     mindediting, swinir or nafnet
    overrides  arguments of the network to set, by name; and `img_range` of SwinIR, the range that it computes in
    key        names of the path to the network in the file, where that holds several

    Raises TunableError for an unknown source or argument, CheckpointError for a file that cannot be read or is not
    of that source.
    """
    if source not in SOURCES:
        raise TunableError(f"unknown source {source!r}{nearest(source, SOURCES)}; known: {', '.join(SOURCES)}")
    foreign, overrides = read_foreign(path, allow_pickle=allow_pickle), dict(overrides or {})
    try:
        found = _found(foreign, source, key)
        img_range = overrides.pop("img_range", None) if _is_swinir(found.tensors) else None
        facts = _Facts(source, found, overrides, img_range)
        tensors, values = SOURCES[source].read(facts)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not of a network of {source} that is known here: {error}") from None
    p = values.pop("num_objectives", 0)
    try:
        spec = TypeAdapter(NetworkSpec).validate_python({**values, "tunable": p > 0, **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise TunableError(f"{path}: network {where}: {_said(first)}") from None
    if spec.tunable != (p > 0):
        holds = f"a tunable network, {p} objectives" if p else "a plain network (--from plain gives its result knobs)"
        raise TunableError(f"{path} holds {holds}: tunable cannot be set to {str(spec.tunable).lower()}")
    names = tuple(f"omega_{i + 1}" for i in range(p))
    header = Header(spec, names, ((0.0, 1.0),) * p, writer=f"{Header.writer}, converted from {source}")
    tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    return Converted(tensors, header, found.notes, facts.assumed)


def check_fits(tensors: Tensors, header: Header, source: str, path: str | Path) -> None:
    """CheckpointError unless the names are those of the header's network; its message has the names of the file."""
    theirs = SOURCES[source].theirs
    wanted = [name for name, _ in layout(header.network, header.num_objectives)]
    missing = [theirs(name) for name in wanted if name not in tensors]
    extra = [theirs(name) for name in tensors.keys() - set(wanted)]
    if missing or extra:
        said = [_counted("it lacks", missing, extra)] if missing else []
        said += [_counted("it has, and the network does not,", sorted(extra), missing)] if extra else []
        raise CheckpointError(f"{path} is not of a network of {source} that is known here: {'; '.join(said)}")


def _counted(verb: str, names: list[str], others: list[str]) -> str:
    """`it lacks 5 tensors: 'a', 'b', 'c', ...`, with the nearest of the others."""
    shown = ", ".join(f"{name!r}{nearest(name, others)}" for name in names[:3])
    if len(names) == 1:
        return f"{verb} tensor {shown}"
    return f"{verb} {len(names)} tensors: {shown}{', ...' if len(names) > 3 else ''}"


def _found(foreign: Foreign, source: str, key: str | None) -> Found:
    """The network in a file, as float32 without what is computed anew; CheckpointError for a kind that is refused."""
    try:
        found = network_in(foreign, SOURCES[source].marks, key)
    except CheckpointError as error:
        _check_known(foreign.tensors)
        others = [other for other in SOURCES if other != source and _holds(foreign, other)]
        raise CheckpointError(f"{error}{f'; try --from {others[0]}' if others else ''}") from None
    _check_known(found.tensors)
    kinds = {found.types[name] for name in found.tensors if not _UNUSED.search(name)}
    notes = list(found.notes)
    if changed := sorted(kinds & (FLOATS.keys() - {"float32"})):
        rounded = " (float64 is rounded)" if "float64" in changed else ", exactly"
        notes.append(f"{' and '.join(changed)} became float32{rounded}")
    tensors = {
        name: value if _UNUSED.search(name) else as_float32(name, value, found.types[name])
        for name, value in found.tensors.items()
    }
    return Found(tensors, found.types, notes)


def _holds(foreign: Foreign, source: str) -> bool:
    try:
        return bool(network_in(foreign, SOURCES[source].marks))
    except CheckpointError:
        return False


def _check_known(names: Iterable[str]) -> None:
    for name, (pattern, what) in itertools.product(names, _STRANGE.items()):
        if re.search(pattern, name):
            raise CheckpointError(f"{name!r} is of {what}")


class _Facts:
    """What a source's reader looks at, and what it adds to `assumed`.

    tensors  those that the network computes with, by the file's names; buffers: those that follow from the others
    """

    def __init__(self, source: str, found: Found, overrides: dict[str, Any], img_range: float | None):
        self.theirs = SOURCES[source].theirs
        self.tensors = {name: value for name, value in found.tensors.items() if not _UNUSED.search(name)}
        self.buffers = {name: value for name, value in found.tensors.items() if _UNUSED.search(name)}
        self.overrides, self.img_range, self.assumed = overrides, img_range, []

    def assume(self, name: str, said: str) -> None:
        """Say what is assumed of an argument, unless the user has set it."""
        if name not in self.overrides:
            self.assumed.append(said)


class _Shapes:
    """Shapes by this project's names; what is missing or of another rank is a CheckpointError."""

    def __init__(self, tensors: Tensors, theirs: Callable[[str], str]):
        self.tensors, self.theirs = tensors, theirs

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def count(self, pattern: str) -> int:
        """How many numbers follow a prefix: `body.(\\d+)`."""
        return len({found[1] for name in self.tensors if (found := re.match(pattern, name))})

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        theirs = self.theirs(name)
        if name not in self.tensors:
            raise CheckpointError(f"it lacks tensor {theirs!r}{nearest(theirs, map(self.theirs, self.tensors))}")
        shape = self.tensors[name].shape
        if len(shape) != rank or 0 in shape:
            raise CheckpointError(f"tensor {theirs!r} has shape {shape}; {rank} numbers above zero are wanted")
        return shape

    def kernel(self, name: str) -> int:
        """Output channels of a convolution."""
        return self.shape(name, 4)[0]

    def check_colours(self, first: str, last: str | None) -> None:
        """CheckpointError unless the network takes and gives pictures of three channels."""
        takes = self.shape(first, 4)[1]
        if takes != 3:
            raise CheckpointError(
                f"it takes {takes} channels per pixel{' (grey pictures)' * (takes == 1)}; 3 are wanted"
            )
        if last in self and self.kernel(last) != 3:
            raise CheckpointError(f"it gives {self.kernel(last)} channels per pixel; 3 are wanted")


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


def _mindediting(facts: _Facts) -> tuple[Tensors, dict]:
    """Kernels lie behind a leading axis of one, phi is called mlp, free parameters data, norms' scale and shift gamma
    and beta (NAFNet's are free parameters of these names)."""
    found, tensors = {}, facts.tensors
    for name, value in tensors.items():
        owner, _, local = name.rpartition(".")
        if owner.endswith(".mlp") and any(owner[:-4] + end in tensors for end in (".weight", ".data")):
            found[f"{owner[:-4]}.phi.{local}"] = value
        elif local == "data" or (local in ("weight", "bias") and owner + ".mlp.weight" in tensors):
            if value.shape[:1] != (1,):
                raise CheckpointError(f"tensor {name!r} has shape {value.shape}; a leading axis of one is wanted")
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
    first = next((name for name in kinds if name in found), "intro.weight")
    values = kinds[first]
    if first == "conv_in.conv.weight":
        found = _renumbered_style(found)
    renamed = _swinir_names(found) if first == "conv_first.weight" else _upsample_names(found)
    if first not in renamed or not _is_kernel(first, renamed) or renamed[first].ndim != 5:
        raise CheckpointError(f"tensor {first!r} is not that of a tunable convolution")
    p = len(renamed[first])
    plain = {
        name: value[0] if _is_kernel(name, renamed) and np.ndim(value) and len(value) else value
        for name, value in renamed.items()
    }
    shapes = _Shapes(plain, facts.theirs)
    if first == "conv_first.weight":
        renamed = _scaled(renamed, facts.img_range)
    return renamed, {**values(shapes, facts), "num_objectives": p, "phi": "affine"}


def _is_kernel(name: str, tensors: Tensors) -> bool:
    """Whether a tensor is stacked over the objectives: its layer has a phi."""
    owner = name.rpartition(".")[0]
    return ".phi." not in name and owner + ".phi.weight" in tensors


def _mindediting_name(name: str) -> str:
    return re.sub(r"^upsample\.1\.", "upsample.2.", name.replace(".phi.", ".mlp."))


def _official_swinir(facts: _Facts) -> tuple[Tensors, dict]:
    mean = facts.tensors.pop("mean", None)  # some copies keep it as a tensor
    if mean is not None and not np.allclose(mean.ravel(), DIV2K_MEAN, atol=1e-4):
        raise CheckpointError(f"its mean colour is {mean.ravel().tolist()}; {DIV2K_MEAN} is wanted")
    renamed = _swinir_names(facts.tensors)
    values = _swinir_values(_Shapes(renamed, facts.theirs), facts)
    if facts.img_range is None and values["window"] == 7:
        raise CheckpointError(
            "its window of 7 is that of the official networks against JPEG artefacts, which compute in 0..255, "
            "and the file does not say in which range it does: --set img_range=255 (or 1)"
        )
    if facts.img_range is None:
        facts.assumed.append("img_range 1 (--set img_range=255 for one trained on 0..255)")
    facts.assumed.append(
        f"the mean colour of DIV2K, GELU, norms with eps 1e-5, pictures padded to windows of {values['window']}"
    )
    return _scaled(renamed, facts.img_range), {**values, "shifted": _shifted(values, facts)}


def _shifted(values: dict, facts: _Facts) -> bool:
    """Whether windows shift: the original keeps a mask for every block that does, and never shifts where the pictures
    that it was built for (`img_size`) are no larger than a window."""
    block = "layers.{}.residual_group.blocks.{}.attn_mask"
    able = {block.format(i, j) for i, depth in enumerate(values["depths"]) for j in range(1, depth, 2)}
    held = {name for name in facts.buffers if name.endswith("attn_mask")}
    if held and held != able:
        raise CheckpointError(
            f"{len(held)} of its blocks have an attn_mask; every other one of a group is wanted, {len(able)}"
        )
    if held or not able:
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


def _scaled(tensors: Tensors, img_range: float | None) -> Tensors:
    """Those of the same network computing in 0..1: the first convolution takes the factor, the last its inverse."""
    if img_range is None:
        return tensors
    if isinstance(img_range, bool) or not isinstance(img_range, int | float) or not 1e-30 < img_range < 1e30:
        raise CheckpointError(f"img_range wants a number above zero such as 255, not {shown(img_range)}")
    last = "conv_last" if "conv_last.weight" in tensors else "upsample.0"
    factors = {"conv_first.weight": img_range, last + ".weight": 1 / img_range, last + ".bias": 1 / img_range}
    return {name: value * np.float64(factors[name]) if name in factors else value for name, value in tensors.items()}


def _official_nafnet(facts: _Facts) -> tuple[Tensors, dict]:
    """Two of its layers stand in sequences of their own; beta and gamma have a leading axis of one."""
    renamed = {}
    for name, value in facts.tensors.items():
        name = re.sub(r"\.sca\.1\.", ".sca.", re.sub(r"^ups\.(\d+)\.0\.", r"ups.\1.", name))
        renamed[name] = value[0] if name.endswith((".beta", ".gamma")) and value.shape[:1] == (1,) else value
    facts.assumed.append("averages over the whole picture (NAFNetLocal's are local), norms with eps 1e-6")
    return renamed, _nafnet_values(_Shapes(renamed, facts.theirs), facts)


def _nafnet_name(name: str) -> str:
    return re.sub(r"\.sca\.", ".sca.1.", re.sub(r"^ups\.(\d+)\.", r"ups.\1.0.", name))


def _is_swinir(tensors: Tensors) -> bool:
    return any(name.startswith("layers.0.residual_group.") for name in tensors)


class _Source(NamedTuple):
    """How a program's files are read.

    marks   names of which every network of it has one
    read    facts of a file -> its tensors by this project's names, arguments of the network
    theirs  this project's name of a tensor -> theirs
    """

    marks: tuple[str, ...]
    read: Callable[[_Facts], tuple[Tensors, dict]]
    theirs: Callable[[str], str]


def _upsample_names(tensors: Tensors) -> Tensors:
    """Convs of the upsampling stand at 0, 2 and 4 of a sequence, pixel shuffles between them."""
    return {re.sub(r"^upsample\.([24])\.", lambda found: f"upsample.{int(found[1]) // 2}.", name): value
            for name, value in tensors.items()}  # fmt: skip


def _swinir_names(tensors: Tensors) -> Tensors:
    renamed = {}
    for name, value in _upsample_names(tensors).items():
        name = name.replace("conv_before_upsample.0.", "conv_before_upsample.").replace("conv_HR.", "conv_hr.")
        renamed[re.sub(r"^conv_up(\d)\.", lambda found: f"conv_up.{int(found[1]) - 1}.", name)] = value
    return renamed


def _swinir_name(name: str) -> str:
    name = re.sub(r"^upsample\.([12])\.", lambda found: f"upsample.{2 * int(found[1])}.", name)
    name = re.sub(r"^conv_up\.(\d)\.", lambda found: f"conv_up{int(found[1]) + 1}.", name)
    return name.replace("conv_before_upsample.", "conv_before_upsample.0.")


SOURCES: dict[str, _Source] = {
    "mindediting": _Source(
        tuple(first + ".mlp.weight" for first in ("intro", "conv_in.conv", "conv_first", "head")),
        _mindediting,
        _mindediting_name,
    ),
    "swinir": _Source(
        ("layers.0.residual_group.blocks.0.attn.relative_position_bias_table",), _official_swinir, _swinir_name
    ),
    "nafnet": _Source(("intro.weight",), _official_nafnet, _nafnet_name),
}


def _renumbered_style(tensors: Tensors) -> Tensors:
    """Enlargements have numbers of their own in the sequence, and no tensors; the last conv has no norm."""
    numbers = sorted({int(found[1]) for name in tensors if (found := re.match(r"encoder_decoder\.(\d+)\.", name))})
    renamed = {}
    for name, value in tensors.items():
        first, *rest = name.split(".")
        if first == "encoder_decoder" and rest[0].isdigit():
            rest[0] = str(numbers.index(int(rest[0])))
        if first == "conv_out":
            rest = rest[1:]
        renamed[".".join([first, *rest])] = value
    return renamed


def _edsr_values(shapes: _Shapes, facts: _Facts) -> dict:
    shapes.check_colours("head.weight", "tail.weight")
    channels, stages = shapes.kernel("head.weight"), shapes.count(r"upsample\.(\d+)\.")
    factors = [_factor(shapes.kernel(f"upsample.{i}.weight"), channels) for i in range(stages)]
    facts.assume("head_relu", "a ReLU after the first convolution (head_relu)")
    facts.assume("residual_scale", "residual_scale 0.1")
    facts.assume("mean", "the mean colour of DIV2K (mean)")
    return {
        "name": "resnet",
        "channels": channels,
        "blocks": shapes.count(r"body\.(\d+)\."),
        "upscale": math.prod(factors),
        "head_relu": True,
        "residual_scale": 0.1,
        "mean": True,
    }


def _nafnet_values(shapes: _Shapes, facts: _Facts) -> dict:
    shapes.check_colours("intro.weight", "ending.weight")
    stages = shapes.count(r"downs\.(\d+)\.")
    return {
        "name": "nafnet",
        "width": shapes.kernel("intro.weight"),
        "middle": shapes.count(r"middle_blks\.(\d+)\."),
        "encoder": [shapes.count(rf"encoders\.{i}\.(\d+)\.") for i in range(stages)],
        "decoder": [shapes.count(rf"decoders\.{i}\.(\d+)\.") for i in range(stages)],
    }


def _style_values(shapes: _Shapes, facts: _Facts) -> dict:
    parts = shapes.count(r"encoder_decoder\.(\d+)\.")
    middle = [i for i in range(parts) if f"encoder_decoder.{i}.conv1.weight" in shapes]
    before = middle[0] if middle else parts // 2
    widths = [shapes.kernel(f"encoder_decoder.{i}.conv.weight") for i in range(before)]
    channels = shapes.kernel("conv_in.conv.weight")
    scales = len(set(widths) - {channels})
    if not scales:
        raise CheckpointError(
            f"its convolutions on the way down have {widths} channels, after a first one of {channels}"
        )
    after = parts - before - len(middle)
    facts.assume("normalise", "ImageNet's mean and deviation (normalise)")
    return {
        "name": "style_unet",
        "channels": channels,
        "scales": scales,
        "blocks": (before // scales, len(middle), after // scales),
    }


def _swinir_values(shapes: _Shapes, facts: _Facts) -> dict:
    group = "layers.{}.residual_group.blocks."
    groups = shapes.count(r"layers\.(\d+)\.")
    channels = shapes.kernel("conv_first.weight")

    def table(i):
        """The shape of the relative position bias table of a group's first block, (rows, heads)."""
        name = group.format(i) + "0.attn.relative_position_bias_table"
        return shapes.shape(name if name in shapes else name + ".weight", 2)

    window = (math.isqrt(table(0)[0]) + 1) // 2
    if (2 * window - 1) ** 2 != table(0)[0]:
        raise CheckpointError(f"a relative position bias table of {table(0)[0]} rows is of no window")
    hidden = shapes.shape(group.format(0) + "0.mlp.fc1.weight", 2)[0]
    values = {
        "name": "swinir",
        "channels": channels,
        "depths": [shapes.count(group.format(i).replace(".", r"\.") + r"(\d+)\.") for i in range(groups)],
        "heads": [table(i)[1] for i in range(groups)],
        "window": window,
        "mlp_ratio": _ratio(hidden, channels),
    }
    shapes.check_colours("conv_first.weight", "conv_last.weight")
    if "conv_hr.weight" in shapes:
        ups = shapes.count(r"conv_up\.(\d+)\.")
        values |= {"upsampler": "nearest+conv", "upscale": 2**ups, "features": shapes.kernel("conv_hr.weight")}
        if ups == 1 and "upscale" not in facts.overrides:
            raise CheckpointError(
                "its upsampler nearest+conv has one convolution: it may enlarge 2 times, or be the unofficial one that "
                "keeps the size, which is not known here; --set upscale=2 if it does enlarge"
            )
    elif "conv_before_upsample.weight" in shapes:
        features, stages = shapes.kernel("conv_before_upsample.weight"), shapes.count(r"upsample\.(\d+)\.")
        factors = [_factor(shapes.kernel(f"upsample.{i}.weight"), features) for i in range(stages)]
        values |= {"upsampler": "pixelshuffle", "upscale": math.prod(factors), "features": features}
    elif "upsample.0.weight" in shapes:
        values |= {"upsampler": "pixelshuffledirect", "upscale": _factor(shapes.kernel("upsample.0.weight"), 3)}
    upsampler, upscale = values.get("upsampler"), values.get("upscale")
    if upsampler and upscale not in ((2, 4) if upsampler == "nearest+conv" else (2, 3, 4, 8)):
        raise CheckpointError(f"its upsampler {upsampler} enlarges {upscale} times, which is not known here")
    return values


def _factor(outputs: int, inputs: int) -> int:
    """How many times a pixel shuffle enlarges, from the channels that the convolution before it gives and takes."""
    factor = math.isqrt(outputs // inputs)
    if factor**2 * inputs != outputs:
        raise CheckpointError(
            f"a convolution before a pixel shuffle gives {outputs} channels for {inputs}, no square times"
        )
    return factor


def _ratio(hidden: int, channels: int) -> float:
    """The ratio of which int(channels * ratio) is `hidden`."""
    ratio = hidden / channels
    return ratio if int(channels * ratio) == hidden else math.nextafter(ratio, math.inf)
