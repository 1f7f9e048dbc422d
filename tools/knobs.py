"""What knobs cost a network, and another omega: docs/results/knobs.

    python tools/knobs.py --out docs/results/knobs

The plain ResNet of Table 1 (16 blocks, 64 channels, 1,185,219 parameters), what `make_tunable` makes of it with two
objectives, that folded, and the package's own tunable ResNet take turns, on one picture, omega another at every call,
in one process per framework and number of threads. Keeps every round in rounds.csv and writes README.md from it; what
stands in a rounds.csv that is there is not measured again. onnxruntime runs the exports of the last: omega an input,
and folded. The machine should do nothing else meanwhile. Needs both frameworks and onnxruntime.
"""

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import runs

from tunable.backends.model import WeightsModel
from tunable.backends.registry import BACKENDS, get_framework
from tunable.exports.judging import tried_export
from tunable.exports.onnx_files import with_constant
from tunable.files import write_text
from tunable.reports import tables
from tunable.specs.networks import ResNetSpec
from tunable.weights.storage import Header

SIZE = 64  # pixels along each side
ROUNDS = 61
AT = [0.3, 0.8]  # the omega of what is folded
CASES = ("given", "again", "folded", "tuned", "kept", "own")
CASES_OF_EXPORTS = ("given", "again", "own", "kept", "blocked", "rows given", "rows own")
MEASURED = ("seconds", "cpu", "faults")  # by the clock, of the processor; pages faulted in


class Setting(NamedTuple):
    """One process: its name on the page, and what it runs with."""

    label: str
    backend: str
    threads: int
    environment: dict[str, str] = {}


# What glibc itself comes to where outputs have a megabyte, which it then returns to the system: see torch_impl.ops.
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "1052672", "MALLOC_TRIM_THRESHOLD_": "2105344"}
SETTINGS = (
    Setting("torch", "torch", 1),
    Setting("torch, memory returned", "torch", 1, RETURNED),
    Setting("mindspore", "mindspore", 1),
    Setting("torch", "torch", 2),
    Setting("mindspore", "mindspore", 2),
)
EXPORTED = (Setting("onnxruntime", "onnx", 1), Setting("onnxruntime", "onnx", 2))


def take_turns(calls: dict[str, Callable[[np.ndarray], object]]) -> list[dict]:
    """Of each case, called with omega, and round: what is MEASURED, and the machine's load."""
    rng, rows = np.random.default_rng(0), []
    for index in range(-3, ROUNDS):  # the first three warm up, and compile
        omega = rng.uniform(size=2).astype(np.float32)
        for case in rng.permutation(list(calls)):
            start = time.perf_counter(), time.process_time(), pages()
            calls[case](omega)
            end = time.perf_counter(), time.process_time(), pages()
            if index >= 0:
                taken = dict(zip(MEASURED, (b - a for a, b in zip(start, end, strict=True)), strict=True))
                rows.append({"round": index, "case": str(case), **taken, "load": os.getloadavg()[0]})
    return rows


def measure_exports(threads: int) -> list[dict]:
    """given: the package's own network folded, as ONNX; again: the same; own: omega its input; kept: that a constant.

    blocked: own in the mode of this name
    rows given, rows own: the same without blocks of channels, a layout that onnxruntime gives to constant kernels only
    """
    import onnxruntime

    from tunable.backends import onnx_runtime

    levels = onnxruntime.GraphOptimizationLevel
    levels = {"": levels.ORT_ENABLE_ALL, "rows ": levels.ORT_ENABLE_EXTENDED}
    backend = get_framework("torch", "cpu")
    network = WeightsModel(backend, backend.build(ResNetSpec(), 2), Header(ResNetSpec(), ("a", "b"), ((0.0, 1.0),) * 2))
    x = np.random.default_rng(1).uniform(size=(1, 3, SIZE, SIZE)).astype(np.float32)
    calls = {}
    with tempfile.TemporaryDirectory() as folder:
        for case, at in (("given", AT), ("again", AT), ("own", None), ("kept", None), ("blocked", None)):
            (path,), report = tried_export(network, "onnx", folder, at)
            if not report.passed:
                sys.exit(f"the export is off by {report.worst}")
            model = path
            if case == "kept":
                model = with_constant(path, "omega", np.array([AT], np.float32))
            if case == "blocked":
                model = onnx_runtime.Session(path, "cpu").blocked.model
            for prefix, level in levels.items():
                if prefix + case not in CASES_OF_EXPORTS:
                    continue
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads, options.graph_optimization_level = threads, level
                calls[prefix + case] = partial(answered, onnxruntime.InferenceSession(model, options), x)
    return take_turns(calls)


