"""What `make_tunable` of both twins shares: which layers become tunable, where they start, and their tensors in files.

A twin lists the places of a network that hold parameters; `chosen` picks those that become tunable, and says of every
other one why it stays ordinary. The file is `tunable.weights.retrofitted`'s.
"""

import fnmatch
from collections.abc import Callable, Collection, Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from tunable.errors import CheckpointError, OmegaError, TunableError, nearest, shown
from tunable.parameters.specs import ParameterSpec
from tunable.parameters.starts import starting_weights
from tunable.specs.formulations import PHI_FORMS, anchor_of
from tunable.specs.validation import first_fault
from tunable.weights.retrofitted import Plan

TRAIN = ("all", "differences")
DIFFERENCES = ("full", "scale")
_WILD = frozenset("*?[")


class Place(NamedTuple):
    """A layer, or a free parameter, of a network.

    Attributes:
        name: the layer's ("body.0"), or the parameter's ("body.0.scale").
        kind: the name of the layer's class; "parameter".
        layer: the layer, or the module that holds the parameter.
        tensors: what becomes tunable together: name inside the place ("weight") -> name in the network
            ("body.0.weight"); layers that share a tensor name it by the first layer's name.
        usual: whether it becomes tunable unasked: convolutions and linear layers do.
        obstacle: why it cannot become tunable, "" when it can.
    """

    name: str
    kind: str
    layer: Any
    tensors: dict[str, str]
    usual: bool = False
    obstacle: str = ""


def below(name: str, local: str) -> str:
    """Return the name of what stands in the layer `name`, "" for the network itself."""
    return f"{name}.{local}" if name else local


class Entry(NamedTuple):
    """A parameter of a network, and its shape in files."""

    value: Any
    shape: tuple[int, ...]


class LayerParts(NamedTuple):
    """What a layer holds once it is tunable.

    Attributes:
        name: of the layer in the network.
        names: the name in the network of every tensor, by its name in the layer.
        kernels: the parameters that stand for each tensor, by its name in the layer and the parameter's.
        phi: phi's parameters by name.
    """

    name: str
    names: dict[str, str]
    kernels: dict[str, dict[str, Entry]]
    phi: dict[str, Entry]


def kept_reason(where: str) -> str:
    """Say why a parameter that a network keeps elsewhere too cannot become tunable."""
    return f"the network keeps it in {where} too, which would not follow omega: take it from its layer where it is used"


Where = str | type | Callable[[str, Any], bool] | Iterable["Where"] | None


def chosen(places: list[Place], where: Where) -> tuple[list[Place], dict[str, str]]:
    """Choose the places that become tunable.

    Args:
        places: of the network.
        where: a pattern of names ("body.*", "*.scale"), a class of layers, a predicate (name, layer) -> bool, or a
            list of these, one of them must hold; None: convolutions and linear layers.

    Returns:
        The places, and of every other place, by name, why it does not become tunable.

    Raises:
        TunableError: for a pattern or a class that nothing matches, a name whose place cannot become tunable, and
            when no place is left.
    """
    tests = None if where is None else list(_tests(where, places))
    picked, left, owners = [], {}, {}
    for place in places:
        asked = place.usual if tests is None else any(test(place) for test in tests)
        if asked and not place.obstacle:
            tensors = {local: full for local, full in place.tensors.items() if full not in owners}
            owners.update(dict.fromkeys(tensors.values(), place.name))
            picked.append(place._replace(tensors=tensors))
        else:
            left[place.name] = f"{place.kind}: {place.obstacle or 'not asked for'}"
    for place in places:
        shared = [f"{full} with {owners[full]}" for full in place.tensors.values() if full in owners]
        if place.name in left and shared:
            left[place.name] = f"{place.kind}: shares {', '.join(shared)}, and is tunable in that"
    if not picked:
        holds = "; ".join(f"{name} ({reason})" for name, reason in left.items()) or "no parameters"
        raise TunableError(f"nothing of this network becomes tunable: it holds {holds}")
    return picked, left


