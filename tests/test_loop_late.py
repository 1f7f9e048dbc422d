"""The training loop where losses are read late, as an accelerator's are, so that nobody waits for them in between."""

import pytest
from fake import Numpy, assert_same_run, at, checkpoints_in, fail, names, press

from tunable.errors import CheckFailed
from tunable.training.loop import train


class Late(Numpy):
    """Three steps may be under way. Notes in `order` the step n that is begun, and -n when its losses are read."""

    lag = 3

    def __init__(self, fault=lambda step: None):
        super().__init__(fault)
        self.order = []

    def launch(self, batch, learning_rate, stop=False):
        self.order.append(batch.index + 1)
        report = super().launch(batch, learning_rate)

        def read():
            self.order.append(-batch.index - 1)
            return report()

        return read


def test_the_same_run(recipe_of, tmp_path, whole):
    """Records and checkpoints are the same, and progress is told of every step; two steps always stay under way."""
    backend, seen = Late(), []
    train(recipe_of(), backend, tmp_path / "run", progress=lambda step, steps, loss: seen.append((step, loss)))
    assert_same_run(tmp_path / "run", whole)
    assert seen == [(step, 1 / step) for step in range(1, 11)]
    assert backend.order == [1, 2, 3, -1, 4, -2, -3, -4, 5, 6, 7, -5, 8, -6, -7, -8, 9, 10, -9, -10]


@pytest.mark.parametrize(
    ("act", "step", "kind", "kept"), [(fail, 7, RuntimeError, 4), (press, 6, KeyboardInterrupt, 6)]
)
def test_resumed_is_the_same_run(act, step, kind, kept, recipe_of, tmp_path, whole):
    """What is under way when a run is stopped is finished, read and kept."""
    with pytest.raises(kind):
        train(recipe_of(), Late(at(step, act)), tmp_path / "run")
    assert checkpoints_in(tmp_path / "run")[-1:] == names(kept)
    train(recipe_of(), Late(), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(("step", "begun", "kept"), [(5, 7, (4,)), (2, 4, ())])
def test_a_loss_that_is_not_finite(step, begun, kept, recipe_of, tmp_path, refused):
    """The step is named, and what was computed from there is not kept."""
    backend = Late(at(step, lambda: float("nan")))
    with refused(CheckFailed, f"step {step} was skipped"):
        train(recipe_of(guard={"skip": 1}), backend, tmp_path)
    assert max(backend.order) == begun and checkpoints_in(tmp_path) == names(*kept)
