"""What each of two processes does that a launcher started: `python -m parity_tests.processes FRAMEWORK FOLDER`.

It leaves in FOLDER, with its number in their names, what parity_tests.test_ranks judges.
"""

import contextlib
import importlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from parity_tests.recipes import make_recipe
from tunable import train
from tunable.backends.registry import get_framework
from tunable.commands import main
from tunable.data.patches import Batch, Batches
from tunable.parameters.starts import starting_weights
from tunable.training.ranks import launched

RECIPE = make_recipe(
    network={"name": "resnet", "channels": 4, "blocks": 1},
    objectives=[{"name": name, "kind": name, "distance": "l2"} for name in ("rec", "noise")],  # smooth
    data={"train": "bundled", "patch": 8, "batch": 2, "degradation": [{"kind": "gaussian_noise", "sigma": 25}]},
    optimizer={"learning_rate": 0.01},
    steps=8,
    checkpoint={"every": 4},
)
EVALUATE = ["evaluate", "denoise", "--sigma", "5,25", "--line", "2", "--no-ssim", "--json"]  # of FOLDER/pictures
MODES = {"torch": "eager", "mindspore": "graph"}  # of the gradients; torch's compiler takes half a minute
LEAN = {"torch": "eager", "mindspore": "pynative"}


def gradients(framework: str, mode: str, batch: Batch) -> dict[str, np.ndarray]:
    """Those of a network at the recipe's start."""
    backend = get_framework(framework, "cpu", mode)
    network = backend.build(RECIPE.network, RECIPE.network_objectives)
    backend.assign(network, starting_weights(backend.specs(network), RECIPE.seed, RECIPE.initial))
    return backend.trainer(network, RECIPE).gradients(batch).gradients


@contextlib.contextmanager
def killed(framework: str, step: int, number: int):
    """In the middle of a step a signal comes."""
    trainer = importlib.import_module(f"{framework}_impl.training").Trainer
    launch = trainer.launch

    def struck(self, batch, *rest):
        if batch.index + 1 == step:
            os.kill(os.getpid(), number)
        return launch(self, batch, *rest)

    trainer.launch = struck
    try:
        yield
    finally:
        trainer.launch = launch


def run(framework: str, folder: Path) -> None:
    """All that one of two processes does."""
    launch = launched()
    assert launch is not None and launch.size == 2
    rank, lean = launch.rank, LEAN[framework]
    found = gradients(framework, MODES[framework], Batches(RECIPE, rank=rank, processes=2)[0])
    np.savez(folder / f"gradients_{rank}.npz", **found)
    backend = get_framework(framework, "cpu", lean)
    network = train(RECIPE, folder / "whole", backend=backend).network
    np.savez(folder / f"weights_{rank}.npz", **backend.parameters(network))

    command = ["train", str(folder / "whole" / "recipe.yaml"), "--device", "cpu", "--mode", lean, "--out"]
    with killed(framework, 5, signal.SIGTERM) if rank else contextlib.nullcontext():
        statuses = [main([*command, str(folder / "stopped")])]
    statuses.append(main([*command, str(folder / "stopped"), "--resume"]))
    refused = io.StringIO()
    with contextlib.redirect_stderr(refused):  # the folder holds a run: process 0 alone looks there
        status = main([*command, str(folder / "whole")])
    (folder / f"refused_{rank}.json").write_text(json.dumps([status, refused.getvalue()]))
    (folder / f"statuses_{rank}.json").write_text(json.dumps(statuses))
    with contextlib.redirect_stdout(io.StringIO()) as told:
        where = ["--data", str(folder / "pictures"), "--out", str(folder / f"measured_{rank}")]
        status = main([*EVALUATE, *where, "--backend", framework, "--mode", lean])
    (folder / f"told_{rank}.json").write_text(json.dumps([status, told.getvalue()]))

    if framework == "mindspore":  # msrun itself kills the others when one dies, and its scheduler takes half a minute
        return
    said = io.StringIO()
    with contextlib.redirect_stderr(said), killed(framework, 6, signal.SIGKILL) if rank else contextlib.nullcontext():
        status = main([*command, str(folder / "dead")])
    (folder / "last_words.json").write_text(json.dumps([status, said.getvalue()]))


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