def _tests(where: Where, places: list[Place]) -> Iterable[Callable[[Place], bool]]:
    if isinstance(where, str):
        matching = [place for place in places if fnmatch.fnmatchcase(place.name, where)]
        if not matching:
            names = [place.name for place in places]
            raise TunableError(f"no layer or parameter is called {where!r}{nearest(where, names)}")
        if not _WILD & set(where) and matching[0].obstacle:
            raise TunableError(f"{where} ({matching[0].kind}) cannot become tunable: {matching[0].obstacle}")
        yield lambda place: fnmatch.fnmatchcase(place.name, where)
    elif isinstance(where, type):
        if not any(_is_layer(place, where) for place in places):
            raise TunableError(f"the network has no layer of class {where.__name__}")
        yield lambda place: _is_layer(place, where)
    elif callable(where):
        yield lambda place: bool(where(place.name, place.layer))
    elif isinstance(where, Iterable):
        for part in where:
            yield from _tests(part, places)
    else:
        raise TunableError(f"where must be a pattern of names, a class, a predicate or a list of these, not {where!r}")


def _is_layer(place: Place, kind: type) -> bool:
    return place.kind != "parameter" and isinstance(place.layer, kind)


def check_ordinary(network: Any, kinds: tuple[type, ...], parts: Iterable[Any]) -> None:
    """Raise TunableError if a part of a network is of one of these classes, which take omega themselves."""
    for part in parts:
        if isinstance(part, kinds):
            raise TunableError(
                f"{type(network).__name__} is tunable already: it holds a {type(part).__name__}, which takes omega"
            )


def plan(
    places: list[Place],
    num_objectives: int,
    phi: str,
    train: str,
    rank: int,
    differences: str = "full",
    anchor: Sequence[float] = (),
    bump: bool = False,
) -> Plan:
    """Make a checked plan. Raises TunableError for values out of range or that do not go together."""
    if num_objectives < 1:
        raise TunableError(f"num_objectives must be 1 or more, not {num_objectives}")
    for kind, value, known in (("phi", phi, PHI_FORMS), ("train", train, TRAIN)):
        if value not in known:
            raise TunableError(f"unknown {kind} {value!r}{nearest(str(value), known)}; known: {', '.join(known)}")
    if not isinstance(rank, Integral):
        raise TunableError(f"rank must be a whole number, not {shown(rank)}")
    if rank < 0:
        raise TunableError(f"rank must be 0 (any) or more, not {rank}")
    if phi == "identity":
        raise TunableError(
            "with phi identity a network equals the given one only where omega sums to one: take base, affine or se"
        )
    if train == "differences" and phi != "base":
        raise TunableError(f"only phi base has differences to train alone, not {phi}")
    if rank and train != "differences":
        raise TunableError("a rank is for train='differences': with train='all' every kernel is learnt whole")
    if differences not in DIFFERENCES:
        known = ", ".join(DIFFERENCES)
        raise TunableError(f"differences are {known}, not {differences!r}; those of a low rank are had by rank")
    if differences == "scale" and (rank or train != "differences"):
        raise TunableError("scale is for train='differences' without a rank: a scaled kernel is not learnt itself")
    formulated = {"differences": differences, "anchor": list(anchor_of(anchor)), "bump": bump}
    return _checked(places, num_objectives=num_objectives, phi=phi, train=train, rank=rank, **formulated)


def _checked(places: list[Place], **values: Any) -> Plan:
    values["tensors"] = {full: below(place.name, local) for place in places for local, full in place.tensors.items()}
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        raise TunableError(first_fault(error, values)) from None


