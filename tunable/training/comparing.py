"""Runs side by side: what their folders say of them, as rows of a table."""

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tunable.errors import DataError
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import Recipe
from tunable.training.environment import recipe_digest, sessions_of
from tunable.training.records import SCORE, rows_of

LAST = 100  # steps over which the loss of the table is the mean
FRAMEWORKS = ("torch", "mindspore")


@dataclass(frozen=True)
class Run:
    """What the folder of a run says.

    Attributes:
        folder: of the run.
        recipe: its resolved recipe.
        steps: rows of metrics.csv by column, numbers; a column is [] where the log has none of it.
        validations: rows of validation.csv likewise, nan where something was not measured.
        sessions: of environment.json.
    """

    folder: Path
    recipe: Recipe
    steps: dict[str, list[float]]
    validations: dict[str, list[float]]
    sessions: list[dict[str, Any]]

    def row(self) -> dict[str, Any]:
        """Return the run's row of the table; None for what is not known."""
        last, losses = self.sessions[-1] if self.sessions else {}, self.steps.get("loss", [])[-LAST:]
        steps = self.validations["step"]
        scores = self.validations.get(SCORE, [math.nan] * len(steps))  # a version before wrote none
        known = [pair for pair in zip(scores, steps, strict=True) if not math.isnan(pair[0])]
        best = max(known, key=lambda pair: pair[0], default=(None, None))  # of equal ones the first, as in training
        done = int(self.steps["step"][-1]) if self.steps["step"] else 0
        return {
            "run": str(self.folder),
            "framework": next((f"{name} {last[name]}" for name in FRAMEWORKS if name in last), None),
            "device": last.get("device"),
            "task": self.recipe.task,
            "network": self.recipe.network.title,
            "objectives": " ".join(objective.name for objective in self.recipe.objectives),
            "recipe": recipe_digest(self.recipe)[:8],
            "steps": done,
            "of": self.recipe.steps,
            "loss": sum(losses) / len(losses) if losses else None,
            "best_score": best[0],
            "best_step": None if best[1] is None else int(best[1]),
            **{name: values[-1] for name, values in self.validations.items() if name not in ("step", SCORE)},
            "steps_per_second": self._speed(),
        }

    def _speed(self) -> float | None:
        """Over all sessions that ended, validation and checkpoints included."""
        seconds, steps = 0.0, 0
        for one in self.sessions:
            try:
                spent = datetime.fromisoformat(one["ended"]) - datetime.fromisoformat(one["started"])
                seconds, steps = seconds + spent.total_seconds(), steps + one["to_step"] - one["from_step"]
            except (KeyError, TypeError, ValueError):
                continue
        return steps / seconds if seconds > 0 and steps > 0 else None


def find_runs(folders: list[str]) -> list[Run]:
    """Read the runs in folders: a folder is a run, or holds some.

    Raises:
        DataError: for a folder that is missing, or neither.
        RecipeError: for a run whose recipe this version does not accept.
    """
    places: list[Path] = []
    for name in folders:
        folder = Path(name)
        if not folder.is_dir():
            raise DataError(f"no such folder: {folder}")
        inside = [folder] if _is_run(folder) else sorted(path for path in folder.iterdir() if _is_run(path))
        if not inside:
            raise DataError(f"{folder} is no run and holds none: a run has a recipe.yaml and a metrics.csv")
        places += inside
    return [_read(place) for place in dict.fromkeys(places)]


def table(runs: list[Run]) -> list[dict[str, Any]]:
    """Return a row for each run, all with the same columns, in the order of the first that has them."""
    rows = [run.row() for run in runs]
    columns = dict.fromkeys(name for row in rows for name in row if name != "steps_per_second")
    return [{name: row.get(name) for name in (*columns, "steps_per_second")} for row in rows]


def _is_run(folder: Path) -> bool:
    return (folder / "recipe.yaml").is_file() and (folder / "metrics.csv").is_file()


def _read(folder: Path) -> Run:
    recipe = load_recipe(folder / "recipe.yaml")
    steps, validations = (_columns(folder / name) for name in ("metrics.csv", "validation.csv"))
    return Run(folder, recipe, steps, validations, sessions_of(folder))


def _columns(path: Path) -> dict[str, list[float]]:
    """The columns of a CSV of a run."""
    rows = rows_of(path)
    return {name: [_number(row[name]) for row in rows] for name in rows[0]} if rows else {"step": []}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
