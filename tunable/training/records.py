"""The records of a run: log.csv, validation.csv and TensorBoard's events, which a resumed run continues."""

import logging
import math
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from tunable.backends.protocol import StepReport
from tunable.files import write_text
from tunable.specs.discriminator import DISCRIMINATOR
from tunable.specs.recipe import Recipe
from tunable.training.tensorboard import Events

log = logging.getLogger(__name__)
SCORE = "score"  # the column of validation.csv by which the best checkpoint is chosen


class Records:
    """The records of a run, as CSV and TensorBoard; on resuming, rows after the checkpoint are dropped."""

    def __init__(self, out: Path, recipe: Recipe, first: int) -> None:
        self._names, self._out, self._first = [objective.name for objective in recipe.objectives], out, first
        self._names += [DISCRIMINATOR] if recipe.adversarial else []
        self._validation = None
        self._files = ExitStack()
        self._best = max(_scores(out / "validation.csv", first), default=-math.inf)

    def __enter__(self) -> Self:
        self._out.mkdir(parents=True, exist_ok=True)
        self._steps = self._reopen("log.csv", ["step", "learning_rate", "loss", *self._names])
        self._events = self._files.enter_context(closing(Events(self._out / "events", self._first)))
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)

    def step(self, step: int, rate: float, report: StepReport) -> None:
        """Write the row of a step."""
        values = [rate, report.loss, *(float(term) for term in report.terms)]
        values += [] if report.discriminator is None else [report.discriminator]
        self._steps.write(",".join([str(step), *(f"{value:.9g}" for value in values)]) + "\n")
        if step % 10 == 0:
            self._events.scalars(step, dict(zip(["learning_rate", "loss", *self._names], values, strict=True)))

    def flush(self) -> None:
        """Hand all that is written to the system."""
        self._steps.flush()
        self._events.flush()

    def validated(self, step: int) -> bool:
        """Whether validation.csv has the row of a step."""
        return any(row.startswith(f"{step},") for row in _rows(self._out / "validation.csv"))

    def is_best(self, values: dict[str, float]) -> bool:
        """Whether a validation has a higher score than all before it, as they are written."""
        return bool(values) and round(values[SCORE], 4) > self._best

    def validation(self, step: int, values: dict[str, float], sheet: np.ndarray | None = None) -> None:
        """Write the row of a validation, if it measured anything, and show the pictures on its sheet."""
        if sheet is not None:
            self._events.picture(step, "validation/sweep", sheet)
        if not values:
            return
        log.info(
            "step %d: %s", step, ", ".join(f"{name} {value:.{_decimals(name)}f}" for name, value in values.items())
        )
        self._best = max(self._best, round(values[SCORE], 4))
        if self._validation is None:
            self._validation = self._reopen("validation.csv", ["step", *values])
        self._validation.write(",".join([str(step), *(f"{value:.4f}" for value in values.values())]) + "\n")
        self._validation.flush()
        self._events.scalars(step, {"validation/" + name: value for name, value in values.items()})

    def _reopen(self, name: str, columns: list[str]):
        return self._files.enter_context(_reopen(self._out / name, columns, self._first))


def _reopen(path: Path, columns: list[str], last: int):
    """Open a CSV for appending, keeping its rows up to step `last`; what a version before did not measure is empty."""
    kept = [",".join(row.get(name, "") for name in columns) for row in rows_of(path) if int(row["step"]) <= last]
    write_text(path, "\n".join([",".join(columns), *kept]) + "\n")
    return open(path, "a", encoding="utf-8")


def _decimals(name: str) -> int:
    """Of what a message says: of decibels two, of SSIM four."""
    return 4 if name.startswith("ssim") else 2


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of one of these CSV files by column, [] where there is none; what is no row is left out."""
    columns, *rows = [line.split(",") for line in _rows(path)] or [[]]
    whole = [row for row in rows if len(row) == len(columns) and re.fullmatch("[0-9]{1,18}", row[0])]
    return [dict(zip(columns, row, strict=True)) for row in whole if columns[0] == "step"]


def _scores(path: Path, last: int) -> Iterator[float]:
    """The scores up to step `last`; none of what an earlier version wrote, or is no number."""
    for row in rows_of(path):
        with suppress(ValueError):
            if int(row["step"]) <= last:
                yield float(row.get(SCORE, ""))


def _rows(path: Path) -> list[str]:
    """The whole lines of a file, [] where there is none: a kill may cut the last anywhere, in a number too."""
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