def interpolation(places: list[Place], left: dict[str, str], count: int) -> Plan:
    """Plan a network that interpolates `count` others. Raises TunableError where a parameter is left ordinary."""
    if left:
        raise TunableError("cannot be interpolated: " + "; ".join(f"{name} ({why})" for name, why in left.items()))
    return _checked(places, num_objectives=count, phi="identity", rank=0)


def check_endpoints(shapes: list[dict[str, tuple[int, ...]]], statistics: list[dict[str, np.ndarray]]) -> None:
    """Check that networks can be interpolated.

    Args:
        shapes: of every network's parameters, by name.
        statistics: the running statistics of every network's norms, by name.

    Raises:
        TunableError: for fewer than two networks, and for networks that differ in shapes or statistics.
    """
    if len(shapes) < 2:
        raise TunableError(f"two or more networks can be interpolated, not {len(shapes)}")
    for number, other in enumerate(shapes[1:], 2):
        for name in {**shapes[0], **other}:
            if shapes[0].get(name) != other.get(name):
                raise TunableError(
                    f"networks 1 and {number} differ in {name!r}: shapes {shapes[0].get(name)} and {other.get(name)}"
                )
    for number, other in enumerate(statistics[1:], 2):
        for name, value in statistics[0].items():
            if not np.array_equal(value, other[name]):
                raise TunableError(
                    f"networks 1 and {number} differ in {name!r}: running statistics do not follow omega; "
                    "fold the batch norms into the layers before them first"
                )


def is_low_rank(shape: tuple[int, ...], rank: int) -> bool:
    """Return whether differences of a tensor are products: of a rank below its matrix (first axis, the others)."""
    return bool(rank) and len(shape) > 1 and rank < min(shape[0], int(np.prod(shape[1:])))


def is_scaled(shape: tuple[int, ...], plan: Plan) -> bool:
    """Return whether differences of a tensor scale its rows (first axis); those of a vector are full."""
    return plan.differences == "scale" and len(shape) > 1


def low_rank_start(name: str, shape: tuple[int, ...], count: int, rank: int, seed: int) -> dict:
    """Factors whose product is zero: `up` (m, rows, rank), zero, and `down` (m, rank, columns), Kaiming-uniform."""
    rows, columns = shape[0], int(np.prod(shape[1:]))
    down = ParameterSpec(f"{name}.down", (count, rank, columns), "kernel", columns)
    return {"up": np.zeros((count, rows, rank), np.float32), "down": starting_weights([down], seed)[down.name]}


