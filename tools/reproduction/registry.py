"""What tools/reproduce.py can make: every table and figure by its name.

A family of experiments is a module of this package that is named in FAMILIES and registers what it knows:

    register(Experiment("table1", "Table 1: ...", commands, make))
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

FAMILIES = ("strength", "gathered", "joint", "strips", "enlargement", "perception", "kernels")


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        scale: mini or paper: the size of networks and trainings.
        work: the folder of trainings; those of a scale have a folder of their own in it.
        out: the folder of results; an experiment has a folder of its own in it.
        seeds: of the trainings, the first one first.
        methods: rows of the table to make; (): all.
        pictures: of every set, the first so many; None: as many as the experiment takes.
    """

    scale: str
    work: Path
    out: Path
    seeds: tuple[int, ...] = (0, 1)
    methods: tuple[str, ...] = ()
    pictures: int | None = None

    def chosen(self, known: Iterable[str]) -> list[str]:
        """Those of the known methods that are asked for, in the order of the table."""
        return [name for name in known if not self.methods or name in self.methods]


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    Attributes:
        name: by which it is asked for, and of its folder.
        title: of its page.
        commands: yields the commands that train what it needs, whether or not they have run.
        make: trains what is missing, measures, and writes the page into `request.out / name`.
        methods: names of the rows, in the order of the table; (): there is nothing to choose.
    """

    name: str
    title: str
    commands: Callable[[Request], Iterable[str]]
    make: Callable[[Request], None]
    methods: tuple[str, ...] = ()


EXPERIMENTS: dict[str, Experiment] = {}


def register(experiment: Experiment) -> None:
    """Add an experiment; ValueError for a name that is taken."""
    if experiment.name in EXPERIMENTS:
        raise ValueError(f"two experiments are called {experiment.name!r}")
    EXPERIMENTS[experiment.name] = experiment


def experiments() -> dict[str, Experiment]:
    """Every experiment by its name, once all families have registered theirs."""
    for family in FAMILIES:
        importlib.import_module(f"reproduction.{family}")
    return dict(sorted(EXPERIMENTS.items()))
