"""The weights file of a network made tunable: its tensors, and the plan by which it was made so.

Tensors have the names of other weights files, so that the two twins of a user's network read each other's, and a
network of this project made tunable is its own tunable form.
"""

import hashlib
from collections.abc import Container
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from tunable.arrays import Tensors
from tunable.errors import CheckpointError
from tunable.parameters.specs import ParameterSpec
from tunable.specs.documents import read_json
from tunable.specs.formulations import Formulation, fault_of, pairs
from tunable.specs.schema import Section
from tunable.specs.validation import first_fault
from tunable.version import __version__
from tunable.weights import storage

FORMAT = "tunable-convolutions/tuned/1"


class Plan(Section):
    """How a network was made tunable: what is needed to make another network alike.

    Attributes:
        num_objectives: p.
        phi: how the weights of the kernels follow from omega.
        train: "all", or "differences", where the given weights stay as they are.
        rank: of the differences as matrices (first axis, the others); 0: any.
        tensors: name in the network -> name in the file, of what is tunable.
        differences: "full", or "scale", where they scale the rows of kernels.
        anchor: omega* (p,), where the network is the given one; [] where that is omega = 0.
        bump: whether each pair of knobs has a difference too.
    """

    num_objectives: int = Field(ge=1, le=1000)
    phi: Literal["affine", "identity", "se", "base"]
    train: Literal["all", "differences"] = "all"
    rank: int = Field(0, ge=0, le=2**20)
    tensors: dict[str, str]
    differences: Literal["full", "scale"] = "full"
    anchor: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(default=[], max_length=1000)
    bump: bool = False

    @model_validator(mode="after")
    def _formulated(self) -> Self:
        fault = fault_of(self.phi, self.differences, 0, self.anchor, self.bump) or self._formulation.misfit(
            self.num_objectives
        )
        if fault or (self.differences == "scale" and (self.rank or self.train != "differences")):
            raise ValueError(fault or "differences that scale are trained alone, and have no rank")
        return self

    @property
    def _formulation(self) -> Formulation:
        return Formulation(self.phi, self.differences, 0, self.anchor, self.bump)

    @property
    def num_differences(self) -> int:
        """m: one for each knob, with `bump` one for each pair too."""
        return self._formulation.num_differences(self.num_objectives)

    @property
    def products(self) -> list[tuple[int, int]]:
        """The pairs of knobs that have a difference."""
        return pairs(self.num_objectives) if self.bump else []


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
    metadata = {
        "format": FORMAT,
        "plan": plan.model_dump_json(exclude=usual),
        "writer": f"tunable-convolutions {__version__}",
    }
    if plan.train == "differences":
        metadata["base"] = base
    storage.save_tensors(path, tensors, metadata)


def load(path: str | Path) -> tuple[Tensors, Plan, str]:
    """Read the file of a network made tunable.

    Returns:
        The tensors, the plan, and the digest of the base, "" where the file needs none.

    Raises:
        CheckpointError: for a file that cannot be read or is of another format.
    """
    tensors, metadata = storage.load_tensors(path)
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