def answered(session, x: np.ndarray, omega: np.ndarray) -> list:
    inputs = {"image": x, "omega": omega[None]}
    return session.run(None, {one.name: inputs[one.name] for one in session.get_inputs()})


def measure(name: str, threads: int) -> list[dict]:
    """What `take_turns` says of one framework's cases."""
    set_threads(name, threads)
    backend, impl = get_framework(name, "cpu"), importlib.import_module(f"{name}_impl")
    given, again = (backend.build(ResNetSpec(tunable=False), 0) for _ in range(2))
    tuned, kept = (impl.make_tunable(given, 2) for _ in range(2))
    tunable = backend.build(ResNetSpec(), 2)
    folded = impl.fold(tuned, tensor(name, np.array(AT, np.float32)))
    x = tensor(name, np.random.default_rng(1).uniform(size=(1, 3, SIZE, SIZE)).astype(np.float32))
    calls = {
        case: lambda omega, network=network: values(name, network(x))
        for case, network in (("given", given), ("again", again), ("folded", folded))
    }
    for case, network in (("tuned", tuned), ("own", tunable)):
        calls[case] = lambda omega, network=network: values(name, network(x, tensor(name, omega)))
    calls["kept"] = lambda omega: values(name, kept(x, tensor(name, np.array(AT, np.float32))))
    with running(name):
        rows = take_turns(calls)
    if name == "mindspore" and len(tuned.compile_cache) + len(tunable.compile_cache) != 2:
        sys.exit(f"compiled {len(tuned.compile_cache)} and {len(tunable.compile_cache)} times")
    return rows


def set_threads(name: str, threads: int) -> None:
    if name == "torch":
        importlib.import_module("torch").set_num_threads(threads)
    else:
        importlib.import_module("mindspore_impl")
        importlib.import_module("mindspore").set_context(runtime_num_threads=threads)


def pages() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def tensor(name: str, array: np.ndarray):
    module = importlib.import_module(name)
    return module.from_numpy(array) if name == "torch" else module.Tensor(array)


def values(name: str, output) -> np.ndarray:
    return output.numpy() if name == "torch" else output.asnumpy()


def running(name: str):
    """Without gradients; MindSpore in graph mode."""
    if name == "torch":
        return importlib.import_module("torch").no_grad()
    return importlib.import_module("mindspore_impl.ops").running("graph")


def of(rows: list[dict], setting: Setting, case: str, what: str = "seconds") -> np.ndarray:
    """One quantity of a case in every round of a setting."""
    matching = (row for row in rows if (row["setting"], int(row["threads"])) == (setting.label, setting.threads))
    return np.array([float(row[what]) for row in matching if row["case"] == case])


