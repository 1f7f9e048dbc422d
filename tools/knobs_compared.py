"""Compare formulations of tunable layers with each other and with blending, at equal cost.

    python tools/knobs_compared.py --work runs/knobs_compared --out docs/results/knobs_compared

Needs TUNABLE_DATA, torch and, for the task `style`, VGG16, which names the file of tools/vgg16.py. Trains every
formulation on each recipe of configs/knobs_compared, with one thread; it measures them on central crops of CBSD68,
times them, and writes README.md with the raw rows beside it. What --work and --out hold already is not made again.
`--only`, `--seeds` and `--rows` choose tasks, seeds and rows.

Equal cost: all rows have the same multiply-adds at one setting, and the same number of training steps in all. Networks
that start from a plain one have what it leaves of the steps: half of them, or a tenth where few numbers are learned. An
output blend of n networks has narrower ones, of about 1/n of the cost each, and 1/n of the steps each (`split`), or all
steps each (`whole`).
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import runs
import torch
from knobs_report import INPUT, RIVALS, report

from torch_impl.objectives import make_loss
from torch_impl.objectives.restoration import MeanTarget
from tunable.backends.registry import get_framework
from tunable.data.degradations import protocol_residues
from tunable.data.patches import find_pictures
from tunable.evaluation.samples import central
from tunable.files import write_text
from tunable.images.pictures import read
from tunable.objectives.restoration import PARTS
from tunable.omega import line
from tunable.reports import tables
from tunable.specs.reading import load_recipe
from tunable.specs.recipe import Recipe
from tunable.training.loop import train as train_recipe
from tunable.weights import storage

CROP = 128  # pixels a side of what is measured
Omega = tuple[float, ...]
Restore = Callable[[Omega, int], np.ndarray]  # omega and the place of a level -> pictures (n, 3, h, w)


@dataclass(frozen=True)
class Task:
    """A recipe, and where it is measured.

    Attributes:
        plain: the setting of the plain network, whose knobs all say: restore.
        ends: settings of the networks that an output blend is made of.
        width: of those networks, for about 1 / len(ends) of the multiply-adds.
        omegas: the settings that the tables show.
        front: the settings over which the hypervolume is taken.
        levels: (sigma in 1/255, rho in pixels) of the noise and of the blur; the front is measured at the second.
        rows: names of ROWS.
    """

    plain: Omega
    ends: tuple[Omega, ...]
    width: int
    omegas: tuple[Omega, ...]
    front: tuple[Omega, ...]
    levels: tuple[tuple[float, float], ...]
    rows: tuple[str, ...]

    @property
    def front_level(self) -> int:
        """The place of the level at which the front is measured: the second, if there is one."""
        return min(1, len(self.levels) - 1)


@dataclass(frozen=True)
class Row:
    """A formulation: what it changes in the task's recipe.

    Attributes:
        settings: overrides of the recipe.
        start: share of the steps of the plain network that it starts from; it has the others. 0: it starts by itself.
        rate: the learning rate, as a multiple of the recipe's.
    """

    settings: tuple[str, ...] = ()
    start: float = 0.0
    rate: float = 1.0


def _line(count: int) -> tuple[Omega, ...]:
    return tuple(tuple(float(value) for value in point) for point in line(count))


_SHORT = ("base", "last 1", "low rank 4", "affine", "scale")
_FASTER = "low rank 4, twice the rate"
_TRIED = (
    "low rank 4, four times the rate",
    "low rank 8",
    "low rank 8, twice the rate",
    "low rank 8, three times the rate",
    "low rank 4, twice the rate, anchored at the input",
    "last 4, low rank 4",
    "last 4, low rank 4, twice the rate",
)
_LONG = ("anchored, frozen, last 1", "anchored, frozen", "anchored, frozen, low rank 4", "anchored", "last 4", "bump")
_PAIRS = [(a, c) for a in (0.0, 0.5, 1.0) for c in (0.0, 0.5, 1.0)]
_TRIANGLE = tuple((4 - n - b, n, b) for n in range(5) for b in range(5 - n))
TASKS = {
    "noise": Task(
        (1, 0),
        ((1, 0), (0, 1)),
        11,
        (*_line(5), (0, 0), (1, 1)),
        _line(11),
        ((5, 0), (15, 0), (30, 0)),
        ("anchored, frozen, scale of last 1", *_SHORT, _FASTER, "base, half the rate", "base, sum of losses", *_LONG),
    ),
    "colour": Task(
        (1, 0, 1, 0),
        ((1, 0, 1, 0), (0, 1, 1, 0), (1, 0, 0, 1)),
        9,
        tuple((1 - a, a, 1 - c, c) for a, c in _PAIRS),
        tuple((1 - a, a, 1 - c, c) for a, c in _PAIRS),
        ((5, 0), (15, 0), (30, 0)),
        (*_SHORT, _FASTER, *_TRIED, "base, half the rate", *_LONG),
    ),
    "residues": Task(
        (1, 0, 0),
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        9,
        ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5), (0, 0, 0), (1, 1, 1)),
        tuple((f / 4, n / 4, b / 4) for f, n, b in _TRIANGLE),
        ((5, 1), (5, 2), (15, 1)),
        (*_SHORT, _FASTER, *_LONG),
    ),
    "style": Task(
        (1, 0),
        ((1, 0), (0, 1)),
        11,
        (*_line(5), (1, 1)),
        _line(11),
        ((0, 0),),
        (*_SHORT, _FASTER, "last 4", "bump"),
    ),
}
_ANCHORED = ("network.anchor={anchor}", "initial.weights={plain}")
_LOW, _LAST = ("network.differences=low_rank", "network.rank=4"), ("network.where={{last: 1}}",)
_LAST_4 = ("network.where={{last: 4}}",)
_RANK_8 = ("network.differences=low_rank", "network.rank=8")
_FROZEN = (*_ANCHORED, "initial.freeze=true")
_FAST = "optimizer.learning_rate=0.01"  # few numbers, which have far to go
ROWS = {
    "affine": Row(("network.phi=affine",)),
    "base": Row(),
    "base, half the rate": Row(rate=0.5),
    "base, sum of losses": Row(("loss.combine=losses",)),
    "bump": Row(("network.bump=true",)),
    "low rank 4": Row(_LOW),
    _FASTER: Row(_LOW, rate=2),
    "low rank 4, four times the rate": Row(_LOW, rate=4),
    "low rank 8": Row(_RANK_8),
    "low rank 8, twice the rate": Row(_RANK_8, rate=2),
    "low rank 8, three times the rate": Row(_RANK_8, rate=3),
    "low rank 4, twice the rate, anchored at the input": Row((*_LOW, "network.anchor={input}"), rate=2),
    "scale": Row(("network.differences=scale",)),
    "last 4": Row(_LAST_4),
    "last 4, low rank 4": Row((*_LOW, *_LAST_4)),
    "last 4, low rank 4, twice the rate": Row((*_LOW, *_LAST_4), rate=2),
    "last 1": Row(_LAST),
    "anchored": Row(_ANCHORED, start=0.5),
    "anchored, frozen": Row(_FROZEN, start=0.5),
    "anchored, frozen, low rank 4": Row((*_FROZEN, *_LOW), start=0.5),
    "anchored, frozen, last 1": Row((*_FROZEN, *_LAST, _FAST), start=0.9),
    "anchored, frozen, scale of last 1": Row((*_FROZEN, *_LAST, "network.differences=scale", _FAST), start=0.9),
}


@dataclass
class Run:
    """The networks of one task and seed, trained when they are asked for."""

    name: str
    seed: int
    work: Path
    task: Task = field(init=False)
    recipe: Recipe = field(init=False)

    def __post_init__(self) -> None:
        self.task, self.recipe = TASKS[self.name], self._recipe()
        self.backend = get_framework("torch", "cpu")

    def _recipe(self, *settings: str) -> Recipe:
        return load_recipe(f"knobs_compared/{self.name}", [f"seed={self.seed}", *settings])

    def file(self, name: str, *settings: str, steps: float = 1) -> Path:
        """The weights file of a recipe with overrides, trained for a share of the steps."""
        folder = self.work / self.name / f"seed {self.seed}" / name
        recipe = self._recipe(*settings, f"steps={round(steps * self.recipe.steps)}", "checkpoint.keep=1")
        if not (folder / "model.safetensors").is_file():
            print(f"training {folder}", flush=True)
            train_recipe(recipe, self.backend, folder, resume=True)
        return folder / "model.safetensors"

    def plain(self, name: str, omega: Omega, steps: float = 1, width: int | None = None) -> Path:
        """A plain network for one setting."""
        settings = ["network.tunable=false", f"omega.sampler={{kind: fixed, value: {list(omega)}}}"]
        return self.file(name, *settings, *([f"network.width={width}"] if width else []), steps=steps)

    def row(self, name: str) -> Path:
        """A row's tunable network."""
        row = ROWS[name]
        start = self.plain(f"plain, {row.start:.0%}", self.task.plain, row.start) if row.start else ""
        return self.file(name, *self._settings(name, start), steps=1 - row.start)

    def _settings(self, name: str, plain: Path | str) -> list[str]:
        """A row's overrides of the recipe; plain: the weights file that it starts from, where it starts from one."""
        row = ROWS[name]
        values = {"anchor": list(self.task.plain), "plain": plain}
        values["input"] = [1 - value for value in self.task.plain]  # where all that can stay stays
        rate = f"optimizer.learning_rate={row.rate * self.recipe.optimizer.learning_rate:g}"
        return [*(one.format(**values) for one in row.settings), *([rate] if row.rate != 1 else [])]

    def recipes(self) -> dict[str, Recipe]:
        """Recipes of a plain network, of one of two ends, and of rows that differ by more than a learning rate."""
        fixed = ("network.tunable=false", f"omega.sampler={{kind: fixed, value: {list(self.task.plain)}}}")
        rows = {name: self._settings(name, "plain.safetensors") for name in self.task.rows if ROWS[name].rate == 1}
        plain = {"plain": fixed, "one of two ends": (*fixed, f"network.width={self.task.width}")}
        return {name: self._recipe(*settings) for name, settings in (plain | rows).items()}

    def rows(self) -> Iterator[tuple[str, Callable[[], Restore]]]:
        """Every row of the task, the rivals among them, with what makes a function that restores its pictures."""
        if self.recipe.shared_targets:
            yield INPUT, lambda: lambda omega, level: self.degraded(level)
            yield "blend", lambda: self._blend(self._restore(self.plain("plain", self.task.plain)))
        yield "output blend, split", lambda: self._ends("split", 1 / len(self.task.ends))
        for name in self.task.rows:
            yield name, lambda name=name: self._restore(self.row(name))
        yield "output blend, whole", lambda: self._ends("whole", 1)

    def _ends(self, name: str, steps: float) -> Restore:
        """An output blend of narrow networks, each trained for a share of the steps."""
        ends, width = self.task.ends, self.task.width
        files = [self.plain(f"end {i}, {name}", end, steps, width) for i, end in enumerate(ends)]
        return self._output_blend([self._restore(file) for file in files])

    def _restore(self, path: Path) -> Restore:
        """Folded at each setting, which is how a network's cost at one setting is equal for all."""
        tensors, header = storage.load(path)
        network = self.backend.build(header.network, header.num_objectives if header.network.tunable else 0)
        self.backend.assign(network, tensors)
        folded = cache(lambda omega: self.backend.fold(network, np.float32(omega)))

        def restore(omega: Omega, level: int) -> np.ndarray:
            return self.backend.run(folded(omega) if header.network.tunable else network, self.degraded(level), None)

        return restore

    def degraded(self, level: int) -> np.ndarray:
        return pictures(*self.task.levels[level])["degraded"]

    def shares(self, omega: Omega) -> np.ndarray:
        """What each objective's target counts in the mean of those that share one, (p,); 1 in sum for each mean."""
        shares = np.zeros(len(omega))
        for group in self.recipe.shared_targets or (tuple(range(len(omega))),):
            total = sum(omega[i] for i in group)
            for i in group:
                shares[i] = omega[i] / total if total else float(i == group[0])  # without a count: the clean picture
        return shares

    def _blend(self, plain: Restore) -> Restore:
        """The plain network's output and the input, mixed as the targets mix their clean and degraded pictures."""

        def restore(omega: Omega, level: int) -> np.ndarray:
            restored, degraded = plain(omega, level), self.degraded(level)
            mixing, rest = np.zeros((3, 3)), degraded - restored
            if any(spec.kind == "residue" for spec in self.recipe.objectives):
                # No such mixture: the share that is best for this very target, over all pictures of the level
                wanted = self.target(omega, level)[0] - restored
                mixing = np.eye(3) * float(np.clip(np.sum(wanted * rest) / np.sum(rest * rest), 0, 1))
            else:
                spaces = np.array(PARTS["luma"] + PARTS["chroma"])
                for spec, share in zip(self.recipe.objectives, self.shares(omega), strict=True):
                    if spec.kind == "noise":
                        chosen = {"rgb": (1, 1, 1), "luma": (1, 0, 0), "chroma": (0, 1, 1)}[spec.space]
                        mixing += share * spec.nu * np.linalg.solve(spaces, np.diag(chosen) @ spaces)
            return restored + np.einsum("kc,nchw->nkhw", mixing, rest).astype(np.float32)

        return restore

    def _output_blend(self, ends: list[Restore]) -> Restore:
        """The sum of the ends' outputs whose shares are those of the setting."""
        at_ends = np.array([self.shares(end) for end in self.task.ends]).T

        def restore(omega: Omega, level: int) -> np.ndarray:
            weights = np.linalg.lstsq(at_ends, self.shares(omega), rcond=None)[0]
            return sum(w * end(omega, level) for w, end in zip(weights.astype(np.float32), ends, strict=True))

        return restore

    def target(self, omega: Omega, level: int) -> list[np.ndarray]:
        """The mean of targets at a setting, (n, 3, h, w), one for each part of the colour space."""
        sample, loss = tensors_of(pictures(*self.task.levels[level])), self.loss
        rows = torch.tensor([omega] * len(sample["clean"]), dtype=torch.float32)
        return [
            one.target(sample, rows[:, list(columns)]).numpy()
            for one, columns in zip(loss.objectives, loss.columns, strict=True)
            if isinstance(one, MeanTarget)
        ]

    @property
    def loss(self):
        return _loss(self.name, self.seed)

    def measured(self, restore: Restore, omega: Omega, level: int) -> dict[str, float]:
        """PSNR to the targets at a setting, a mean over pictures, and every objective's own loss at its full end."""
        restored, values = restore(omega, level), {}
        means = [one for one in self.loss.objectives if isinstance(one, MeanTarget)]
        for place, (mean, target) in enumerate(zip(means, self.target(omega, level), strict=True)):
            part = np.array(PARTS[mean.space]) if mean.space != "rgb" else np.eye(3)
            error = np.einsum("kc,nchw->nkhw", part, restored.astype(np.float64) - target)
            values[f"psnr_{place + 1}"] = float(np.mean(-10 * np.log10(np.mean(error**2, axis=(1, 2, 3)))))
        sample = tensors_of(pictures(*self.task.levels[level]))
        few = slice(None) if means else slice(8)  # the feature network takes long
        with torch.no_grad():
            for i in range(len(omega)):
                own = torch.eye(len(omega))[i]
                chosen = {name: value[few] for name, value in sample.items()}
                values[f"own_{i + 1}"] = float(self.loss(torch.from_numpy(restored[few]), chosen, own)[1][i])
        return values


