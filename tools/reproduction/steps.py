"""What must run before something can be measured: trainings and conversions, each made once and only when needed.

A step is a command of `tunable` whose result is one weights file. Steps name each other, so a small table of them says
how every row of a paper's table comes about:

    steps = Steps(folder, {
        "first": train("control/dni_first", "steps=2000"),
        "second": train("control/dni_finetune", "initial.weights=<first>"),
        "dni": convert("endpoints", "first", "second"),
    })
    steps.make("dni")  # trains both unless their files are there, and returns the path of the third

`<first>` stands for the weights file of that step.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import runs
import yaml

from tunable.files import write_text
from tunable.reports import tables

SECONDS = "cpu_seconds.txt"  # in the folder of a training; of its last session, where it was interrupted
_NAME = re.compile("<([^<>]+)>")


@dataclass(frozen=True)
class Step:
    """A command of `tunable`: its words, in which <NAME> is the weights file of another step."""

    words: tuple[str, ...]

    @property
    def trains(self) -> bool:
        return self.words[0] == "train"


def train(recipe: str, *settings: str) -> Step:
    """A training of a recipe that ships, with overrides."""
    return Step(("train", recipe, *(word for setting in settings for word in ("--set", setting))))


def convert(source: str, *steps: str, objectives: str = "fidelity,noise", settings: tuple[str, ...] = ()) -> Step:
    """A network with knobs that `tunable convert` makes of plain ones."""
    files = tuple(f"<{name}>" for name in steps)
    more = tuple(word for setting in settings for word in ("--set", setting))
    return Step(("convert", *files, "--from", source, "--objectives", objectives, *more))


@dataclass(frozen=True)
class Steps:
    """Steps by name, the folder in which their files lie, and the device that trains; None: the best one."""

    folder: Path
    table: dict[str, Step]
    device: str | None = None

    def file(self, name: str) -> Path:
        """The weights file of a step, made or not."""
        place = self.folder / name.replace(" ", "-")
        return place / "model.safetensors" if self.table[name].trains else place.with_suffix(".safetensors")

    def needed(self, *names: str) -> list[str]:
        """The steps that these need, and these, each behind what it needs."""
        found: list[str] = []
        for name in names:
            others = [other for word in self.table[name].words for other in _NAME.findall(word)]
            found += [*self.needed(*others), name]
        return list(dict.fromkeys(found))

    def words(self, name: str) -> list[str]:
        """What follows `tunable` on the command line of a step."""
        step = self.table[name]
        words = [_NAME.sub(lambda match: str(self.file(match[1])), word) for word in step.words]
        if step.trains:
            where = ["--device", self.device] if self.device else []
            return [*words, "--backend", "torch", *where, "--out", str(self.file(name).parent), "--resume"]
        return [*words, "-o", str(self.file(name))]

    def commands(self, *names: str) -> Iterator[str]:
        """The command lines of all that these steps need."""
        for name in self.needed(*names):
            yield shlex.join(["tunable", *self.words(name)])

    def make(self, name: str) -> Path:
        """Run whatever a step needs and is not there, and return its weights file."""
        for each in self.needed(name):
            if not self.file(each).is_file():
                print(f"making {self.file(each)}", flush=True)
                self.file(each).parent.mkdir(parents=True, exist_ok=True)
                took = runs.tunable(*self.words(each), TUNABLE_BACKENDS="torch")
                if self.table[each].trains:
                    write_text(self.file(each).parent / SECONDS, f"{took:.0f}\n")
        return self.file(name)

    def budget(self, name: str) -> int:
        """How many training steps a step needs in all, of those trainings that say `steps=N`."""
        words = [word for each in self.needed(name) for word in self.table[each].words]
        return sum(int(word.removeprefix("steps=")) for word in words if word.startswith("steps="))

    def trainings(self, *names: str) -> list[dict[str, str | int]]:
        """A row for every training that these steps need and that is there: its name, recipe, steps and seconds."""
        rows = []
        for name in self.needed(*names):
            folder = self.file(name).parent
            if self.table[name].trains and self.file(name).is_file():
                recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
                took = (folder / SECONDS).read_text().strip() if (folder / SECONDS).is_file() else ""
                told = {"training": name, "recipe": self.table[name].words[1], "seed": recipe["seed"]}
                rows.append(told | {"steps": recipe["steps"], "cpu_seconds": took})
        return rows


def keep_trainings(path: Path, rows: list[dict[str, str | int]]) -> None:
    """Write what trainings there are into a CSV; rows of others that it holds stay."""
    every = {(row["training"], str(row["seed"])): row for row in [*runs.rows_of(path), *rows]}
    if every:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, tables.to_csv(list(every.values())))
