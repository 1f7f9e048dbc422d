"""What keeps a run from ruin: skipped steps, the end after too many, and checkpoints that a spike does not drop."""

import json

import numpy as np
import pytest
from fake import SPECS, Numpy, assert_same_run, at, checkpoints_in, fail, names
from safetensors.numpy import load_file

from tunable.data.patches import Batches
from tunable.errors import CheckFailed
from tunable.parameters.starts import starting_weights
from tunable.training.loop import train
from tunable.training.ranks import ALONE, Alone
from tunable.training.together import beginning
from tunable.weights import storage

NAN = float("nan")


def losses(**steps):
    """A fault: the losses of some steps, such as s3=nan, and 1 of all others."""
    return lambda step: steps.get(f"s{step}", 1.0)


def counters(out):
    (*_, newest) = checkpoints_in(out)
    metadata = storage.load_tensors(out / "checkpoints" / newest)[1]["counters"]
    return json.loads(metadata)


def test_a_skipped_step_is_counted_and_the_run_goes_on(recipe_of, tmp_path, caplog):
    """By hand: momentum and gain of the steps that were taken; the log has the loss of all."""
    backend, recipe = Numpy(losses(s3=NAN, s6=float("inf"))), recipe_of(schedule="constant", guard={"skip": 2})
    model = train(recipe, backend, tmp_path)
    (gain,), momentum = starting_weights(SPECS, recipe.seed, recipe.initial)["gain"], np.float32(0)
    for batch, rate in backend.received:
        if batch.index + 1 not in (3, 6):
            momentum = np.float32(0.9) * momentum + batch.sample["degraded"].mean(dtype=np.float32)
            gain = gain - np.float32(rate) * momentum
    assert model.network["gain"].item() == gain
    assert counters(tmp_path) == {"skipped": 2, "in_a_row": 0, "losses": [1.0] * 8}
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[2] for row in rows[3::3]] == ["nan", "inf", "1"]
    assert "step 6 was skipped, because its loss (inf) or a gradient is not finite; so were 1 before" in caplog.text


def test_too_many_in_a_row_end_the_run_and_leave_the_batch(recipe_of, tmp_path, refused):
    """Three of steps 6 to 8; the checkpoint of step 7 counts on, so that a resumed run stops at step 8, too."""
    recipe, fault = recipe_of(every=7, guard={"skip": 3}), losses(s3=NAN, s6=NAN, s7=NAN, s8=NAN)
    batch = tmp_path / "batch-00000005.safetensors"
    for resume in (False, True):
        with refused(CheckFailed, "steps 6 to 8 were skipped", names(7)[0], f"the batch of step 6 is in {batch}"):
            train(recipe, Numpy(fault), tmp_path, resume=resume)
        assert checkpoints_in(tmp_path) == names(7) and counters(tmp_path)["in_a_row"] == 2
    tensors, expected = load_file(batch), Batches(recipe)[5]
    assert tensors.keys() == {*expected.sample, "omega"}
    for name, value in {**expected.sample, "omega": expected.omega}.items():
        np.testing.assert_array_equal(tensors[name], value)
    assert storage.load_tensors(batch)[1]["index"] == "5"
    train(recipe, Numpy(), tmp_path, resume=True)  # when what it came from is mended


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        (8, (10,)),  # step 9 is sound: what was kept can go
        (10, (2, 10)),  # never sound again: the last good one, and the newest
    ],
)
@pytest.mark.parametrize("stop", [None, 7])
def test_a_spike_drops_no_checkpoint(last, kept, stop, recipe_of, tmp_path, caplog):
    """Losses of 50 from step 5 on are no median, however long; those of a run that was stopped are known."""
    recipe, values = recipe_of(every=2, keep=1), {f"s{step}": 50.0 for step in range(5, last + 1)}
    if stop:
        with pytest.raises(RuntimeError):
            train(recipe, Numpy(lambda step: at(stop, fail)(step) or losses(**values)(step)), tmp_path / "run")
        assert checkpoints_in(tmp_path / "run") == names(2, 6)
    train(recipe, Numpy(losses(**values)), tmp_path / "run", resume=bool(stop))
    assert checkpoints_in(tmp_path / "run") == names(*kept)
    assert "the loss is 50 at step 5, 50 times the median of those before: older checkpoints stay" in caplog.text
    train(recipe, Numpy(losses(**values)), tmp_path / "whole")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_ten_times_the_median_is_no_spike(recipe_of, tmp_path):
    train(recipe_of(every=2, keep=1), Numpy(losses(s5=10.0, s6=10.0, s7=10.0, s8=10.0)), tmp_path)
    assert checkpoints_in(tmp_path) == names(10)
    assert counters(tmp_path)["losses"][4:8] == [10.0] * 4


def test_the_batch_of_several_is_that_of_process_0(recipe_of, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(ALONE.__class__, "size", 2)
    with refused(CheckFailed, "batch-00000000.safetensors, as process 0 had it; that of another may be at fault"):
        train(recipe_of(guard={"skip": 1}), Numpy(losses(s1=NAN)), tmp_path)


def test_what_stops_process_0_stops_the_others(refused):
    """Process 0 tells them before it ends itself; where it can begin, all go on."""

    class Process(Alone):
        size, told = 2, []

        def __init__(self, rank):
            self.rank = rank

        def share(self, tensors):
            if self.rank == 0:
                self.told.append(tensors)
            return self.told[-1]

    with refused(CheckFailed, "the folder holds a run"), beginning(Process(0)):
        raise CheckFailed("the folder holds a run")
    with refused(CheckFailed, "process 0 could not begin"), beginning(Process(1)):
        pass
    for rank in range(2):
        with beginning(Process(rank)):
            pass