@cache
def _loss(name: str, seed: int):
    return make_loss(load_recipe(f"knobs_compared/{name}", [f"seed={seed}"]), torch.zeros(1))


@cache
def pictures(sigma: float, rho: float) -> dict[str, np.ndarray]:
    """Central crops of CBSD68, degraded by the measuring protocol: float32 (n, 3, h, w) by name."""
    crops = [central(read(path), CROP) for path in find_pictures(["${TUNABLE_DATA}/CBSD68"])]
    steps = [protocol_residues(clean, sigma, index, rho) for index, clean in enumerate(crops)]
    sample = {"clean": np.stack(crops)} | {name: np.stack([step[name] for step in steps]) for name in steps[0]}
    sample["degraded"] = sample["clean"] + sum(sample[name] for name in steps[0])
    return {name: np.ascontiguousarray(value.transpose(0, 3, 1, 2), np.float32) for name, value in sample.items()}


def tensors_of(sample: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in sample.items()}


def measure(run: Run, out: Path, wanted: list[str]) -> None:
    """The raw rows of a run: one file per row, so that an interrupted program goes on where it was."""
    for name, made in run.rows():
        path = out / "raw" / run.name / f"{name}, seed {run.seed}.csv"
        if path.is_file() or (wanted and name not in wanted):
            continue
        restore, rows = made(), []
        for level, (sigma, rho) in enumerate(run.task.levels):
            front = run.task.front if level == run.task.front_level else ()
            for omega in dict.fromkeys((*run.task.omegas, *front)):
                values = run.measured(restore, omega, level)
                rows.append({"row": name, "seed": run.seed, "sigma": sigma, "rho": rho, "omega": omega, **values})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, tables.to_csv(rows))
        print(run.name, run.seed, name, [f"{v:.3g}" for v in list(rows[0].values())[5:]], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the training runs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--only", choices=TASKS, nargs="+", default=list(TASKS), help="tasks, all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rows", nargs="+", default=[], help="rows of the tables, all by default")
    args = parser.parse_args()
    known = (INPUT, *RIVALS, *ROWS)
    if unknown := set(args.rows) - {*known}:
        parser.error(f"there is no row {sorted(unknown)[0]!r}; rows are {', '.join(known)}")
    torch.set_num_threads(1)
    for name in args.only:
        for seed in args.seeds:
            measure(Run(name, seed, args.work), args.out, args.rows)
    report(TASKS, Run("noise", 0, args.work).recipes(), args.out)


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