def phi_start(name: str, form: str, shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Make the weights of a phi whose alphas sum to one at every omega.

    Args:
        name: of the phi, which seeds its draws.
        form: "affine" gets I - 1 / p, whose columns sum to zero, and biases of 1 / p; "se" is drawn as any, for its
            last step is a softmax.
        shapes: of its parameters, by their names in the phi.
        seed: of the draws.

    Returns:
        float32 arrays by the same names.
    """
    if form == "affine":
        p = shapes["bias"][0]
        return {"weight": (np.eye(p) - 1 / p).astype(np.float32), "bias": np.full(p, 1 / p, np.float32)}
    specs = [ParameterSpec(f"{name}.{local}", shape, "phi", shape[-1], form) for local, shape in shapes.items()]
    drawn = starting_weights(specs, seed)
    return {local: drawn[f"{name}.{local}"] for local in shapes}


def frozen(plan: Plan, names: Iterable[str]) -> list[str]:
    """Return the parameters of the given network that are not trained."""
    if plan.train == "differences":
        return list(names)
    return [] if plan.phi == "base" else list(plan.tensors)


def stored(
    plan: Plan, layers: list[LayerParts], entries: dict[str, Entry], statistics: dict[str, Entry]
) -> dict[str, list[Entry]]:
    """Return what stands behind each tensor of the file: one parameter, or the base kernel and the differences."""
    alone = plan.train == "differences"
    tensors = {name: [each] for name, each in entries.items() if not alone and name not in plan.tensors}
    tensors.update({name: [each] for name, each in statistics.items()})
    for layer in layers:
        for local, parts in layer.kernels.items():
            full = layer.names[local]
            name = plan.tensors[full]
            for part, each in parts.items():
                if alone:
                    tensors[f"{name}.{part}"] = [each]
                else:
                    tensors[name] = [entries[full], each] if plan.phi == "base" else [each]
        tensors.update({below(layer.name, f"phi.{local}"): [each] for local, each in layer.phi.items()})
    return tensors


def specs(stored: dict[str, list[Entry]]) -> list[ParameterSpec]:
    """Return names and shapes of the tensors of the file."""
    return [
        ParameterSpec(name, parts[0].shape if len(parts) == 1 else (1 + parts[1].shape[0], *parts[0].shape), "kernel")
        for name, parts in stored.items()
    ]


def stacked(parts: list[np.ndarray]) -> np.ndarray:
    """Make the tensor of the file from what stands behind it."""
    return parts[0] if len(parts) == 1 else np.concatenate([parts[0][None], parts[1]])


def unstacked(tensor: np.ndarray, count: int) -> list[np.ndarray]:
    """Undo `stacked`."""
    return [tensor] if count == 1 else [tensor[0], tensor[1:]]


def check_rows(rows: int, values: Iterable[Any], kind: type) -> None:
    """Raise OmegaError unless every tensor (of class `kind`) in values, tuples, lists and dictionaries has as many rows
    as omega."""
    for value in values:
        if isinstance(value, kind) and (value.ndim == 0 or value.shape[0] != rows):
            shape = tuple(value.shape)
            raise OmegaError(f"omega has {rows} rows, one per sample, but an input has shape {shape}")
        if isinstance(value, dict | tuple | list):
            check_rows(rows, value.values() if isinstance(value, dict) else value, kind)


def check_places(plan: Plan, places: list[Place], path: str | Path) -> list[Place]:
    """Return the places of a network that a plan makes tunable. Raises CheckpointError unless it holds them all."""
    missing, picked = dict(plan.tensors), []
    for place in places:
        names = {
            local: full for local, full in place.tensors.items() if plan.tensors.get(full) == below(place.name, local)
        }
        if not names:
            continue
        if place.obstacle:
            raise CheckpointError(f"{path} makes {place.name!r} tunable, which cannot be: {place.obstacle}")
        picked.append(place._replace(tensors=names))
        for full in names.values():
            missing.pop(full, None)
    if missing:
        raise CheckpointError(f"{path} makes {next(iter(missing))!r} tunable, which the network does not hold")
    return picked


Branch = tuple[dict, str, object]  # the children of a layer by name, a name, and the child that it had


def branches(network: Any, children: Callable[[Any], dict], tunable: Collection[int]) -> list[Branch]:
    """Walk from a network to its tunable layers.

    Args:
        network: a module or cell.
        children: gives the children of a layer, by name, as the dictionary that holds them.
        tunable: the ids of the tunable layers.

    Returns:
        Every step of the way, once.
    """
    branches: list[Branch] = []
    leads: dict[int, bool] = {}

    def reaches(layer: Any) -> bool:
        if id(layer) not in leads:
            leads[id(layer)] = id(layer) in tunable
            layers = children(layer)
            steps = [(layers, name, child) for name, child in layers.items() if child is not None and reaches(child)]
            branches.extend(steps)
            leads[id(layer)] |= bool(steps)
        return leads[id(layer)]

    reaches(network)
    return branches


def check_kept(steps: list[Branch]) -> None:
    """Raise TunableError where a layer that is tunable, or that holds one, has been exchanged for another since."""
    for layers, name, child in steps:
        if layers.get(name) is not child:
            raise TunableError(
                f"{name} ({type(child).__name__}) was exchanged after make_tunable, as quantization does too, and what "
                "is in its place follows no omega: exchange layers before make_tunable, or in what fold returns"
            )
