"""What the processes of a training begin with, and what is said of them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from tunable.backends.protocol import Trainer
from tunable.errors import CheckFailed, CheckpointError
from tunable.specs.recipe import Recipe
from tunable.training.checkpoints import Checkpoint
from tunable.training.ranks import Ranks

PROCESSES = "processes"  # in the history of a run: how many trained together, where it was more than one
_BEGUN = "begun"
log = logging.getLogger(__name__)


@contextmanager
def beginning(ranks: Ranks) -> Iterator[None]:
    """What a process does before it trains with others. Raises CheckFailed in all where process 0 raises anything."""
    try:
        yield
    except Exception:
        if ranks.rank == 0 and ranks.size > 1:
            with suppress(RuntimeError):  # the others may have ended
                ranks.share({_BEGUN: np.array([0], np.int32)})
        raise
    if ranks.size > 1 and not ranks.share({_BEGUN: np.array([1], np.int32)})[_BEGUN][0]:
        raise CheckFailed("process 0 could not begin, and says why")


def check_processes(start: Checkpoint, recipe: Recipe, ranks: Ranks) -> None:
    """Say how many samples a step has. Raises CheckpointError where another number of processes shall go on."""
    before = start.history[-1].get(PROCESSES, "1") if start.history else "1"
    if 0 < start.step < recipe.steps and before != str(ranks.size):
        raise CheckpointError(
            f"the run was trained by {before} processes, each with data.batch {recipe.data.batch}, and now there are "
            f"{ranks.size}: a step would have another number of samples. Start {before} to go on"
        )
    if ranks.size > 1:
        log.info(
            "%d processes train, each on batches of its own of data.batch %d: a step has %d samples%s",
            ranks.size, recipe.data.batch, ranks.size * recipe.data.batch, _joined(recipe),
        )  # fmt: skip


def _joined(recipe: Recipe) -> str:
    """Where a step of several processes is none of one process with their samples in one batch."""
    joined = ["the discriminator compares"] if recipe.adversarial else []
    joined += ["omega, drawn once per batch, is shared by"] if recipe.omega.per == "batch" else []
    return f"; {' and '.join(joined)} the samples of a process alone" if joined else ""


def shared(start: Checkpoint, ranks: Ranks, trainer: Trainer) -> Checkpoint:
    """What process 0 starts from, in every process: the step, the weights, and the state inside the trainer."""
    (step,) = ranks.share({"step": np.array([start.step], np.int32)})["step"]
    trainer.load_state(ranks.share(trainer.state()))
    return start._replace(step=int(step), weights=ranks.share(start.weights))
