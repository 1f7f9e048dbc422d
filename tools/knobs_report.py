"""The page of tools/knobs_compared.py: its tables, and what rows cost."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean

import numpy as np
import runs
import torch
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from tunable.backends.registry import get_framework
from tunable.data.patches import Batch
from tunable.errors import TunableError
from tunable.evaluation import metrics
from tunable.files import atomic, write_text
from tunable.parameters.starts import starting_weights
from tunable.reports import tables
from tunable.specs.recipe import Recipe
from tunable.weights import storage

ROUNDS, SIDE, SAMPLES = 9, 64, 4  # of the timing: turns, pixels along each side, pictures
INPUT = "input"  # the row that leaves pictures as they are
RIVALS = ("blend", "output blend, split", "output blend, whole")
ABOUT = {
    "noise": "One knob for the noise that stays (`rec` and `noise`, σ 5 to 50). The target is linear in the clean "
    "and the degraded picture: the blend of the best estimate with the input can be tied, not beaten.",
    "colour": "Two knobs, for the luminance and for the chrominance noise that stay. Again a blend is the best. "
    "Columns are (luminance kept, chrominance kept); the PSNR is that of luma and, behind the stroke, of chroma.",
    "residues": "Blurred and noisy pictures; one knob for the noise that stays, one for the blur that stays. The "
    "target y + r noise + s residue is no function of the restored picture and the input. The row `blend` "
    "therefore takes, for each target, the share that is best for that very target, which no user could know.",
    "style": "One knob from one style to another (mosaic and kandinsky, features of VGG-16). There is no target: the "
    "losses themselves are compared. 600 steps are too few for styles that one would show.",
}


def report(tasks: dict, recipes: dict[str, Recipe], out: Path) -> None:
    """Write README.md and the plot from the raw rows, and what the networks of `recipes` cost beside the first."""
    found = {
        name: [row for path in sorted((out / "raw" / name).glob("*.csv")) for row in runs.rows_of(path)]
        for name in tasks
    }
    without = [name for name, rows in found.items() if rows and not any(row["row"] == "base" for row in rows)]
    if without:
        raise TunableError(f"the page compares with the row `base`, which {out / 'raw' / without[0]} does not hold yet")
    found = {name: rows for name, rows in found.items() if rows}
    _plot(out / "plot.png", {name: _hypervolumes(tasks[name], rows) for name, rows in found.items()})
    lines = [
        "# Formulations of knobs compared, and blending\n",
        runs.GLOSSARY,
        Path(out / "findings.md").read_text(encoding="utf-8") if (out / "findings.md").is_file() else "",
        "![Hypervolumes of every row beside those of base](plot.png)\n",
    ]
    for name, rows in found.items():
        lines += [f"## {name}\n", ABOUT[name] + "\n", *_tables(tasks[name], rows)]
    lines += [
        *_costs(recipes, out),
        "## How this was made\n",
        "Made by `python tools/knobs_compared.py --work runs/knobs_compared --out docs/results/knobs_compared` from "
        "[configs/knobs_compared](../../../configs/knobs_compared), in torch on a CPU with one thread. Raw rows are in "
        "[raw](raw).\n",
    ]
    write_text(out / "README.md", "\n".join(lines))


def _names(task, rows: list[dict]) -> list[str]:
    return [name for name in (INPUT, *RIVALS, *task.rows) if any(row["row"] == name for row in rows)]


def _hypervolumes(task, rows: list[dict]) -> dict[str, list[float]]:
    """Of every row, a value for each seed."""
    p, first = len(task.plain), min(row["seed"] for row in rows)
    reference = _worst(task, [row for row in rows if row["row"] == "base" and row["seed"] == first], p)
    values = {}
    for name in _names(task, rows):
        seeds = sorted({row["seed"] for row in rows if row["row"] == name})
        fronts = [_front(task, [r for r in rows if r["row"] == name and r["seed"] == seed], p) for seed in seeds]
        values[name] = [metrics.hypervolume(front, reference) for front in fronts]
    return values


def _plot(path: Path, values: dict[str, dict[str, list[float]]]) -> None:
    """A panel for each task: hypervolumes of its rows beside the mean of `base`, with a dot for every seed."""
    figure = Figure(figsize=(6.5 * len(values), 5.5))
    for axes, (task, rows) in zip(figure.subplots(1, len(values), squeeze=False)[0], values.items(), strict=True):
        ratios = {name: np.array(each) / fmean(rows["base"]) for name, each in rows.items()}
        axes.barh(list(ratios), [each.mean() for each in ratios.values()], alpha=0.75)
        for place, each in enumerate(ratios.values()):
            axes.plot(each, [place] * len(each), "k.", markersize=4)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.invert_yaxis()
        axes.set_title(task)
        axes.set_xlabel("hypervolume, base = 1")
        axes.grid(alpha=0.3, axis="x")
    figure.tight_layout()
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")


def _tables(task, rows: list[dict]) -> list[str]:
    names, volumes = _names(task, rows), _hypervolumes(task, rows)
    seeds = sorted({row["seed"] for row in rows})
    parts = [key for key in ("psnr_1", "psnr_2") if key in rows[0]]
    keys = parts or [f"own_{i + 1}" for i in range(len(task.plain))]  # without targets: the losses themselves
    lines = []
    columns = ["row", *map(_label, task.omegas), *(["mean", "least to the best blend"] if parts else []), "hypervolume"]
    lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    at = {
        (name, seed, omega): [
            float(np.mean([float(row[key]) for row in rows if _is(row, name, seed, omega)])) for key in keys
        ]
        for name in names
        for seed in seeds
        for omega in task.omegas
        if any(_is(row, name, seed, omega) for row in rows)
    }
    for name in names:
        here = [seed for seed in seeds if any(row["row"] == name and row["seed"] == seed for row in rows)]
        cells = [
            " / ".join(runs.spread([at[name, seed, omega][k] for seed in here]) for k in range(len(keys)))
            for omega in task.omegas
        ]
        if parts:
            drawn = [omega for omega in task.omegas if abs(sum(omega) - sum(task.plain)) < 1e-6]
            means = [[fmean(at[name, seed, omega][k] for omega in drawn) for seed in here] for k in range(len(parts))]
            cells.append(" / ".join(map(runs.spread, means)))
            cells.append(" / ".join(_margin(at, name, here, drawn, k) for k in range(len(parts))))
        cells.append(runs.spread(volumes[name], 4))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    levels = ", ".join(
        f"σ {sigma:g}" + (f" after a blur of {rho:g} pixels" if rho else "") for sigma, rho in task.levels
    )
    where = "one seed, or two where a ± stands: half their distance" if len(seeds) > 1 else "one seed"
    note = (
        f"Central crops of 128x128 of CBSD68; {where}. Hypervolume of every objective's own loss at its full end over "
    )
    note += f"{len(task.front)} settings, as a share of the box up to 1.1 times the worst end of `base`."
    if parts:
        note += (
            f" Columns are PSNR in dB to the target of that setting, means over {levels}; then their mean over the "
            "settings of the table that training draws, and the least distance to the best of all blends over those "
            "settings (positive: the row is above every blend at each of them)."
        )
    else:
        note += " Columns are the loss of each objective, over the first 8 pictures: less is better."
    return [*lines, "", note + "\n"]


def _label(omega: tuple[float, ...]) -> str:
    if len(omega) == 4:
        return f"({omega[1]:g}, {omega[3]:g})"
    return "(" + ", ".join(f"{value:g}" for value in omega) + ")"


def _is(row: dict, name: str, seed: str, omega: tuple[float, ...]) -> bool:
    return row["row"] == name and row["seed"] == seed and _omega(row) == tuple(float(value) for value in omega)


def _omega(row: dict) -> tuple[float, ...]:
    return tuple(float(row[key]) for key in sorted(row) if key.startswith("omega_") and row[key])


def _margin(at: dict, name: str, seeds: list[str], omegas: Iterable, part: int) -> str:
    """The least of a row's distances to the best of the blends, a range over seeds."""
    if name in (INPUT, *RIVALS):
        return ""
    least = []
    for seed in seeds:
        rivals = [rival for rival in RIVALS if (rival, seed, omegas[0]) in at]
        if rivals:
            apart = [at[name, seed, o][part] - max(at[r, seed, o][part] for r in rivals) for o in omegas]
            least.append(min(apart))
    return runs.spread(least) if least else ""


