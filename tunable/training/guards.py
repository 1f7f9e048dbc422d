"""What keeps a run from ruin: steps that are skipped are counted, and losses are judged by those before them."""

import logging
import math
from collections import deque
from collections.abc import Callable
from statistics import median

from tunable.backends.protocol import StepReport
from tunable.errors import CheckFailed
from tunable.specs.recipe import Guard as Settings
from tunable.training.checkpoints import Checkpoint, Checkpoints
from tunable.weights.run_state import Counters

DIVERGED = 1e4  # a run ends at a loss this many times the first step's loss, or this many times 1 where it was less
WINDOW = 100  # losses whose median a loss is judged by

log = logging.getLogger(__name__)


class Guard:
    """Judges the steps of a run in their order.

    A step whose loss or gradients are not finite has moved nothing: the trainer skipped it on the device.

    Args:
        settings: the section of the recipe.
        start: what the run begins with.
        checkpoints: of the run, for messages.
        keep_batch: writes the batch of a step (1-based) into a file, and says which.
    """

    def __init__(
        self, settings: Settings, start: Checkpoint, checkpoints: Checkpoints, keep_batch: Callable[[int], str]
    ) -> None:
        self._settings, self._checkpoints, self._keep_batch = settings, checkpoints, keep_batch
        self._skipped, self._in_a_row = start.counters.skipped, start.counters.in_a_row
        self._losses = deque(start.counters.losses, WINDOW)
        self.begun, self.sound = start.loss, True  # the loss of the first step of all; whether the last step was sound

    @property
    def counters(self) -> Counters:
        """What the next session goes on with."""
        return Counters(skipped=self._skipped, in_a_row=self._in_a_row, losses=list(self._losses))

    def judge(self, step: int, report: StepReport) -> bool:
        """Return whether a step was sound: it was taken, and its loss is no spike.

        Raises:
            CheckFailed: when too many steps in a row were skipped, and when the run has diverged.
        """
        if report.taken and math.isfinite(report.loss):
            self._in_a_row = 0
            self.sound = self._is_no_spike(step, report.loss)
        else:
            self._skip(step, report.loss)
            self.sound = False
        return self.sound

    def _skip(self, step: int, loss: float) -> None:
        self._skipped += 1
        self._in_a_row += 1
        first, row = step - self._in_a_row + 1, self._in_a_row
        if row >= self._settings.skip:
            steps = f"step {step} was" if row == 1 else f"steps {first} to {step} were"
            kept = self._keep_batch(first)
            raise CheckFailed(
                f"{steps} skipped because a loss or a gradient is not finite (the last loss is {loss}): the run stops; "
                f"{self._checkpoints.describe()}; the batch of step {first} is in {kept}"
            )
        if row == 1:
            log.warning(
                "step %d was skipped, because its loss (%.3g) or a gradient is not finite; so were %d before",
                step, loss, self._skipped - 1,
            )  # fmt: skip

    def _is_no_spike(self, step: int, loss: float) -> bool:
        """Only losses that are none enter the median, so that a run that has diverged is never taken for sound."""
        self.begun = loss if self.begun is None else self.begun
        if loss > DIVERGED * max(self.begun, 1.0):
            raise CheckFailed(
                f"the loss is {loss:.3g} at step {step} and was {self.begun:.3g} at the first: the run has diverged; "
                f"{self._checkpoints.describe()}"
                f"{', which initial.weights can begin from' if self._checkpoints.paths() else ''}"
            )
        usual = median(self._losses) if self._losses else loss
        if usual <= 0 or loss <= self._settings.spike * usual:
            self._losses.append(loss)
            return True
        if self.sound:
            log.warning(
                "the loss is %.3g at step %d, %.3g times the median of those before: older checkpoints stay until it "
                "is below %g times", loss, step, loss / usual, self._settings.spike,
            )  # fmt: skip
        return False
