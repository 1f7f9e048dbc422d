"""Two processes that train together, started by each framework's own launcher (docs/several_devices.md)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parity_tests.processes import LEAN, MODES, RECIPE, gradients
from tunable import evaluate, load, train
from tunable.backends.registry import requested
from tunable.data.patches import Batch, Batches
from tunable.errors import BackendError, CheckpointError
from tunable.images.pictures import write
from tunable.omega import line
from tunable.tolerances import relative_error
from tunable.training.checkpoints import Checkpoints
from tunable.training.environment import sessions_of
from tunable.weights import storage

ROOT = Path(__file__).parent.parent


def launcher(framework: str, logs: Path) -> list[str]:
    """The command that starts two processes of Python, whose arguments follow."""
    if framework == "torch":
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    msrun = [str(Path(sys.executable).parent / "msrun"), "--worker_num=2", "--local_worker_num=2", "--join=True"]
    return [*msrun, f"--master_port={port}", f"--log_dir={logs}", "python"]


@pytest.fixture(scope="module", params=requested())
def together(request, tmp_path_factory):
    """A framework, and the folder in which two processes of it left what they did (parity_tests.processes)."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "pictures").mkdir()
    for name, picture in zip("ab", np.random.default_rng(3).random((2, 40, 48, 3)), strict=True):
        write(folder / "pictures" / f"{name}.png", picture)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # msrun starts `python`
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launcher(request.param, folder / "logs"), "-m", "parity_tests.processes", request.param, str(folder)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
    said = [done.stdout, done.stderr, *(log.read_text(errors="replace") for log in folder.glob("logs/*.log"))]
    assert (folder / "statuses_1.json").exists(), "\n".join(text[-3000:] for text in said)
    return request.param, folder


def arrays(folder, name):
    """What each process left under a name."""
    return [dict(np.load(folder / f"{name}_{rank}.npz")) for rank in range(2)]


def test_two_gradients_are_one_of_both_batches(together):
    framework, folder = together
    first, second = (Batches(RECIPE, rank=rank, processes=2)[0] for rank in range(2))
    sample = {name: np.concatenate([first.sample[name], second.sample[name]]) for name in first.sample}
    whole = gradients(framework, MODES[framework], Batch(0, sample, np.concatenate([first.omega, second.omega])))
    of_first, of_second = arrays(folder, "gradients")
    alone = gradients(framework, LEAN[framework], first)
    assert whole.keys() == of_first.keys()
    for name, expected in whole.items():
        np.testing.assert_array_equal(of_first[name], of_second[name])
        assert relative_error(of_first[name], expected) <= 1e-6
        assert relative_error(alone[name], expected) > 1e-2


def test_weights_stay_equal_and_one_process_writes(together):
    _, folder = together
    first, second = arrays(folder, "weights")
    written, _ = storage.load(folder / "whole" / "model.safetensors")
    for name, value in written.items():
        np.testing.assert_array_equal(first[name], value)
        np.testing.assert_array_equal(second[name], value)
    (session,) = sessions_of(folder / "whole")
    assert session["processes"] == "2"
    rows = (folder / "whole" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [str(step) for step in range(1, 9)]
    assert len(list((folder / "whole" / "events").iterdir())) == 1


def test_a_signal_to_one_ends_both_after_the_same_step(together):
    """SIGTERM came to the second process in step 5; after the next, at which they agree, both end and go on."""
    _, folder = together
    for rank in range(2):
        assert json.loads((folder / f"statuses_{rank}.json").read_text()) == [143, 0]
    assert "stopped after step 6" in (folder / "stopped" / "log.txt").read_text()
    rows, expected = ((folder / name / "metrics.csv").read_text() for name in ("stopped", "whole"))
    assert rows == expected
    weights, whole = (storage.load(folder / name / "model.safetensors")[0] for name in ("stopped", "whole"))
    for name in whole:
        np.testing.assert_array_equal(weights[name], whole[name])


def test_processes_share_what_is_measured(together):
    """Process 0 tells of all pictures what one process alone measures; the others tell nothing."""
    framework, folder = together
    (status, told), other = (json.loads((folder / f"told_{rank}.json").read_text()) for rank in range(2))
    assert status == 0 and other == [0, ""] and not (folder / "measured_1").exists()
    model = load("denoise", backend=framework)
    rows = evaluate(model, folder / "pictures", line(2), sigmas=(5, 25), ssim=False)
    table = [line.split(",") for line in (folder / "measured_0" / "table.csv").read_text().splitlines()]
    for row, expected in zip(table[1:], rows, strict=True):
        written = dict(zip(table[0], row, strict=True))
        assert (written["picture"], float(written["sigma"])) == (expected.picture, expected.sigma)
        for name in ("psnr", "psnr_eta", "residual"):
            assert float(written[name]) == pytest.approx(getattr(expected, name), rel=1e-4, abs=1e-4)
    assert json.loads(told)["summary"][0]["pictures"] == 2


def test_what_stops_process_0_stops_all(together):
    """Its folder holds a run: the others end with one line, too."""
    _, folder = together
    ends = (2, "already holds a run at step 8"), (1, "process 0 could not begin, and says why")
    for rank, (expected, said) in enumerate(ends):
        status, text = json.loads((folder / f"refused_{rank}.json").read_text())
        assert status == expected and said in text and "Traceback" not in text


def test_a_dead_process_leaves_a_checkpoint(together):
    """From which two go on; one would be another run. What is left of msrun's processes it kills at once."""
    framework, folder = together
    if framework == "mindspore":
        return
    status, said = json.loads((folder / "last_words.json").read_text())
    assert status in (1, 143)  # the latter if torchrun was faster
    assert "process 0 of 2 cannot go on after step 5" in said and "step-00000004" in said
    assert Checkpoints(folder / "dead").newest_step() == 4
    with pytest.raises(CheckpointError, match="trained by 2 processes.* now there are 1"):
        train(RECIPE, folder / "dead", backend=framework, resume=True)


def test_the_launcher_of_another_framework_is_refused(twin, monkeypatch):
    variables = {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}
    if twin.name == "torch":
        variables = {"MS_ROLE": "MS_WORKER", "RANK_ID": 0, "MS_WORKER_NUM": 2, "DEVICE_ID": 0}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(BackendError, match=f"starts the processes of .*the backend is {twin.name}"):
        twin.backend.join()