def _losses(rows: list[dict], p: int) -> np.ndarray:
    return np.array([[float(row[f"own_{i + 1}"]) for i in range(p)] for row in rows])


def _front(task, rows: list[dict], p: int) -> np.ndarray:
    """The objectives' own losses over the front's settings, (settings, p)."""
    level = task.levels[task.front_level]
    chosen = {tuple(float(value) for value in omega) for omega in task.front}
    here = [r for r in rows if (float(r["sigma"]), float(r["rho"])) == level and _omega(r) in chosen]
    return _losses(here, p)


def _worst(task, rows: list[dict], p: int) -> np.ndarray:
    """1.1 times each objective's largest loss at the ends, (p,)."""
    level = task.levels[task.front_level]
    ends = {tuple(float(value) for value in end) for end in task.ends}
    here = [r for r in rows if (float(r["sigma"]), float(r["rho"])) == level and _omega(r) in ends]
    return 1.1 * _losses(here, p).max(0)


def _costs(recipes: dict[str, Recipe], out: Path) -> list[str]:
    """What networks cost beside the first of them, a plain one, timed in turns, unless costs.csv says it already."""
    path = out / "costs.csv"
    rows = {row["row"]: row for row in runs.rows_of(path)}
    plain, *_ = recipes
    if missing := [name for name in recipes if name not in rows]:
        measured = measured_costs({name: recipes[name] for name in dict.fromkeys((plain, *missing))})
        rows = {row["row"]: row for row in measured} | rows
        write_text(path, tables.to_csv([rows[name] for name in recipes]))
    lines = [
        "## Cost\n",
        "The rows of `noise`; where a learning rate alone differs, costs do not. Multiply-adds are per pixel at one "
        "setting, folded. Times are ratios to the plain "
        f"network in turns, medians of {ROUNDS}: a training step on {SAMPLES} patches of {SIDE}x{SIDE} with ω for each "
        "sample, and a forward pass of as many pictures with one ω, not folded, and with one each.\n",
        *cost_table(path, {"kilobytes": "file, kB"}),
    ]
    return [*lines, ""]


