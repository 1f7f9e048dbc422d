"""What the checkpoint of a run says of itself, beside its tensors (tunable.training.checkpoints)."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from tunable.errors import CheckpointError
from tunable.specs.documents import read_json
from tunable.specs.schema import Section
from tunable.specs.validation import first_fault

STATE_FORMAT = "tunable-convolutions-state/1"
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Counters(Section):
    """What a run counts besides its steps (tunable.training.guards).

    Attributes:
        skipped: steps that were skipped, because a loss or a gradient was not finite.
        in_a_row: how many of them were the last ones.
        losses: of the last steps that were sound.
    """

    skipped: int = Field(default=0, ge=0)
    in_a_row: int = Field(default=0, ge=0)
    losses: list[_Finite] = Field(default=[], max_length=1000)


class RunState(Section):
    """What a checkpoint of a run says of itself.

    Attributes:
        step: how many steps are done.
        recipe: the recipe as plain values.
        inputs: digests of the files that the recipe names (tunable.training.recipe_files), {} if unknown.
        history: the facts of the frameworks and machines that trained, each with the step `from` which it did.
        loss: of the first step of all, None if unknown.
        counters: of skipped steps and losses.
    """

    step: int = Field(ge=0)
    recipe: dict[str, Any]
    inputs: dict[str, str] = {}
    history: list[dict[str, str]] = []
    loss: _Finite | None = None
    counters: Counters = Counters()

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of a checkpoint's file, every value as JSON."""
        return {"format": STATE_FORMAT, **{key: json.dumps(value) for key, value in self.model_dump().items()}}

    @classmethod
    def of(cls, metadata: dict[str, str], source: str | Path) -> "RunState":
        """Read the metadata of a checkpoint; CheckpointError for a file that is no checkpoint of a run."""
        format = metadata.get("format")
        if format != STATE_FORMAT:
            raise CheckpointError(f"{source} is not a checkpoint of a run: format {format!r}, wanted {STATE_FORMAT!r}")
        values: dict[str, Any] = {}
        try:
            values = {key: read_json(metadata[key]) for key in cls.model_fields if key in metadata}
            return cls(**values)
        except ValidationError as error:
            raise CheckpointError(f"{source} has a damaged header: {first_fault(error, values)}") from None
        except ValueError as error:
            raise CheckpointError(f"{source} has a damaged header: not JSON: {error}") from None
