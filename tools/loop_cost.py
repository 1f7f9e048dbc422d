"""What the training loop costs beside the network, and what the batches cost beside a step (docs/results/loop).

    python tools/loop_cost.py --out docs/results/loop

**The loop.** denoise/mini is trained by `tunable train`'s own loop, with none of the options that cost something. After
each of its steps a hand-written step of torch (network, loss, backward, torch.optim.Adam) is taken on the same batch
with a network of its own, which begins with the same weights. Both are timed by the processor's time of the thread that
trains, so that other programs of the machine are not counted, and both must end with the same weights.

**The batches.** For every mini recipe: the processor's time that a batch takes, pictures decoded already, over the
time of a step. On one core that is the share of a training that loading costs; with a core to spare it is hidden.

Needs torch and TUNABLE_DATA. One thread: OMP_NUM_THREADS=1.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import runs
import torch

from tunable.backends.registry import get_framework
from tunable.data.patches import Batch, Batches
from tunable.files import write_text
from tunable.parameters.starts import starting_weights
from tunable.reports import tables
from tunable.specs.reading import load_recipe
from tunable.training.loop import train
from tunable.weights import storage

RECIPE, STEPS, FIRST = "denoise/mini", 60, 20  # the first steps are slower: they reserve memory
MOST_LOOP, MOST_LOADING = 0.02, 0.05
RECIPES = (
    "denoise/mini",
    "denoise_deblur/mini",
    "denoise_real_nafnet/mini",
    "denoise_swinir/mini",
    "style_transfer/mini",
    "super_resolution/mini",
    "super_resolution_swinir/mini",
)
TAKEN = 5  # batches and steps of each, of which the median counts


def seconds(call: Callable[[], object]) -> float:
    """The processor's time of this thread that a call takes."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