def cost_table(path: Path, more: dict[str, str] | None = None) -> list[str]:
    """Rows of `measured_costs` as Markdown; more: further columns, key -> title."""
    more = more or {}
    titles = ["row", "parameters", "multiply-adds", "step", "forward, one ω", "forward, ω per sample", *more.values()]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in runs.rows_of(path):
        times = [f"{float(row[key]):.2f}" for key in ("step", "one", "each")]
        cells = [row["row"], row["parameters"], row["multiply_adds"], *times, *(row[key] for key in more)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def measured_costs(recipes: dict[str, Recipe]) -> list[dict]:
    """A row for each recipe: its network's size, and its times as ratios to the first one's, a plain network's."""
    backend, rng = get_framework("torch", "cpu"), np.random.default_rng(0)
    pictures = rng.random((SAMPLES, 3, SIDE, SIDE), dtype=np.float32)
    rows, calls = [], []
    for name, recipe in recipes.items():
        network = backend.build(recipe.network, recipe.network_objectives)
        tensors = starting_weights(backend.specs(network), 0, recipe.initial)
        backend.assign(network, tensors)
        trainer, plain = backend.trainer(network, recipe), not recipe.network.tunable
        omega = rng.random((SAMPLES, len(recipe.objectives)), dtype=np.float32)
        one, each = (None, None) if plain else (omega[0], omega)
        drawn = omega if recipe.omega.per == "sample" else omega[0]
        batch = Batch(0, {"clean": pictures, "degraded": pictures}, drawn)
        folded = network if plain else backend.fold(network, omega[0])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            folded(torch.from_numpy(pictures[:1]))
        with tempfile.TemporaryDirectory() as folder:
            storage.save(file := Path(folder) / "model.safetensors", tensors, storage.Header.of(recipe))
            kilobytes = round(file.stat().st_size / 1000)
        count, sums = sum(value.size for value in tensors.values()), counter.get_total_flops() / 2 / SIDE**2
        rows.append({"row": name, "parameters": count, "multiply_adds": round(sums), "kilobytes": kilobytes})
        calls.append(
            {
                "step": lambda trainer=trainer, batch=batch: trainer.step(batch, 1e-5),
                "one": lambda network=network, omega=one: backend.run(network, pictures, omega),
                "each": lambda network=network, omega=each: backend.run(network, pictures, omega),
            }
        )
    for kind in ("step", "one", "each"):
        seconds = [[_seconds(call[kind]) for call in calls] for _ in range(ROUNDS + 1)][1:]  # the first warms up
        for place, row in enumerate(rows):
            row[kind] = statistics.median(turn[place] / turn[0] for turn in seconds)
    return rows


def _seconds(call: Callable) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
