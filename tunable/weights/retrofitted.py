"""The weights file of a network made tunable: its tensors, and the plan by which it was made so.

Tensors have the names of other weights files, so that the two twins of a user's network read each other's, and a
network of this project made tunable is its own tunable form.
"""

import hashlib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from tunable.arrays import Tensors
from tunable.errors import CheckpointError, TunableError, shown
from tunable.parameters.specs import ParameterSpec
from tunable.specs.documents import read_json
from tunable.specs.own import KEY
from tunable.specs.own_network import OwnNetwork
from tunable.specs.plan import Plan
from tunable.specs.validation import first_fault
from tunable.version import __version__
from tunable.weights import storage

FORMAT = storage.MADE_TUNABLE


def digest(tensors: Tensors) -> str:
    """Return what tells one set of weights from another, as files of differences hold it.

    It differs from `tunable.weights.storage.digest`, which counts types too; files that exist hold both.
    """
    sha = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        sha.update(f"{name} {value.shape} ".encode() + np.ascontiguousarray(value, np.float32).tobytes())
    return sha.hexdigest()


def save(path: str | Path, tensors: Tensors, plan: Plan, base: str) -> None:
    """Write the file of a network made tunable.

    Args:
        path: of the file.
        tensors: by their names in the file.
        plan: how the network was made tunable.
        base: the digest of the weights that the differences start from; written where only these are trained.
    """
    usual = {key for key in ("differences", "anchor", "bump") if key not in plan.model_dump(exclude_defaults=True)}
    usual.add("base")
    metadata = {
        "format": FORMAT,
        "plan": plan.model_dump_json(exclude=usual),
        "writer": f"tunable-convolutions {__version__}",
    }
    if plan.train == "differences":
        metadata["base"] = base
    storage.save_tensors(path, tensors, metadata)


def save_built(
    path: str | Path,
    tensors: Tensors,
    plan: Plan,
    base: str,
    builder: str | Mapping[str, str],
    arguments: Mapping[str, Any],
    objectives: Sequence[str],
) -> None:
    """Write the same as a weights file of this project, whose header says what makes the network.

    Args:
        path: of the file.
        tensors: by their names in the file.
        plan: how the network was made tunable.
        base: as of `save`.
        builder: "module:name" of the class or function that returns the given network, or one for each framework.
        arguments: of the builder, and `upscale` and `halo` as a recipe has them.
        objectives: the names of the p knobs; (): knob_1, knob_2, ...

    Raises:
        TunableError: for a builder, arguments or names that a header cannot hold.
    """
    names = tuple(objectives) or tuple(f"knob_{number + 1}" for number in range(plan.num_objectives))
    if len(names) != plan.num_objectives:
        raise TunableError(f"objectives names {len(names)} knobs, {shown(names)}, of {plan.num_objectives}")
    kept = plan.model_copy(update={"base": base if plan.train == "differences" else ""})
    shared = {"phi": plan.phi, "anchor": plan.anchor, "bump": plan.bump, "plan": kept.model_dump()}
    values = {**arguments, **shared, KEY: dict(builder) if isinstance(builder, Mapping) else builder}
    try:
        header = storage.Header(OwnNetwork.model_validate(values), names, ((0.0, 1.0),) * len(names))
        header = storage.Header.from_metadata(header.to_metadata(), path)  # what could not be read is not written
    except ValidationError as error:
        raise TunableError(f"this network cannot be saved with its builder: {first_fault(error, values)}") from None
    storage.save(path, {name: value.astype(np.float32) for name, value in tensors.items()}, header)


def load(path: str | Path) -> tuple[Tensors, Plan, str]:
    """Read the file of a network made tunable, written by `save` or by `save_built`.

    Returns:
        The tensors, the plan, and the digest of the base, "" where the file needs none.

    Raises:
        CheckpointError: for a file that cannot be read or is of another format.
    """
    tensors, metadata = storage.load_tensors(path)
    if metadata.get("format") == storage.FORMAT:
        network = storage.Header.from_metadata(metadata, path).network
        if isinstance(network, OwnNetwork) and network.plan and network.tunable:
            return tensors, network.plan, network.plan.base
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not the file of a network made tunable: format {metadata.get('format')!r}, wanted {FORMAT!r}"
        )
    values: Any = None
    try:
        values = read_json(metadata["plan"])
        plan = Plan.model_validate(values)
        return tensors, plan, metadata["base"] if plan.train == "differences" else ""
    except ValidationError as error:
        raise CheckpointError(f"{path} has a damaged plan: {first_fault(error, values)}") from None
    except KeyError as error:
        raise CheckpointError(f"{path} has a damaged header: it lacks {error}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} has a damaged plan: not JSON: {error}") from None


def unwrapped(tensors: Tensors, plan: Plan, names: Container[str]) -> tuple[Tensors, Plan, str]:
    """Take the names of a wrapper away: files of a network in a wrapper were once written under its wrapper's name.

    Args:
        tensors: of the file.
        plan: of the file.
        names: of the parameters of the network that is to be made tunable.

    Returns:
        Tensors and plan with the network's names, and the prefix that they had.
    """
    prefix = ""
    for wrapper in ("module.", "_orig_mod.") * 2:
        if all(full.startswith(prefix + wrapper) for full in plan.tensors):
            prefix += wrapper
    if not prefix or next(iter(plan.tensors), "") in names:
        return tensors, plan, ""
    renamed = {full.removeprefix(prefix): file.removeprefix(prefix) for full, file in plan.tensors.items()}
    tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors, plan.model_copy(update={"tensors": renamed}), prefix


def check_tensors(tensors: Tensors, specs: list[ParameterSpec], source: str | Path) -> None:
    """Check tensors as `tunable.weights.storage.check_tensors` does; networks that compute in float64 may hold that."""
    exact = {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in tensors.items()}
    storage.check_tensors(exact, specs, source)


def check_base(digest: str, expected: str, path: str | Path) -> None:
    """Raise CheckpointError unless the digest of a base is what a file of differences expects."""
    if digest != expected:
        raise CheckpointError(
            f"{path} holds differences from other weights than those of the base given (their digests differ)"
        )
