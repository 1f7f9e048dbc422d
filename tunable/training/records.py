"""The records of a run: metrics.csv, validation.csv and TensorBoard's events, which a resumed run continues."""

import logging
import math
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

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
        self._steps = self._open("metrics.csv", ["step", "learning_rate", "loss", *self._names])
        self._events = self._files.enter_context(closing(Events(self._out / "events", self._first)))
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)

    def step(self, step: int, rate: float, report: StepReport) -> None:
        """Write the row of a step."""
        terms = [*(float(term) for term in report.terms)]
        terms += [] if report.discriminator is None else [report.discriminator]
        values = {"learning_rate": rate, "loss": report.loss, **dict(zip(self._names, terms, strict=True))}
        self._steps.write(step, {name: f"{value:.9g}" for name, value in values.items()})
        if step % 10 == 0:
            self._events.scalars(step, values)

    def flush(self) -> None:
        """Hand all that is written to the system."""
        self._steps.file.flush()
        self._events.flush()

    def validated(self, step: int) -> bool:
        """Whether validation.csv has the row of a step."""
        return any(row.startswith(f"{step},") for row in _rows(self._out / "validation.csv"))

    def is_best(self, values: dict[str, float]) -> bool:
        """Whether a validation has a higher score than all before it, as they are written; NaN is higher than none."""
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
        if self.is_best(values):
            self._best = round(values[SCORE], 4)
        if self._validation is None:
            self._validation = self._open("validation.csv", ["step", *values])
        self._validation.write(step, {name: f"{value:.4f}" for name, value in values.items()})
        self._validation.file.flush()
        self._events.scalars(step, {"validation/" + name: value for name, value in values.items()})

    def _open(self, name: str, columns: list[str]) -> "_Table":
        path = self._out / name
        columns = _rewrite(path, columns, self._first)
        return _Table(self._files.enter_context(open(path, "a", encoding="utf-8")), columns)


class _Table(NamedTuple):
    """A CSV that is open for appending; what a row does not have is empty in it."""

    file: TextIO
    columns: list[str]

    def write(self, step: int, values: dict[str, str]) -> None:
        self.file.write(_line({"step": str(step), **values}, self.columns))


def _rewrite(path: Path, columns: list[str], last: int) -> list[str]:
    """Keep the rows of a CSV up to step `last`, and return all columns: those of a session before stay."""
    kept = [row for row in rows_of(path) if int(row["step"]) <= last]
    names = [*kept[0]] if kept else []
    names += [name for name in columns if name not in names]
    names.sort(key=lambda name: name == SCORE)  # which stands last; all others as they were
    write_text(path, "".join([",".join(names) + "\n", *(_line(row, names) for row in kept)]))
    return names


def _line(row: dict[str, str], columns: list[str]) -> str:
    return ",".join(row.get(name, "") for name in columns) + "\n"


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
            score = float(row.get(SCORE, ""))
            if int(row["step"]) <= last and not math.isnan(score):
                yield score


def _rows(path: Path) -> list[str]:
    """The whole lines of a file, [] where there is none: a kill may cut the last anywhere, in a number too."""
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
