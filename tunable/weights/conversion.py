"""Weights of other programs as this project's, and plain weights of this project as tunable ones.

mindediting, swinir,   other programs (tunable.weights.sources): names and shapes say what network they are of
nafnet, compact
plain                  this project's, plain: tunable with phi base, its differences zero
endpoints              two or more plain ones of one network: tunable with phi identity, norms and slopes too, which
                       interpolates them

What a file cannot say (constants of the network) is that program's own by default; `overrides` change it. Objectives
have no names there: omega_1, omega_2, ...
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tunable.arrays import Tensors
from tunable.errors import CheckpointError, TunableError, nearest
from tunable.parameters.layouts import layout
from tunable.parameters.specs import ParameterSpec
from tunable.specs.formulations import FACTORS, KEYS
from tunable.specs.networks import NetworkSpec, OutputBlendSpec
from tunable.specs.validation import first_fault
from tunable.weights.architectures import Facts
from tunable.weights.foreign import FLOATS, ForeignFile, ForeignNetwork, as_float32, network_in, read_foreign
from tunable.weights.sources import SOURCES, check_known, is_buffer, is_swinir
from tunable.weights.storage import Header

BLENDS = ("outputs", "blend")
_CHOICES = {"tunable_norms", "tunable_slopes"}  # what only a recipe makes tunable, and interpolation of networks must


class Converted(NamedTuple):
    """A foreign file as one of this project, and what a user should know of it.

    Attributes:
        tensors: float32, by this project's names.
        header: of the network that they are of.
        notes: where in the file the network lies, and which types became float32.
        assumed: what the file cannot say, and what was taken instead.
    """

    tensors: Tensors
    header: Header
    notes: list[str]
    assumed: list[str]


def convert(
    path: str | Path,
    source: str,
    overrides: dict[str, Any] | None = None,
    *,
    key: str | None = None,
    allow_pickle: bool = False,
) -> tuple[Tensors, Header]:
    """Read the tensors and the header of a foreign weights file: `read_network` without its notes."""
    return read_network(path, source, overrides, key=key, allow_pickle=allow_pickle)[:2]


def read_network(
    path: str | Path,
    source: str,
    overrides: dict[str, Any] | None = None,
    *,
    key: str | None = None,
    allow_pickle: bool = False,
) -> Converted:
    """Read the network in a foreign weights file.

    Args:
        path: the file.
        source: "mindediting", "swinir", "nafnet" or "compact".
        overrides: arguments of the network to set, by name; and `img_range` of SwinIR, the range that it computes in.
        key: names of the path to the network in the file, where the file holds several networks.
        allow_pickle: whether a pickle of PyTorch's is read.

    Returns:
        The network by this project's names.

    Raises:
        TunableError: for an unknown source or argument.
        CheckpointError: for a file that cannot be read or is not of that source.
    """
    if source not in SOURCES:
        raise TunableError(f"unknown source {source!r}{nearest(source, SOURCES)}; known: {', '.join(SOURCES)}")
    file, overrides = read_foreign(path, allow_pickle=allow_pickle), dict(overrides or {})
    try:
        network = _network_of(file, source, key)
        img_range = overrides.pop("img_range", None) if is_swinir(network.tensors) else None
        tensors, buffers = (
            {name: value for name, value in network.tensors.items() if is_buffer(name) == buffer}
            for buffer in (False, True)
        )
        facts = Facts(tensors, buffers, SOURCES[source].foreign_name, overrides, img_range)
        tensors, arguments = SOURCES[source].read(facts)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not of a network of {source} that is known here: {error}") from None
    p = arguments.pop("num_objectives", 0)
    values = {**arguments, "tunable": p > 0, **overrides}
    try:
        spec = TypeAdapter(NetworkSpec).validate_python(values)
    except ValidationError as error:
        raise TunableError(f"{path}: network {first_fault(error, values)}") from None
    if spec.tunable != (p > 0):
        holds = f"a tunable network, {p} objectives" if p else "a plain network (--from plain gives its result knobs)"
        raise TunableError(f"{path} holds {holds}: tunable cannot be set to {str(spec.tunable).lower()}")
    names = tuple(f"omega_{i + 1}" for i in range(p))
    header = Header(spec, names, ((0.0, 1.0),) * p, writer=f"{Header.writer}, converted from {source}")
    tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    return Converted(tensors, header, network.notes, facts.assumed)


def check_fits(tensors: Tensors, header: Header, source: str, path: str | Path) -> None:
    """Check that tensors have the names of their header's network.

    Args:
        tensors: by this project's names.
        header: of the network.
        source: the program, whose names of the tensors the message has.
        path: the file, for the message.

    Raises:
        CheckpointError: for a name that is missing, or too many.
    """
    foreign_name = SOURCES[source].foreign_name
    names = [name for name, _ in layout(header.network, header.num_objectives)]
    missing = [foreign_name(name) for name in names if name not in tensors]
    extra = sorted(foreign_name(name) for name in tensors.keys() - set(names))
    if missing or extra:
        parts = [_counted("it lacks", missing, extra)] if missing else []
        parts += [_counted("it has, and the network does not,", extra, missing)] if extra else []
        raise CheckpointError(f"{path} is not of a network of {source} that is known here: {'; '.join(parts)}")


def _counted(verb: str, names: list[str], others: list[str]) -> str:
    """`it lacks 5 tensors: 'a', 'b', 'c', ...`, with the nearest of the others."""
    shown = ", ".join(f"{name!r}{nearest(name, others)}" for name in names[:3])
    if len(names) == 1:
        return f"{verb} tensor {shown}"
    return f"{verb} {len(names)} tensors: {shown}{', ...' if len(names) > 3 else ''}"


def _network_of(file: ForeignFile, source: str, key: str | None) -> ForeignNetwork:
    """The network in a file, as float32 but for its buffers; CheckpointError for a kind that is refused."""
    try:
        network = network_in(file, SOURCES[source].marks, key)
    except CheckpointError as error:
        check_known(file.tensors)
        others = [other for other in SOURCES if other != source and _holds(file, other)]
        raise CheckpointError(f"{error}{f'; try --from {others[0]}' if others else ''}") from None
    check_known(network.tensors)
    types = {network.types[name] for name in network.tensors if not is_buffer(name)}
    notes = list(network.notes)
    if changed := sorted(types & (FLOATS.keys() - {"float32"})):
        rounded = " (float64 is rounded)" if "float64" in changed else ", exactly"
        notes.append(f"{' and '.join(changed)} became float32{rounded}")
    tensors = {
        name: value if is_buffer(name) else as_float32(name, value, network.types[name])
        for name, value in network.tensors.items()
    }
    return ForeignNetwork(tensors, network.types, notes)


def _holds(file: ForeignFile, source: str) -> bool:
    try:
        return bool(network_in(file, SOURCES[source].marks))
    except CheckpointError:
        return False


def tunable_header(headers: list[Header], source: str, objectives: list[str] | None = None, nu: float = 0.9) -> Header:
    """Make the header of the tunable network that plain ones become.

    Args:
        headers: of one file ("plain", "blend"), or of one file per objective ("endpoints", "outputs").
        source: one of these.
        objectives: their names. For plain they say how many there are; for endpoints None is omega_1, omega_2, ...
        nu: of a blend with the input, the part of what was removed that comes back.

    Raises:
        TunableError: where the files or the names do not fit.
    """
    first = headers[0]
    for number, header in enumerate(headers, 1):
        if header.objectives:
            raise TunableError(f"file {number} holds a tunable network; {source} wants plain ones")
        if _plain_facts(header) != _plain_facts(first):
            networks = f"{_plain_facts(first)} and {_plain_facts(header)}"
            raise TunableError(f"files 1 and {number} hold different networks: {networks}")
    if source == "endpoints":
        if len(headers) < 2:
            raise TunableError("endpoints wants two weights files or more, one for each objective")
        objectives = objectives or [f"omega_{i + 1}" for i in range(len(headers))]
        if len(objectives) != len(headers):
            raise TunableError(f"{len(objectives)} objectives are named for {len(headers)} files")
    elif source in BLENDS:
        return _blend_header(headers, source, objectives, nu)
    elif len(headers) > 1 or not objectives:
        raise TunableError("plain wants one weights file, and --objectives with the names of its knobs to be")
    if len(set(objectives)) < len(objectives) or not all(objectives):
        raise TunableError(f"objectives want different names, not {','.join(objectives)!r}")
    changes = {"tunable": True, "phi": "base" if source == "plain" else "identity"}
    if source == "endpoints":
        changes |= dict.fromkeys(_CHOICES & type(first.network).model_fields.keys(), True)
    spec = first.network.model_copy(update=changes)
    writer = f"{Header.writer}, converted from {source}"
    return Header(spec, tuple(objectives), ((0.0, 1.0),) * len(objectives), writer=writer)


def _blend_header(headers: list[Header], source: str, objectives: list[str] | None, nu: float) -> Header:
    """Of whole networks whose pictures are mixed, or of one that is mixed with its input."""
    ends = len(headers)
    if (ends == 1) != (source == "blend"):
        raise TunableError(f"{source} wants {'one weights file' if source == 'blend' else 'two or more'}, not {ends}")
    p = max(ends, 2)
    names = objectives or [f"omega_{i + 1}" for i in range(p)]
    if len(names) != p or len(set(names)) < p or not all(names):
        raise TunableError(f"{source} wants {p} different names of objectives, not {','.join(names)!r}")
    values = {"name": "output_blend", "of": headers[0].network.model_dump(), "ends": ends}
    values |= {"nu": nu} if source == "blend" else {}
    try:
        spec = OutputBlendSpec.model_validate(values)
    except ValidationError as error:
        raise TunableError(f"{source}: network {first_fault(error, values)}") from None
    return Header(spec, tuple(names), ((0.0, 1.0),) * p, writer=f"{Header.writer}, converted from {source}")


def _plain_facts(header: Header) -> dict[str, Any]:
    return header.network.model_dump(exclude={*KEYS, "tunable", *_CHOICES})


def tunable_tensors(files: list[Tensors], specs: list[ParameterSpec], drawn: Tensors | None = None) -> Tensors:
    """Make the tensors of a tunable network from plain weights.

    Args:
        files: the tensors of every plain file.
        specs: of the tunable network's parameters.
        drawn: starting values of the factors of differences of low rank or scale, which no plain network has.

    Returns:
        The plain tensors stacked along a first axis; one file's in front of zeros.

    Raises:
        KeyError: for a parameter that the files lack.
    """
    if all(spec.name.startswith("ends.") for spec in specs):  # of an output blend, which holds the files as they are
        return {f"ends.{place}.{name}": value for place, file in enumerate(files) for name, value in file.items()}
    stacked = {}
    for spec in specs:
        if drawn and spec.name.rpartition(".")[2] in FACTORS:
            stacked[spec.name] = drawn[spec.name]
            continue
        name = spec.name if spec.name in files[0] else spec.name.removesuffix(".weight")  # of a free parameter
        tensors = [file[name] for file in files]
        if tensors[0].shape == spec.shape:  # a norm that omega does not set: of the one plain file
            stacked[spec.name] = tensors[0]
        else:
            missing = spec.shape[0] - len(tensors)
            stacked[spec.name] = np.stack([*tensors, *[np.zeros_like(tensors[0])] * missing])
    return stacked