class ByHand:
    """Training steps as a paper's own script has them: denoise/mini without this package's trainer.

    Args:
        network: tunable, changed in place.
        nu: of the noise objective.
    """

    def __init__(self, network: torch.nn.Module, nu: float) -> None:
        self.network, self.nu = network, nu
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(self, batch: Batch, rate: float) -> float:
        clean, degraded, omega = (torch.from_numpy(np.ascontiguousarray(value, np.float32)) for value in
                                  (batch.sample["clean"], batch.sample["degraded"], batch.omega))  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        restored = self.network(degraded, omega)
        noisy = clean + omega[:, 1].reshape(-1, 1, 1, 1) * self.nu * (degraded - clean)
        terms = torch.stack([(restored - target).abs().mean((1, 2, 3)) for target in (clean, noisy)], 1)
        loss = ((omega * terms).sum(1) / omega.sum(1).clamp(min=1e-3)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def loop(steps: int) -> tuple[list[dict], float]:
    """Seconds of every step of the loop and of the step by hand behind it, and how far their weights end apart."""
    recipe = load_recipe(RECIPE, [f"steps={steps}", f"checkpoint.every={steps}", "validation.pictures=1"])
    backend = get_framework("torch", "cpu")
    network, batches = backend.build(recipe.network, recipe.network_objectives), Batches(recipe)
    backend.assign(network, starting_weights(backend.specs(network), recipe.seed))
    by_hand, rows = ByHand(network, recipe.objectives[1].nu), []
    began = time.thread_time()

    def after(step: int, _: int, loss: float) -> None:
        nonlocal began
        took, batch = time.thread_time() - began, batches[step - 1]
        alone = seconds(lambda: by_hand.step(batch, recipe.learning_rate_at(step - 1)))
        if FIRST < step < steps:  # the last step writes the weights
            rows.append({"step": step, "loop": took, "by_hand": alone, "loss": loss})
        began = time.thread_time()

    with tempfile.TemporaryDirectory() as folder:
        train(recipe, backend, folder, progress=after)
        trained, _ = storage.load(Path(folder) / "model.safetensors")
    ours = backend.parameters(network)
    apart = np.sqrt(sum(np.sum((ours[name] - trained[name]) ** 2) for name in trained))
    return rows, float(apart / np.sqrt(sum(np.sum(value**2) for value in trained.values())))


def loading(name: str) -> dict:
    """The median seconds of a batch and of a step of a recipe."""
    recipe, backend = load_recipe(name), get_framework("torch", "cpu")
    batches, network = Batches(recipe), backend.build(recipe.network, recipe.network_objectives)
    trainer = backend.trainer(network, recipe)
    made = [batches[index] for index in range(TAKEN)]  # which decodes their pictures
    prepared = np.median([seconds(lambda index=index: batches[index]) for index in range(TAKEN)])
    steps = [seconds(lambda batch=batch: trainer.step(batch, 1e-5)) for batch in made][1:]
    return {"recipe": name, "batch": float(prepared), "step": float(np.median(steps))}


def report(args: argparse.Namespace) -> None:
    """Measure what is not there yet, and write the page."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    if not (args.out / "loop.csv").is_file():
        rows, apart = loop(args.steps)
        write_text(args.out / "loop.csv", tables.to_csv(rows))
        write_text(args.out / "apart.csv", tables.to_csv([{"steps": args.steps, "weights_apart": apart}]))
    for name in RECIPES:
        known = runs.rows_of(args.out / "loading.csv")
        if name not in [row["recipe"] for row in known]:
            write_text(args.out / "loading.csv", tables.to_csv([*known, loading(name)]))
    write_text(args.out / "README.md", page(args.out))


def page(out: Path) -> str:
    """The page, from the CSV files."""
    rows = runs.rows_of(out / "loop.csv")
    own, alone = (np.array([float(row[name]) for row in rows]) for name in ("loop", "by_hand"))
    ratio, middle = own / alone, np.median(own) / np.median(alone)
    low, high = np.percentile(ratio, [25, 75])
    apart = float(runs.rows_of(out / "apart.csv")[0]["weights_apart"])
    shares = [(row, float(row["batch"]) / float(row["step"])) for row in runs.rows_of(out / "loading.csv")]
    above = [f"`{row['recipe']}` ({100 * share:.1f} %)" for row, share in shares if share > MOST_LOADING]
    kept = "Every mini recipe keeps it." if not above else f"Above it on one core: {', '.join(above)}."
    lines = [
        "# What the training loop costs\n",
        runs.GLOSSARY,
        f"**A step of the loop takes {middle:.3f} times a step written by hand** (wanted: at most {1 + MOST_LOOP:g}), "
        f"by the medians of {len(rows)} pairs; half of the pairs lie between {low:.3f} and {high:.3f}. **Loading "
        f"should take at most {100 * MOST_LOADING:g} % of a step.** {kept}\n",
        "Made by `python tools/loop_cost.py --out docs/results/loop` with PyTorch on one core. Times are the "
        "processor's, of the thread that trains, so that other programs are not counted. [loop.csv](loop.csv) holds "
        f"every pair. The loop trains `{RECIPE}` with what `tunable train` does besides: schedule, guard, log, "
        "TensorBoard and progress. The step by hand runs the network, the two distances, `backward` and "
        "`torch.optim.Adam` on the same batch. Both began with the same weights, and ended with weights that are "
        f"{apart:.1e} apart, relative: they computed the same.\n",
        "## Loading\n",
        "| recipe | a batch, ms | a step, ms | batch over step |",
        "|---|---|---|---|",
        *(
            f"| {row['recipe']} | {1e3 * float(row['batch']):.2f} | {1e3 * float(row['step']):.1f} | {share:.1%} |"
            for row, share in shares
        ),
        "",
        "A thread beside the training prepares the batches (`data.workers`), so with a core to spare the training "
        "waits for none of this, and on one core it costs this share. Pictures are decoded once, which is not counted. "
        "A training says so itself where more than 5 % of its time went by waiting for batches.\n",
    ]
    if above:
        lines.append(
            "What lies above the limit is spent in numpy's draws (`poisson`, `standard_normal`) and scipy's blur, one "
            "picture of a batch after the other. Other draws would make other batches, and every recorded run another "
            "one, so they stay.\n"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/loop"), help="folder of the results")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the loop and by hand")
    return runs.guarded(report, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