def exported(rows: list[dict]) -> str:
    """A table: what omega as an input costs in onnxruntime."""
    lines = [
        "| threads | folded | blocked | ω an input | ω kept | folded again | no blocks | load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in EXPORTED:
        taken = {case: of(rows, one, case) for case in CASES_OF_EXPORTS}
        ratios = [(case, "given") for case in ("blocked", "own", "kept", "again")] + [("rows own", "rows given")]
        cells = [f"{1e3 * np.median(taken['given']):.0f} ms"]
        cells += [f"{np.median(taken[a] / taken[b]):.3f}" for a, b in ratios]
        lines.append(f"| {one.threads} | {' | '.join(cells)} | {np.median(of(rows, one, 'given', 'load')):.1f} |")
    return "\n".join(lines)


def page(rows: list[dict]) -> str:
    lines = []
    for one in SETTINGS:
        taken = {(what, case): of(rows, one, case, what) for what in MEASURED for case in CASES}
        cells = [f"{1e3 * np.median(taken['seconds', 'given']):.0f} ms"]
        cells += [f"{np.median(taken['seconds', 'folded'] / taken['seconds', 'given']):.3f}"]
        for case in ("tuned", "own", "again"):
            wall, cpu = (1e3 * np.median(taken[what, case] - taken[what, "given"]) for what in ("seconds", "cpu"))
            cells.append(f"{wall:+.2f} / {cpu:+.2f} ms")
        change = 1e3 * np.median(taken["seconds", "tuned"] - taken["seconds", "kept"])
        cells[2:2] = [f"{change:+.2f} ms"]
        cells.append(f"{np.median(taken['faults', 'tuned']):,.0f}")
        cells.append(f"{np.median(of(rows, one, 'given', 'load')):.1f}")
        lines.append(f"| {one.label} | {one.threads} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    return f"""# What knobs cost a network

Words are explained in the [glossary](../../glossary.md).

A folded network costs nothing, and a tunable one adds some milliseconds to every call, because the kernels of all its
layers are summed anew. Another ω than in the call before costs nothing more.

Made by `python tools/knobs.py --out docs/results/knobs`, with every round in [rounds.csv](rounds.csv). These networks
take turns on one picture of {SIZE}x{SIZE} on a CPU:

* *given*: the plain ResNet of Table 1 with 1,185,219 parameters;
* *again*: a second copy of it, whose difference from *given* is noise;
* *made tunable*: `make_tunable(network, 2)` of it, with another ω at every call; *kept* is the same with one ω for all
  calls;
* *folded*: the network made tunable, folded;
* *own*: the package's own tunable ResNet with two objectives (φ `base`, three kernels per layer), with another ω at
  every call.

The numbers are medians of {ROUNDS} rounds. What a network adds is the median difference from *given* in the same round,
by the clock / by the processor's time. The processor's time says more where *load*, the number of processes that wanted
one of the two cores, exceeds the threads. A row whose *again* is far from zero says nothing, because torch's threads
wait for each other when the machine is busy.

| framework | threads | given | folded / given | another ω | made tunable adds | own adds | again adds | faults | load |
|---|---|---|---|---|---|---|---|---|---|
{table}

For a folded network at most 1.02 was wanted, and for another ω at most 2 ms.

* **Another ω** is the time that a call of *made tunable* takes longer than a call of *kept*. It is noise: nothing is
  remembered of an ω, and nothing is compiled for it.
* **Made tunable adds** the sums of kernels of all 34 layers in every call, whatever the picture's size. It is more than
  2 ms. The sums read 14 MB of kernels and write 5 MB, which is more than the caches that a processor has to itself.
* **Faults** are page faults in one call of *made tunable*. glibc used to return the outputs of every layer, and the
  sums of kernels, to the system, and took them back page by page. Now torch's memory stays
  (`torch_impl/ops/startup.py`), from which every network gains. *Memory returned* is the same with glibc's own
  behaviour.
* **MindSpore** (graph mode) compiled each network once for all ω. A sum of kernels is a matrix product and an
  addition there, which makes 136 operators, and each of them writes its result.

## In onnxruntime

The package's own network is exported by `tunable export` in form `shared`. Its times are divided by the time of the
file that was folded at one ω. At most 1.1 was wanted.

* **Blocked**: another ω in every call, in mode `blocked` of backend `onnx`. onnxruntime computes convolutions on blocks
  of channels where the kernels are constants, which it can lay out once. This mode lays out the kernels of every
  objective, and mixes the laid-out kernels.
* **ω an input**: another ω in every call, with the file as it is (mode `session`). Its kernels are computed in every
  call, and are not laid out.
* **ω kept**: the same file with ω made a constant as it is opened. `Model.fold` does that, and so does
  `tunable restore` for all tiles and pictures of a run.
* **No blocks**: as *ω an input*, but both files run without blocks (graph optimisation `ORT_ENABLE_EXTENDED`). This is
  what ω itself costs.

{exported(rows)}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--here", choices=(*BACKENDS, "onnx"), help="one framework in this process; prints JSON")
    parser.add_argument("--threads", type=int, default=1, help="of --here")
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure_exports(args.threads) if args.here == "onnx" else measure(args.here, args.threads)))
        return
    if args.out is None:
        parser.error("--out is wanted")
    path = args.out / "rounds.csv"
    rows = runs.rows_of(path)
    for label, name, threads, environment in SETTINGS + EXPORTED:
        setting = {"setting": label, "threads": str(threads)}
        if any(setting.items() <= row.items() for row in rows):
            continue
        command = [sys.executable, __file__, "--here", name, "--threads", str(threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment})
        rows += [{**setting, **row} for row in json.loads(done.stdout.splitlines()[-1])]
        args.out.mkdir(parents=True, exist_ok=True)
        write_text(path, tables.to_csv(rows))
    write_text(args.out / "README.md", page(runs.rows_of(path)))


if __name__ == "__main__":
    sys.exit(runs.guarded(main))
